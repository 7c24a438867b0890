//! What came of a plugin's requests: refusals are told once each, everything is counted.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::failure::Failure;
use crate::defaults::egress::TOLD;

/// Of a target, in bytes: a plugin may make up long ones.
const TARGET: usize = 256;
/// What is counted where a server answered.
const ANSWERED: &str = "Answered";

/// Of one plugin, over all its calls and builds.
#[derive(Debug)]
pub(in crate::plugin) struct Denied {
    told: Mutex<HashSet<(&'static str, String)>>,
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for Denied {
    fn default() -> Self {
        let outcomes = Failure::REASONS.into_iter().chain([ANSWERED]).map(|outcome| (outcome, 0)).collect();
        Self { told: Mutex::default(), outcomes: Mutex::new(outcomes) }
    }
}

impl Denied {
    /// A server answered, or took the connection.
    pub(super) fn answered(&self) {
        self.count(ANSWERED);
    }

    /// Tells it, the first time with this target. What the network brings about is the plugin's to tell.
    pub(super) fn failed(&self, plugin: &str, target: &str, failure: &Failure) {
        let reason = failure.reason();
        self.count(reason);
        let target = start(target);
        if failure.is_refusal() && self.is_first(reason, target) {
            tracing::warn!(%plugin, target = ?target, reason, "a request of the plugin was refused or cut: {failure}");
        } else {
            tracing::debug!(%plugin, target = ?target, reason, "a request of the plugin failed: {failure}");
        }
    }

    fn is_first(&self, reason: &'static str, target: &str) -> bool {
        let mut told = lock(&self.told);
        let is_first = told.len() < TOLD && told.insert((reason, target.to_owned()));
        if is_first && told.len() == TOLD {
            tracing::warn!(
                "so many requests of the plugin were refused that later ones are told with --log-level debug alone"
            );
        }
        is_first
    }

    fn count(&self, outcome: &'static str) {
        *lock(&self.outcomes).entry(outcome).or_default() += 1;
    }

    /// How often, by outcome.
    pub(in crate::plugin) fn read(&self) -> Vec<(&'static str, u64)> {
        lock(&self.outcomes).iter().map(|(outcome, count)| (*outcome, *count)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(target: &str) -> &str {
    target.get(..target.floor_char_boundary(TARGET)).unwrap_or(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_once_for_each_reason_and_target_and_counted_always() {
        let denied = Denied::default();
        assert!(denied.is_first("NotGranted", "https://a.example:443"));
        assert!(!denied.is_first("NotGranted", "https://a.example:443"));
        assert!(denied.is_first("NotGranted", "https://b.example:443"));
        assert!(denied.is_first("AddressForbidden", "https://a.example:443"));
        let failure = Failure::EndpointNotGranted("engine".into());
        for _ in 0..3 {
            denied.failed("mock", "http://engine.endpoint.internal", &failure);
        }
        denied.answered();
        let counted: BTreeMap<_, _> = denied.read().into_iter().collect();
        assert_eq!((counted["NotGranted"], counted["Answered"], counted["Unreachable"]), (3, 1, 0));
    }

    #[test]
    fn names_that_a_plugin_makes_up_do_not_fill_the_memory() {
        let denied = Denied::default();
        let told = (0..10 * TOLD).filter(|n| denied.is_first("NotGranted", &n.to_string())).count();
        assert_eq!(told, TOLD);
        assert_eq!(start(&"ä".repeat(TARGET)).len(), TARGET);
    }
}
