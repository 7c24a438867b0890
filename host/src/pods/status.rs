//! The status of a pod: from what a provider says to what the API server is told. Pure: no I/O, time is an argument.
//!
//! A provider tells phase, containers and addresses. The host adds what is the same for all: conditions with their transition
//! times, readiness gates, host address, start time, order of containers; it keeps what is final (R4, R14) and writes
//! only what differs from what the API server has (R11), as a strategic merge patch that carries the UID (R14).

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP, PodCondition,
    PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::object::{PodObject, is_terminal};

/// The condition of whoever bound the pod to this node.
const SCHEDULED: &str = "PodScheduled";
/// The condition of what a pod's containers start in (KEP-3085).
const SANDBOX: &str = "PodReadyToStartContainers";
/// Exit code of a container whose end nobody saw (kubelet: 128 + SIGKILL).
const EXIT_UNKNOWN: i32 = 137;

/// What a status is made for.
pub struct Context<'a> {
    /// The pod and the status that the API server has.
    pub pod: &'a PodObject,
    /// The node's InternalIP.
    pub host_ip: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// The status that follows from what the provider said.
pub fn from_provider(context: &Context<'_>, said: &PodStatus) -> PodStatus {
    let current = &context.pod.status;
    let mut status = said.clone();
    status.phase = said.phase.clone().or_else(|| current.phase.clone()).or_else(|| Some("Pending".into()));
    keep_ends(context.pod, &mut status);
    complete(context, status)
}

/// Puts the containers into the spec's order, keeps those that the provider does not tell, and what is final of the others.
fn keep_ends(pod: &PodObject, status: &mut PodStatus) {
    let (spec, current) = (&pod.spec, &pod.status);
    let keep = |wanted: &mut Option<Vec<ContainerStatus>>, current: &Option<Vec<ContainerStatus>>, order: &[&str]| {
        let list = wanted.take().or_else(|| current.clone()).unwrap_or_default();
        let clamped = clamped(pod, list, current.as_deref().unwrap_or_default());
        *wanted = Some(in_order(clamped, order)).filter(|list| !list.is_empty());
    };
    keep(&mut status.container_statuses, &current.container_statuses, &names(&spec.containers));
    keep(
        &mut status.init_container_statuses,
        &current.init_container_statuses,
        &names(spec.init_containers.as_deref().unwrap_or_default()),
    );
    let ephemeral: Vec<&str> = spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    keep(&mut status.ephemeral_container_statuses, &current.ephemeral_container_statuses, &ephemeral);
}

/// The first status, before the provider has said anything (R19).
pub fn first(context: &Context<'_>) -> PodStatus {
    waiting(context, "ContainerCreating", None)
}

/// A pod whose containers wait for something: not resolved yet, or refused for now.
pub fn waiting(context: &Context<'_>, reason: &str, message: Option<&str>) -> PodStatus {
    let spec = &context.pod.spec;
    let wait = |container: &Container, reason: &str, message: Option<&str>| ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        started: Some(false),
        state: Some(ContainerState {
            waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message: message.map(Into::into) }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    };
    let init = spec.init_containers.as_deref().unwrap_or_default();
    // With init containers the ordinary ones wait for them, whatever those wait for.
    let ordinary = if init.is_empty() { (reason, message) } else { ("PodInitializing", None) };
    let status = PodStatus {
        phase: Some("Pending".into()),
        init_container_statuses: Some(init.iter().map(|c| wait(c, reason, message)).collect::<Vec<_>>())
            .filter(|l| !l.is_empty()),
        container_statuses: Some(spec.containers.iter().map(|c| wait(c, ordinary.0, ordinary.1)).collect()),
        ..PodStatus::default()
    };
    let mut status = complete(context, status);
    // Where it is looked for too: nothing has been prepared for the containers yet, and this is why (R17).
    if let Some(message) = message
        && let Some(condition) = status.conditions.iter_mut().flatten().find(|condition| condition.type_ == SANDBOX)
    {
        condition.reason = Some(reason.into());
        condition.message = Some(message.into());
    }
    status
}

