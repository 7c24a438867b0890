//! The provider as a whole, against the SDK's host in memory: what the host sees of pods over time.

use std::time::Duration;

use serde_json::{Value, json};
use vk_provider::call::Why;
use vk_provider::changes::{Batch, Scope};
use vk_provider::container_logs::Options;
use vk_provider::{
    Changes, Code, ContainerLogs, Deletion, DesiredPod, Effect, Error, Node, Plugin, Pods, Stats, clock, store, testing,
};

use crate::Mock;
use crate::backend::{self, Counts, TIMED};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A pod of one container, `web`, with the mock's annotations.
fn pod(name: &str, annotations: &[(&str, &str)]) -> DesiredPod {
    pod_with(name, annotations, json!({"containers": [{"name": "web", "image": "nginx:1"}]}))
}

fn pod_with(name: &str, annotations: &[(&str, &str)], spec: Value) -> DesiredPod {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| (format!("mock.virtual-kubelet.io/{key}"), json!(value))).collect();
    let metadata =
        json!({"name": name, "namespace": "default", "uid": format!("u-{name}"), "annotations": annotations});
    testing::desired(&json!({"metadata": metadata, "spec": spec}).to_string())
}

fn create(pod: &DesiredPod) -> Value {
    status(&Mock::create_pod(pod.clone()).unwrap().unwrap().status)
}

fn status(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn get(pod: &DesiredPod) -> Option<Value> {
    Mock::get_pod_status(pod.id.clone()).unwrap().map(|text| status(&text))
}

fn phase(pod: &DesiredPod) -> String {
    get(pod).map_or_else(|| "gone".to_owned(), |status| status["phase"].as_str().unwrap().to_owned())
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == kind).unwrap()
}

fn next(cursor: Option<String>, wait: u64) -> Batch {
    Mock::next(cursor, seconds(wait)).unwrap()
}

fn listed() -> Option<String> {
    let batch = next(None, 0);
    assert_eq!(batch.scope, Scope::Listed);
    batch.cursor
}

fn told(batch: &Batch) -> Vec<String> {
    let changed =
        batch.changed.iter().map(|pod| format!("{} {}", pod.id.name, status(&pod.status)["phase"].as_str().unwrap()));
    changed.chain(batch.touched.iter().map(|id| format!("{} touched", id.name))).collect()
}

fn logs(pod: &DesiredPod, options: Options) -> Result<Vec<String>, Error> {
    logs_of(pod, "web", options)
}

/// All that was counted for a pod.
fn counted(pod: &DesiredPod) -> Counts {
    let record = backend::find(&pod.id).unwrap();
    backend::counts(&pod.id, record.map(|record| record.value.counts).unwrap_or_default()).unwrap()
}

fn logs_of(pod: &DesiredPod, container: &str, options: Options) -> Result<Vec<String>, Error> {
    let (sink, reader) = testing::pipe(usize::MAX);
    Mock::get_container_logs(pod.id.clone(), container.to_owned(), options, sink)?;
    Ok(reader.entries().iter().map(|entry| String::from_utf8(entry.bytes.clone()).unwrap()).collect())
}

#[test]
fn a_plain_pod_comes_with_one_write_and_goes_with_one_removal() {
    testing::reset();
    let plain = pod("plain", &[]);
    let before = testing::writes();
    let status = create(&plain);
    assert_eq!(testing::writes() - before, 1);
    let expected = json!({
        "phase": "Running", "startTime": "2026-11-24T10:00:00Z",
        "podIP": status["podIP"], "podIPs": [{"ip": status["podIP"]}],
        "conditions": [
            {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": "2026-11-24T10:00:00Z"},
            {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-11-24T10:00:00Z"},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-11-24T10:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T10:00:00Z"}],
        "containerStatuses": [{"name": "web", "image": "nginx:1", "imageID": "mock://nginx:1", "containerID": "mock://u-plain/web/0",
            "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-11-24T10:00:00Z"}}}],
    });
    assert_eq!(status, expected);
    let ip: std::net::Ipv4Addr = status["podIP"].as_str().unwrap().parse().unwrap();
    assert!((240..255).contains(&ip.octets()[0]), "{ip}");
    assert_eq!(get(&plain), Some(status));
    assert!(store::keys(TIMED, None).unwrap().is_empty());
    assert_eq!(testing::writes() - before, 1, "a look writes nothing");
    Mock::delete_pod(plain.id, None, None).unwrap();
    assert_eq!(testing::writes() - before, 3, "a count, which is in memory alone, and the removal");
}

