use std::time::Duration;

use serde_json::json;

use crate::pods::machine::fixture::{Stage, called, containers, stage};
use crate::pods::machine::memory::Ending;
use crate::provider::{Code, Error};

/// Asks for the pod's end.
fn end(stage: &mut Stage, grace: u64, remove: bool) {
    let until = stage.now.plus(Duration::from_secs(grace));
    let now = stage.now;
    stage.memory.end(Ending { until, remove }, now);
    stage.run();
}

fn running(spec: serde_json::Value) -> Stage {
    let mut stage = stage(spec);
    stage.run().did();
    stage.reasons();
    stage
}

#[test]
fn containers_are_ended_together_and_then_everything_is_removed() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({})), ("b", json!({}))])}));
    stage.obedient = vec![("a".into(), 0), ("b".into(), 143)];
    end(&mut stage, 30, true);
    assert_eq!(stage.did(), ["kill a", "kill b", "stop a 0 30", "stop b 0 30", "remove sandbox"]);
    assert!(stage.gone);
    assert_eq!(stage.told(), ["a 0 terminated 0 Completed", "b 0 terminated 143 Error"]);
    assert_eq!(stage.phase(), "Failed");
    assert_eq!(stage.reasons(), ["Killing", "Killing"]);
}

#[test]
fn who_does_not_obey_is_killed_when_the_grace_is_over() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    end(&mut stage, 30, true);
    assert_eq!((stage.did(), stage.waits()), (vec!["kill a".to_string(), "stop a 0 30".into()], Some(30)));
    assert_eq!(stage.after(29).did(), Vec::<String>::new());
    assert_eq!(stage.after(1).did(), ["stop a 0 0", "remove sandbox"]);
    assert_eq!(stage.told(), ["a 0 terminated 137 Error"]);
}

#[test]
fn a_kill_that_does_not_help_is_repeated_ever_more_rarely() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    end(&mut stage, 1, true);
    stage.slow = vec!["stop a 0 0".into()];
    let mut pauses = Vec::new();
    stage.after(2);
    for _ in 0..7 {
        // The engine says that it kills, and nothing comes of it.
        let action = stage.memory.flight.iter().find(|action| called(action) == "stop a 0 0").cloned().unwrap();
        let stopping = crate::pods::machine::memory::outcome::Outcome::Deleted(Ok(crate::provider::Deletion::Stopping));
        stage.finish(&action, stopping);
        stage.run();
        let wait = stage.waits().unwrap();
        pauses.push(wait);
        stage.after(wait);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn a_shorter_grace_shortens_what_runs_and_a_longer_one_does_nothing() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    end(&mut stage, 30, true);
    end(&mut stage, 600, true);
    assert_eq!(stage.waits(), Some(30));
    end(&mut stage, 5, true);
    assert_eq!(stage.waits(), Some(5));
    end(&mut stage, 0, true);
    assert_eq!(stage.waits(), Some(2), "a moment is left to it");
    stage.did();
    assert_eq!(stage.after(2).did(), ["stop a 0 0", "remove sandbox"]);
}

#[test]
fn pre_stop_takes_from_the_grace() {
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}});
    let mut stage = running(json!({"containers": containers(&[("a", hook.clone())])}));
    stage.slow = vec!["preStop".into()];
    end(&mut stage, 30, true);
    assert_eq!(stage.did(), ["kill a", "preStop a"]);
    stage.slow.clear();
    stage.now = stage.now.plus(Duration::from_secs(12));
    assert_eq!(stage.complete("preStop a").did(), ["stop a 0 18"]);
    let mut slow = running(json!({"containers": containers(&[("a", hook.clone())])}));
    slow.slow = vec!["preStop".into()];
    end(&mut slow, 30, true);
    slow.did();
    assert_eq!(slow.after(30).did(), ["cancel preStop a", "stop a 0 2"], "it has eaten all, and two seconds are left");
    assert_eq!(slow.after(2).did(), ["stop a 0 0", "remove sandbox"]);
    let mut none = running(json!({"containers": containers(&[("a", hook)])}));
    end(&mut none, 0, true);
    assert_eq!(none.did(), ["kill a", "stop a 0 2"], "without a grace there is no time for a hook");
}

#[test]
fn a_hook_that_fails_does_not_hold_the_end_up() {
    let hook = json!({"lifecycle": {"preStop": {"httpGet": {"port": 80}}}});
    let mut stage = running(json!({"containers": containers(&[("a", hook)])}));
    stage.faults = vec![("preStop".into(), Error::new(Code::Unavailable, "R", "secret"))];
    end(&mut stage, 30, true);
    assert_eq!(stage.did(), ["kill a", "preStop a", "stop a 0 30"]);
    assert_eq!(stage.reasons(), ["Killing", "FailedPreStopHook"]);
}

