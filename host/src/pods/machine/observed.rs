//! What the backend shows of one pod, its attempts put to their containers.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::provider::containers::{Container, Sandbox, SandboxState};

/// One look at a pod. The default: there is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Observed {
    pub(super) sandbox: Option<Sandbox>,
    /// By container, the newest first.
    attempts: BTreeMap<String, Vec<Container>>,
}

impl Observed {
    /// What a look found; none: surely nothing.
    pub(super) fn of(state: Option<SandboxState>) -> Self {
        let Some(SandboxState { sandbox, containers }) = state else { return Self::default() };
        let mut attempts: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        for container in containers {
            attempts.entry(container.name.clone()).or_default().push(container);
        }
        for list in attempts.values_mut() {
            list.sort_by_key(|container| std::cmp::Reverse(container.attempt));
        }
        Self { sandbox: Some(sandbox), attempts }
    }

    /// Nothing is left.
    pub(super) fn is_nothing(&self) -> bool {
        self.sandbox.is_none() && self.attempts.is_empty()
    }

    /// Containers with any attempt.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.attempts.keys().map(String::as_str)
    }

    /// All attempts of a container, the newest first.
    pub(super) fn attempts(&self, name: &str) -> &[Container] {
        self.attempts.get(name).map_or(&[], Vec::as_slice)
    }

    /// The newest attempt.
    pub(super) fn newest(&self, name: &str) -> Option<&Container> {
        self.attempts(name).first()
    }

    /// The attempt before an attempt.
    pub(super) fn before(&self, name: &str, attempt: u32) -> Option<&Container> {
        self.attempts(name).iter().find(|container| container.attempt < attempt)
    }

    /// The pod's IPs, the main one first.
    pub(super) fn ips(&self) -> &[String] {
        self.sandbox.as_ref().map_or(&[], |sandbox| sandbox.ips.as_slice())
    }

    /// Its network is up.
    pub(super) fn is_ready(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready)
    }
}

/// What matters of a state to whoever asks whether another one says the same.
pub(super) fn digest(state: &SandboxState) -> u64 {
    let mut containers: Vec<_> = state
        .containers
        .iter()
        .map(|container| (&container.name, container.attempt, container.phase as u8, container.exit_code))
        .collect();
    containers.sort();
    let mut hasher = DefaultHasher::new();
    (state.sandbox.ready, &state.sandbox.ips, containers).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{container, sandbox};
    use super::*;
    use crate::provider::containers::Phase;

    #[test]
    fn attempts_are_told_newest_first_whatever_order_they_came_in() {
        let state = SandboxState {
            sandbox: sandbox(true),
            containers: vec![
                container("a", 1, Phase::Exited),
                container("b", 0, Phase::Running),
                container("a", 2, Phase::Running),
                container("a", 0, Phase::Exited),
            ],
        };
        let observed = Observed::of(Some(state));
        assert_eq!(observed.newest("a").map(|c| c.attempt), Some(2));
        assert_eq!(observed.before("a", 2).map(|c| c.attempt), Some(1));
        assert_eq!(observed.before("b", 0), None);
        assert_eq!(observed.names().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!observed.is_nothing() && Observed::of(None).is_nothing());
    }

    #[test]
    fn a_digest_changes_with_what_matters_and_not_with_the_order() {
        let of = |containers| digest(&SandboxState { sandbox: sandbox(true), containers });
        let (a, b) = (container("a", 0, Phase::Running), container("b", 0, Phase::Running));
        assert_eq!(of(vec![a.clone(), b.clone()]), of(vec![b.clone(), a.clone()]));
        assert_ne!(of(vec![a.clone(), b]), of(vec![a.clone(), container("b", 0, Phase::Exited)]));
        assert_ne!(of(vec![a.clone()]), digest(&SandboxState { sandbox: sandbox(false), containers: vec![a] }));
    }
}