#[test]
fn a_crashing_container_is_told_as_the_kubelet_tells_it() {
    testing::reset();
    let crash = pod("crash", &[("run-for", "5s"), ("exit-code", "3"), ("restart-backoff", "1s")]);
    create(&crash);
    testing::advance(seconds(5));
    assert_eq!(get(&crash).unwrap()["containerStatuses"][0]["restartCount"], 1);
    testing::advance(Duration::from_millis(5500));
    let status = get(&crash).unwrap();
    assert_eq!(status["phase"], "Running");
    let end = json!({"exitCode": 3, "reason": "Error", "startedAt": "2026-11-24T10:00:05Z", "finishedAt": "2026-11-24T10:00:10Z",
        "containerID": "mock://u-crash/web/1"});
    let container = &status["containerStatuses"][0];
    assert_eq!(container["lastState"]["terminated"], end);
    assert_eq!(container["restartCount"], 1);
    assert_eq!(
        container["state"]["waiting"],
        json!({"reason": "CrashLoopBackOff", "message": "back-off 1s restarting failed container=web pod=crash_default(u-crash)"})
    );
    assert_eq!(
        *condition(&status, "Ready"),
        json!({"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-24T10:00:10Z", "reason": "ContainersNotReady",
            "message": "containers with unready status: [web]"})
    );
    testing::advance(Duration::from_millis(500));
    let container = &get(&crash).unwrap()["containerStatuses"][0];
    assert_eq!(container["state"]["running"]["startedAt"], "2026-11-24T10:00:11Z");
    assert_eq!((&container["restartCount"], &container["lastState"]["terminated"]), (&json!(2), &end));
}

#[test]
fn a_job_completes_and_fails() {
    testing::reset();
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "job"}]});
    let good = pod_with("good", &[("run-for", "2s")], spec.clone());
    let bad = pod_with("bad", &[("run-for", "2s"), ("exit-code", "7")], spec);
    create(&good);
    create(&bad);
    testing::advance(seconds(3));
    let (good, bad) = (get(&good).unwrap(), get(&bad).unwrap());
    assert_eq!((&good["phase"], &bad["phase"]), (&json!("Succeeded"), &json!("Failed")));
    assert_eq!(good["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(bad["containerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
    for (kind, good_reason) in
        [("Ready", "PodCompleted"), ("ContainersReady", "PodCompleted"), ("Initialized", "PodCompleted")]
    {
        assert_eq!(condition(&good, kind)["reason"], good_reason, "{kind}");
    }
    assert_eq!(condition(&bad, "Ready")["reason"], "PodFailed");
    assert_eq!(condition(&good, "Ready")["lastTransitionTime"], "2026-11-24T10:00:02Z");
    assert_eq!(condition(&good, "PodReadyToStartContainers")["status"], "False");
}

#[test]
fn init_containers_hold_the_pod_up() {
    testing::reset();
    let spec = json!({"initContainers": [{"name": "proxy", "image": "p", "restartPolicy": "Always"}, {"name": "setup", "image": "s"}],
        "containers": [{"name": "web", "image": "w"}]});
    let pod = pod_with("init", &[("start-after", "1s"), ("run-for.setup", "2s")], spec);
    let status = create(&pod);
    assert_eq!(status["podIP"], Value::Null);
    assert_eq!(condition(&status, "PodReadyToStartContainers")["status"], "False");
    assert_eq!(condition(&status, "Initialized")["message"], "containers with incomplete status: [proxy setup]");
    testing::advance(seconds(2));
    let status = get(&pod).unwrap();
    assert_eq!(status["phase"], "Pending");
    assert_eq!(condition(&status, "Initialized")["message"], "containers with incomplete status: [setup]");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    let ready = |status: &Value| {
        let list = status["initContainerStatuses"].as_array().unwrap();
        list.iter().map(|container| container["ready"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ready(&status), [true, false], "a sidecar that runs, and an init container that does");
    testing::advance(seconds(1));
    let status = get(&pod).unwrap();
    assert_eq!(ready(&status), [true, true]);
    assert_eq!(status["phase"], "Running");
    assert_eq!(condition(&status, "Initialized")["lastTransitionTime"], "2026-11-24T10:00:03Z");
    assert_eq!(status["initContainerStatuses"][1]["state"]["terminated"]["reason"], "Completed");
}

#[test]
fn a_sidecar_that_has_ended_is_not_ready_and_its_log_has_an_end() {
    testing::reset();
    let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "proxy", "image": "p", "restartPolicy": "Always"}],
        "containers": [{"name": "web", "image": "w"}]});
    let pod = pod_with("job", &[("run-for", "5s"), ("log-every.proxy", "2s")], spec);
    create(&pod);
    let follow = Options { follow: true, tail: Some(0), ..Options::default() };
    assert_eq!(logs_of(&pod, "proxy", follow).unwrap(), ["tick 1", "tick 2"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
    let proxy = &get(&pod).unwrap()["initContainerStatuses"][0];
    assert_eq!((&proxy["ready"], &proxy["state"]["terminated"]["exitCode"]), (&json!(false), &json!(0)));
}

#[test]
fn an_ordinary_container_with_a_policy_of_its_own_is_no_sidecar() {
    testing::reset();
    let spec =
        json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "w", "restartPolicy": "Always"}]});
    let pod = pod_with("own", &[("run-for", "5s"), ("exit-code", "1")], spec);
    create(&pod);
    testing::advance(seconds(6));
    let status = get(&pod).unwrap();
    assert_eq!(
        (&status["phase"], &status["containerStatuses"][0]["restartCount"], &status["initContainerStatuses"]),
        (&json!("Running"), &json!(1), &Value::Null)
    );
    let rules = json!({"containers": [{"name": "web", "image": "w", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]});
    let error = Mock::create_pod(pod_with("rules", &[], rules)).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (Code::Unimplemented, Some("spec.containers[0].restartPolicyRules"))
    );
}

