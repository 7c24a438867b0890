//! Processor and memory. A group has what its containers request together, which is what is paid for; requests are
//! rounded up, as they are what a container is sure to get.

use std::collections::BTreeMap;

use vk_aci::group::{ResourceLimits, ResourceRequests, ResourceRequirements};
use vk_provider::quantity::Quantity;
use vk_provider::{Error, Result};

use super::Notice;
use crate::limits::{CPU_STEP_MILLIS, DEFAULT, LEAST, MEMORY_STEP_BYTES, STORAGE, Size};
use crate::manifest::{List, Placed, Resources, Spec};
use crate::refusals::{refuse, too_much};

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
const STORAGE_NAME: &str = "ephemeral-storage";
const GPU: &str = "nvidia.com/gpu";

/// Of one container; none of a limit: it has what it requests.
#[derive(Debug)]
struct Asked {
    request: Size,
    cpu_limit: Option<i64>,
    memory_limit: Option<i64>,
}

/// Of each ordinary container.
///
/// # Errors
/// A resource that Azure does not give, or more than it gives.
pub(super) fn of(spec: &Spec, most: Size, notices: &mut Vec<Notice>) -> Result<Vec<ResourceRequirements>> {
    let mut asked: Vec<Asked> = spec.ordinary().map(of_container).collect::<Result<_>>()?;
    check_storage(spec)?;
    let sum = sum(&asked);
    if let Some(first) = asked.first_mut() {
        // The smallest group is larger: somebody gets the rest, and it is paid for all the same.
        first.request.cpu += (LEAST.cpu - sum.cpu).max(0);
        first.request.memory += (LEAST.memory - sum.memory).max(0);
    }
    check_most(spec, &asked, most)?;
    let total = self::sum(&asked);
    check_init(spec, total)?;
    let all = spec.ordinary().zip(asked);
    Ok(all.map(|(placed, asked)| asked.within(total, placed, notices)).collect())
}

fn of_container(placed: Placed<'_>) -> Result<Asked> {
    check_names(placed)?;
    let Resources { requests, limits, .. } = &placed.container.resources;
    let request = Size {
        cpu: steps(requests, CPU).unwrap_or(DEFAULT.cpu),
        memory: steps(requests, MEMORY).unwrap_or(DEFAULT.memory),
    };
    Ok(Asked { request, cpu_limit: steps(limits, CPU), memory_limit: steps(limits, MEMORY) })
}

/// An amount in Azure's steps, rounded up; none: nothing is said.
fn steps(amounts: &BTreeMap<String, Quantity>, name: &str) -> Option<i64> {
    let amount = amounts.get(name)?;
    let (amount, step) =
        if name == CPU { (amount.millis(), CPU_STEP_MILLIS) } else { (amount.whole(), MEMORY_STEP_BYTES) };
    Some((amount / step + i64::from(amount % step > 0)).max(1))
}

