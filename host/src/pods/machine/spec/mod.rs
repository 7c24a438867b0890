//! What the machine acts on of a pod's manifest, decoded once.

mod handlers;
pub(super) mod image;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::core::v1 as api;

pub(super) use handlers::{Check, Hook, HttpGet, Port, Probe, ProbeKind};

use super::observed::Observed;
use crate::defaults::machine::TERMINATION_GRACE;
use crate::provider::containers::{Abilities, PullPolicy};

/// Which part a container has in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Runs to its end before the next one.
    Init,
    /// An init container that goes on beside the others (KEP-753).
    Sidecar,
    Ordinary,
    /// Added to a running pod, and never run twice.
    Ephemeral,
}

/// When a container that has ended is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Always,
    OnFailure,
    Never,
}

/// Exit codes after which a container is run again, whatever its policy says (KEP-5307).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    codes: Vec<i32>,
    /// The codes that are not listed count.
    others: bool,
}

/// A container's restart policy: its own with its rules, or the pod's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    policy: Policy,
    rules: Vec<Rule>,
}

impl Restart {
    /// Whether it is run again after this exit code.
    pub(super) fn after(&self, exit_code: i32) -> bool {
        let matches = |rule: &Rule| rule.codes.contains(&exit_code) != rule.others;
        self.rules.iter().any(matches)
            || match self.policy {
                Policy::Always => true,
                Policy::OnFailure => exit_code != 0,
                Policy::Never => false,
            }
    }

    /// Whether it is run again after it was ended for its own good, when its exit code tells nothing.
    pub(super) fn after_kill(&self) -> bool {
        self.policy != Policy::Never
    }
}

/// Where a container's last words are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastWords {
    /// A file; empty: none.
    pub(super) path: String,
    /// The end of the log stands in, when it failed and left nothing.
    pub(super) or_log: bool,
}

/// A container of the pod.
#[derive(Clone, Debug)]
pub(super) struct ContainerSpec {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Its place in the manifest, such as `spec.containers[0]`.
    pub(super) field: String,
    pub(super) image: String,
    pub(super) pull: PullPolicy,
    pub(super) restart: Restart,
    startup: Option<Probe>,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
    pub(super) post_start: Option<Hook>,
    pub(super) pre_stop: Option<Hook>,
    pub(super) words: LastWords,
    /// As a status tells them.
    pub(super) mounts: Vec<api::VolumeMountStatus>,
    /// The container whose processes an ephemeral one wants to see; none: no certain one.
    pub(super) target: Option<String>,
}

impl ContainerSpec {
    pub(super) fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
        }
    }
}

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// Such as `name_namespace(uid)`, as the kubelet's messages name it.
    pub(super) title: String,
    /// In order; init containers and sidecars.
    pub(super) init: Vec<ContainerSpec>,
    pub(super) ordinary: Vec<ContainerSpec>,
    pub(super) ephemeral: Vec<ContainerSpec>,
    /// The pod's own restart policy.
    pub(super) policy: Policy,
    /// How long containers may take to end.
    pub(super) grace: Duration,
    pub(super) host_network: bool,
    /// The API server says that it has ended for good.
    pub(super) terminal: bool,
    /// Its removal was asked for, and this is the grace that was given.
    pub(super) deletion: Option<Duration>,
}

/// What a pod asks for in vain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    /// Where in the pod.
    pub(super) field: String,
    /// What would be right.
    pub(super) message: String,
}

impl Spec {
    /// The spec of a pod.
    pub(super) fn of(pod: &api::Pod) -> Self {
        let default = api::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&default);
        let policy = policy(spec.restart_policy.as_deref()).unwrap_or(Policy::Always);
        let init = spec.init_containers.iter().flatten().enumerate().map(|(index, container)| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            let kind = if sidecar { Kind::Sidecar } else { Kind::Init };
            self::container(container, kind, format!("spec.initContainers[{index}]"), policy)
        });
        let ordinary = spec.containers.iter().enumerate().map(|(index, container)| {
            self::container(container, Kind::Ordinary, format!("spec.containers[{index}]"), policy)
        });
        let metadata = &pod.metadata;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self {
            title: format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid)),
            init: init.collect(),
            ordinary: ordinary.collect(),
            ephemeral: ephemeral(spec),
            policy,
            grace: seconds(spec.termination_grace_period_seconds).unwrap_or(TERMINATION_GRACE),
            host_network: spec.host_network == Some(true),
            terminal: pod.status.as_ref().is_some_and(|s| matches!(s.phase.as_deref(), Some("Succeeded" | "Failed"))),
            deletion: metadata.deletion_timestamp.as_ref().map(|_| {
                let grace = metadata.deletion_grace_period_seconds.or(spec.termination_grace_period_seconds);
                seconds(grace).unwrap_or(TERMINATION_GRACE)
            }),
        }
    }

    /// What is left of a pod that nobody knows any more: containers that shall end, without hooks and order.
    pub(super) fn of_remains(title: String, observed: &Observed) -> Self {
        let container = |name: &str| ContainerSpec {
            name: name.to_string(),
            kind: Kind::Ordinary,
            field: String::new(),
            image: String::new(),
            pull: PullPolicy::Never,
            restart: Restart { policy: Policy::Never, rules: Vec::new() },
            startup: None,
            readiness: None,
            liveness: None,
            post_start: None,
            pre_stop: None,
            words: LastWords { path: String::new(), or_log: false },
            mounts: Vec::new(),
            target: None,
        };
        Self {
            title,
            init: Vec::new(),
            ordinary: observed.names().map(container).collect(),
            ephemeral: Vec::new(),
            policy: Policy::Never,
            grace: Duration::ZERO,
            host_network: false,
            terminal: true,
            deletion: Some(Duration::ZERO),
        }
    }

    /// Init, ordinary and ephemeral containers, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.init.iter().chain(&self.ordinary).chain(&self.ephemeral)
    }

    pub(super) fn container(&self, name: &str) -> Option<&ContainerSpec> {
        self.all().find(|container| container.name == name)
    }

    /// What of this pod can be served by nobody here, or by none of these abilities.
    pub(super) fn refusal(&self, pod: &api::Pod, abilities: Abilities) -> Option<Refusal> {
        restart_of_all(pod).or_else(|| {
            let handlers = self.all().flat_map(|container| {
                let probes = ProbeKind::ALL
                    .into_iter()
                    .filter_map(|kind| container.probe(kind).map(|probe| handlers::of_probe(kind, probe)));
                let hooks = [("postStart", &container.post_start), ("preStop", &container.pre_stop)];
                let hooks = hooks.into_iter().filter_map(|(name, hook)| handlers::of_hook(name, hook.as_ref()?));
                probes.chain(hooks).map(|(handler, inside)| (format!("{}.{handler}", container.field), inside))
            });
            handlers.into_iter().find_map(|(field, inside)| unserved(field, inside, abilities))
        })
    }
}

