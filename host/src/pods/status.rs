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
use serde_json::{Map, Value, json};

use super::object::{PodObject, is_terminal};

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
    let spec = context.pod.spec();
    let current = context.pod.status();
    let mut status = said.clone();
    status.phase = said.phase.clone().or_else(|| current.phase.clone()).or_else(|| Some("Pending".into()));
    let keep = |wanted: &mut Option<Vec<ContainerStatus>>, current: &Option<Vec<ContainerStatus>>, order: &[&str]| {
        let list = wanted.take().or_else(|| current.clone()).unwrap_or_default();
        *wanted = Some(in_order(clamped(list, current.as_deref().unwrap_or_default()), order))
            .filter(|list| !list.is_empty());
    };
    keep(&mut status.container_statuses, &current.container_statuses, &names(&spec.containers));
    keep(
        &mut status.init_container_statuses,
        &current.init_container_statuses,
        &names(spec.init_containers.as_deref().unwrap_or_default()),
    );
    let ephemeral: Vec<&str> = spec.ephemeral_containers.iter().flatten().map(|c| c.name.as_str()).collect();
    keep(&mut status.ephemeral_container_statuses, &current.ephemeral_container_statuses, &ephemeral);
    complete(context, status)
}

/// The first status, before the provider has said anything (R19).
pub fn first(context: &Context<'_>) -> PodStatus {
    waiting(context, "ContainerCreating", None)
}

/// A pod whose containers wait for something: not resolved yet, or refused for now.
pub fn waiting(context: &Context<'_>, reason: &str, message: Option<&str>) -> PodStatus {
    let spec = context.pod.spec();
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
    complete(context, status)
}