#[test]
fn sidecars_wait_for_the_others_and_for_each_other_until_the_grace_is_over() {
    let sidecar = json!({"restartPolicy": "Always"});
    let init = containers(&[("s", sidecar.clone()), ("t", sidecar)]);
    let mut stage = running(json!({"initContainers": init, "containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("s".into(), 0), ("t".into(), 0)];
    end(&mut stage, 30, true);
    assert_eq!(stage.did(), ["kill s", "kill t", "kill a", "stop a 0 30"]);
    stage.now = stage.now.plus(Duration::from_secs(10));
    assert_eq!(stage.exit("a", 0, 0).run().did(), ["stop t 0 20", "stop s 0 20", "remove sandbox"]);
    let init = containers(&[("s", json!({"restartPolicy": "Always"}))]);
    let mut late = running(json!({"initContainers": init, "containers": containers(&[("a", json!({}))])}));
    end(&mut late, 30, true);
    late.did();
    assert_eq!(late.after(30).did(), ["stop s 0 2", "stop a 0 0"], "nobody waits beyond the grace");
}

#[test]
fn what_is_being_made_is_called_off() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({"imagePullPolicy": "Always"}))])}));
    stage.slow = vec!["pull".into()];
    stage.run().did();
    end(&mut stage, 30, true);
    assert_eq!(stage.did(), ["cancel pull a", "remove sandbox"]);
    assert!(stage.gone);
    assert!(!stage.reasons().contains(&"Failed".to_string()), "nobody is told of a call that was called off");
}

#[test]
fn a_container_that_was_being_started_is_ended_too() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    stage.slow = vec!["start".into()];
    stage.run().did();
    // The engine has done it though the call was cut.
    stage.put(crate::pods::machine::fixture::container("a", 0, crate::provider::containers::Phase::Running));
    end(&mut stage, 30, true);
    assert_eq!(stage.did(), ["cancel start a 0", "kill a", "stop a 0 30", "remove sandbox"]);
}

#[test]
fn a_pod_of_which_nothing_was_made_is_gone_at_once() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    end(&mut stage, 30, true);
    assert!(stage.gone);
    assert!(stage.did().is_empty());
}

#[test]
fn absence_counts_once_the_backend_has_settled() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    stage.memory.settle = Duration::from_secs(60);
    let error = Error::new(Code::DeadlineExceeded, "DeadlineExceeded", "late").with_unknown_effect();
    stage.faults = vec![("ensure sandbox".into(), error)];
    stage.run();
    end(&mut stage, 0, true);
    assert!(!stage.gone, "it may still come to be");
    assert_eq!(stage.waits(), Some(60));
    stage.after(30);
    // It does.
    let late = crate::provider::containers::SandboxState {
        sandbox: crate::pods::machine::fixture::sandbox(true),
        containers: Vec::new(),
    };
    stage.engine = Some(late);
    stage.did();
    assert_eq!(stage.after(30).did(), ["remove sandbox"]);
    assert!(stage.gone);
}

#[test]
fn a_removal_that_fails_is_repeated_and_told() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    stage.faults = vec![("remove sandbox".into(), Error::new(Code::Unavailable, "R", "engine is down"))];
    end(&mut stage, 30, true);
    assert!(!stage.gone);
    assert!(stage.reasons().contains(&"FailedKillPod".to_string()));
    stage.did();
    stage.faults.clear();
    assert_eq!(stage.after(1).did(), ["remove sandbox"]);
    assert!(stage.gone);
}

#[test]
fn a_pod_past_its_deadline_is_ended_and_kept_for_its_logs() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    end(&mut stage, 30, false);
    assert_eq!(stage.did(), ["kill a", "stop a 0 30", "stop sandbox"]);
    assert!(!stage.gone && stage.waits().is_none());
    assert_eq!(stage.phase(), "Succeeded", "the pods' half says that it has failed");
    end(&mut stage, 0, true);
    assert_eq!(stage.did(), ["remove sandbox"]);
    assert!(stage.gone);
}

#[test]
fn what_never_ran_has_failed_when_the_pod_is_ended() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    stage.faults = vec![
        ("pull".into(), Error::new(Code::NotFound, "R", "x")),
        ("check".into(), Error::new(Code::NotFound, "R", "x")),
    ];
    stage.run();
    end(&mut stage, 30, false);
    assert_eq!(
        (stage.told(), stage.phase()),
        (vec!["a 0 terminated 137 ContainerStatusUnknown".to_string()], "Failed".into())
    );
}