#[test]
fn a_create_is_idempotent_by_uid() {
    testing::reset();
    let pod = pod("twice", &[("start-after", "9s")]);
    create(&pod);
    testing::advance(seconds(3));
    assert_eq!(create(&pod)["startTime"], "2026-11-24T10:00:00Z");
    assert_eq!((counted(&pod).create, counted(&pod).made), (2, 1));
    assert_eq!(told(&next(listed(), 60)), ["twice Running"], "the second call did not move its start");
    assert_eq!(testing::now().since(clock_start()), seconds(9));
}

#[test]
fn a_second_workload_for_a_uid_is_counted() {
    testing::reset();
    let pod = pod("again", &[]);
    create(&pod);
    assert_eq!(Mock::delete_pod(pod.id.clone(), None, None).unwrap(), Deletion::Gone);
    create(&pod);
    assert_eq!(logs(&pod, Options::default()).unwrap(), ["calls create=2 update=0 delete=1 workloads=2"]);
}

#[test]
fn a_namesake_is_another_pod() {
    testing::reset();
    let first = pod("web", &[]);
    create(&first);
    let mut second = first.clone();
    second.id.uid = "u-other".to_owned();
    assert!(Mock::get_pod(second.id.clone()).unwrap().is_none());
    create(&second);
    Mock::delete_pod(first.id, None, None).unwrap();
    assert!(Mock::get_pod(second.id).unwrap().is_some());
}

#[test]
fn a_removal_takes_its_time_and_a_shorter_grace_shortens_it() {
    testing::reset();
    let slow = pod("slow", &[("stop-after", "20s")]);
    create(&slow);
    let delete = |grace: Option<u64>| Mock::delete_pod(slow.id.clone(), None, grace.map(seconds)).unwrap();
    assert_eq!(delete(None), Deletion::Stopping);
    testing::advance(seconds(5));
    assert_eq!(delete(Some(60)), Deletion::Stopping);
    assert_eq!(phase(&slow), "Running");
    assert_eq!(delete(Some(2)), Deletion::Stopping);
    testing::advance(Duration::from_millis(1999));
    assert_eq!(phase(&slow), "Running");
    testing::advance(Duration::from_millis(1));
    assert_eq!(phase(&slow), "gone");
    assert_eq!(delete(None), Deletion::Gone);
    assert!(store::keys("pods/", None).unwrap().is_empty() && store::keys(TIMED, None).unwrap().is_empty());
    create(&slow);
    delete(None);
    assert_eq!(delete(Some(0)), Deletion::Gone);
}

