use serde_json::json;

use crate::pods::machine::fixture::{containers, stage};

/// Two containers, and what they shall be.
fn two(more: serde_json::Value) -> serde_json::Value {
    let mut spec = json!({"containers": containers(&[("a", json!({})), ("b", json!({}))])});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

#[test]
fn the_sandbox_comes_first_and_then_ordinary_containers_all_together() {
    let mut stage = stage(two(json!({})));
    stage.slow = vec!["ensure sandbox".into()];
    assert_eq!(stage.run().did(), ["ensure sandbox"]);
    assert_eq!(stage.told(), ["a 0 waiting ContainerCreating", "b 0 waiting ContainerCreating"]);
    stage.slow.clear();
    stage.complete("ensure sandbox");
    assert_eq!(stage.did(), ["check a", "check b", "start a 0", "start b 0"]);
    assert_eq!(stage.told(), ["a 0 running ready", "b 0 running ready"]);
    assert_eq!(stage.phase(), "Running");
    assert_eq!(stage.waits(), None, "nothing is due");
    assert_eq!(stage.reasons(), ["Pulled", "Pulled", "Created", "Started", "Created", "Started"]);
}

#[test]
fn init_containers_run_one_by_one_before_all_others() {
    let mut stage = stage(two(json!({"initContainers": containers(&[("x", json!({})), ("y", json!({}))])})));
    assert_eq!(stage.run().did(), ["ensure sandbox", "check x", "start x 0"]);
    let waits = "waiting PodInitializing";
    assert_eq!(
        stage.told(),
        ["x 0 running", &format!("y 0 {waits}"), &format!("a 0 {waits}"), &format!("b 0 {waits}")]
    );
    assert_eq!(stage.phase(), "Pending");
    assert_eq!(stage.exit("x", 0, 0).run().did(), ["check y", "start y 0"]);
    assert_eq!(stage.exit("y", 0, 0).run().did(), ["check a", "check b", "start a 0", "start b 0"]);
    assert_eq!(stage.told()[..2], ["x 0 terminated 0 Completed", "y 0 terminated 0 Completed"]);
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn an_init_container_that_fails_is_run_again_or_ends_the_pod() {
    for (policy, phase, did) in [
        ("Always", "Pending", vec!["check x", "start x 1"]),
        ("OnFailure", "Pending", vec!["check x", "start x 1"]),
        ("Never", "Failed", vec!["stop sandbox"]),
    ] {
        let init = containers(&[("x", json!({})), ("y", json!({}))]);
        let mut stage = stage(two(json!({"restartPolicy": policy, "initContainers": init})));
        stage.run().did();
        assert_eq!(stage.exit("x", 0, 1).run().did(), did, "{policy}");
        assert_eq!(stage.phase(), phase, "{policy}");
    }
}

#[test]
fn an_init_container_that_needs_more_memory_than_it_has_has_failed() {
    let mut stage = stage(two(json!({"restartPolicy": "Never", "initContainers": containers(&[("x", json!({}))])})));
    stage.run();
    let mut killed = crate::pods::machine::fixture::container("x", 0, crate::provider::containers::Phase::Exited);
    killed.oom_killed = true;
    assert_eq!(stage.put(killed).run().phase(), "Failed");
}

#[test]
fn a_sidecar_starts_in_its_place_and_holds_up_those_after_it_until_it_has_started() {
    let probe = json!({"restartPolicy": "Always", "startupProbe": {"exec": {"command": ["x"]}, "periodSeconds": 5}});
    let init = containers(&[("w", json!({})), ("s", probe), ("x", json!({}))]);
    let mut stage = stage(two(json!({"initContainers": init})));
    stage.answers = vec![(
        crate::pods::machine::spec::ProbeKind::Startup,
        crate::pods::machine::probe::Answer::Failure("no".into()),
    )];
    stage.run().did();
    assert_eq!(stage.exit("w", 0, 0).run().did(), ["check s", "start s 0", "probe s Startup"]);
    assert_eq!(stage.phase(), "Pending");
    stage.answers.clear();
    assert_eq!(stage.after(5).did(), ["probe s Startup", "check x", "start x 0"]);
    assert_eq!(stage.exit("x", 0, 0).run().did(), ["check a", "check b", "start a 0", "start b 0"]);
    assert_eq!(stage.told()[1], "s 0 running ready");
    assert_eq!(stage.exit("s", 0, 3).run().did(), ["check s", "start s 1", "probe s Startup"], "it restarts always");
    assert_eq!(stage.phase(), "Running", "and takes nothing back");
}

#[test]
fn a_sidecar_does_not_hold_the_end_of_the_pod_up() {
    let init = containers(&[("s", json!({"restartPolicy": "Always"})), ("t", json!({"restartPolicy": "Always"}))]);
    let mut stage = stage(two(json!({"restartPolicy": "Never", "initContainers": init})));
    stage.obedient = vec![("s".into(), 0), ("t".into(), 0)];
    stage.run().did();
    assert!(stage.exit("a", 0, 0).run().did().is_empty());
    stage.exit("b", 0, 0).run();
    assert_eq!(stage.did(), ["kill s", "kill t", "stop t 0 30", "stop s 0 30", "stop sandbox"], "the last one first");
    assert_eq!(stage.phase(), "Succeeded");
    assert_eq!(stage.reasons().iter().filter(|reason| *reason == "Killing").count(), 2);
}

#[test]
fn a_container_behind_a_post_start_hook_waits_for_it() {
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let mut stage = stage(json!({"containers": containers(&[("a", json!({})), ("proxy", hook), ("app", json!({}))])}));
    stage.slow = vec!["postStart".into()];
    stage.run();
    assert_eq!(
        stage.did(),
        ["ensure sandbox", "check a", "check proxy", "start a 0", "start proxy 0", "postStart proxy"]
    );
    assert_eq!(stage.told()[1..], ["proxy 0 waiting ContainerCreating", "app 0 waiting ContainerCreating"]);
    stage.slow.clear();
    assert_eq!(stage.complete("postStart proxy").did(), ["check app", "start app 0"]);
    assert_eq!(stage.told()[1], "proxy 0 running ready");
}

#[test]
fn a_post_start_hook_that_fails_ends_its_container() {
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let mut stage = stage(json!({"containers": containers(&[("a", hook)])}));
    stage.obedient = vec![("a".into(), 143)];
    let error = crate::provider::Error::new(crate::provider::Code::Internal, "R", "it said no");
    stage.faults = vec![("postStart".into(), error)];
    stage.slow = vec!["check a".into()];
    stage.run().complete("check a");
    assert_eq!(
        stage.did(),
        ["ensure sandbox", "check a", "start a 0", "postStart a", "kill a", "stop a 0 30", "check a"]
    );
    assert_eq!(stage.told(), ["a 0 waiting PostStartHookError"]);
    let reasons = stage.reasons();
    assert!(
        reasons.contains(&"FailedPostStartHook".to_string()) && reasons.contains(&"Killing".to_string()),
        "{reasons:?}"
    );
}

#[test]
fn ephemeral_containers_start_beside_all_others_and_never_again() {
    let ephemeral = |name: &str, target: &str| json!({"name": name, "image": "i:1", "targetContainerName": target, "imagePullPolicy": "IfNotPresent"});
    let spec = two(json!({"ephemeralContainers": [ephemeral("e", "a"), ephemeral("f", "nobody")]}));
    let mut stage = stage(spec);
    stage.run();
    let did = stage.did();
    assert!(did.contains(&"start e 0".to_string()) && !did.contains(&"start f 0".to_string()), "{did:?}");
    assert_eq!(stage.told()[2..], ["e 0 running", "f 0 waiting CreateContainerConfigError"]);
    assert!(stage.exit("e", 0, 1).run().did().is_empty());
    assert_eq!(stage.told()[2], "e 0 terminated 1 Error");
    assert_eq!(stage.phase(), "Running");
}

#[test]
fn a_container_that_is_seen_to_run_before_its_start_is_answered_has_its_hook_still_to_come() {
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let spec = json!({"containers": containers(&[("a", json!({})), ("proxy", hook), ("app", json!({}))])});
    let seen = || {
        let mut stage = stage(spec.clone());
        stage.slow = vec!["start".into(), "postStart".into()];
        stage.run();
        let running = crate::provider::containers::Phase::Running;
        stage.put(crate::pods::machine::fixture::container("proxy", 0, running));
        stage.did();
        stage
    };
    let mut stage = seen();
    assert!(stage.complete("start a 0").did().is_empty(), "whoever comes behind it waits");
    assert_eq!(stage.told()[1], "proxy 0 waiting ContainerCreating");
    assert_eq!(stage.complete("start proxy 0").did(), ["postStart proxy"]);
    stage.slow.clear();
    assert_eq!(stage.complete("postStart proxy").did(), ["check app", "start app 0"]);
    // The answer is lost.
    let mut lost = seen();
    let code = crate::provider::Code::DeadlineExceeded;
    let error = crate::provider::Error::new(code, "DeadlineExceeded", "late").with_unknown_effect();
    lost.faults = vec![("start proxy".into(), error)];
    assert_eq!(lost.complete("start proxy 0").did(), ["postStart proxy"]);
}
