//! Request rates that Azure publishes, kept by the host for all calls together, so that nothing is asked that would be
//! refused with 429. Deletes have budgets of their own: creates never starve them.
//!
//! | who counts | what | so many |
//! | --- | --- | --- |
//! | Resource Manager, for a subscription, a principal and a region | reads | 250, and 25 more a second |
//! | | writes, deletes: each | 200, and 10 more a second |
//! | Container Instances, for a subscription and a region | creates, deletes: each | 100 in 5 minutes, 300 an hour |
//!
//! A bucket of N that is filled by R a second lets N go in any N / R seconds: that is a budget that never empties it.

use std::time::Duration;

use vk_provider::plugin::Budget;

/// Of Resource Manager: methods, the bucket, and what fills it in a second.
const BUCKETS: [(&[&str], u32, u32); 3] =
    [(&["GET", "HEAD"], 250, 25), (&["PUT", "PATCH", "POST"], 200, 10), (&["DELETE"], 200, 10)];
/// Of Container Instances: a method, and so many requests in so many seconds.
const GROUPS: [(&str, u32, u64); 4] =
    [("PUT", 100, 300), ("PUT", 300, 3600), ("DELETE", 100, 300), ("DELETE", 300, 3600)];
/// Where groups are.
const PATH: &str = "/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerInstance/containerGroups/*";

/// All of them, times what a subscription has that was given more.
pub(crate) fn of(resource_manager: &str, factor: u32) -> Vec<Budget> {
    let scheme = resource_manager.find("://").map_or(0, |at| at + 3);
    let path =
        resource_manager.get(scheme..).and_then(|rest| rest.find('/')).map_or(resource_manager.len(), |at| scheme + at);
    let (origin, prefix) = resource_manager.split_at_checked(path).unwrap_or((resource_manager, ""));
    let buckets = BUCKETS.into_iter().map(|(methods, most, filled)| {
        let window = Duration::from_secs((most / filled).into());
        Budget::new(origin, most.saturating_mul(factor), window).methods(methods.iter().copied())
    });
    let groups = GROUPS.into_iter().map(|(method, most, seconds)| {
        let budget = Budget::new(origin, most.saturating_mul(factor), Duration::from_secs(seconds));
        budget.methods([method]).paths([format!("{}{PATH}", prefix.trim_end_matches('/'))])
    });
    buckets.chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_azures_own_rates() {
        let budgets = of("https://management.azure.com", 1);
        let told: Vec<String> = budgets
            .iter()
            .map(|budget| {
                let paths = if budget.paths.is_empty() { "all" } else { "groups" };
                format!("{} {paths}: {} in {} ms", budget.methods.join("+"), budget.requests, budget.window_ms)
            })
            .collect();
        assert_eq!(
            told,
            [
                "GET+HEAD all: 250 in 10000 ms",
                "PUT+PATCH+POST all: 200 in 20000 ms",
                "DELETE all: 200 in 20000 ms",
                "PUT groups: 100 in 300000 ms",
                "PUT groups: 300 in 3600000 ms",
                "DELETE groups: 100 in 300000 ms",
                "DELETE groups: 300 in 3600000 ms",
            ]
        );
        assert!(budgets.iter().all(|budget| budget.origin == "https://management.azure.com" && budget.burst.is_none()));
    }

    #[test]
    fn a_subscription_may_have_more_and_be_elsewhere() {
        let budgets = of("https://localhost:8443/arm", 60);
        assert_eq!(budgets.iter().map(|budget| budget.requests).max(), Some(18_000));
        assert!(budgets.iter().all(|budget| budget.origin == "https://localhost:8443"));
        assert_eq!(budgets[3].paths, [format!("/arm{PATH}")]);
    }
}