#[test]
fn a_workload_can_vanish() {
    testing::reset();
    let pod = pod("ghost", &[("vanish-after", "5s")]);
    create(&pod);
    let cursor = listed();
    let batch = next(cursor, 60);
    assert_eq!((told(&batch), testing::now().since(clock_start()).as_secs()), (vec!["ghost touched".to_owned()], 5));
    assert_eq!(phase(&pod), "gone");
    assert!(Mock::get_pods(None).unwrap().items.is_empty());
    create(&pod);
    assert_eq!(counted(&pod).made, 2);
    testing::advance(seconds(6));
    create(&pod);
    assert_eq!(counted(&pod).made, 3, "the one that vanished meanwhile is cleared away by the create itself");
    assert_eq!(store::keys(TIMED, None).unwrap().len(), 1);
}

fn clock_start() -> vk_provider::time::Time {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

#[test]
fn an_update_keeps_the_workload_and_its_age() {
    testing::reset();
    let mut pod = pod("new", &[]);
    create(&pod);
    testing::advance(seconds(4));
    pod.revision = "1-next".to_owned();
    pod.manifest = pod.manifest.replace("nginx:1", "nginx:2");
    Mock::update_pod(pod.clone()).unwrap();
    let observed = Mock::get_pod(pod.id.clone()).unwrap().unwrap();
    assert_eq!(observed.revision.as_deref(), Some("1-next"));
    let status = status(&observed.status);
    assert_eq!(
        (&status["containerStatuses"][0]["image"], &status["startTime"]),
        (&json!("nginx:2"), &json!("2026-11-24T10:00:00Z"))
    );
    assert_eq!(logs(&pod, Options::default()).unwrap(), ["calls create=1 update=1 delete=0 workloads=1"]);
    let mut unknown = pod.clone();
    unknown.id.uid = "u-unknown".to_owned();
    assert_eq!(Mock::update_pod(unknown).unwrap_err().code, Code::NotFound);
    pod.manifest = pod
        .manifest
        .replace("\"annotations\":{}", "\"annotations\":{\"mock.virtual-kubelet.io/update-fault\":\"unimplemented\"}");
    assert_eq!(Mock::update_pod(pod).unwrap_err().code, Code::Unimplemented);
}

#[test]
fn an_update_may_start_and_end_what_time_does() {
    testing::reset();
    let mut pod = pod("web", &[]);
    create(&pod);
    let annotated = |pod: &DesiredPod, from: &str, to: &str| DesiredPod {
        manifest: pod.manifest.replace(&format!("\"annotations\":{from}"), &format!("\"annotations\":{to}")),
        ..pod.clone()
    };
    let crash = r#"{"mock.virtual-kubelet.io/run-for":"5s"}"#;
    pod = annotated(&pod, "{}", crash);
    Mock::update_pod(pod.clone()).unwrap();
    assert_eq!(told(&next(listed(), 60)), ["web Running"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
    let writes = testing::writes();
    pod = annotated(&pod, crash, "{}");
    Mock::update_pod(pod.clone()).unwrap();
    assert_eq!(testing::writes() - writes, 3, "a count, the record, and the timing that no longer holds");
    assert!(store::keys(TIMED, None).unwrap().is_empty());
    assert_eq!(Mock::delete_pod(pod.id.clone(), None, None).unwrap(), Deletion::Gone);
    assert_eq!(Mock::update_pod(pod).unwrap_err().code, Code::NotFound);
}

#[test]
fn faults_strike_before_or_after_the_act() {
    testing::reset();
    let made = |name: &str| store::keys(&format!("pods/default/{name}/"), None).unwrap().len();
    let busy = pod("busy", &[("create-fault", "resource-exhausted for=3s times=2")]);
    for _ in 0..2 {
        let error = Mock::create_pod(busy.clone()).unwrap_err();
        assert_eq!((error.code, error.retry_after), (Code::ResourceExhausted, Some(seconds(3))));
    }
    assert_eq!(made("busy"), 0);
    create(&busy);
    assert_eq!(logs(&busy, Options::default()).unwrap(), ["calls create=3 update=0 delete=0 workloads=1"]);

    let lost = pod("lost", &[("create-fault", "lost times=1")]);
    let error = Mock::create_pod(lost.clone()).unwrap_err();
    assert_eq!((error.code, error.effect, made("lost")), (Code::Unavailable, Effect::Unknown, 1));
    create(&lost);
    assert_eq!(counted(&lost).made, 1);

    let late = pod(
        "late",
        &[("create-fault", "late for=9s"), ("get-fault", "unavailable times=1"), ("delete-fault", "lost times=1")],
    );
    testing::cancel_after(seconds(2), Why::Deadline);
    assert_eq!(Mock::create_pod(late.clone()).unwrap_err().code, Code::Cancelled);
    assert_eq!(made("late"), 0);
    testing::go_on();
    create(&late);
    assert_eq!(Mock::get_pod(late.id.clone()).unwrap_err().code, Code::Unavailable);
    assert_eq!(phase(&late), "Running");
    assert_eq!(Mock::delete_pod(late.id.clone(), None, None).unwrap_err().effect, Effect::Unknown);
    assert_eq!((made("late"), Mock::delete_pod(late.id, None, None).unwrap()), (0, Deletion::Gone));
}

#[test]
fn a_bad_annotation_or_manifest_makes_nothing() {
    testing::reset();
    let error = Mock::create_pod(pod("bad", &[("run-for", "soon")])).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("metadata.annotations[mock.virtual-kubelet.io/run-for]"));
    assert_eq!((error.code, testing::writes()), (Code::InvalidArgument, 0));
    assert_eq!(Mock::create_pod(testing::desired("{}")).unwrap_err().reason, "InvalidManifest");
}

#[test]
fn a_store_that_fails_is_never_an_absent_pod() {
    testing::reset();
    let pod = pod("there", &[]);
    create(&pod);
    testing::store_down(true);
    assert_eq!(Mock::get_pod(pod.id.clone()).unwrap_err().code, Code::Unavailable);
    assert!(Mock::get_pods(None).is_err() && Mock::next(None, seconds(1)).is_err());
    assert!(Mock::delete_pod(pod.id, None, None).is_err());
}

#[test]
fn changes_tell_of_writes_while_they_wait() {
    testing::reset();
    let cursor = listed();
    let (first, second) = (pod("first", &[]), pod("second", &[]));
    testing::after(seconds(3), move || drop(create(&first)));
    let batch = next(cursor, 60);
    assert_eq!((told(&batch), testing::now().since(clock_start())), (vec!["first Running".to_owned()], seconds(3)));
    create(&second);
    let batch = next(batch.cursor, 0);
    assert_eq!(told(&batch), ["second Running"]);
    Mock::delete_pod(second.id, None, None).unwrap();
    let batch = next(batch.cursor, 0);
    assert_eq!(told(&batch), ["second touched"]);
    let batch = next(batch.cursor, 7);
    assert!(told(&batch).is_empty());
    assert_eq!((batch.scope, testing::now().since(clock_start())), (Scope::Delta, seconds(10)));
}

#[test]
fn changes_tell_what_time_does_without_a_write() {
    testing::reset();
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "job"}]});
    create(&pod_with("job", &[("start-after", "2s"), ("run-for", "5s")], spec));
    create(&pod("plain", &[]));
    let mut cursor = listed();
    let writes = testing::writes();
    for (at, expected) in [(2, "job Running"), (7, "job Succeeded")] {
        let batch = next(cursor, 60);
        assert_eq!((told(&batch), testing::now().since(clock_start())), (vec![expected.to_owned()], seconds(at)));
        cursor = batch.cursor;
    }
    assert_eq!(testing::writes(), writes);
    assert!(told(&next(cursor, 1)).is_empty());
    assert!(store::keys(TIMED, None).unwrap().is_empty(), "a pod that will not change is not looked at again");
}