fn unserved(field: String, inside: bool, abilities: Abilities) -> Option<Refusal> {
    let message = match inside {
        true if !abilities.exec => {
            "this node's provider runs no commands in containers; use httpGet, tcpSocket or grpc"
        }
        false if !abilities.reaches_pods => "this node's host does not reach the pods' network; use exec",
        _ => return None,
    };
    Some(Refusal { field, message: message.into() })
}

/// Rules that would begin the whole pod anew: the node does not declare the feature, so that only a pod that no scheduler placed has
/// them.
fn restart_of_all(pod: &api::Pod) -> Option<Refusal> {
    let spec = pod.spec.as_ref()?;
    let lists = [("initContainers", spec.init_containers.as_ref()), ("containers", Some(&spec.containers))];
    lists.into_iter().find_map(|(list, containers)| {
        containers.into_iter().flatten().enumerate().find_map(|(container, spec)| {
            let mut rules = spec.restart_policy_rules.iter().flatten();
            let rule = rules.position(|rule| rule.action == "RestartAllContainers")?;
            Some(Refusal {
                field: format!("spec.{list}[{container}].restartPolicyRules[{rule}].action"),
                message: "RestartAllContainers is not served by this node; Restart is".into(),
            })
        })
    })
}

fn container(container: &api::Container, kind: Kind, field: String, pods: Policy) -> ContainerSpec {
    let image = container.image.clone().unwrap_or_default();
    let lifecycle = container.lifecycle.as_ref();
    let hook = |handler: Option<&api::LifecycleHandler>| handler.map(|handler| handlers::hook(handler, container));
    ContainerSpec {
        name: container.name.clone(),
        kind,
        field,
        pull: match container.image_pull_policy.as_deref() {
            Some("Always") => PullPolicy::Always,
            Some("IfNotPresent") => PullPolicy::IfNotPresent,
            Some("Never") => PullPolicy::Never,
            _ => image::default_policy(&image),
        },
        image,
        restart: restart(container, pods),
        startup: handlers::probe(container, ProbeKind::Startup),
        readiness: handlers::probe(container, ProbeKind::Readiness),
        liveness: handlers::probe(container, ProbeKind::Liveness),
        post_start: hook(lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref())),
        pre_stop: hook(lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref())),
        words: LastWords {
            path: container.termination_message_path.clone().unwrap_or_default(),
            or_log: container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"),
        },
        mounts: container.volume_mounts.iter().flatten().map(mount).collect(),
        target: None,
    }
}

/// Rules count only beside a policy of the container's own.
fn restart(container: &api::Container, pods: Policy) -> Restart {
    let Some(own) = policy(container.restart_policy.as_deref()) else {
        return Restart { policy: pods, rules: Vec::new() };
    };
    let rules = container.restart_policy_rules.iter().flatten().filter(|rule| rule.action == "Restart");
    let rules = rules.filter_map(|rule| {
        let codes = rule.exit_codes.as_ref()?;
        let others = match codes.operator.as_str() {
            "In" => false,
            "NotIn" => true,
            _ => return None,
        };
        Some(Rule { codes: codes.values.clone().unwrap_or_default(), others })
    });
    Restart { policy: own, rules: rules.collect() }
}

/// An ephemeral container has a container's fields and one more.
fn ephemeral(spec: &api::PodSpec) -> Vec<ContainerSpec> {
    let containers = spec.ephemeral_containers.iter().flatten().enumerate().filter_map(|(index, ephemeral)| {
        let plain = serde_json::to_value(ephemeral).and_then(serde_json::from_value::<api::Container>).ok()?;
        let field = format!("spec.ephemeralContainers[{index}]");
        let target = ephemeral.target_container_name.clone().filter(|target| !target.is_empty());
        Some(ContainerSpec { target, ..container(&plain, Kind::Ephemeral, field, Policy::Never) })
    });
    containers.collect()
}

fn mount(mount: &api::VolumeMount) -> api::VolumeMountStatus {
    let read_only = mount.read_only.filter(|read_only| *read_only);
    api::VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only,
        recursive_read_only: read_only.map(|_| "Disabled".into()),
        ..api::VolumeMountStatus::default()
    }
}

fn policy(text: Option<&str>) -> Option<Policy> {
    match text? {
        "Always" => Some(Policy::Always),
        "OnFailure" => Some(Policy::OnFailure),
        "Never" => Some(Policy::Never),
        _ => None,
    }
}

fn seconds(seconds: Option<i64>) -> Option<Duration> {
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}
