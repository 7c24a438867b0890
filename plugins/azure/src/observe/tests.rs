//! Tables: what Azure says, and what the pod is.

use serde_json::{Value, json};

use super::*;

fn group(properties: &Value) -> Group {
    let mut group: Group =
        serde_json::from_value(json!({"id": "/subscriptions/s/g", "properties": properties})).unwrap();
    for (index, container) in group.properties.containers.iter_mut().enumerate() {
        if container.name.is_empty() {
            container.name = format!("c{index}");
        }
    }
    group
}

/// A group of containers with these views, and this state of its own.
fn of(provisioning: &str, state: &str, policy: &str, views: &[Value]) -> Group {
    let containers: Vec<Value> =
        views.iter().map(|view| json!({"name": "", "properties": {"image": "i", "instanceView": view}})).collect();
    group(&json!({"provisioningState": provisioning, "restartPolicy": policy, "containers": containers,
        "instanceView": if state.is_empty() { Value::Null } else { json!({"state": state}) }}))
}

fn running() -> Value {
    json!({"currentState": {"state": "Running", "startTime": "2026-11-24T10:00:00Z"}})
}

fn ended(code: i64) -> Value {
    json!({"currentState": {"state": "Terminated", "exitCode": code, "startTime": "2026-11-24T10:00:00+00:00",
        "finishTime": "2026-11-24T10:00:05Z"}})
}

/// A container that was started again after it ended with a code.
fn again(code: i64, view: Value) -> Value {
    let mut view = view;
    view["restartCount"] = json!(1);
    view["previousState"] = ended(code)["currentState"].clone();
    view
}

fn waiting(detail: &str) -> Value {
    json!({"currentState": {"state": "Waiting", "detailStatus": detail}})
}

fn told(group: &Group) -> Value {
    serde_json::from_str(&status(group, None).unwrap().to_json()).unwrap()
}

#[test]
fn the_phase_follows_from_the_group_and_its_containers() {
    let none = Value::Null;
    for (provisioning, state, policy, views, phase) in [
        ("Pending", "", "Always", vec![none.clone()], Some("Pending")),
        ("Creating", "", "Always", vec![none.clone()], Some("Pending")),
        ("Creating", "Pending", "Always", vec![waiting("")], Some("Pending")),
        ("Creating", "Running", "Always", vec![running(), waiting("")], Some("Running")),
        ("Succeeded", "Running", "Always", vec![running()], Some("Running")),
        ("Succeeded", "Pending", "Always", vec![waiting("")], Some("Pending")),
        (
            "Succeeded",
            "Waiting",
            "Always",
            vec![json!({"restartCount": 2, "currentState": {"state": "Waiting"}})],
            Some("Running"),
        ),
        ("Succeeded", "Running", "Always", vec![ended(1)], Some("Running")),
        ("Succeeded", "Succeeded", "OnFailure", vec![ended(0)], Some("Succeeded")),
        ("Succeeded", "Failed", "Never", vec![ended(1), ended(0)], Some("Failed")),
        ("Succeeded", "", "Never", vec![ended(0), ended(0)], Some("Succeeded")),
        ("Succeeded", "", "Never", vec![ended(0), ended(2)], Some("Failed")),
        ("Succeeded", "Running", "Never", vec![ended(2), running()], Some("Running")),
        ("Succeeded", "Running", "Never", vec![again(2, running()), running()], Some("Running")),
        ("Succeeded", "Running", "Never", vec![again(2, running()), ended(0)], Some("Failed")),
        ("Succeeded", "Succeeded", "Never", vec![again(2, ended(0))], Some("Failed")),
        ("Succeeded", "Waiting", "Never", vec![again(2, waiting("CrashLoopBackOff: x"))], Some("Failed")),
        ("Succeeded", "Running", "OnFailure", vec![again(2, running())], Some("Running")),
        ("Succeeded", "Succeeded", "OnFailure", vec![again(2, ended(0))], Some("Succeeded")),
        ("Succeeded", "", "OnFailure", vec![ended(2)], Some("Running")),
        ("Succeeded", "Stopped", "Always", vec![running()], Some("Failed")),
        ("Succeeded", "Stopped", "Never", vec![ended(0)], Some("Succeeded")),
        ("Failed", "Pending", "Always", vec![waiting("")], Some("Failed")),
        ("Canceled", "", "Always", vec![none.clone()], Some("Failed")),
        ("Repairing", "Running", "Always", vec![running()], Some("Running")),
        ("Deleting", "Running", "Always", vec![running()], Some("Running")),
        ("NewWord", "Running", "Always", vec![running()], Some("Running")),
        ("Succeeded", "", "Always", vec![none.clone()], None),
        ("Deleting", "", "Always", vec![none.clone()], None),
        ("Unhealthy", "", "Always", vec![none], None),
    ] {
        let group = of(provisioning, state, policy, &views);
        let seen = status(&group, None).map(|status| format!("{:?}", status.phase));
        assert_eq!(seen.as_deref(), phase, "{provisioning} {state} {policy} {views:?}");
    }
}

