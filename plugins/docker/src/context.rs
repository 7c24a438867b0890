//! What one call stands on: the configuration, the node, the engine, and what the engine has of a pod.

use std::time::Duration;

use vk_engine::Engine;
use vk_engine::container::{Details, Summary};
use vk_engine::system::Info;
use vk_provider::config::{self, NodeInfo};
use vk_provider::store::{self, Expect};
use vk_provider::{PodRef, Result};

use crate::config::Config;
use crate::labels::{self, Kind, Mark};
use crate::names::{self, Names};

/// How long it is known what the engine is and has, which changes with a restart. The host asks for several parts of it at once.
const INFO_KNOWN: Duration = Duration::from_secs(600);
/// How long others wait for who asks.
const INFO_LONGEST: Duration = Duration::from_secs(30);

/// What one call stands on.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) node: NodeInfo,
    pub(crate) engine: Engine,
}

/// One of our containers, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) mark: Mark,
    pub(crate) running: bool,
    /// It was made and never started.
    pub(crate) created: bool,
    /// Unix time in seconds.
    pub(crate) created_at: u64,
    /// What its name begins with; none: the name is none of ours.
    prefix: Option<String>,
}

/// What the engine has of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodSeen {
    /// By attempt, the newest last.
    pub(crate) sandboxes: Vec<Seen>,
    /// Attempts of containers, in any order.
    pub(crate) containers: Vec<Seen>,
}

impl Context {
    /// # Errors
    /// A mistake in the configuration, or the engine is not to be reached.
    pub(crate) fn reach() -> Result<Self> {
        let config = Config::now()?;
        let engine = Engine::reach(&config.endpoint)?;
        Ok(Self { config, node: config::node(), engine })
    }

    /// What the engine is and has, as it said within the last minutes.
    ///
    /// # Errors
    /// Not known.
    pub(crate) fn info(&self) -> Result<Info> {
        let key = self.info_key();
        if let Some(known) = store::get::<Info>(&key)? {
            return Ok(known.value);
        }
        let turn = store::acquire(&key, INFO_LONGEST);
        turn.wait()?;
        match store::get::<Info>(&key)? {
            Some(known) => Ok(known.value),
            None => self.info_now(),
        }
    }

    /// The same, as it is now.
    ///
    /// # Errors
    /// Not known.
    pub(crate) fn info_now(&self) -> Result<Info> {
        let info = self.engine.info()?;
        store::put(&self.info_key(), &info, Expect::Anything, Some(INFO_KNOWN))?;
        Ok(info)
    }

    fn info_key(&self) -> String {
        format!("info/{}", self.config.endpoint)
    }

    /// Names of a pod's objects. They begin as those that it has: the prefix may have been another when they were made.
    pub(crate) fn names<'a>(&'a self, id: &'a PodRef, seen: &'a PodSeen) -> Names<'a> {
        let all = seen.sandboxes.iter().chain(&seen.containers);
        let prefix = all.rev().find_map(|seen| seen.prefix.as_deref());
        Names::new(prefix.unwrap_or(&self.config.prefix), id)
    }

    /// One attempt at a container, by its name; and if that is not there by its labels, as it may have been made when names
    /// began otherwise. none: it is not there.
    ///
    /// # Errors
    /// Not known.
    pub(crate) fn attempt(&self, id: &PodRef, name: &str, number: u32) -> Result<Option<Details>> {
        let expected = Names::new(&self.config.prefix, id).container(name, number);
        if let Some(details) = self.engine.container(&expected)? {
            return Ok(Some(details));
        }
        match self.pod(id)?.attempt(name, number) {
            Some(seen) => Ok(self.engine.container(&seen.id)?),
            None => Ok(None),
        }
    }

    /// What the engine has of a pod.
    ///
    /// # Errors
    /// Not known.
    pub(crate) fn pod(&self, id: &PodRef) -> Result<PodSeen> {
        let all = self.engine.containers(&labels::of_pod(&self.node, id))?;
        Ok(PodSeen::from_all(all.into_iter().filter_map(|summary| Seen::of(&self.node, summary))))
    }

    /// The engine's machine. Not known is the node's own address: right for an engine on the host's machine.
    pub(crate) fn address(&self) -> String {
        self.config.address.map_or_else(|| self.node.internal_ip.clone(), |address| address.to_string())
    }
}