#[test]
fn a_dropped_call_loses_nothing() {
    testing::reset();
    create(&pod("job", &[("run-for", "5s"), ("vanish-after", "8s")]));
    let cursor = listed();
    testing::advance(seconds(9));
    assert_eq!(told(&next(cursor.clone(), 0)), ["job touched"]);
    assert_eq!(told(&next(cursor, 0)), ["job touched"]);
}

#[test]
fn a_clock_that_is_set_back_asks_for_a_list() {
    testing::reset();
    create(&pod("job", &[("start-after", "20s")]));
    let cursor = listed();
    let cursor = next(cursor, 10).cursor;
    testing::set_back(seconds(5));
    assert_eq!(Mock::next(cursor, seconds(60)).unwrap_err().code, Code::OutOfRange);
    let cursor = listed();
    assert_eq!(told(&next(cursor, 60)), ["job Running"], "at its time by the clock that counts now");
    assert_eq!(testing::now().since(clock_start()), seconds(20));
}

#[test]
fn a_timing_without_a_record_is_forgotten_after_a_while() {
    testing::reset();
    let pod = pod("crash", &[("run-for", "30s")]);
    create(&pod);
    // As if the host had been killed in the midst of the removal.
    store::remove(&backend::key("pods/", &pod.id), store::Expect::Anything).unwrap();
    let mut cursor = listed();
    for (wait, left) in [(40, 1), (60, 0)] {
        let batch = next(cursor, wait);
        assert!(told(&batch).is_empty());
        assert_eq!(store::keys(TIMED, None).unwrap().len(), left, "after {wait} s more");
        cursor = batch.cursor;
    }
}