/// A pod that has failed for good: refused (R21), lost (R15), or past its deadline (R20). Of containers the last that the
/// provider said counts; those that ran even then have an end that nobody saw.
pub fn failed(context: &Context<'_>, said: Option<&PodStatus>, reason: &str, message: &str) -> PodStatus {
    let mut last = said.unwrap_or(&context.pod.status).clone();
    keep_ends(context.pod, &mut last);
    let ended = |list: &Option<Vec<ContainerStatus>>| {
        list.as_ref().map(|list| list.iter().map(|status| end_unseen(status, context.now)).collect::<Vec<_>>())
    };
    let status = PodStatus {
        phase: Some("Failed".into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        container_statuses: ended(&last.container_statuses),
        init_container_statuses: ended(&last.init_container_statuses),
        ephemeral_container_statuses: ended(&last.ephemeral_container_statuses),
        ..PodStatus::default()
    };
    complete(context, status)
}

fn end_unseen(status: &ContainerStatus, now: Timestamp) -> ContainerStatus {
    let state = status.state.clone().unwrap_or_default();
    if state.terminated.is_some() {
        return status.clone();
    }
    let terminated = ContainerStateTerminated {
        exit_code: EXIT_UNKNOWN,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was terminated".into()),
        started_at: state.running.and_then(|running| running.started_at),
        finished_at: Some(Time(seconds(now))),
        container_id: status.container_id.clone(),
        ..ContainerStateTerminated::default()
    };
    ContainerStatus {
        ready: false,
        started: Some(false),
        state: Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() }),
        ..status.clone()
    }
}

/// Adds what does not depend on the provider.
fn complete(context: &Context<'_>, mut status: PodStatus) -> PodStatus {
    let current = &context.pod.status;
    status.start_time = current.start_time.clone().or(status.start_time).or(Some(Time(context.now)));
    status.host_ip = status.host_ip.filter(|ip| !ip.is_empty()).or_else(|| Some(context.host_ip.to_string()));
    status.host_ips = status.host_ips.or_else(|| status.host_ip.clone().map(|ip| vec![HostIP { ip }]));
    // A pod keeps the addresses that it had to the end.
    status.pod_ip = status.pod_ip.filter(|ip| !ip.is_empty()).or_else(|| current.pod_ip.clone());
    let first = status.pod_ip.as_deref();
    status.pod_ips = status
        .pod_ips
        .filter(|ips| !ips.is_empty())
        .or_else(|| current.pod_ips.clone().filter(|ips| ips.first().map(|first| first.ip.as_str()) == first))
        .or_else(|| first.map(|ip| vec![PodIP { ip: ip.to_string() }]));
    status.observed_generation = observed_generation(context, current.observed_generation);
    status.conditions = Some(conditions(context, &status));
    truncate_times(&mut status);
    normalize(&mut status);
    status
}

/// The generation that a status speaks of. Asking for a pod's end raises its generation too; that is answered by its end, and
/// not by one write more a pod.
fn observed_generation(context: &Context<'_>, before: Option<i64>) -> Option<i64> {
    before.filter(|_| context.pod.is_deleting()).or(context.pod.metadata.generation)
}