#[test]
fn a_pod_that_the_api_server_calls_over_is_not_begun_again() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    stage.spec.terminal = true;
    assert_eq!(stage.run().did(), ["kill a", "stop a 0 30", "stop sandbox"]);
}

#[test]
fn a_delete_overtakes_every_pause() {
    // Of looks.
    let mut blind = running(json!({"containers": containers(&[("a", json!({}))])}));
    blind.faults = vec![("look".into(), Error::new(Code::Internal, "R", "one container cannot be inspected"))];
    blind.memory.look.stale = true;
    blind.run();
    for _ in 0..5 {
        let wait = blind.waits().unwrap();
        blind.after(wait);
    }
    assert!(blind.waits().unwrap() > 60);
    blind.faults.clear();
    end(&mut blind, 30, true);
    assert_eq!(blind.did(), ["kill a", "stop a 0 30"]);
    // Of the end of a pod that is over.
    let once = json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({}))])});
    let mut over = running(once);
    over.faults = vec![("stop sandbox".into(), Error::new(Code::Internal, "R", "no"))];
    over.exit("a", 0, 0).run();
    for _ in 0..5 {
        let wait = over.waits().unwrap();
        over.after(wait);
    }
    assert!(over.waits().unwrap() > 60);
    over.did();
    end(&mut over, 0, true);
    assert_eq!(over.did(), ["remove sandbox"]);
}

#[test]
fn the_same_order_again_overtakes_nothing() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    stage.faults = vec![("remove sandbox".into(), Error::new(Code::Internal, "R", "no"))];
    end(&mut stage, 30, true);
    stage.did();
    end(&mut stage, 30, true);
    assert!(stage.did().is_empty());
}

#[test]
fn a_signal_that_hangs_does_not_hold_the_kill_up() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.slow = vec!["stop a 0 30".into()];
    end(&mut stage, 30, true);
    assert_eq!((stage.did(), stage.waits()), (vec!["kill a".to_string(), "stop a 0 30".into()], Some(30)));
    end(&mut stage, 0, true);
    assert_eq!((stage.did(), stage.waits()), (Vec::new(), Some(2)));
    assert_eq!(stage.after(2).did(), ["cancel stop a 0 30", "stop a 0 0", "remove sandbox"]);
    assert_eq!(stage.told(), ["a 0 terminated 137 Error"]);
}

#[test]
fn what_becomes_of_a_signal_after_the_kill_is_of_no_interest() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    end(&mut stage, 30, true);
    stage.slow = vec!["stop".into()];
    stage.after(30);
    stage.did();
    stage.reasons();
    let late = Error::new(Code::Cancelled, "CallCancelled", "cancelled").with_unknown_effect();
    let signal = crate::pods::machine::action::Action::Stop { name: "a".into(), attempt: 0, grace: 30 };
    stage.finish(&signal, crate::pods::machine::memory::outcome::Outcome::Deleted(Err(late)));
    assert_eq!((stage.run().did(), stage.reasons()), (Vec::new(), Vec::<String>::new()));
    assert_eq!(stage.complete("stop a 0 0").did(), ["remove sandbox"]);
}

#[test]
fn what_is_said_to_be_gone_and_is_still_to_be_seen_is_removed_ever_more_rarely() {
    let mut stage = running(json!({"containers": containers(&[("a", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    stage.slow = vec!["remove sandbox".into()];
    end(&mut stage, 30, true);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        stage.did();
        let gone = crate::pods::machine::memory::outcome::Outcome::Deleted(Ok(crate::provider::Deletion::Gone));
        stage.finish(&crate::pods::machine::action::Action::RemoveSandbox, gone);
        assert!(stage.run().did().is_empty());
        let wait = stage.waits().unwrap();
        pauses.push(wait);
        assert_eq!(stage.after(wait).did(), ["remove sandbox"]);
    }
    assert_eq!(pauses, [1, 2, 4]);
}

#[test]
fn the_backend_settles_from_when_the_last_call_has_ended() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    stage.memory.settle = Duration::from_secs(15);
    stage.slow = vec!["ensure sandbox".into()];
    stage.run().did();
    stage.now = stage.now.plus(Duration::from_secs(42));
    let cut = Error::new(Code::Cancelled, "CallCancelled", "cancelled").with_unknown_effect();
    let outcome = crate::pods::machine::memory::outcome::Outcome::Sandbox(Err(cut));
    stage.finish(&crate::pods::machine::action::Action::EnsureSandbox, outcome);
    end(&mut stage, 0, true);
    assert_eq!((stage.gone, stage.waits()), (false, Some(15)), "it may still come to be");
    assert!(stage.after(15).gone);
}
