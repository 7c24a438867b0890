use std::sync::Arc;

use super::*;
use crate::pods::object::tests::pod;

fn now() -> Timestamp {
    "2026-01-02T03:04:05.6Z".parse().unwrap()
}

fn web(status: Value) -> PodObject {
    pod(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 2},
        "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]},
        "status": status,
    }))
}

fn running(name: &str, restarts: i32) -> Value {
    json!({"name": name, "ready": true, "restartCount": restarts, "image": "i", "imageID": "", "state": {"running": {"startedAt": "2026-01-02T03:00:00.123Z"}}})
}

fn ended(name: &str, restarts: i32, code: i32) -> Value {
    json!({"name": name, "ready": false, "restartCount": restarts, "image": "i", "imageID": "", "state": {"terminated": {"exitCode": code}}})
}

fn say(pod: &PodObject, said: Value) -> PodStatus {
    let context = Context { pod, host_ip: "10.0.0.1", now: now() };
    from_provider(&context, &serde_json::from_value(said).unwrap())
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
    status.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap()
}

/// The pod as the API server sends it once it has applied the status: Go's struct tags leave `lastState: {}` behind.
fn applied(pod: &PodObject, status: &PodStatus) -> PodObject {
    let mut pod = pod.clone();
    pod.status = super::applied(&pod.status, status.clone());
    for container in pod.status.container_statuses.iter_mut().flatten() {
        container.last_state.get_or_insert_default();
    }
    normalize(&mut pod.status);
    pod
}

#[test]
fn a_running_pod_gets_its_conditions_and_addresses_in_one_patch_and_then_none() {
    let pod = web(
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}], "qosClass": "BestEffort"}),
    );
    let status = say(
        &pod,
        json!({"phase": "Running", "podIP": "10.1.0.2", "containerStatuses": [running("b", 0), running("a", 0)]}),
    );
    assert_eq!(status.container_statuses.as_ref().unwrap()[0].name, "a", "spec order");
    for kind in ["Ready", "ContainersReady", "Initialized", "PodReadyToStartContainers"] {
        assert_eq!(condition(&status, kind).status, "True", "{kind}");
    }
    let patch = super::patch(&pod, &status).unwrap();
    assert_eq!(patch["metadata"], json!({"uid": "u1"}));
    assert_eq!(patch["status"]["podIPs"], json!([{"$patch": "replace"}, {"ip": "10.1.0.2"}]));
    assert_eq!(patch["status"]["startTime"], "2026-01-02T03:04:05Z");
    assert_eq!(patch["status"]["observedGeneration"], 2);
    assert!(patch["status"]["conditions"].as_array().unwrap().iter().all(|c| c["type"] != "PodScheduled"));
    assert!(patch["status"].get("qosClass").is_none());
    let after = applied(&pod, &status);
    let same = say(
        &after,
        json!({"phase": "Running", "podIP": "10.1.0.2", "containerStatuses": [running("a", 0), running("b", 0)]}),
    );
    assert_eq!(super::patch(&after, &same), None, "an identical status is not written again");
}

#[test]
fn being_deleted_is_no_news_of_the_status() {
    let pod = web(json!({}));
    let said = json!({"phase": "Running", "containerStatuses": [running("a", 0), running("b", 0)]});
    let mut after = applied(&pod, &say(&pod, said.clone()));
    Arc::make_mut(&mut after.metadata).generation = Some(3);
    assert!(super::patch(&after, &say(&after, said.clone())).is_some(), "another generation is");
    Arc::make_mut(&mut after.metadata).deletion_timestamp = Some(Time(now()));
    assert_eq!(super::patch(&after, &say(&after, said)), None);
}

#[test]
fn a_condition_that_someone_else_flipped_is_written_again() {
    let pod = web(json!({}));
    let said = json!({"phase": "Running", "containerStatuses": [running("a", 0), running("b", 0)]});
    let mut after = applied(&pod, &say(&pod, said.clone()));
    for condition in after.status.conditions.as_mut().unwrap() {
        if condition.type_ == "Ready" {
            condition.status = "False".into();
        }
    }
    let patch = super::patch(&after, &say(&after, said)).unwrap();
    let conditions = patch["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1);
    assert_eq!((&conditions[0]["type"], &conditions[0]["status"]), (&json!("Ready"), &json!("True")));
}

#[test]
fn transition_times_move_only_with_the_status() {
    let pod = web(json!({"conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "Initialized", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
    ]}));
    let status = say(&pod, json!({"phase": "Running", "containerStatuses": [running("a", 0), ended("b", 0, 1)]}));
    let time = |kind: &str| condition(&status, kind).last_transition_time.as_ref().unwrap().0.to_string();
    assert_eq!(time("Initialized"), "2020-01-01T00:00:00Z");
    assert_eq!(time("Ready"), "2026-01-02T03:04:05Z");
    assert_eq!(condition(&status, "Ready").message.as_deref(), Some("containers with unready status: [b]"));
}