#[test]
fn changes_end_when_the_host_wants_it() {
    testing::reset();
    let cursor = listed();
    testing::cancel_after(seconds(2), Why::Replaced);
    let batch = next(cursor, 60);
    assert!(told(&batch).is_empty() && batch.cursor.is_some());
    assert_eq!(testing::now().since(clock_start()), seconds(2));
}

#[test]
fn an_outworn_cursor_is_out_of_range() {
    testing::reset();
    let cursor = listed();
    create(&pod("a", &[]));
    testing::forget_history();
    for bad in [cursor, Some("{}".to_owned())] {
        assert_eq!(Mock::next(bad, seconds(0)).unwrap_err().code, Code::OutOfRange);
    }
    assert_eq!(told(&next(None, 0)), ["a Running"]);
}

#[test]
fn a_store_that_is_down_leaves_the_cursor_good() {
    testing::reset();
    let cursor = listed();
    create(&pod("a", &[]));
    testing::store_down(true);
    assert_eq!(Mock::next(cursor.clone(), seconds(0)).unwrap_err().code, Code::Unavailable);
    testing::store_down(false);
    assert_eq!(told(&next(cursor, 0)), ["a Running"]);
}

#[test]
fn a_full_list_writes_nothing() {
    testing::reset();
    create(&pod("a", &[]));
    let writes = testing::writes();
    next(None, 0);
    assert_eq!(testing::writes(), writes);
}

#[test]
fn a_thousand_pods_come_in_pages_and_their_common_moment_in_batches() {
    testing::reset();
    for number in 0..1200 {
        create(&pod(&format!("p{number:04}"), &[("start-after", "5s")]));
    }
    let (mut cursor, mut seen, mut scopes) = (None, Vec::new(), Vec::new());
    loop {
        let batch = next(cursor, 0);
        seen.extend(told(&batch));
        scopes.push((batch.scope, batch.changed.len() <= 500));
        cursor = batch.cursor;
        if batch.scope == Scope::Listed {
            break;
        }
    }
    assert_eq!(seen.len(), 1200);
    assert!(scopes.len() >= 3 && scopes.iter().all(|(_, fits)| *fits));
    let mut after = Vec::new();
    while after.len() < 1200 {
        let batch = next(cursor, 60);
        assert!(!batch.changed.is_empty() && batch.changed.len() + batch.touched.len() <= 500);
        after.extend(told(&batch));
        cursor = batch.cursor;
    }
    after.sort();
    after.dedup();
    assert_eq!((after.len(), after[0].as_str()), (1200, "p0000 Running"));
    let mut listed = 0;
    let mut next_page = None;
    loop {
        let page = Mock::get_pods(next_page).unwrap();
        listed += page.items.len();
        next_page = page.next;
        if next_page.is_none() {
            break;
        }
    }
    assert_eq!(listed, 1200);
}

