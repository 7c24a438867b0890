//! Request rates that Azure publishes, kept by the host for all calls together, so that nothing is asked that would be
//! refused with 429. Deletes have budgets of their own: creates never starve them. Nor do removals that the provider makes of its own
//! accord, which have half of them.
//!
//! | who counts | what | so many |
//! | --- | --- | --- |
//! | Resource Manager, for a subscription, a principal and a region | reads | 250, and 25 more a second |
//! | | writes, deletes: each | 200, and 10 more a second |
//! | Container Instances, for a subscription and a region | creates, deletes: each | 100 in 5 minutes, 300 an hour |
//!
//! A bucket of N that is filled by R a second lets N go in any N / R seconds: that is a budget that never empties it.

use std::str::FromStr;
use std::time::Duration;

use vk_provider::plugin::Budget;

use crate::ledger::millis;

/// Of Resource Manager: methods, the bucket, and what fills it in a second.
const BUCKETS: [(&[&str], u32, u32); 3] =
    [(&["GET", "HEAD"], 250, 25), (&["PUT", "PATCH", "POST"], 200, 10), (&["DELETE"], 200, 10)];
/// Of Container Instances: so many creates in so many seconds, and as many deletes.
const GROUPS: [(u32, u64); 2] = [(100, 300), (300, 3600)];
/// The longest window that a rate may have, in seconds.
const DAY: u64 = 24 * 3600;
/// Where groups are.
const PATH: &str = "/subscriptions/*/resourceGroups/*/providers/Microsoft.ContainerInstance/containerGroups/*";

/// So many requests in any window of so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    requests: u32,
    window: Duration,
}

/// `100/5m`
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (requests, window) = text.split_once('/')?;
            let seconds = [('s', 1), ('m', 60), ('h', 3600)].into_iter().find_map(|(letter, unit)| {
                let number: u64 = window.strip_suffix(letter)?.parse().ok()?;
                number.checked_mul(unit).filter(|seconds| (1..=DAY).contains(seconds))
            });
            let requests = requests.parse().ok().filter(|requests| *requests > 0)?;
            Some(Self { requests, window: Duration::from_secs(seconds?) })
        };
        read().ok_or_else(|| format!("{text:?} is no rate; write it like 100/5m: so many in 1s to 24h"))
    }
}

/// The request rates of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// How many times Azure's published rates there are.
    pub(crate) factor: u32,
    /// Those of creates, and of deletes; none: the published ones, so many times.
    pub(crate) creates: Option<Vec<Rate>>,
    pub(crate) deletes: Option<Vec<Rate>>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { factor: 1, creates: None, deletes: None }
    }
}

impl Rates {
    fn published(&self) -> Vec<Rate> {
        let rate = |(requests, seconds): (u32, u64)| Rate {
            requests: requests.saturating_mul(self.factor),
            window: Duration::from_secs(seconds),
        };
        GROUPS.map(rate).to_vec()
    }

    /// Takes a removal that nobody waits for: of those there are half as many as Azure takes, as somebody waits for the others.
    /// `taken` is what is kept between two of them, at first nothing. Returns whether there was one left.
    pub(crate) fn take_removal(&self, taken: &mut Vec<u64>, now: u64) -> bool {
        let rates = self.deletes.clone().unwrap_or_else(|| self.published());
        taken.resize(rates.len(), 0);
        let all: Option<Vec<u64>> =
            rates.iter().zip(taken.iter()).map(|(rate, taken)| rate.half(*taken, now)).collect();
        let is_left = all.is_some();
        if let Some(all) = all {
            *taken = all;
        }
        is_left
    }
}

impl Rate {
    /// Takes one of half of the rate: half of that at once, and the rest evenly, so that no window has more of them. `taken`: when all
    /// that was taken will have come back, and what that is then; none: there is none left.
    fn half(self, taken: u64, now: u64) -> Option<u64> {
        let half = u64::from(self.requests / 2);
        let at_once = half.div_ceil(2);
        let interval = millis(self.window).div_ceil((half - at_once).max(1));
        let is_left = half > 0 && taken <= now.saturating_add(interval.saturating_mul(at_once - 1));
        is_left.then(|| taken.max(now).saturating_add(interval))
    }
}