#[test]
fn an_ended_attempt_stays_ended_until_the_next() {
    let pod = web(json!({"containerStatuses": [ended("a", 1, 3), running("b", 2)]}));
    let again = say(&pod, json!({"phase": "Running", "containerStatuses": [running("a", 1), running("b", 1)]}));
    let list = again.container_statuses.unwrap();
    assert!(list[0].state.as_ref().unwrap().terminated.is_some(), "terminated is sticky");
    assert_eq!(list[1].restart_count, 2, "a restart count never falls");
    let next = say(&pod, json!({"phase": "Running", "containerStatuses": [running("a", 2), running("b", 2)]}));
    assert!(next.container_statuses.unwrap()[0].state.as_ref().unwrap().running.is_some());
}

#[test]
fn a_container_that_waits_for_its_next_attempt_says_so_unless_there_is_none() {
    let waits = |name: &str| json!({"name": name, "ready": false, "restartCount": 1, "image": "i", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    for (policy, code, may) in
        [("Always", 0, true), ("OnFailure", 3, true), ("OnFailure", 0, false), ("Never", 3, false)]
    {
        let mut pod = web(json!({"containerStatuses": [ended("a", 1, code), running("b", 2)]}));
        Arc::make_mut(&mut pod.spec).restart_policy = Some(policy.into());
        let status = say(&pod, json!({"phase": "Running", "containerStatuses": [waits("a"), running("b", 2)]}));
        let list = status.container_statuses.unwrap();
        let of = |state: &Option<ContainerState>| {
            state.as_ref().and_then(|state| state.terminated.as_ref()).map(|ended| ended.exit_code)
        };
        let waiting = list[0].state.as_ref().is_some_and(|state| state.waiting.is_some());
        assert_eq!((waiting, list[0].restart_count), (may, 1), "{policy} after {code}");
        assert_eq!(of(if may { &list[0].last_state } else { &list[0].state }), Some(code), "{policy} after {code}");
    }
}

#[test]
fn a_backend_that_lost_its_count_still_says_how_the_container_is() {
    let pod = web(json!({"containerStatuses": [running("a", 3), ended("b", 3, 1)]}));
    let said = json!({"phase": "Running", "containerStatuses": [ended("a", 0, 9), running("b", 0)]});
    let list = say(&pod, said).container_statuses.unwrap();
    assert_eq!((list[0].restart_count, list[0].ready), (3, false));
    assert_eq!(list[0].state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code, 9);
    assert_eq!((list[1].restart_count, list[1].ready), (4, true), "it ended and runs: that is one more");
}

#[test]
fn a_sidecar_counts_for_readiness_and_what_was_initialized_stays_so() {
    let with_sidecar = |status: Value| {
        pod(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
            "spec": {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}], "containers": [{"name": "a"}]},
            "status": status,
        }))
    };
    let mut proxy = running("proxy", 0);
    proxy["started"] = json!(true);
    proxy["ready"] = json!(false);
    let said = json!({"phase": "Running", "initContainerStatuses": [proxy], "containerStatuses": [running("a", 0)]});
    let status = say(&with_sidecar(json!({})), said);
    assert_eq!(condition(&status, "Ready").message.as_deref(), Some("containers with unready status: [proxy]"));
    assert_eq!(condition(&status, "Initialized").status, "True");
    let restarting = json!({"phase": "Running", "initContainerStatuses": [ended("proxy", 0, 1)], "containerStatuses": [running("a", 0)]});
    let status = say(&with_sidecar(json!({})), restarting);
    assert_eq!(condition(&status, "Initialized").status, "True");
}

#[test]
fn a_crash_takes_no_sandbox_away() {
    let mut crashed = ended("a", 1, 1);
    crashed["lastState"] = crashed["state"].take();
    crashed["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": ""}});
    let status = say(&web(json!({})), json!({"phase": "Running", "containerStatuses": [crashed]}));
    assert_eq!(condition(&status, "PodReadyToStartContainers").status, "True");
    assert_eq!(
        condition(&status, "Ready").message.as_deref(),
        Some("containers with unknown status: [b], containers with unready status: [a]")
    );
    let waiting = status.container_statuses.unwrap().remove(0).state.unwrap().waiting.unwrap();
    assert_eq!(waiting.message, None, "an empty text is none");
}

#[test]
fn a_pod_that_nobody_scheduled_is_said_to_be_where_it_is() {
    let said = json!({"phase": "Running", "containerStatuses": [running("a", 0), running("b", 0)]});
    assert_eq!(condition(&say(&web(json!({})), said.clone()), "PodScheduled").status, "True");
    let scheduled = web(json!({"conditions": [{"type": "PodScheduled", "status": "True"}]}));
    assert!(say(&scheduled, said).conditions.unwrap().iter().all(|c| c.type_ != "PodScheduled"));
}

