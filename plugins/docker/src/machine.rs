//! What the engine's machine can do. An engine leaves out what its kernel cannot, and says so in a warning that nobody
//! reads, or not at all: such a pod is refused before anything is made.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_engine::container::Created;
use vk_engine::system::Info;
use vk_provider::store::{self, Expect};
use vk_provider::{PodRef, Result, cluster};

use crate::context::Context;
use crate::manifest::{List, Placed, Spec};
use crate::refusals::refuse;

/// How long an answer is taken for granted: a kernel changes with a restart.
const KNOWN: Duration = Duration::from_secs(600);

/// What the engine's machine can do, and has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    memory_limit: bool,
    cpu_quota: bool,
    apparmor: bool,
    /// Bytes.
    pub(crate) memory: u64,
}

impl Machine {
    /// Asks, unless it is known.
    ///
    /// # Errors
    /// Not known.
    pub(crate) fn of(context: &Context) -> Result<Self> {
        let key = format!("machine/{}", context.config.endpoint);
        if let Some(known) = store::get::<Self>(&key)? {
            return Ok(known.value);
        }
        let machine = Self::told(&context.info()?, context.engine.dialect().podman);
        store::put(&key, &machine, Expect::Anything, Some(KNOWN))?;
        Ok(machine)
    }

    /// What is not told is taken for granted.
    fn told(info: &Info, podman: bool) -> Self {
        Self {
            memory_limit: info.memory_limit.unwrap_or(true),
            // Podman looks for it where a machine's own cgroup does not have it.
            cpu_quota: podman || info.cpu_cfs_quota.unwrap_or(true),
            apparmor: info.has_apparmor().unwrap_or(true),
            memory: info.mem_total,
        }
    }
}

/// All of a pod but ephemeral containers, which never end it: each is looked at when it is started.
///
/// # Errors
/// The first field that the machine cannot honour, or not known.
pub(crate) fn check(context: &Context, spec: &Spec) -> Result<()> {
    let all = || spec.all().filter(|placed| placed.list != List::Ephemeral);
    if !all().any(|placed| !wants(spec, placed).is_empty()) {
        return Ok(());
    }
    let machine = Machine::of(context)?;
    all().try_for_each(|placed| of_container(machine, spec, placed))
}

/// One container.
///
/// # Errors
/// The first field that the machine cannot honour, or not known.
pub(crate) fn check_container(context: &Context, spec: &Spec, placed: Placed<'_>) -> Result<()> {
    if wants(spec, placed).is_empty() { Ok(()) } else { of_container(Machine::of(context)?, spec, placed) }
}

/// The id of a container that was made. What the engine says it has left out is told, if it is the pod's loss: other
/// warnings are of every container, such as that there is no limit of swap.
pub(crate) fn made(id: &PodRef, created: Created) -> String {
    for warning in created.warnings.unwrap_or_default() {
        vk_provider::log!("pod {}/{}: {warning}", id.namespace, id.name);
        if warning.to_ascii_lowercase().contains("discarded") {
            cluster::event(id, true, "EngineWarning", &warning);
        }
    }
    created.id
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    MemoryLimit,
    CpuQuota,
    AppArmor,
}

fn of_container(machine: Machine, spec: &Spec, placed: Placed<'_>) -> Result<()> {
    for (ability, field) in wants(spec, placed) {
        let (has, what) = match ability {
            Ability::MemoryLimit => {
                (machine.memory_limit, "the engine's machine cannot limit memory: its cgroup is off")
            }
            Ability::CpuQuota => (machine.cpu_quota, "the engine's machine cannot limit time on processors"),
            Ability::AppArmor => (machine.apparmor, "the engine's machine has no AppArmor"),
        };
        if !has {
            return Err(refuse(field, what));
        }
    }
    Ok(())
}

