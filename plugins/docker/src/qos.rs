//! Who goes first when the machine runs out of memory, by the pod's quality of service, as the kubelet decides it.
//! (<https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>, kubernetes/pkg/kubelet/qos/policy.go)
//!
//! The kubelet protects guaranteed pods and sandboxes with figures below zero, which takes a right that an engine without
//! root does not have. Here they have 0, as other programs of the machine, so that the order is the same.

use vk_provider::Result;
use vk_provider::quantity::Quantity;

use crate::context::Context;
use crate::machine::Machine;
use crate::manifest::{Container, List, Placed, Resources, Spec};

/// The first to go.
const BEST_EFFORT: i64 = 1000;
/// Bounds of those between: after those that are guaranteed, before those that asked for nothing.
const LEAST: i64 = 3;
const MOST: i64 = 999;
/// The priority of what a node cannot be without, from `system-node-critical` on.
const NODE_CRITICAL: i32 = 2_000_001_000;

/// `oom_score_adj` of a container; none: 0.
///
/// # Errors
/// How much memory the machine has is not known.
pub(crate) fn oom_score(context: &Context, spec: &Spec, placed: Placed<'_>) -> Result<Option<i64>> {
    Ok(match class(spec) {
        _ if spec.priority.is_some_and(|priority| priority >= NODE_CRITICAL) => None,
        Class::Guaranteed => None,
        Class::BestEffort => Some(BEST_EFFORT),
        Class::Burstable => {
            let requested = requested(spec, placed);
            if requested > 0 { Some(between(requested, Machine::of(context)?.memory)) } else { Some(MOST) }
        }
    })
}

/// Bytes that a container asked for. A sidecar goes no sooner than those that it is there for.
fn requested(spec: &Spec, placed: Placed<'_>) -> i64 {
    let of = |container: &Container| request(&container.resources, "memory").unwrap_or(0);
    let own = of(placed.container);
    if placed.list == List::Init && !placed.ends_before_others() {
        own.max(spec.containers.iter().map(of).min().unwrap_or(0))
    } else {
        own
    }
}

/// The more of the machine's memory it asked for, the later it goes.
fn between(requested: i64, memory: u64) -> i64 {
    let memory = i64::try_from(memory).unwrap_or(i64::MAX).max(1);
    (1000 - requested.saturating_mul(1000) / memory).clamp(LEAST, MOST)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Guaranteed,
    Burstable,
    BestEffort,
}

fn class(spec: &Spec) -> Class {
    let all: Vec<&Container> =
        spec.all().filter(|placed| placed.list != List::Ephemeral).map(|placed| placed.container).collect();
    let kinds = ["cpu", "memory"];
    let asks = |resources: &Resources| {
        kinds.iter().any(|kind| request(resources, kind).or_else(|| limit(resources, kind)).is_some_and(|it| it > 0))
    };
    let is_fixed = |resources: &Resources| {
        kinds.iter().all(|kind| {
            let limit = limit(resources, kind).filter(|limit| *limit > 0);
            limit.is_some() && request(resources, kind) == limit
        })
    };
    if !all.iter().any(|container| asks(&container.resources)) {
        Class::BestEffort
    } else if all.iter().all(|container| is_fixed(&container.resources)) {
        Class::Guaranteed
    } else {
        Class::Burstable
    }
}

/// A limit without a request requests as much.
fn request(resources: &Resources, kind: &str) -> Option<i64> {
    resources.requests.get(kind).map(|amount| figure(amount, kind)).or_else(|| limit(resources, kind))
}

fn limit(resources: &Resources, kind: &str) -> Option<i64> {
    resources.limits.get(kind).map(|amount| figure(amount, kind))
}

fn figure(amount: &Quantity, kind: &str) -> i64 {
    if kind == "cpu" { amount.millis() } else { amount.whole() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    #[test]
    fn the_class_is_the_whole_pods() {
        let whole = r#"{"limits":{"cpu":"1","memory":"64Mi"}}"#;
        for (containers, class_of) in [
            (r#"[{"name":"a"},{"name":"b","resources":{"limits":{"cpu":"0"}}}]"#.to_owned(), Class::BestEffort),
            (format!(r#"[{{"name":"a","resources":{whole}}}]"#), Class::Guaranteed),
            (format!(r#"[{{"name":"a","resources":{whole}}},{{"name":"b"}}]"#), Class::Burstable),
            (r#"[{"name":"a","resources":{"requests":{"memory":"1Mi"}}}]"#.to_owned(), Class::Burstable),
            (
                r#"[{"name":"a","resources":{"requests":{"cpu":"1","memory":"1Mi"},"limits":{"cpu":"1","memory":"2Mi"}}}]"#
                    .to_owned(),
                Class::Burstable,
            ),
        ] {
            assert_eq!(class(&parse(&format!(r#"{{"containers":{containers}}}"#))), class_of, "{containers}");
        }
        let debugged = format!(
            r#"{{"containers":[{{"name":"a","resources":{whole}}}],"ephemeralContainers":[{{"name":"debug"}}]}}"#
        );
        assert_eq!(class(&parse(&debugged)), Class::Guaranteed);
    }

    #[test]
    fn a_sidecar_goes_no_sooner_than_those_that_it_is_there_for() {
        let spec = parse(
            r#"{"initContainers":[{"name":"first","resources":{"requests":{"memory":"1Mi"}}},{"name":"beside","restartPolicy":"Always",
            "resources":{"requests":{"memory":"1Mi"}}}],"containers":[{"name":"a","resources":{"requests":{"memory":"4Mi"}}},
            {"name":"b","resources":{"requests":{"memory":"2Mi"}}}]}"#,
        );
        let all: Vec<i64> = spec.all().map(|placed| requested(&spec, placed) >> 20).collect();
        assert_eq!(all, [1, 2, 4, 2]);
    }

    #[test]
    fn who_asked_for_more_goes_later() {
        for (requested, memory, score) in
            [(1, 1 << 30, 999), (512 << 20, 1 << 30, 500), (1 << 30, 1 << 30, 3), (2 << 30, 1 << 30, 3), (1, 0, 3)]
        {
            assert_eq!(between(requested, memory), score, "{requested} of {memory}");
        }
    }
}