#[test]
fn logs_are_the_same_for_every_reader() {
    testing::reset();
    let pod = pod("log", &[("log-lines", "3"), ("log-every", "2s")]);
    create(&pod);
    testing::advance(seconds(5));
    let all = [
        "calls create=1 update=0 delete=0 workloads=1",
        "line 1 of 3",
        "line 2 of 3",
        "line 3 of 3",
        "tick 1",
        "tick 2",
    ];
    assert_eq!(logs(&pod, Options::default()).unwrap(), all);
    assert_eq!(logs(&pod, Options { tail: Some(2), ..Options::default() }).unwrap(), all[4..]);
    assert_eq!(logs(&pod, Options { tail: Some(0), ..Options::default() }).unwrap(), [""; 0]);
    assert_eq!(
        logs(&pod, Options { since: Some(clock_start() + seconds(2)), ..Options::default() }).unwrap(),
        all[4..]
    );
    let third = clock_start() + Duration::from_nanos(2);
    assert_eq!(logs(&pod, Options { since: Some(third), ..Options::default() }).unwrap(), all[2..]);
    assert_eq!(logs(&pod, Options { limit_bytes: Some(50), ..Options::default() }).unwrap(), all[..2]);
}

#[test]
fn logs_are_followed_to_the_end_of_the_attempt() {
    testing::reset();
    let pod = pod("follow", &[("log-every", "2s"), ("run-for", "5s"), ("restart-backoff", "1s")]);
    create(&pod);
    let follow = Options { follow: true, tail: Some(0), ..Options::default() };
    assert_eq!(logs(&pod, follow).unwrap(), ["tick 1", "tick 2"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
    testing::advance(seconds(3));
    let whole = ["calls create=1 update=0 delete=0 workloads=1", "tick 1", "tick 2"];
    assert_eq!(logs(&pod, Options { previous: true, ..Options::default() }).unwrap(), whole);
    assert_eq!(logs(&pod, Options { attempt: Some(0), follow: true, ..Options::default() }).unwrap(), whole);
    assert_eq!(logs(&pod, Options::default()).unwrap(), whole[..2]);
    let error = logs(&pod, Options { attempt: Some(7), ..Options::default() }).unwrap_err();
    assert_eq!(error.message, "previous terminated container \"web\" in pod \"follow\" not found");
}

#[test]
fn a_follow_ends_with_the_pod_the_reader_or_the_call() {
    testing::reset();
    let pod = pod("end", &[("stop-after", "4s"), ("log-every", "1s")]);
    create(&pod);
    let follow = Options { follow: true, ..Options::default() };
    let id = pod.id.clone();
    testing::after(seconds(2), move || assert_eq!(Mock::delete_pod(id, None, None).unwrap(), Deletion::Stopping));
    assert_eq!(logs(&pod, follow).unwrap().len(), 1 + 6);
    assert_eq!(testing::now().since(clock_start()), seconds(6));

    create(&pod);
    let (sink, reader) = testing::pipe(3);
    Mock::get_container_logs(pod.id.clone(), "web".to_owned(), follow, sink).unwrap();
    assert_eq!(reader.entries().len(), 3);

    testing::cancel_after(seconds(5), Why::ClientGone);
    assert!(!logs(&pod, follow).unwrap().is_empty());
}

#[test]
fn a_follow_outlives_the_stores_history() {
    testing::reset();
    let followed = pod("follow", &[("log-every", "2s"), ("run-for", "5s")]);
    create(&followed);
    testing::after(seconds(1), || {
        create(&pod("other", &[]));
        testing::forget_history();
    });
    let follow = Options { follow: true, tail: Some(0), ..Options::default() };
    assert_eq!(logs(&followed, follow).unwrap(), ["tick 1", "tick 2"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    testing::reset();
    let pod = pod("slow", &[("log-lines", "1200")]);
    create(&pod);
    let (sink, reader) = testing::pipe(usize::MAX);
    reader.pause(seconds(2));
    Mock::get_container_logs(pod.id.clone(), "web".to_owned(), Options::default(), sink).unwrap();
    assert_eq!(reader.entries().len(), 1201);
    assert_eq!(testing::now().since(clock_start()), seconds(4), "three writes with two pauses between them");
}

#[test]
fn a_log_that_is_not_there_is_explained() {
    testing::reset();
    let late = pod("late", &[("start-after", "9s")]);
    create(&late);
    let error = logs(&late, Options::default()).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "container \"web\" in pod \"late\" is waiting to start: ContainerCreating");
    let ask = |id, container: &str| {
        Mock::get_container_logs(id, container.to_owned(), Options::default(), testing::pipe(9).0).unwrap_err()
    };
    assert_eq!(ask(late.id.clone(), "db").code, Code::NotFound);
    assert_eq!(ask(pod("unknown", &[]).id, "web").code, Code::NotFound);
}

#[test]
fn the_environment_is_printed_and_secrets_are_not() {
    testing::reset();
    let with = |name: &str, reveal: &str| {
        let mut pod = pod(name, &[("log-env", "true"), ("reveal-secrets", reveal)]);
        let env = |name: &str, value: &str, secret| vk_provider::pod::EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
            secret,
        };
        pod.containers[0].env = vec![env("A", "1", false), env("TOKEN", "hunter2", true)];
        pod.containers[0].args = vec!["--x".to_owned(), "y".to_owned()];
        create(&pod);
        let stored =
            format!("{:?}", store::get_bytes(&format!("pods/default/{name}/u-{name}")).unwrap().unwrap().value);
        let secret = format!("{:?}", b"hunter2").trim_matches(['[', ']']).to_owned();
        (logs(&pod, Options::default()).unwrap()[1..].to_vec(), stored.contains(&secret))
    };
    assert_eq!(
        with("hidden", "false"),
        (vec!["command ".into(), "args --x y".into(), "env A=1".into(), "env TOKEN=(secret, 7 bytes)".into()], false)
    );
    let (shown, stored) = with("shown", "true");
    assert_eq!((shown[3].as_str(), stored), ("env TOKEN=hunter2", true));
}

#[test]
fn usage_grows_with_time() {
    testing::reset();
    let spec = json!({"containers": [{"name": "web", "image": "w", "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]});
    create(&pod_with("busy", &[], spec));
    create(&pod("late", &[("start-after", "1h")]));
    testing::advance(seconds(10));
    let usage = Mock::get_stats_summary(None).unwrap().items;
    assert_eq!(usage.len(), 2);
    assert_eq!(usage[0].container.as_deref(), Some("web"));
    assert_eq!((usage[0].cpu, usage[0].memory_working_set_bytes), (Some(Duration::from_millis(2500)), Some(32 << 20)));
    assert_eq!((usage[1].cpu, usage[1].network_received_bytes), (usage[0].cpu, Some(2000)));
}

#[test]
fn what_a_pod_has_used_does_not_fall_when_a_container_starts_again() {
    testing::reset();
    let spec = json!({"containers": [{"name": "web", "image": "w", "resources": {"requests": {"cpu": "500m"}}}]});
    create(&pod_with("crash", &[("run-for", "6s"), ("exit-code", "1")], spec));
    testing::advance(seconds(10));
    let usage = Mock::get_stats_summary(None).unwrap().items;
    // The first restart is at once: it runs for the fourth second of its second attempt.
    let cpu: Vec<_> = usage.iter().map(|usage| usage.cpu.unwrap()).collect();
    assert_eq!(cpu, [Duration::from_secs(1), Duration::from_millis(2500)]);
}

#[test]
fn the_node_is_what_the_file_says_and_faults_follow_it() {
    testing::reset();
    assert!(Mock::configure().is_ok() && Mock::ping().is_ok());
    let capacity: Vec<String> =
        Mock::capacity().unwrap().into_iter().map(|it| format!("{}={}", it.resource, it.capacity)).collect();
    assert_eq!(capacity, ["cpu=20", "memory=100Gi", "pods=20"]);
    testing::node(|node| node.operating_system = "Windows".to_owned());
    assert_eq!(Mock::operating_system().unwrap(), "windows");
    testing::configure("cpu = \"x\"\npods = []");
    assert_eq!(Mock::configure().unwrap_err().len(), 2);
    testing::configure(
        "providerID = \"mock://r\"\n[faults]\nping = \"unavailable\"\nget-pods = \"internal\"\nchanges = \"unavailable\"",
    );
    assert_eq!(Mock::node_details().unwrap().provider_id.as_deref(), Some("mock://r"));
    assert_eq!(Mock::ping().unwrap_err().code, Code::Unavailable);
    assert_eq!(Mock::get_pods(None).unwrap_err().code, Code::Internal);
    assert_eq!(Mock::next(None, seconds(1)).unwrap_err().code, Code::Unavailable);
    assert!(Mock::stop().is_ok() && clock::now() == clock_start());
}
