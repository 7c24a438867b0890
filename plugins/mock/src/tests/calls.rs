//! Calls about one pod: what they make of it, and how they go wrong.

use super::*;

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
    assert_eq!(Mock::create_pod(late.clone()).unwrap_err().code, Code::DeadlineExceeded);
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