fn check_names(placed: Placed<'_>) -> Result<()> {
    let resources = &placed.container.resources;
    if !resources.claims.is_empty() {
        return Err(refuse(placed.field("resources.claims"), "Azure allocates no devices"));
    }
    for (list, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for name in amounts.keys() {
            check_name(name).map_err(|why| refuse(placed.field(&format!("resources.{list}[{name}]")), why))?;
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        CPU | MEMORY | STORAGE_NAME => Ok(()),
        GPU => Err("Azure retired graphics processors in container groups on 14 July 2025"),
        _ => Err("Azure gives a container cpu and memory, and nothing else"),
    }
}

/// Each group has a disk of its own, of which requests are promises to all containers together. Limits are none, and nobody
/// measures what a container takes.
fn check_storage(spec: &Spec) -> Result<()> {
    let mut sum: i64 = 0;
    for placed in spec.all() {
        let resources = &placed.container.resources;
        let amount =
            |amounts: &BTreeMap<String, Quantity>| amounts.get(STORAGE_NAME).map_or(0, |amount| amount.whole());
        let requested = match placed.list {
            // It is over before the others write anything.
            List::Init => amount(&resources.requests),
            List::Ordinary => {
                sum = sum.saturating_add(amount(&resources.requests));
                sum
            }
        };
        for (list, amount) in [("requests", requested), ("limits", amount(&resources.limits))] {
            if amount > STORAGE {
                let field = placed.field(&format!("resources.{list}[{STORAGE_NAME}]"));
                return Err(too_much(field, "a group has 50 GB for all its containers together"));
            }
        }
    }
    Ok(())
}

fn sum(asked: &[Asked]) -> Size {
    asked.iter().fold(Size::default(), |sum, Asked { request, .. }| Size {
        cpu: sum.cpu.saturating_add(request.cpu),
        memory: sum.memory.saturating_add(request.memory),
    })
}

/// An init container has all that the group has, and Azure takes no sizes of it. So what it requests, by itself or by a LimitRange of
/// its namespace, has to be there and no more. Its limits mean nothing: nobody holds it to less.
fn check_init(spec: &Spec, total: Size) -> Result<()> {
    for placed in spec.init() {
        check_names(placed)?;
        let requests = &placed.container.resources.requests;
        for (name, there, all) in [
            (CPU, total.cpu, format!("{} cores", cores(total.cpu))),
            (MEMORY, total.memory, format!("{} GB", gigabytes(total.memory))),
        ] {
            if steps(requests, name).is_some_and(|asked| asked > there) {
                let why = format!("the group has what spec.containers request together, {all}: request more there");
                return Err(too_much(placed.field(&format!("resources.requests[{name}]")), why));
            }
        }
    }
    Ok(())
}

/// At the container that requests the most.
fn check_most(spec: &Spec, asked: &[Asked], most: Size) -> Result<()> {
    let sum = sum(asked);
    let at = |by: fn(&Size) -> i64, name: &str, why: String| -> Error {
        let largest = spec.ordinary().zip(asked).max_by_key(|(_, asked)| by(&asked.request));
        let field = largest.map(|(placed, _)| placed.field(&format!("resources.requests[{name}]")));
        too_much(field.unwrap_or_default(), why)
    };
    if sum.cpu > most.cpu {
        let (all, most) = (cores(sum.cpu), cores(most.cpu));
        return Err(at(
            |size| size.cpu,
            CPU,
            format!("the pod requests {all} cores, and such a group has at most {most}"),
        ));
    }
    if sum.memory > most.memory {
        let (all, most) = (gigabytes(sum.memory), gigabytes(most.memory));
        return Err(at(
            |size| size.memory,
            MEMORY,
            format!("the pod requests {all} GB, and such a group has at most {most}"),
        ));
    }
    Ok(())
}

impl Asked {
    /// Azure wants a limit between the container's request and what the group has.
    fn within(self, total: Size, placed: Placed<'_>, notices: &mut Vec<Notice>) -> ResourceRequirements {
        let Self { request, cpu_limit, memory_limit } = self;
        let cpu = cpu_limit.map(|limit| limit.clamp(request.cpu, total.cpu));
        let memory = memory_limit.map(|limit| limit.clamp(request.memory, total.memory));
        if cpu_limit.is_some_and(|limit| limit > total.cpu) || memory_limit.is_some_and(|limit| limit > total.memory) {
            let message = format!(
                "container {} is limited to what all containers of the pod request together, {} cores and {} GB: \
                 request more to get more",
                placed.container.name,
                cores(total.cpu),
                gigabytes(total.memory)
            );
            notices.push(Notice::new("LimitLowered", message));
        }
        let limits = (cpu.is_some() || memory.is_some()).then(|| ResourceLimits {
            cpu: cpu.map(cores),
            memory_in_gb: memory.map(gigabytes),
            gpu: None,
        });
        let requests = ResourceRequests { cpu: cores(request.cpu), memory_in_gb: gigabytes(request.memory), gpu: None };
        ResourceRequirements { requests, limits }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most the largest group's, which is small")]
fn cores(steps: i64) -> f64 {
    steps as f64 / 100.0
}

#[expect(clippy::cast_precision_loss, reason = "at most the largest group's, which is small")]
fn gigabytes(steps: i64) -> f64 {
    steps as f64 / 10.0
}

#[cfg(test)]
mod tests;
