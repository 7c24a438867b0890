use serde_json::json;

use crate::pods::machine::fixture::{Stage, containers, stage};

fn running(spec: serde_json::Value) -> Stage {
    let mut stage = stage(spec);
    stage.run().did();
    stage.reasons();
    stage
}

#[test]
fn a_sandbox_that_was_lost_is_made_anew_with_all_its_containers() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({})), ("b", json!({}))])}));
    stage.obedient = vec![("a".into(), 143), ("b".into(), 143)];
    stage.lose_sandbox().run();
    assert_eq!(
        stage.did(),
        [
            "kill a",
            "kill b",
            "stop a 0 30",
            "stop b 0 30",
            "ensure sandbox",
            "check a",
            "check b",
            "start a 1",
            "start b 1"
        ]
    );
    assert_eq!(stage.told(), ["a 1 running ready", "b 1 running ready"]);
    assert_eq!(stage.reasons()[..3], ["SandboxChanged", "Killing", "Killing"]);
    assert!(!stage.memory.sandbox.lost);
}

#[test]
fn init_containers_run_again_in_a_new_sandbox() {
    let init = containers(&[("x", json!({})), ("s", json!({"restartPolicy": "Always"}))]);
    let mut stage = running(
        json!({"restartPolicy": "OnFailure", "initContainers": init, "containers": containers(&[("a", json!({}))])}),
    );
    stage.obedient = vec![("a".into(), 0), ("s".into(), 0)];
    stage.exit("x", 0, 0).run().did();
    stage.lose_sandbox().run();
    let did = stage.did();
    assert_eq!(did[..4], ["kill s", "kill a", "stop a 0 30", "stop s 0 30"]);
    assert_eq!(did[4..], ["remove x 0", "remove s 0", "ensure sandbox", "check x", "start x 1"]);
    // The API server takes no word back on a container that has done its work.
    assert_eq!(stage.told()[0], "x 0 terminated 0 Completed");
    assert_eq!(stage.exit("x", 1, 0).run().did(), ["check s", "start s 1", "check a", "start a 1"]);
    assert_eq!(stage.told(), ["x 1 terminated 0 Completed", "s 1 running ready", "a 1 running ready"]);
}

#[test]
fn a_pod_that_is_run_once_is_not_begun_anew() {
    let mut stage =
        running(json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({})), ("b", json!({}))])}));
    stage.obedient = vec![("b".into(), 0)];
    stage.exit("a", 0, 0).run();
    stage.lose_sandbox().run();
    assert_eq!(stage.did(), ["kill b", "stop b 0 30"]);
    assert_eq!(stage.phase(), "Succeeded", "both have ended well");
    let mut lost = running(json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({}))])}));
    lost.engine = None;
    lost.memory.look.hinted = true;
    assert!(lost.run().did().is_empty());
    assert_eq!(
        (lost.told(), lost.phase()),
        (vec!["a 0 terminated 137 ContainerStatusUnknown".to_string()], "Failed".into())
    );
}

#[test]
fn a_pod_that_is_run_once_and_has_run_nothing_yet_gets_its_sandbox() {
    let mut stage = stage(
        json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({"imagePullPolicy": "Always"}))])}),
    );
    stage.slow = vec!["pull".into()];
    stage.run().did();
    stage.lose_sandbox().run();
    assert_eq!(stage.did(), ["ensure sandbox"]);
}

#[test]
fn who_has_succeeded_does_not_run_again_in_a_new_sandbox() {
    let mut stage =
        running(json!({"restartPolicy": "OnFailure", "containers": containers(&[("a", json!({})), ("b", json!({}))])}));
    stage.obedient = vec![("b".into(), 0)];
    stage.exit("a", 0, 0).run().did();
    stage.lose_sandbox().run();
    let did = stage.did();
    assert!(did.contains(&"start b 1".to_string()) && !did.contains(&"start a 1".to_string()), "{did:?}");
    stage.exit("b", 1, 0).run();
    assert_eq!(stage.phase(), "Succeeded");
    stage.did();
    assert!(stage.lose_sandbox().run().did().is_empty(), "a pod that is over needs none");
}

