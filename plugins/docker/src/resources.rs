//! Processor and memory of a container, as the kubelet turns them into an engine's figures.

use vk_engine::container::HostConfig;
use vk_provider::Result;

use crate::manifest::{Placed, Resources};
use crate::refusals::refuse;

/// Microseconds of a period of the scheduler, the kernel's default.
const PERIOD: i64 = 100_000;
/// The least that the kernel takes: a millisecond of a period.
const LEAST_QUOTA: i64 = 1000;
/// Shares of a core, and the least that there are: of a container that requests nothing.
const SHARES: i64 = 1024;
const LEAST_SHARES: i64 = 2;
/// Docker refuses less.
const LEAST_MEMORY: i64 = 6 << 20;

/// # Errors
/// A limit that an engine does not keep.
pub(crate) fn check(placed: Placed<'_>) -> Result<()> {
    let Resources { limits, claims, .. } = &placed.container.resources;
    if !claims.is_empty() {
        return Err(refuse(placed.field("resources.claims"), "an engine allocates no devices"));
    }
    for (name, limit) in limits {
        let field = || placed.field(&format!("resources.limits[{name}]"));
        match name.as_str() {
            "cpu" => {}
            "memory" if limit.whole() > 0 && limit.whole() < LEAST_MEMORY => {
                return Err(refuse(field(), format!("{limit} bytes are less than an engine takes: 6Mi")));
            }
            "memory" => {}
            _ => return Err(refuse(field(), "an engine limits cpu and memory of a container, and nothing else")),
        }
    }
    Ok(())
}

/// What a container may use.
pub(crate) fn apply(resources: &Resources, host: &mut HostConfig) {
    let Resources { requests, limits, .. } = resources;
    let cpu = |from: &std::collections::BTreeMap<String, vk_provider::quantity::Quantity>| {
        from.get("cpu").map(|amount| amount.millis()).filter(|millis| *millis > 0)
    };
    // A limit without a request requests as much.
    let requested = cpu(requests).or_else(|| cpu(limits)).unwrap_or(0);
    host.cpu_shares = Some((requested.saturating_mul(SHARES) / 1000).max(LEAST_SHARES));
    if let Some(limit) = cpu(limits) {
        host.cpu_period = Some(PERIOD);
        host.cpu_quota = Some((limit.saturating_mul(PERIOD) / 1000).max(LEAST_QUOTA));
    }
    if let Some(memory) = limits.get("memory").map(|amount| amount.whole()).filter(|bytes| *bytes > 0) {
        host.memory = Some(memory);
        // Memory and swap together: no swap.
        host.memory_swap = Some(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn applied(resources: &str) -> [Option<i64>; 5] {
        let spec = parse(&format!(r#"{{"containers":[{{"name":"c","resources":{resources}}}]}}"#));
        let mut host = HostConfig::default();
        apply(&spec.containers[0].resources, &mut host);
        [host.cpu_shares, host.cpu_quota, host.cpu_period, host.memory, host.memory_swap]
    }

    #[test]
    fn figures_are_the_kubelets() {
        for (resources, [shares, quota, period, memory, swap]) in [
            ("{}", [Some(2), None, None, None, None]),
            ("null", [Some(2), None, None, None, None]),
            (r#"{"requests":{"cpu":"250m"}}"#, [Some(256), None, None, None, None]),
            (r#"{"limits":{"cpu":"1500m"}}"#, [Some(1536), Some(150_000), Some(100_000), None, None]),
            (r#"{"limits":{"cpu":"1m"},"requests":{"cpu":"1m"}}"#, [Some(2), Some(1000), Some(100_000), None, None]),
            (r#"{"limits":{"cpu":"64"}}"#, [Some(65_536), Some(6_400_000), Some(100_000), None, None]),
            (r#"{"limits":{"memory":"64Mi"}}"#, [Some(2), None, None, Some(67_108_864), Some(67_108_864)]),
            (r#"{"limits":{"cpu":"0","memory":"0"}}"#, [Some(2), None, None, None, None]),
        ] {
            assert_eq!(applied(resources), [shares, quota, period, memory, swap], "{resources}");
        }
    }

    #[test]
    fn limits_that_no_engine_keeps_are_refused() {
        for (resources, field) in [
            (r#"{"limits":{"memory":"4Mi"}}"#, "memory"),
            (r#"{"limits":{"ephemeral-storage":"1Gi"}}"#, "ephemeral-storage"),
            (r#"{"limits":{"hugepages-2Mi":"2Mi"}}"#, "hugepages-2Mi"),
        ] {
            let spec = parse(&format!(r#"{{"containers":[{{"name":"c","resources":{resources}}}]}}"#));
            let error = check(spec.all().next().unwrap()).unwrap_err();
            assert_eq!(error.field, Some(format!("spec.containers[0].resources.limits[{field}]")));
        }
    }
}