/// What a container needs of the machine, and the field that says so.
fn wants(spec: &Spec, placed: Placed<'_>) -> Vec<(Ability, String)> {
    let own = &placed.container.security_context.app_armor_profile;
    let (profile, field) = match own {
        Some(_) => (own.as_ref(), placed.field("securityContext.appArmorProfile")),
        None => (spec.security_context.app_armor_profile.as_ref(), "spec.securityContext.appArmorProfile".to_owned()),
    };
    let limit = |name: &str| placed.container.resources.limits.get(name).is_some_and(|amount| amount.millis() > 0);
    let mut wants = Vec::new();
    if limit("memory") {
        wants.push((Ability::MemoryLimit, placed.field("resources.limits[memory]")));
    }
    if limit("cpu") {
        wants.push((Ability::CpuQuota, placed.field("resources.limits[cpu]")));
    }
    if profile.is_some_and(|profile| profile.r#type != "Unconfined") {
        wants.push((Ability::AppArmor, field));
    }
    wants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    const ABLE: Machine = Machine { memory_limit: true, cpu_quota: true, apparmor: true, memory: 1 << 30 };

    fn refused(machine: Machine, spec: &str) -> Option<String> {
        let spec = parse(spec);
        let refused = spec.all().try_for_each(|placed| of_container(machine, &spec, placed));
        refused.err().and_then(|error| error.field)
    }

    #[test]
    fn what_a_machine_cannot_do_is_refused_by_field() {
        let limits = r#"{"containers":[{"name":"a"},{"name":"b","resources":{"limits":{"memory":"64Mi","cpu":"1"}}}]}"#;
        let of_pod = r#"{"securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}},"containers":[{"name":"a"}]}"#;
        let own = r#"{"containers":[{"name":"a","securityContext":{"appArmorProfile":{"type":"Localhost","localhostProfile":"x"}}}]}"#;
        let without = [
            (Machine { memory_limit: false, ..ABLE }, limits, "spec.containers[1].resources.limits[memory]"),
            (Machine { cpu_quota: false, ..ABLE }, limits, "spec.containers[1].resources.limits[cpu]"),
            (Machine { apparmor: false, ..ABLE }, of_pod, "spec.securityContext.appArmorProfile"),
            (Machine { apparmor: false, ..ABLE }, own, "spec.containers[0].securityContext.appArmorProfile"),
        ];
        for (machine, spec, field) in without {
            assert_eq!(refused(machine, spec).as_deref(), Some(field));
            assert_eq!(refused(ABLE, spec), None);
        }
        let nothing = Machine { memory_limit: false, cpu_quota: false, apparmor: false, memory: 0 };
        let modest = r#"{"containers":[{"name":"a","resources":{"limits":{"memory":"0"},"requests":{"memory":"1Gi","cpu":"1"}},
            "securityContext":{"appArmorProfile":{"type":"Unconfined"}}}]}"#;
        assert_eq!(refused(nothing, modest), None);
    }

    #[test]
    fn a_limit_that_an_engine_leaves_out_is_told_to_the_pods_owner() {
        vk_provider::testing::reset();
        let id = PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() };
        let of = |warnings: &[&str]| Created {
            id: "4f".to_owned(),
            warnings: Some(warnings.iter().map(|warning| (*warning).to_owned()).collect()),
        };
        let swap = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
        let lost = "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. Quota discarded.";
        assert_eq!(made(&id, of(&[swap])), "4f");
        assert!(vk_provider::testing::events().is_empty());
        made(&id, of(&[swap, lost]));
        let events = vk_provider::testing::events();
        assert_eq!(events.iter().map(|event| event.message.as_str()).collect::<Vec<_>>(), [lost]);
    }

    #[test]
    fn what_is_not_told_is_taken_for_granted() {
        let told = Machine::told(&Info::default(), false);
        assert!(told.memory_limit && told.cpu_quota && told.apparmor);
        let info = Info {
            memory_limit: Some(false),
            cpu_cfs_quota: Some(false),
            security_options: Some(vec!["name=seccomp".to_owned()]),
            ..Info::default()
        };
        let (docker, podman) = (Machine::told(&info, false), Machine::told(&info, true));
        assert!(!docker.memory_limit && !docker.cpu_quota && !docker.apparmor);
        assert!(!podman.memory_limit && podman.cpu_quota && !podman.apparmor);
    }
}