#[test]
fn a_container_that_was_lost_is_run_again_by_its_policy() {
    for (policy, did, told, phase) in [
        ("Always", vec!["check a", "start a 1"], "a 1 running ready", "Running"),
        ("OnFailure", vec!["check a", "start a 1"], "a 1 running ready", "Running"),
        ("Never", vec!["stop sandbox"], "a 0 terminated 137 ContainerStatusUnknown", "Failed"),
    ] {
        let mut stage = running(json!({"restartPolicy": policy, "containers": containers(&[("a", json!({}))])}));
        assert_eq!(stage.take("a", 0).run().did(), did, "{policy}");
        assert_eq!((stage.told(), stage.phase()), (vec![told.to_string()], phase.to_string()), "{policy}");
    }
}

#[test]
fn what_is_not_to_be_seen_yet_is_not_lost() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.memory.settle = std::time::Duration::from_secs(30);
    assert!(stage.take("a", 0).run().did().is_empty());
    assert_eq!(stage.told(), ["a 0 running ready"]);
    stage.put(crate::pods::machine::fixture::container("a", 0, crate::provider::containers::Phase::Running));
    assert!(stage.after(31).did().is_empty(), "it was there");
}

#[test]
fn a_container_of_which_the_backend_knows_nothing_is_killed_before_it_runs_again() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.put(crate::pods::machine::fixture::container("a", 0, crate::provider::containers::Phase::Lost));
    assert_eq!(stage.run().did(), ["kill a", "stop a 0 30"]);
    assert_eq!(stage.told(), ["a 0 terminated 137 ContainerStatusUnknown"]);
    assert_eq!(stage.after(30).did(), ["stop a 0 0", "check a", "start a 1"]);
}

#[test]
fn a_container_that_vanished_is_missed_once_the_backend_has_settled_though_nothing_is_heard_of_it() {
    let settling = || {
        let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
        stage.memory.settle = std::time::Duration::from_secs(30);
        stage
    };
    let mut lost = settling();
    assert!(lost.take("a", 0).run().did().is_empty());
    assert_eq!(lost.waits(), Some(30));
    assert!(lost.after(29).did().is_empty());
    assert_eq!(lost.after(1).did(), ["check a", "start a 1"]);
    assert_eq!((lost.told(), lost.waits()), (vec!["a 1 running ready".to_string()], None));
    // It went while the host was away.
    let mut away = settling();
    away.take("a", 0);
    assert!(away.restart_host().did().is_empty());
    assert_eq!((away.told(), away.waits()), (vec!["a 0 running ready".to_string()], Some(30)));
    assert_eq!(away.after(30).did(), ["check a", "start a 1"]);
    // It came back, and nobody heard of that either.
    let mut back = settling();
    back.take("a", 0).run();
    back.put(crate::pods::machine::fixture::container("a", 0, crate::provider::containers::Phase::Running));
    back.memory.look.hinted = false;
    assert!(back.after(30).did().is_empty(), "it is looked for before it counts as lost");
    assert_eq!((back.told(), back.waits()), (vec!["a 0 running ready".to_string()], None));
}

#[test]
fn an_end_waits_for_a_container_that_vanished_no_longer_than_the_backend_takes_to_settle() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.memory.settle = std::time::Duration::from_secs(30);
    let (now, until) = (stage.now, stage.now.plus(std::time::Duration::from_secs(3600)));
    stage.memory.end(crate::pods::machine::memory::Ending { until, remove: true }, now);
    stage.run().did();
    stage.take("a", 0).run();
    assert_eq!(stage.waits(), Some(30));
    assert_eq!(stage.after(30).did(), ["remove sandbox"]);
}

#[test]
fn a_sandbox_that_dies_whenever_it_is_made_is_made_ever_more_rarely() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    stage.slow = vec!["ensure sandbox".into()];
    stage.run();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(stage.did(), ["ensure sandbox"]);
        // It was ready when that was said, and is not when it is looked at.
        let sandbox = crate::pods::machine::fixture::sandbox;
        stage.engine =
            Some(crate::provider::containers::SandboxState { sandbox: sandbox(false), containers: Vec::new() });
        let made = crate::pods::machine::memory::outcome::Outcome::Sandbox(Ok(sandbox(true)));
        stage.finish(&crate::pods::machine::action::Action::EnsureSandbox, made);
        assert!(stage.run().did().is_empty());
        let wait = stage.waits().unwrap();
        pauses.push(wait);
        stage.after(wait);
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    stage.slow.clear();
    stage.complete("ensure sandbox").did();
    stage.obedient = vec![("a".into(), 0)];
    assert!(stage.lose_sandbox().run().did().contains(&"ensure sandbox".to_string()), "this one was seen to live");
}