/// Our condition types, computed where the provider does not tell them, with honest transition times.
fn conditions(context: &Context<'_>, status: &PodStatus) -> Vec<PodCondition> {
    let current = context.pod.status.conditions.as_deref().unwrap_or_default();
    let gates = context.pod.spec.readiness_gates.as_deref().unwrap_or_default();
    let mut wanted: BTreeMap<String, PodCondition> =
        computed(context.pod, status).into_iter().map(|c| (c.type_.clone(), c)).collect();
    for told in status.conditions.iter().flatten() {
        // The scheduler's condition is not ours to write, nor are those that readiness gates wait for.
        if told.type_ != SCHEDULED && !gates.iter().any(|gate| gate.condition_type == told.type_) {
            wanted.insert(told.type_.clone(), told.clone());
        }
    }
    // Whoever bound the pod without a scheduler did not write it.
    if !current.iter().any(|condition| condition.type_ == SCHEDULED) {
        wanted.insert(SCHEDULED.into(), condition(SCHEDULED, true, None));
    }
    if let Some(closed) = closed_gate(context.pod)
        && let Some(ready) = wanted.get_mut("Ready").filter(|c| c.status == "True")
    {
        ready.status = "False".into();
        ready.reason = Some("ReadinessGatesNotReady".into());
        ready.message = Some(closed);
    }
    let mut conditions: Vec<PodCondition> = wanted.into_values().collect();
    for condition in &mut conditions {
        let before = current.iter().find(|c| c.type_ == condition.type_);
        condition.last_transition_time = match before {
            Some(before) if before.status == condition.status => before.last_transition_time.clone(),
            _ => condition.last_transition_time.take().or(Some(Time(context.now))),
        };
        condition.last_probe_time = None;
        condition.observed_generation =
            observed_generation(context, before.and_then(|before| before.observed_generation));
    }
    conditions
}

/// Why a readiness gate keeps the pod unready; none: none does.
fn closed_gate(pod: &PodObject) -> Option<String> {
    let (spec, status) = (&pod.spec, &pod.status);
    spec.readiness_gates.iter().flatten().find_map(|gate| {
        let condition = status.conditions.iter().flatten().find(|c| c.type_ == gate.condition_type);
        match condition {
            None => {
                Some(format!("corresponding condition of pod readiness gate {:?} does not exist.", gate.condition_type))
            }
            Some(condition) if condition.status != "True" => Some(format!(
                "the status of pod readiness gate {:?} is not \"True\", but {}",
                gate.condition_type, condition.status
            )),
            Some(_) => None,
        }
    })
}

/// The kubelet's own rules for its four conditions (pkg/kubelet/status/generate.go).
fn computed(pod: &PodObject, status: &PodStatus) -> Vec<PodCondition> {
    let phase = status.phase.as_deref();
    let ready = readiness(pod, status);
    vec![
        condition(SANDBOX, has_sandbox(status) && !is_terminal(phase), None),
        initialized(pod, status),
        condition("ContainersReady", ready.is_none(), ready.clone()),
        condition("Ready", ready.is_none(), ready),
    ]
}

/// A reason and its message.
type Because = (&'static str, String);

fn condition(kind: &str, holds: bool, why: Option<Because>) -> PodCondition {
    PodCondition {
        type_: kind.into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: why.as_ref().map(|(reason, _)| (*reason).to_string()),
        message: why.map(|(_, message)| message).filter(|message| !message.is_empty()),
        ..PodCondition::default()
    }
}

/// Some container has started once, so that there is something for others to start in.
fn has_sandbox(status: &PodStatus) -> bool {
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().any(|container| {
        let begun = |state: &Option<ContainerState>| {
            state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some())
        };
        begun(&container.state) || begun(&container.last_state) || container.restart_count > 0
    })
}

fn initialized(pod: &PodObject, status: &PodStatus) -> PodCondition {
    let kind = "Initialized";
    let told = status.init_container_statuses.as_deref().unwrap_or_default();
    let (unknown, incomplete) = lacking(pod.spec.init_containers.iter().flatten(), told, is_initialized);
    if status.phase.as_deref() == Some("Succeeded") && unknown.is_empty() {
        return condition(kind, true, Some(("PodCompleted", String::new())));
    }
    // An ordinary container that has started is proof enough, whatever a sidecar does later.
    let started = status.container_statuses.iter().flatten().any(|container| {
        let begun = container.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some());
        begun || container.restart_count > 0 || container.started == Some(true)
    });
    let why = listed("ContainersNotInitialized", &unknown, ("incomplete", &incomplete)).filter(|_| !started);
    condition(kind, why.is_none(), why)
}