#[test]
fn what_a_provider_says_of_conditions_counts_but_for_those_of_others() {
    let pod = pod(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
        "spec": {"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "lb/attached"}]},
        "status": {"conditions": [{"type": "lb/attached", "status": "True"}]},
    }));
    let since = "2025-05-05T05:05:05Z";
    let said = json!({"phase": "Running", "containerStatuses": [running("a", 0)], "conditions": [
        {"type": "lb/attached", "status": "False"},
        {"type": "example.com/Billed", "status": "True", "lastTransitionTime": since},
    ]});
    let status = say(&pod, said);
    assert!(status.conditions.as_ref().unwrap().iter().all(|c| c.type_ != "lb/attached"));
    let billed = condition(&status, "example.com/Billed").last_transition_time.as_ref().unwrap();
    assert_eq!(billed.0.to_string(), since);
}

#[test]
fn a_pod_past_its_deadline_keeps_the_ends_that_were_seen() {
    let pod = web(json!({"phase": "Running", "containerStatuses": [running("a", 0), running("b", 0)]}));
    let said: PodStatus =
        serde_json::from_value(json!({"phase": "Failed", "containerStatuses": [ended("a", 0, 143), running("b", 0)]}))
            .unwrap();
    let status = failed(&Context { pod: &pod, host_ip: "h", now: now() }, Some(&said), "DeadlineExceeded", "late");
    let end = |i: usize| status.container_statuses.as_ref().unwrap()[i].state.as_ref().unwrap().terminated.clone();
    assert_eq!((end(0).unwrap().exit_code, end(1).unwrap().exit_code), (143, 137));
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
}

#[test]
fn a_closed_readiness_gate_keeps_the_pod_unready() {
    let gated = |conditions: Value| {
        pod(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
            "spec": {"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "lb/attached"}]},
            "status": {"conditions": conditions},
        }))
    };
    let said = json!({"phase": "Running", "containerStatuses": [running("a", 0)]});
    let closed = say(&gated(json!([])), said.clone());
    assert_eq!(condition(&closed, "Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
    assert_eq!(condition(&closed, "ContainersReady").status, "True");
    let open = say(&gated(json!([{"type": "lb/attached", "status": "True"}])), said);
    assert_eq!(condition(&open, "Ready").status, "True");
}

#[test]
fn a_lost_pod_fails_and_its_containers_have_an_unknown_end() {
    let pod =
        web(json!({"phase": "Running", "podIP": "10.1.0.2", "containerStatuses": [running("a", 0), ended("b", 0, 0)]}));
    let status = failed(&Context { pod: &pod, host_ip: "h", now: now() }, None, "NotFound", "gone");
    let list = status.container_statuses.as_ref().unwrap();
    let end = |i: usize| list[i].state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((end(0).exit_code, end(0).reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    assert_eq!(end(1).exit_code, 0, "a known end is kept");
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("PodFailed"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.2"));
}

#[test]
fn a_pod_keeps_both_its_addresses_to_the_end() {
    let pod = web(json!({
        "phase": "Running", "podIP": "10.1.0.2", "podIPs": [{"ip": "10.1.0.2"}, {"ip": "fd00::2"}],
        "containerStatuses": [running("a", 0), running("b", 0)],
    }));
    let ips = |status: &PodStatus| {
        status.pod_ips.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(" ")
    };
    let ended = json!({"phase": "Succeeded", "containerStatuses": [ended("a", 0, 0), ended("b", 0, 0)]});
    assert_eq!(ips(&say(&pod, ended)), "10.1.0.2 fd00::2");
    let lost = failed(&Context { pod: &pod, host_ip: "h", now: now() }, None, "NotFound", "gone");
    assert_eq!(ips(&lost), "10.1.0.2 fd00::2");
    let moved = say(&pod, json!({"phase": "Running", "podIP": "10.1.0.3"}));
    assert_eq!(ips(&moved), "10.1.0.3", "an address of before is none of another network");
}

#[test]
fn a_waiting_pod_says_why_and_init_containers_come_first() {
    let pod = pod(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
        "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]},
    }));
    let status =
        waiting(&Context { pod: &pod, host_ip: "h", now: now() }, "CreateContainerConfigError", Some("no ConfigMap"));
    let reason = |list: &Option<Vec<ContainerStatus>>| {
        list.as_ref().unwrap()[0].state.as_ref().unwrap().waiting.as_ref().unwrap().reason.clone().unwrap()
    };
    assert_eq!(reason(&status.init_container_statuses), "CreateContainerConfigError");
    assert_eq!(reason(&status.container_statuses), "PodInitializing");
    assert_eq!(condition(&status, "Initialized").message.as_deref(), Some("containers with incomplete status: [i]"));
    assert_eq!(condition(&status, "PodReadyToStartContainers").message.as_deref(), Some("no ConfigMap"));
}