/// All of them.
pub(crate) fn of(resource_manager: &str, rates: &Rates) -> Vec<Budget> {
    let scheme = resource_manager.find("://").map_or(0, |at| at + 3);
    let path =
        resource_manager.get(scheme..).and_then(|rest| rest.find('/')).map_or(resource_manager.len(), |at| scheme + at);
    let (origin, prefix) = resource_manager.split_at_checked(path).unwrap_or((resource_manager, ""));
    let buckets = BUCKETS.into_iter().map(|(methods, most, filled)| {
        let window = Duration::from_secs((most / filled).into());
        Budget::new(origin, most.saturating_mul(rates.factor), window).methods(methods.iter().copied())
    });
    let groups = [("PUT", &rates.creates), ("DELETE", &rates.deletes)].into_iter().flat_map(|(method, own)| {
        let all = own.clone().unwrap_or_else(|| rates.published());
        all.into_iter().map(move |Rate { requests, window }| {
            let budget = Budget::new(origin, requests, window);
            budget.methods([method]).paths([format!("{}{PATH}", prefix.trim_end_matches('/'))])
        })
    });
    buckets.chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(factor: u32) -> Rates {
        Rates { factor, ..Rates::default() }
    }

    fn told(budgets: &[Budget]) -> Vec<String> {
        let told = |budget: &Budget| {
            let paths = if budget.paths.is_empty() { "all" } else { "groups" };
            format!("{} {paths}: {} in {} ms", budget.methods.join("+"), budget.requests, budget.window_ms)
        };
        budgets.iter().map(told).collect()
    }

    #[test]
    fn budgets_are_azures_own_rates() {
        let budgets = of("https://management.azure.com", &published(1));
        assert_eq!(
            told(&budgets),
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
        let budgets = of("https://localhost:8443/arm", &published(60));
        assert_eq!(budgets.iter().map(|budget| budget.requests).max(), Some(18_000));
        assert!(budgets.iter().all(|budget| budget.origin == "https://localhost:8443"));
        assert_eq!(budgets[3].paths, [format!("/arm{PATH}")]);
    }

    #[test]
    fn removals_that_nobody_waits_for_take_half_of_the_deletes() {
        let most = |taken: &[u64], window: u64| {
            taken
                .iter()
                .map(|from| taken.iter().filter(|at| (*from..*from + window * 1000).contains(*at)).count())
                .max()
        };
        let rates = |deletes: &[&str]| Rates {
            deletes: Some(deletes.iter().map(|rate| rate.parse().unwrap()).collect()),
            ..Rates::default()
        };
        for (rates, windows) in [
            (published(1), vec![(300, 50), (3600, 150)]),
            (published(2), vec![(300, 100), (3600, 300)]),
            (rates(&["7/1m"]), vec![(60, 3)]),
            (rates(&["2/1h"]), vec![(3600, 1)]),
            (rates(&["1/1h"]), vec![(3600, 0)]),
        ] {
            let mut kept = Vec::new();
            let taken: Vec<u64> = (0..14_400)
                .map(|second| 1_800_000_000_000 + second * 1000)
                .filter(|at| rates.take_removal(&mut kept, *at))
                .collect();
            for (window, half) in windows {
                let most = most(&taken, window).unwrap_or(0);
                assert!(most <= half && most + 1 >= half, "{most} in {window} s of {rates:?}");
            }
        }
        let mut kept = Vec::new();
        let at_once = (0..100).filter(|_| published(1).take_removal(&mut kept, 1_800_000_000_000)).count();
        assert_eq!(at_once, 25);
    }

    #[test]
    fn creates_and_deletes_may_have_rates_of_their_own() {
        let creates = Some(vec!["500/5m".parse().unwrap(), "1000/1h".parse().unwrap()]);
        let budgets = of("https://localhost", &Rates { creates, ..published(2) });
        assert_eq!(
            told(&budgets)[3..],
            [
                "PUT groups: 500 in 300000 ms",
                "PUT groups: 1000 in 3600000 ms",
                "DELETE groups: 200 in 300000 ms",
                "DELETE groups: 600 in 3600000 ms",
            ]
        );
        for wrong in ["", "100", "100/5", "0/5m", "-1/5m", "1/0s", "1/25h", "1/5d", "1/5m/2", "1.5/5m", "/5m"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
    }
}