/// Why the containers are not ready; none: they are.
fn readiness(pod: &PodObject, status: &PodStatus) -> Option<Because> {
    let told: Vec<ContainerStatus> = [&status.init_container_statuses, &status.container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .cloned()
        .collect();
    let sidecars = pod.spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let (unknown, unready) = lacking(sidecars.chain(&pod.spec.containers), &told, |_, status| status.ready);
    match status.phase.as_deref() {
        Some("Succeeded") => Some(("PodCompleted", String::new())),
        Some("Failed") => Some(("PodFailed", String::new())),
        _ => listed("ContainersNotReady", &unknown, ("unready", &unready)),
    }
}

/// Names of the containers that nothing is known of, and of those that lack something.
fn lacking<'a>(
    containers: impl Iterator<Item = &'a Container>,
    told: &[ContainerStatus],
    holds: impl Fn(&Container, &ContainerStatus) -> bool,
) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut unknown, mut lacking) = (Vec::new(), Vec::new());
    for container in containers {
        match told.iter().find(|status| status.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !holds(container, status) => lacking.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    (unknown, lacking)
}

/// Why a condition does not hold, in the kubelet's words; none: it holds.
fn listed(reason: &'static str, unknown: &[&str], (what, lacking): (&str, &[&str])) -> Option<Because> {
    let part = |what: &str, names: &[&str]| {
        (!names.is_empty()).then(|| format!("containers with {what} status: [{}]", names.join(" ")))
    };
    let parts: Vec<String> = [part("unknown", unknown), part(what, lacking)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| (reason, parts.join(", ")))
}

/// An init container has ended well, or is a sidecar that has started.
fn is_initialized(container: &Container, status: &ContainerStatus) -> bool {
    if is_sidecar(container) {
        return status.started == Some(true);
    }
    status.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|terminated| terminated.exit_code == 0)
}

/// Of an init container.
fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn names(containers: &[Container]) -> Vec<&str> {
    containers.iter().map(|container| container.name.as_str()).collect()
}

fn in_order(mut list: Vec<ContainerStatus>, order: &[&str]) -> Vec<ContainerStatus> {
    list.sort_by_key(|status| order.iter().position(|name| *name == status.name).unwrap_or(order.len()));
    list
}

/// What is final of a container is kept: the end of one attempt, until the container waits for the next one or that has begun,
/// since the API server refuses a container that has ended for good and runs again (422); and the count of restarts, which a
/// backend that built the pod anew has lost.
fn clamped(pod: &PodObject, list: Vec<ContainerStatus>, current: &[ContainerStatus]) -> Vec<ContainerStatus> {
    let ended = |status: &ContainerStatus| status.state.as_ref().is_some_and(|s| s.terminated.is_some());
    list.into_iter()
        .map(|wanted| {
            let Some(before) = current.iter().find(|before| before.name == wanted.name) else { return wanted };
            let restart_count = if wanted.restart_count > before.restart_count {
                return wanted;
            } else if !ended(before) {
                before.restart_count
            } else if ended(&wanted) || !may_restart(pod, before) {
                return before.clone();
            } else if wanted.restart_count < before.restart_count {
                before.restart_count.saturating_add(1)
            } else if wanted.state.as_ref().is_some_and(|state| state.waiting.is_some()) {
                // Between two attempts the first still counts: CrashLoopBackOff.
                let last_state = wanted.last_state.clone().or_else(|| before.state.clone());
                return ContainerStatus { last_state, ..wanted };
            } else {
                return before.clone();
            };
            ContainerStatus { restart_count, ..wanted }
        })
        .collect()
}

/// Whether a container that has ended may run again.
fn may_restart(pod: &PodObject, ended: &ContainerStatus) -> bool {
    let init = pod.spec.init_containers.iter().flatten();
    let container = init.chain(&pod.spec.containers).find(|container| container.name == ended.name);
    let own = container.and_then(|container| container.restart_policy.as_deref());
    let exit_code = ended.state.as_ref().and_then(|s| s.terminated.as_ref()).map_or(0, |end| end.exit_code);
    // Rules go before the policy beside which they stand (KEP-5307).
    let rules = container.filter(|_| own.is_some()).and_then(|container| container.restart_policy_rules.as_ref());
    let matches = rules.into_iter().flatten().filter(|rule| rule.action == "Restart").any(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            codes.values.iter().flatten().any(|code| *code == exit_code) == (codes.operator == "In")
        })
    });
    if matches {
        return true;
    }
    match own.or(pod.spec.restart_policy.as_deref()).unwrap_or("Always") {
        "Always" => true,
        "OnFailure" => exit_code != 0,
        _ => false,
    }
}