#[test]
fn an_end_has_its_code_or_is_said_to_be_unknown() {
    let end = |state: Value| {
        let view = json!({"currentState": state});
        told(&of("Succeeded", "Running", "Always", &[view]))["containerStatuses"][0]["state"]["terminated"].clone()
    };
    let full = end(json!({"state": "Terminated", "exitCode": 137, "detailStatus": "OOMKilled",
        "startTime": "2026-11-24T12:00:00.5+02:00", "finishTime": "2026-11-24T10:00:05Z"}));
    assert_eq!(
        full,
        json!({"exitCode": 137, "reason": "OOMKilled", "startedAt": "2026-11-24T10:00:00Z", "finishedAt": "2026-11-24T10:00:05Z"})
    );
    assert_eq!(end(json!({"state": "Terminated", "exitCode": 0})), json!({"exitCode": 0, "reason": "Completed"}));
    assert_eq!(
        end(json!({"state": "Terminated", "exitCode": 2, "detailStatus": "it broke"})),
        json!({"exitCode": 2, "reason": "Error", "message": "it broke"})
    );
    let unknown = end(json!({"state": "Terminated", "finishTime": "2026-11-24T10:00:05Z"}));
    assert_eq!((&unknown["exitCode"], &unknown["reason"]), (&json!(137), &json!("ContainerStatusUnknown")), "never 0");
    assert_eq!(
        end(json!({"state": "Terminated", "exitCode": 3_221_225_786_i64}))["exitCode"],
        -1_073_741_510,
        "of Windows"
    );
    assert_eq!(end(json!({"state": "Failed", "exitCode": 1}))["exitCode"], 1, "an older word");
}

#[test]
fn what_was_not_to_run_again_has_ended_as_it_did_first() {
    let container = |view: Value| told(&of("Succeeded", "Running", "Never", &[view]))["containerStatuses"][0].clone();
    let known = container(again(7, running()));
    assert_eq!((&known["state"]["terminated"]["exitCode"], &known["restartCount"]), (&json!(7), &json!(1)));
    assert_eq!((&known["lastState"], &known["ready"]), (&Value::Null, &json!(false)));
    let mut untold = running();
    untold["restartCount"] = json!(2);
    let untold = &container(untold)["state"]["terminated"];
    assert_eq!((&untold["exitCode"], &untold["reason"]), (&json!(137), &json!("ContainerStatusUnknown")));
    assert_eq!(untold["message"], "Azure does not say how the container ended");
}

#[test]
fn where_a_group_has_ended_so_have_its_containers() {
    for (state, view) in [("Succeeded", running()), ("Failed", waiting("")), ("Failed", Value::Null)] {
        let told = told(&of("Succeeded", state, "OnFailure", &[view]));
        let end = &told["containerStatuses"][0]["state"]["terminated"];
        assert_eq!((&told["phase"], &end["exitCode"]), (&json!(state), &json!(137)), "{told}");
    }
}