/// A pod that has failed for good: refused (R21) or lost (R15). Containers that ran have an end that nobody saw.
pub fn failed(context: &Context<'_>, reason: &str, message: &str) -> PodStatus {
    let current = context.pod.status();
    let ended = |list: &Option<Vec<ContainerStatus>>| {
        list.as_ref().map(|list| list.iter().map(|status| end_unseen(status, context.now)).collect::<Vec<_>>())
    };
    let status = PodStatus {
        phase: Some("Failed".into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        container_statuses: ended(&current.container_statuses),
        init_container_statuses: ended(&current.init_container_statuses),
        ephemeral_container_statuses: ended(&current.ephemeral_container_statuses),
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
    let current = context.pod.status();
    status.start_time = current.start_time.clone().or(status.start_time).or(Some(Time(context.now)));
    status.host_ip = status.host_ip.filter(|ip| !ip.is_empty()).or_else(|| Some(context.host_ip.to_string()));
    status.host_ips = status.host_ips.or_else(|| status.host_ip.clone().map(|ip| vec![HostIP { ip }]));
    // A pod keeps the address that it had to the end.
    status.pod_ip = status.pod_ip.filter(|ip| !ip.is_empty()).or_else(|| current.pod_ip.clone());
    status.pod_ips =
        status.pod_ips.filter(|ips| !ips.is_empty()).or_else(|| status.pod_ip.clone().map(|ip| vec![PodIP { ip }]));
    status.observed_generation = observed_generation(context, current.observed_generation);
    status.conditions = Some(conditions(context, &status));
    truncate_times(&mut status);
    status
}

/// The generation that a status speaks of. Asking for a pod's end raises its generation too; that is answered by its end, and
/// not by one write more a pod.
fn observed_generation(context: &Context<'_>, before: Option<i64>) -> Option<i64> {
    before.filter(|_| context.pod.is_deleting()).or(context.pod.pod.metadata.generation)
}

/// Our condition types, computed where the provider does not tell them, with honest transition times.
fn conditions(context: &Context<'_>, status: &PodStatus) -> Vec<PodCondition> {
    let current = context.pod.status();
    let mut wanted: BTreeMap<String, PodCondition> =
        computed(context.pod, status).into_iter().map(|c| (c.type_.clone(), c)).collect();
    for told in status.conditions.iter().flatten() {
        // The scheduler's condition is not ours to write.
        if told.type_ != "PodScheduled" {
            wanted.insert(told.type_.clone(), told.clone());
        }
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
        let before = current.conditions.iter().flatten().find(|c| c.type_ == condition.type_);
        condition.last_transition_time = match before {
            Some(before) if before.status == condition.status => before.last_transition_time.clone(),
            _ => Some(Time(context.now)),
        };
        condition.last_probe_time = None;
        condition.observed_generation =
            observed_generation(context, before.and_then(|before| before.observed_generation));
    }
    conditions
}

/// Why a readiness gate keeps the pod unready; none: none does.
fn closed_gate(pod: &PodObject) -> Option<String> {
    let (spec, status) = (pod.spec(), pod.status());
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

/// The kubelet's own rules for its four conditions.
fn computed(pod: &PodObject, status: &PodStatus) -> Vec<PodCondition> {
    let spec = pod.spec();
    let phase = status.phase.as_deref();
    let statuses = status.container_statuses.as_deref().unwrap_or_default();
    let init = status.init_container_statuses.as_deref().unwrap_or_default();
    let started = statuses
        .iter()
        .chain(init)
        .any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some()));
    let condition = |kind: &str, holds: bool, why: Option<(&str, String)>| PodCondition {
        type_: kind.into(),
        status: if holds { "True" } else { "False" }.into(),
        reason: why.as_ref().map(|(reason, _)| (*reason).to_string()),
        message: why.map(|(_, message)| message).filter(|message| !message.is_empty()),
        ..PodCondition::default()
    };
    let named = |containers: &[Container], lacks: &dyn Fn(&Container) -> bool| -> Vec<String> {
        containers.iter().filter(|container| lacks(container)).map(|container| container.name.clone()).collect()
    };
    let init_specs = spec.init_containers.as_deref().unwrap_or_default();
    let unfinished = named(init_specs, &|container| !is_initialized(container, init));
    let unready = named(&spec.containers, &|container| !statuses.iter().any(|s| s.name == container.name && s.ready));
    let completed = || Some(("PodCompleted", String::new()));
    let initialized = match phase {
        Some("Succeeded") => condition("Initialized", true, completed()),
        _ => {
            condition("Initialized", unfinished.is_empty(), list("ContainersNotInitialized", "incomplete", &unfinished))
        }
    };
    let ready = match phase {
        Some("Succeeded") => completed(),
        Some("Failed") => Some(("PodFailed", String::new())),
        _ => list("ContainersNotReady", "unready", &unready),
    };
    vec![
        condition("PodReadyToStartContainers", started && !is_terminal(phase), None),
        initialized,
        condition("ContainersReady", ready.is_none(), ready.clone()),
        condition("Ready", ready.is_none(), ready),
    ]
}

/// Why a condition does not hold: the containers that keep it from holding, in the kubelet's words; none: there are none.
fn list(reason: &'static str, what: &str, names: &[String]) -> Option<(&'static str, String)> {
    (!names.is_empty()).then(|| (reason, format!("containers with {what} status: [{}]", names.join(" "))))
}

/// An init container has ended well, or is a sidecar that has started.
fn is_initialized(container: &Container, statuses: &[ContainerStatus]) -> bool {
    let Some(status) = statuses.iter().find(|status| status.name == container.name) else { return false };
    let ended_well = status.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0);
    let sidecar = container.restart_policy.as_deref() == Some("Always");
    ended_well || sidecar && status.started == Some(true)
}

fn names(containers: &[Container]) -> Vec<&str> {
    containers.iter().map(|container| container.name.as_str()).collect()
}

fn in_order(mut list: Vec<ContainerStatus>, order: &[&str]) -> Vec<ContainerStatus> {
    list.sort_by_key(|status| order.iter().position(|name| *name == status.name).unwrap_or(order.len()));
    list
}