/// The API keeps whole seconds; a fraction would look like a change for ever.
fn seconds(time: Timestamp) -> Timestamp {
    time.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(time)
}

fn truncate_times(status: &mut PodStatus) {
    let cut = |time: &mut Option<Time>| {
        if let Some(Time(time)) = time {
            *time = seconds(*time);
        }
    };
    cut(&mut status.start_time);
    status.conditions.iter_mut().flatten().for_each(|condition| cut(&mut condition.last_transition_time));
    let lists =
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses];
    for container in lists.into_iter().flatten().flatten() {
        for state in [&mut container.state, &mut container.last_state].into_iter().flatten() {
            if let Some(running) = &mut state.running {
                cut(&mut running.started_at);
            }
            if let Some(terminated) = &mut state.terminated {
                cut(&mut terminated.started_at);
                cut(&mut terminated.finished_at);
            }
        }
    }
}

/// The patch that turns the current status into the wanted one, for the `status` subresource; none: nothing differs. Both
/// are normalized.
///
/// Scalars and lists of containers are replaced as a whole, conditions are merged by type by the API server; everything
/// else there belongs to somebody else.
pub fn patch(pod: &PodObject, wanted: &PodStatus) -> Option<Value> {
    let current = &pod.status;
    let mut patch = Map::new();
    put(&mut patch, "phase", &current.phase, &wanted.phase);
    put(&mut patch, "reason", &current.reason, &wanted.reason);
    put(&mut patch, "message", &current.message, &wanted.message);
    put(&mut patch, "hostIP", &current.host_ip, &wanted.host_ip);
    put(&mut patch, "podIP", &current.pod_ip, &wanted.pod_ip);
    put(&mut patch, "startTime", &current.start_time, &wanted.start_time);
    put(&mut patch, "observedGeneration", &current.observed_generation, &wanted.observed_generation);
    for (field, current, wanted) in [
        ("containerStatuses", &current.container_statuses, &wanted.container_statuses),
        ("initContainerStatuses", &current.init_container_statuses, &wanted.init_container_statuses),
        ("ephemeralContainerStatuses", &current.ephemeral_container_statuses, &wanted.ephemeral_container_statuses),
    ] {
        if wanted.is_some() {
            put(&mut patch, field, current, wanted);
        }
    }
    put_addresses(&mut patch, "hostIPs", &current.host_ips, &wanted.host_ips);
    put_addresses(&mut patch, "podIPs", &current.pod_ips, &wanted.pod_ips);
    let before = current.conditions.as_deref().unwrap_or_default();
    let changed = wanted.conditions.iter().flatten().filter(|condition| !before.contains(condition));
    let changed: Vec<Value> = changed.map(with_nulls).collect();
    if !changed.is_empty() {
        patch.insert("conditions".into(), Value::Array(changed));
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"uid": pod.uid()}, "status": patch}))
}

/// Adds a field that differs; what is not wanted any more becomes `null`.
fn put<T: PartialEq + Serialize>(patch: &mut Map<String, Value>, field: &str, current: &Option<T>, wanted: &Option<T>) {
    if current != wanted {
        patch.insert(field.into(), json!(wanted));
    }
}

/// Addresses are merged by `ip`, so that one that went must be replaced explicitly.
fn put_addresses<T: PartialEq + Serialize>(
    patch: &mut Map<String, Value>,
    field: &str,
    current: &Option<Vec<T>>,
    wanted: &Option<Vec<T>>,
) {
    if let Some(list) = wanted.as_ref().filter(|_| current != wanted) {
        let replaced = std::iter::once(json!({"$patch": "replace"})).chain(list.iter().map(|address| json!(address)));
        patch.insert(field.into(), replaced.collect());
    }
}

