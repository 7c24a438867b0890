//! What is kept of a pod: its plan, made once from manifest and annotations.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::pod::{DesiredPod, ResolvedContainer};
use vk_provider::{PodRef, config};

use crate::backend::Counts;
use crate::manifest::{Container, Spec};
use crate::script::{Faults, Script};
use crate::state::{Run, Timing};
use crate::volumes::Volume;

/// One pod. Its name is in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) revision: String,
    pub(crate) ip: String,
    pub(crate) timing: Timing,
    /// The init containers first, as in `timing`.
    pub(crate) containers: Vec<Part>,
    /// Milliseconds, for a removal that takes time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_after: Option<u64>,
    /// The pod's own, in milliseconds.
    pub(crate) grace: u64,
    /// `timing.gone` is because of a removal, and not by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopping: bool,
    #[serde(default, skip_serializing_if = "Faults::is_empty")]
    pub(crate) faults: Faults,
    /// What came of `fetch` when the workload was made, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) fetched: Vec<String>,
    /// What `log-credentials` prints, as it was when the workload was made, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) credentials: Vec<String>,
    /// Those of `log-volumes`, as the host last gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) volumes: Vec<Volume>,
    /// For the next update of a volume.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reveal_secrets: bool,
    /// As they were when the workload was made; later ones have their own key.
    pub(crate) counts: Counts,
}

/// One container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) image: String,
    /// Requested: thousandths of a core, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u64>,
    /// Lines of its log: those of `log-env`, so many of `log-lines`, one each so many milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) intro: Vec<String>,
    #[serde(default)]
    pub(crate) lines: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) every: Option<u64>,
}

impl Record {
    /// The plan of a pod that is made now.
    pub(crate) fn new(pod: &DesiredPod, spec: &Spec<'_>, script: &Script, created: u64, counts: Counts) -> Self {
        let timing = Timing {
            created,
            start_after: script.start_after,
            restart: spec.restart_policy,
            backoff: script.restart_backoff,
            init: spec.init().iter().map(|container| init_run(container, script)).collect(),
            main: spec.containers.iter().map(|container| main_run(container, script)).collect(),
            gone: script.vanish_after.map(|after| created + after),
        };
        let init = spec.init().iter().map(|container| Part::new(pod, container, script, false));
        let main = spec.containers.iter().map(|container| Part::new(pod, container, script, true));
        let containers = init.chain(main).collect();
        Self {
            revision: pod.revision.clone(),
            ip: ip(&pod.id, spec, script),
            timing,
            containers,
            stop_after: script.stop_after,
            grace: spec.grace(),
            stopping: false,
            faults: script.faults.clone(),
            fetched: Vec::new(),
            credentials: Vec::new(),
            volumes: Vec::new(),
            reveal_secrets: script.reveal_secrets,
            counts,
        }
    }

    /// The same workload after an update: it keeps its age and what was asked for it, and a removal goes on.
    pub(crate) fn updated(self, mut new: Self) -> Self {
        new.timing.gone = if self.stopping { self.timing.gone } else { new.timing.gone };
        let Self { stopping, fetched, credentials, volumes, counts, .. } = self;
        Self { stopping, fetched, credentials, volumes, counts, ..new }
    }

    /// The same workload on its way out; none: it goes at once.
    pub(crate) fn stopped(&self, grace: Option<Duration>, now: u64) -> Option<Self> {
        let grace = grace.map_or(self.grace, |grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
        let time = self.stop_after.unwrap_or(0).min(grace);
        if time == 0 {
            return None;
        }
        let gone = self.timing.gone.unwrap_or(u64::MAX).min(now.saturating_add(time));
        let timing = Timing { gone: Some(gone), ..self.timing.clone() };
        Some(Self { timing, stopping: true, ..self.clone() })
    }
}

fn init_run(container: &Container<'_>, script: &Script) -> Run {
    let (run_for, exit_code) = (script.run_for.of(&container.name), script.exit_code.of(&container.name));
    let sidecar = container.is_sidecar_as_init();
    // A sidecar starts again in any case.
    let restart = container.restart_policy.filter(|_| !sidecar);
    Run { run_for, exit_code: exit_code.unwrap_or(0), sidecar, restart }
}

fn main_run(container: &Container<'_>, script: &Script) -> Run {
    let (run_for, exit_code) =
        (script.run_for.of_ordinary(&container.name), script.exit_code.of_ordinary(&container.name));
    Run { run_for, exit_code: exit_code.unwrap_or(0), sidecar: false, restart: container.restart_policy }
}

impl Part {
    fn new(pod: &DesiredPod, container: &Container<'_>, script: &Script, ordinary: bool) -> Self {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let resolved = if script.log_env { pod.container(&container.name) } else { None };
        let positive = |amount: i64| u64::try_from(amount).ok();
        let (lines, every) = if ordinary {
            (script.log_lines.of_ordinary(&container.name), script.log_every.of_ordinary(&container.name))
        } else {
            (script.log_lines.of(&container.name), script.log_every.of(&container.name))
        };
        Self {
            name: container.name.clone().into_owned(),
            image: container.image.clone().into_owned(),
            cpu: requests.and_then(|requests| positive(requests.cpu?.millis())),
            memory: requests.and_then(|requests| positive(requests.memory?.whole())),
            intro: resolved.map_or_else(Vec::new, |resolved| intro(resolved, script.reveal_secrets)),
            lines: lines.unwrap_or(0),
            every,
        }
    }
}

/// What `log-env` prints. Secrets are not even stored unless it is asked for.
fn intro(container: &ResolvedContainer, reveal: bool) -> Vec<String> {
    let shown = |text: &String, secret: bool| if secret && !reveal { hidden(text.len()) } else { text.clone() };
    let words =
        |words: &[String]| words.iter().map(|word| shown(word, container.secret_args)).collect::<Vec<_>>().join(" ");
    let mut lines = vec![format!("command {}", words(&container.command)), format!("args {}", words(&container.args))];
    lines.extend(container.env.iter().map(|env| format!("env {}={}", env.name, shown(&env.value, env.secret))));
    lines
}

/// What is printed in place of a secret of so many bytes.
pub(crate) fn hidden(bytes: usize) -> String {
    format!("(secret, {bytes} bytes)")
}

/// The pod's IP, from its beginning to its end.
pub(crate) fn ip(id: &PodRef, spec: &Spec<'_>, script: &Script) -> String {
    script.ip.clone().unwrap_or_else(|| address(id, spec.host_network))
}

/// An address that is the pod's own for all its life: in 240.0.0.0/4, which RFC 1112 keeps for a future that never came, so that it can
/// never be a real machine's. There are some 250 million; two of them are the same from about 18 000 pods on.
fn address(id: &PodRef, host_network: bool) -> String {
    if host_network {
        return config::node().internal_ip;
    }
    let hash = hash(&id.uid);
    // The last 16 million have the broadcast address among them.
    format!("{}.{}.{}.{}", 240 + hash % 15, (hash >> 8) & 255, (hash >> 16) & 255, 1 + (hash >> 24) % 254)
}

/// FNV-1a: the same for the same text, for ever.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