/// The API server refuses a terminated container that runs again (422); one attempt's end is final, whatever a backend
/// says later. A restarted container has a higher restart count.
fn clamped(list: Vec<ContainerStatus>, current: &[ContainerStatus]) -> Vec<ContainerStatus> {
    let ended = |status: &ContainerStatus| status.state.as_ref().is_some_and(|s| s.terminated.is_some());
    list.into_iter()
        .map(|wanted| {
            let before = current.iter().find(|before| before.name == wanted.name);
            before
                .filter(|before| {
                    wanted.restart_count < before.restart_count
                        || ended(before) && wanted.restart_count == before.restart_count
                })
                .cloned()
                .unwrap_or(wanted)
        })
        .collect()
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

/// How the list fields of a status are merged by the API server.
const ATOMIC_LISTS: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
/// Merged by `ip`, so that an address that went must be replaced explicitly.
const ADDRESS_LISTS: [&str; 2] = ["podIPs", "hostIPs"];
/// What the host writes of a status besides lists; everything else there belongs to somebody else.
const SCALARS: [&str; 7] = ["phase", "reason", "message", "hostIP", "podIP", "startTime", "observedGeneration"];

/// The patch that turns the current status into the wanted one, for the `status` subresource; none: nothing differs.
pub fn patch(pod: &PodObject, wanted: &PodStatus) -> Option<Value> {
    let object = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (current, wanted) = (object(&normal(pod.status().into_owned())), object(&normal(wanted.clone())));
    let mut status = Map::new();
    for field in SCALARS {
        if current.get(field) != wanted.get(field) {
            status.insert(field.into(), wanted.get(field).cloned().unwrap_or(Value::Null));
        }
    }
    for field in ATOMIC_LISTS {
        if let Some(list) = wanted.get(field).filter(|list| current.get(field) != Some(list)) {
            status.insert(field.into(), list.clone());
        }
    }
    for field in ADDRESS_LISTS {
        if let Some(list) = wanted
            .get(field)
            .and_then(Value::as_array)
            .filter(|list| current.get(field).and_then(Value::as_array) != Some(list))
        {
            let replaced = std::iter::once(json!({"$patch": "replace"})).chain(list.iter().cloned()).collect();
            status.insert(field.into(), Value::Array(replaced));
        }
    }
    let before = current.get("conditions").and_then(Value::as_array);
    let changed: Vec<Value> = wanted
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|condition| !before.into_iter().flatten().any(|old| without_nulls(old) == **condition))
        .map(with_nulls)
        .collect();
    if !changed.is_empty() {
        status.insert("conditions".into(), Value::Array(changed));
    }
    (!status.is_empty()).then(|| json!({"metadata": {"uid": pod.uid()}, "status": status}))
}

/// What the API server has once it has taken a wanted status: our fields replaced, all others kept.
pub fn applied(pod: &PodObject, wanted: PodStatus) -> PodStatus {
    let mut status = pod.status().into_owned();
    let ours = wanted.conditions.unwrap_or_default();
    let mut conditions = status.conditions.take().unwrap_or_default();
    conditions.retain(|theirs| !ours.iter().any(|our| our.type_ == theirs.type_));
    conditions.extend(ours);
    status.conditions = Some(conditions);
    status.phase = wanted.phase;
    status.reason = wanted.reason;
    status.message = wanted.message;
    status.host_ip = wanted.host_ip;
    status.host_ips = wanted.host_ips.or(status.host_ips);
    status.pod_ip = wanted.pod_ip;
    status.pod_ips = wanted.pod_ips.or(status.pod_ips);
    status.start_time = wanted.start_time;
    status.observed_generation = wanted.observed_generation;
    status.container_statuses = wanted.container_statuses.or(status.container_statuses);
    status.init_container_statuses = wanted.init_container_statuses.or(status.init_container_statuses);
    status.ephemeral_container_statuses = wanted.ephemeral_container_statuses.or(status.ephemeral_container_statuses);
    status
}

/// One way of saying nothing: the API server sends `lastState: {}` and empty texts where providers leave fields out, and a
/// difference between the two would be written for ever.
fn normal(mut status: PodStatus) -> PodStatus {
    let empty = |text: &mut Option<String>| {
        if text.as_deref() == Some("") {
            *text = None;
        }
    };
    [&mut status.reason, &mut status.message, &mut status.pod_ip, &mut status.host_ip].into_iter().for_each(empty);
    for condition in status.conditions.iter_mut().flatten() {
        [&mut condition.reason, &mut condition.message].into_iter().for_each(empty);
    }
    let lists =
        [&mut status.container_statuses, &mut status.init_container_statuses, &mut status.ephemeral_container_statuses];
    for container in lists.into_iter().flatten().flatten() {
        for state in [&mut container.state, &mut container.last_state] {
            if *state == Some(ContainerState::default()) {
                *state = None;
            }
        }
        empty(&mut container.container_id);
    }
    status
}

/// Conditions are merged by type: what a condition does not say any more must be taken back explicitly.
fn with_nulls(condition: &Value) -> Value {
    let mut condition = condition.clone();
    if let Some(map) = condition.as_object_mut() {
        for field in ["reason", "message"] {
            map.entry(field).or_insert(Value::Null);
        }
    }
    condition
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