#[test]
fn what_is_kept_of_a_status_is_what_is_seen_again() {
    let fraction = |view: Value| {
        let text = view.to_string().replace("10:00:00", "10:00:00.123").replace("10:00:05", "10:00:05.4567");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for view in [running(), ended(3), again(3, running()), waiting("")] {
        let seen = status(&of("Succeeded", "Running", "Always", &[fraction(view)]), None).unwrap();
        assert_eq!(serde_json::from_str::<PodStatus>(&seen.to_json()).unwrap(), seen);
    }
}

#[test]
fn a_container_that_waits_says_why() {
    let waits = |view: Value| {
        let told = told(&of("Creating", "Pending", "Always", &[view]));
        told["containerStatuses"][0]["state"]["waiting"].clone()
    };
    assert_eq!(waits(waiting("")), json!({"reason": "ContainerCreating"}));
    assert_eq!(waits(Value::Null), json!({"reason": "ContainerCreating"}));
    assert_eq!(
        waits(waiting("CrashLoopBackOff: Back-off 20s restarting failed")),
        json!({"reason": "CrashLoopBackOff", "message": "Back-off 20s restarting failed"})
    );
    let pulling = |name: &str| {
        let event = json!({"name": name, "type": "Warning", "message": "Failed to pull image x", "lastTimestamp": "2026-11-24T10:00:00Z"});
        json!({"currentState": {"state": "Waiting"}, "events": [event]})
    };
    assert_eq!(waits(pulling("Failed")), json!({"reason": "ErrImagePull", "message": "Failed to pull image x"}));
    assert_eq!(waits(pulling("BackOff"))["reason"], "ImagePullBackOff");
}

#[test]
fn restarts_and_the_end_before_are_told() {
    let view = json!({"restartCount": 3, "currentState": {"state": "Running", "startTime": "2026-11-24T10:01:00Z"},
        "previousState": {"state": "Terminated", "exitCode": 7, "detailStatus": "Error"}});
    let told = told(&of("Succeeded", "Running", "Always", &[view]));
    let container = &told["containerStatuses"][0];
    assert_eq!((&container["restartCount"], &container["lastState"]["terminated"]["exitCode"]), (&json!(3), &json!(7)));
    assert_eq!((&container["ready"], &container["started"]), (&json!(true), &json!(true)));
    assert_eq!(container["state"]["running"]["startedAt"], "2026-11-24T10:01:00Z");
    let id = container["containerID"].as_str().unwrap();
    assert!(id.starts_with("aci://") && id.len() == 6 + 64, "{id}");
}

#[test]
fn ordinary_containers_wait_for_init_containers() {
    let with = |init: Value| {
        told(&group(&json!({"provisioningState": "Succeeded", "instanceView": {"state": "Pending"},
            "initContainers": [{"name": "i", "properties": {"image": "x", "instanceView": init}}],
            "containers": [{"name": "c", "properties": {"image": "y"}}]})))
    };
    let first = with(running());
    assert_eq!(first["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!((&first["initContainerStatuses"][0]["ready"], &first["phase"]), (&json!(false), &json!("Pending")));
    let second = with(ended(0));
    assert_eq!(second["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    assert_eq!(second["initContainerStatuses"][0]["ready"], true);
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let with = |policy: &str| {
        let group = group(&json!({"provisioningState": "Creating", "restartPolicy": policy,
            "initContainers": [{"name": "i", "properties": {"image": "x", "instanceView": ended(1)}}],
            "containers": [{"name": "c", "properties": {"image": "y"}}]}));
        status(&group, None).unwrap().phase
    };
    assert_eq!((with("Never"), with("OnFailure")), (Phase::Failed, Phase::Pending));
}

#[test]
fn what_an_init_container_has_kept_from_beginning_waits_for_ever() {
    let told = told(&group(&json!({"provisioningState": "Succeeded", "restartPolicy": "Never",
        "initContainers": [{"name": "i", "properties": {"image": "x", "instanceView": ended(3)}},
            {"name": "j", "properties": {"image": "x"}}],
        "containers": [{"name": "c", "properties": {"image": "y"}}], "instanceView": {"state": "Failed"}})));
    assert_eq!(told["phase"], "Failed");
    assert_eq!(told["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    for waits in [&told["initContainerStatuses"][1], &told["containerStatuses"][0]] {
        assert_eq!(waits["state"]["waiting"]["reason"], "PodInitializing", "{told}");
    }
}

#[test]
fn addresses_of_either_kind_are_the_pods() {
    let with = |address: Value| {
        told(&group(&json!({"provisioningState": "Creating", "containers": [], "ipAddress": address})))
    };
    let told = with(json!({"type": "Private", "ip": "10.241.0.4", "ports": []}));
    assert_eq!((&told["podIP"], &told["podIPs"]), (&json!("10.241.0.4"), &json!([{"ip": "10.241.0.4"}])));
    assert_eq!(with(json!({"type": "Public", "ports": null}))["podIP"], Value::Null);
}

#[test]
fn why_a_group_came_to_nothing_is_what_says_most() {
    let failed = of(
        "Failed",
        "Pending",
        "Always",
        &[json!({"currentState": {"state": "Waiting"}, "events": [
        {"name": "Pulled", "type": "Normal", "message": "ok", "lastTimestamp": "2026-11-24T10:00:09Z"},
        {"name": "Failed", "type": "Warning", "message": "no such image", "lastTimestamp": "2026-11-24T10:00:05Z"}]})],
    );
    let why = |cause: Option<Cause>| {
        let status = status(&failed, cause.as_ref()).unwrap();
        (status.reason.unwrap().into_owned(), status.message.unwrap().into_owned())
    };
    let pair = |reason: &str, message: &str| (reason.to_owned(), message.to_owned());
    assert_eq!(why(None), pair("Failed", "no such image"));
    let cause = |code: &str, message: &str| Some(Cause { code: code.to_owned(), message: message.to_owned() });
    assert_eq!(why(cause("InaccessibleImage", "no")), pair("InaccessibleImage", "no"));
    let capacity = "The requested resource is not available in the location 'westeurope'";
    assert_eq!(why(cause("Failed", capacity)), pair("InsufficientCapacity", capacity));
    let silent = status(&of("Canceled", "", "Always", &[Value::Null]), None).unwrap();
    assert_eq!(silent.reason.as_deref(), Some("ContainerGroupCanceled"));
    let all = [json!({"currentState": {"state": "Waiting"}}), running(), ended(4)];
    let told = told(&of("Failed", "", "Always", &all));
    let codes: Vec<&Value> =
        told["containerStatuses"].as_array().unwrap().iter().map(|it| &it["state"]["terminated"]["exitCode"]).collect();
    assert_eq!(codes, [137, 137, 4]);
}

#[test]
fn an_operation_that_failed_counts_until_the_group_runs_all_the_same() {
    let cause = Cause { code: "X".to_owned(), message: "no".to_owned() };
    let phase =
        |provisioning: &str| status(&of(provisioning, "Running", "Always", &[running()]), Some(&cause)).unwrap().phase;
    assert_eq!((phase("Creating"), phase("Succeeded")), (Phase::Failed, Phase::Running));
}

#[test]
fn what_is_out_of_order_is_not_ready() {
    for state in ["Repairing", "Unhealthy", "NotAccessible"] {
        let told = told(&of(state, "Running", "Always", &[running()]));
        assert_eq!((&told["reason"], &told["containerStatuses"][0]["ready"]), (&json!(state), &json!(false)));
    }
}

#[test]
fn what_is_out_of_order_and_says_nothing_is_as_it_was_and_not_ready() {
    let before = status(&of("Succeeded", "Running", "Always", &[running()]), None).unwrap();
    let silent = |provisioning: &str| {
        let group = of(provisioning, "", "Always", &[Value::Null]);
        assert!(status(&group, None).is_none());
        silent(&group, &before)
    };
    assert_eq!(silent("Succeeded"), before);
    for state in ["Repairing", "Unhealthy", "NotAccessible"] {
        let told: Value = serde_json::from_str(&silent(state).to_json()).unwrap();
        let container = &told["containerStatuses"][0];
        assert_eq!(
            (&told["phase"], &told["reason"], &container["ready"]),
            (&json!("Running"), &json!(state), &json!(false))
        );
        assert!(container["state"]["running"].is_object(), "{told}");
    }
}

#[test]
fn how_fast_a_pod_changes_follows_from_how_it_is() {
    for (provisioning, state, policy, view, expected) in [
        ("Creating", "", "Always", Value::Null, Pace::Changing),
        ("Deleting", "Running", "Always", running(), Pace::Changing),
        ("Succeeded", "Pending", "Always", waiting(""), Pace::Changing),
        ("Succeeded", "Running", "Always", running(), Pace::Settled),
        ("Succeeded", "Running", "Always", again(3, waiting("CrashLoopBackOff: x")), Pace::Changing),
        ("Succeeded", "Running", "OnFailure", running(), Pace::Ending),
        ("Succeeded", "Running", "OnFailure", again(3, waiting("CrashLoopBackOff: x")), Pace::Ending),
        ("Succeeded", "Succeeded", "Never", ended(0), Pace::Over),
        ("Failed", "", "Always", Value::Null, Pace::Over),
    ] {
        let group = of(provisioning, state, policy, &[view]);
        let seen = status(&group, None).unwrap_or_else(|| pending(&group));
        assert_eq!(pace(&group, &seen), expected, "{provisioning} {state} {policy}");
    }
}

#[test]
fn the_published_examples_are_read() {
    for (text, phase) in [
        (include_str!("../../../aci/tests/data/answers/ContainerGroupsGet_Failed.json"), Some(Phase::Failed)),
        (include_str!("../../../aci/tests/data/answers/ContainerGroupsGet_Succeeded.json"), None),
    ] {
        let mut value: Value = serde_json::from_str(text).unwrap();
        let body = value.pointer_mut("/responses/200/body").map(Value::take).unwrap_or(value);
        let group: Group = serde_json::from_value(body).unwrap();
        assert_eq!(status(&group, None).map(|status| status.phase), phase);
    }
}
