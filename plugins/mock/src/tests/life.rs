//! What a pod does over time.

use super::*;

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