/// What the API server has once it has taken a wanted status: our fields replaced, all others kept.
pub fn applied(current: &PodStatus, wanted: PodStatus) -> PodStatus {
    let mut conditions = wanted.conditions.unwrap_or_default();
    let ours = conditions.len();
    for theirs in current.conditions.iter().flatten() {
        if !conditions.iter().take(ours).any(|our| our.type_ == theirs.type_) {
            conditions.push(theirs.clone());
        }
    }
    let mut status = PodStatus {
        conditions: Some(conditions),
        phase: wanted.phase,
        reason: wanted.reason,
        message: wanted.message,
        host_ip: wanted.host_ip,
        host_ips: wanted.host_ips.or_else(|| current.host_ips.clone()),
        pod_ip: wanted.pod_ip,
        pod_ips: wanted.pod_ips.or_else(|| current.pod_ips.clone()),
        start_time: wanted.start_time,
        observed_generation: wanted.observed_generation,
        container_statuses: wanted.container_statuses.or_else(|| current.container_statuses.clone()),
        init_container_statuses: wanted.init_container_statuses.or_else(|| current.init_container_statuses.clone()),
        ephemeral_container_statuses: wanted
            .ephemeral_container_statuses
            .or_else(|| current.ephemeral_container_statuses.clone()),
        // Others' fields, each by name, so that a new one is not forgotten.
        allocated_resources: current.allocated_resources.clone(),
        extended_resource_claim_status: current.extended_resource_claim_status.clone(),
        node_allocatable_resource_claim_statuses: current.node_allocatable_resource_claim_statuses.clone(),
        nominated_node_name: current.nominated_node_name.clone(),
        qos_class: current.qos_class.clone(),
        resize: current.resize.clone(),
        resource_claim_statuses: current.resource_claim_statuses.clone(),
        resources: current.resources.clone(),
    };
    normalize(&mut status);
    status
}

/// One way of saying the same: the API server sends `lastState: {}` and empty texts where providers leave fields out, and a
/// difference between the two would be written for ever. Conditions, which have no order, are sorted: two statuses that say the
/// same are equal.
pub(super) fn normalize(status: &mut PodStatus) {
    let empty = |text: &mut Option<String>| {
        if text.as_deref() == Some("") {
            *text = None;
        }
    };
    [&mut status.reason, &mut status.message, &mut status.pod_ip, &mut status.host_ip].into_iter().for_each(empty);
    for condition in status.conditions.iter_mut().flatten() {
        [&mut condition.reason, &mut condition.message].into_iter().for_each(empty);
    }
    status.conditions.iter_mut().for_each(|conditions| conditions.sort_by(|a, b| a.type_.cmp(&b.type_)));
    let lists =
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses];
    for container in lists.into_iter().flatten().flatten() {
        for state in [&mut container.state, &mut container.last_state] {
            if let Some(waiting) = state.as_mut().and_then(|state| state.waiting.as_mut()) {
                [&mut waiting.reason, &mut waiting.message].into_iter().for_each(empty);
            }
            if let Some(ended) = state.as_mut().and_then(|state| state.terminated.as_mut()) {
                [&mut ended.reason, &mut ended.message, &mut ended.container_id].into_iter().for_each(empty);
            }
            if *state == Some(ContainerState::default()) {
                *state = None;
            }
        }
        empty(&mut container.container_id);
        container.volume_mounts.take_if(|mounts| mounts.is_empty());
    }
}

/// Conditions are merged by type: what a condition does not say any more must be taken back explicitly.
fn with_nulls(condition: &PodCondition) -> Value {
    let mut condition = json!(condition);
    if let Some(map) = condition.as_object_mut() {
        for field in ["reason", "message"] {
            map.entry(field).or_insert(Value::Null);
        }
    }
    condition
}

#[cfg(test)]
mod tests;