impl Seen {
    /// none: it is not ours.
    pub(crate) fn of(node: &NodeInfo, summary: Summary) -> Option<Self> {
        let mark = Mark::read(node, &summary.labels)?;
        let (running, created_at) = (summary.is_running(), summary.created);
        // Podman's words for the same.
        let created = matches!(summary.state.as_str(), "created" | "configured" | "initialized");
        let named = summary.names.first().map(|name| name.trim_start_matches('/'));
        let prefix = match &mark.kind {
            Kind::Sandbox { attempt } => {
                named.and_then(|name| names::prefix(name, &mark.pod, names::SANDBOX, *attempt))
            }
            Kind::Container { name: container, attempt } => {
                named.and_then(|name| names::prefix(name, &mark.pod, container, *attempt))
            }
            Kind::Volume => None,
        };
        let prefix = prefix.map(str::to_owned);
        Some(Self { id: summary.id, mark, running, created, created_at, prefix })
    }

    fn attempt(&self) -> u32 {
        match &self.mark.kind {
            Kind::Sandbox { attempt } | Kind::Container { attempt, .. } => *attempt,
            Kind::Volume => 0,
        }
    }
}

impl PodSeen {
    pub(crate) fn from_all(all: impl IntoIterator<Item = Seen>) -> Self {
        let mut pod = Self::default();
        for seen in all {
            match seen.mark.kind {
                Kind::Sandbox { .. } => pod.sandboxes.push(seen),
                Kind::Container { .. } => pod.containers.push(seen),
                Kind::Volume => {}
            }
        }
        pod.sandboxes.sort_by_key(Seen::attempt);
        pod
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }

    /// The newest sandbox, if it runs.
    pub(crate) fn sandbox(&self) -> Option<&Seen> {
        self.sandboxes.last().filter(|sandbox| sandbox.running)
    }

    /// Some container has joined this sandbox.
    pub(crate) fn has_joined(&self, sandbox: &str) -> bool {
        self.containers.iter().any(|seen| seen.mark.sandbox.as_deref() == Some(sandbox))
    }

    /// The number of a sandbox that is yet to be made.
    pub(crate) fn next_sandbox(&self) -> u32 {
        self.sandboxes.last().map_or(0, |last| last.attempt().saturating_add(1))
    }

    /// One attempt of a container.
    pub(crate) fn attempt(&self, name: &str, number: u32) -> Option<&Seen> {
        self.containers.iter().find(|seen| seen.mark.is_attempt(name, number))
    }

    /// The attempt of a container that runs.
    pub(crate) fn running(&self, name: &str) -> Option<&Seen> {
        self.of(name).filter(|seen| seen.running).max_by_key(|seen| seen.attempt())
    }

    /// The newest attempt of a container; none: there is none.
    pub(crate) fn newest(&self, name: &str) -> Option<u32> {
        self.of(name).map(Seen::attempt).max()
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Seen> {
        self.containers.iter().filter(move |seen| seen.mark.is_of(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Attempt;
    use std::collections::BTreeMap;

    fn pod(summaries: Vec<(&str, &str, BTreeMap<String, String>)>) -> PodSeen {
        let node = config::node();
        let summary = |(id, state, labels): (&str, &str, BTreeMap<String, String>)| Summary {
            id: id.to_owned(),
            state: state.to_owned(),
            labels,
            created: 0,
            names: Vec::new(),
        };
        PodSeen::from_all(summaries.into_iter().map(summary).filter_map(|summary| Seen::of(&node, summary)))
    }

    #[test]
    fn a_pod_is_its_newest_sandbox_and_its_attempts() {
        vk_provider::testing::reset();
        let (node, id) =
            (config::node(), PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() });
        let sandbox = |attempt| labels::sandbox(&node, &id, attempt, "1-p");
        let container = |name, number| {
            labels::container(
                &node,
                &id,
                Attempt { name, number, revision: "r", image: "i", image_id: "d", sandbox: "s" },
            )
        };
        let seen = pod(vec![
            ("s1", "running", sandbox(1)),
            ("s0", "exited", sandbox(0)),
            ("a0", "exited", container("a", 0)),
            ("a1", "running", container("a", 1)),
            ("b0", "created", container("b", 0)),
            ("x", "running", BTreeMap::new()),
        ]);
        assert_eq!((seen.sandbox().map(|seen| seen.id.as_str()), seen.next_sandbox()), (Some("s1"), 2));
        assert_eq!(seen.attempt("a", 0).map(|seen| seen.id.as_str()), Some("a0"));
        assert_eq!(seen.running("a").map(|seen| seen.id.as_str()), Some("a1"));
        assert!(seen.running("b").is_none() && seen.newest("b") == Some(0) && seen.newest("c").is_none());
        assert!(seen.attempt("b", 0).unwrap().created && !seen.attempt("a", 1).unwrap().created);
        let dead = pod(vec![("s1", "exited", sandbox(1)), ("s0", "running", sandbox(0))]);
        assert!(dead.sandbox().is_none(), "an older one does not come back");
        assert!(PodSeen::default().is_empty() && PodSeen::default().next_sandbox() == 0);
    }
}
