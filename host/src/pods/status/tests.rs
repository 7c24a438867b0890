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
    pod.pod.status = Some(super::applied(&pod, status.clone()));
    for container in pod.pod.status.iter_mut().filter_map(|s| s.container_statuses.as_mut()).flatten() {
        container.last_state.get_or_insert_default();
    }
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
    after.pod.metadata.generation = Some(3);
    assert!(super::patch(&after, &say(&after, said.clone())).is_some(), "another generation is");
    after.pod.metadata.deletion_timestamp = Some(Time(now()));
    assert_eq!(super::patch(&after, &say(&after, said)), None);
}

#[test]
fn a_condition_that_someone_else_flipped_is_written_again() {
    let pod = web(json!({}));
    let said = json!({"phase": "Running", "containerStatuses": [running("a", 0), running("b", 0)]});
    let mut after = applied(&pod, &say(&pod, said.clone()));
    for condition in after.pod.status.as_mut().unwrap().conditions.as_mut().unwrap() {
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
    let status = failed(&Context { pod: &pod, host_ip: "h", now: now() }, "NotFound", "gone");
    let list = status.container_statuses.as_ref().unwrap();
    let end = |i: usize| list[i].state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((end(0).exit_code, end(0).reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    assert_eq!(end(1).exit_code, 0, "a known end is kept");
    assert_eq!(condition(&status, "Ready").reason.as_deref(), Some("PodFailed"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.0.2"));
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
}
