use serde_json::json;

use crate::pods::machine::fixture::{Stage, container, containers, stage};
use crate::provider::containers::{Container, Phase};
use crate::provider::{Code, Error};

fn one(policy: &str, more: serde_json::Value) -> Stage {
    let mut stage = stage(json!({"restartPolicy": policy, "containers": containers(&[("a", more)])}));
    stage.run().did();
    stage.reasons();
    stage
}

#[test]
fn a_container_is_run_again_by_the_policy_of_its_pod() {
    for (policy, code, again, phase) in [
        ("Always", 0, true, "Running"),
        ("Always", 1, true, "Running"),
        ("OnFailure", 0, false, "Succeeded"),
        ("OnFailure", 1, true, "Running"),
        ("Never", 0, false, "Succeeded"),
        ("Never", 1, false, "Failed"),
    ] {
        let mut stage = one(policy, json!({}));
        let did = stage.exit("a", 0, code).run().did();
        assert_eq!(did.contains(&"start a 1".to_string()), again, "{policy} {code}: {did:?}");
        assert_eq!(did.contains(&"stop sandbox".to_string()), !again, "{policy} {code}: {did:?}");
        assert_eq!(stage.phase(), phase, "{policy} {code}");
    }
}

#[test]
fn a_container_s_own_policy_and_its_rules_go_before_the_pod_s() {
    let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    let others = json!([{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0, 1]}}]);
    for (pods, own, code, again) in [
        ("Never", json!({"restartPolicy": "Always"}), 0, true),
        ("Always", json!({"restartPolicy": "Never"}), 1, false),
        ("Always", json!({"restartPolicy": "OnFailure"}), 0, false),
        ("Never", json!({"restartPolicy": "Never", "restartPolicyRules": rules}), 42, true),
        ("Never", json!({"restartPolicy": "Never", "restartPolicyRules": rules}), 41, false),
        ("Never", json!({"restartPolicy": "Never", "restartPolicyRules": others}), 2, true),
        ("Never", json!({"restartPolicy": "Never", "restartPolicyRules": others}), 1, false),
    ] {
        let mut stage = one(pods, own.clone());
        let did = stage.exit("a", 0, code).run().did();
        assert_eq!(did.contains(&"start a 1".to_string()), again, "{pods} {own} {code}");
    }
}

#[test]
fn the_first_restart_comes_at_once_and_the_others_in_a_crash_loop() {
    let mut stage = one("Always", json!({}));
    stage.exit("a", 0, 1).run();
    assert_eq!(stage.told(), ["a 1 running ready"]);
    stage.did();
    stage.reasons();
    let mut pauses = Vec::new();
    for attempt in 1..8 {
        stage.exit("a", attempt, 1).run();
        assert_eq!(stage.told(), [format!("a {attempt} waiting CrashLoopBackOff")]);
        let status = stage.status().container_statuses.unwrap().remove(0);
        let last = status.last_state.unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.container_id), (1, Some(format!("docker://a{attempt}"))));
        assert_eq!(stage.reasons(), ["BackOff"], "it is told once");
        let pause = stage.waits().unwrap();
        stage.did();
        assert!(stage.after(pause - 1).did().is_empty());
        let did = stage.after(1).did();
        assert_eq!(did[..2], ["check a".to_string(), format!("start a {}", attempt + 1)]);
        stage.reasons();
        pauses.push(pause);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn a_crash_loop_is_told_in_the_kubelet_s_words() {
    let mut stage = one("Always", json!({}));
    stage.exit("a", 0, 1).run();
    stage.exit("a", 1, 1).run();
    let waiting = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.message.as_deref(), Some("back-off 10s restarting failed container=a pod=pod_ns(uid)"));
}

#[test]
fn how_long_it_ran_is_what_the_engine_says() {
    let mut stage = one("Always", json!({}));
    stage.exit("a", 0, 1).run();
    stage.exit("a", 1, 1).run();
    stage.after(10).did();
    let started_ms = Some(stage.now.0 - 601_000);
    let ended = Container { started_ms, finished_ms: Some(stage.now.0), ..container("a", 2, Phase::Exited) };
    assert!(stage.put(ended).run().did().contains(&"start a 3".to_string()), "it ran well for ten minutes");
}

#[test]
fn while_it_is_started_again_it_is_told_as_before() {
    let mut stage = one("Always", json!({}));
    stage.slow = vec!["start".into()];
    stage.exit("a", 0, 1).run();
    assert_eq!(stage.told(), ["a 0 terminated 1 Error"], "it has not waited");
    stage.complete("start a 1");
    stage.exit("a", 1, 1).run();
    let waiting = stage.status().container_statuses;
    assert_eq!(stage.after(10).did().last().unwrap(), "start a 2");
    assert_eq!(stage.status().container_statuses, waiting);
}

#[test]
fn what_keeps_it_from_starting_again_does_not_count_as_a_crash() {
    let mut stage = one("Always", json!({}));
    stage.exit("a", 0, 1).run();
    stage.exit("a", 1, 1).run().did();
    stage.faults = vec![("start".into(), Error::new(Code::Unavailable, "R", "not now"))];
    stage.after(10);
    assert_eq!(stage.told(), ["a 1 waiting CreateContainerError"]);
    stage.after(1);
    stage.faults.clear();
    stage.after(2);
    assert_eq!(stage.told(), ["a 2 running ready"]);
    stage.exit("a", 2, 1).run();
    assert_eq!(stage.waits(), Some(20));
}

#[test]
fn the_last_dead_attempt_is_kept_and_older_ones_are_removed() {
    let mut stage = one("Always", json!({}));
    stage.exit("a", 0, 1).run();
    assert!(!stage.did().iter().any(|did| did.starts_with("remove")));
    stage.exit("a", 1, 1).run();
    stage.after(10);
    assert!(stage.did().contains(&"remove a 0".to_string()));
    let left: Vec<u32> = stage.engine.as_ref().unwrap().containers.iter().map(|container| container.attempt).collect();
    assert_eq!(left, [1, 2]);
}

#[test]
fn last_words_are_read_before_the_end_is_told() {
    let words = json!({"terminationMessagePath": "/dev/termination-log"});
    let mut stage = one("Never", words);
    stage.slow = vec!["words".into()];
    assert_eq!(stage.exit("a", 0, 1).run().did(), ["words a 0"]);
    assert_eq!((stage.told(), stage.phase()), (vec!["a 0 running ready".to_string()], "Running".into()));
    stage.slow.clear();
    assert_eq!(stage.complete("words a 0").did(), ["stop sandbox"]);
    let end = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.message.as_deref()), (1, Some("a says")));
}

#[test]
fn last_words_that_cannot_be_read_hold_nothing_up_for_long() {
    let mut stage = one("Never", json!({"terminationMessagePath": "/dev/termination-log"}));
    stage.faults = vec![("words".into(), Error::new(Code::Unavailable, "R", "gone away"))];
    stage.exit("a", 0, 0).run();
    for _ in 0..10 {
        stage.after(5);
    }
    assert_eq!(stage.phase(), "Succeeded");
    let end = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(end.message.as_deref(), Some("Error on reading termination log: gone away"));
}

#[test]
fn only_who_failed_without_words_is_asked_for_the_end_of_its_log() {
    let asked = |policy: &str, code| {
        let mut stage = one("Never", json!({"terminationMessagePolicy": policy}));
        stage.exit("a", 0, code).run().did().contains(&"words a 0".to_string())
    };
    assert_eq!(
        [asked("FallbackToLogsOnError", 1), asked("FallbackToLogsOnError", 0), asked("File", 1)],
        [true, false, false]
    );
}

#[test]
fn a_container_whose_command_is_not_found_is_one_that_ended() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))])}));
    let refusal = Error::new(Code::FailedPrecondition, "StartFailed", "exec: \"nope\": executable file not found");
    stage.faults = vec![("start".into(), refusal)];
    // The engine has made it and could not start it.
    stage.slow = vec!["start".into()];
    stage.run();
    stage.put(container("a", 0, Phase::Created));
    stage.complete("start a 0");
    assert_eq!(stage.told(), ["a 0 waiting RunContainerError"]);
    assert_eq!(stage.did().last().unwrap(), "start a 1", "the first restart comes at once");
    stage.put(container("a", 1, Phase::Created));
    stage.complete("start a 1");
    assert_eq!((stage.told(), stage.waits()), (vec!["a 1 waiting CrashLoopBackOff".to_string()], Some(10)));
    let last = stage.status().container_statuses.unwrap()[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (128, Some("StartError")));
    assert!(last.message.unwrap().contains("executable file not found"));
    assert!(last.finished_at.is_some(), "it ended when it was made");
    stage.did();
    assert!(stage.after(9).did().is_empty());
    assert_eq!(stage.after(1).did(), ["check a", "start a 2"]);
}

#[test]
fn a_container_that_never_ran_has_no_last_words() {
    let mut stage = one("Never", json!({"terminationMessagePath": "/dev/termination-log"}));
    let engine_error = Some("exec: \"nope\": executable file not found".to_string());
    let failed = Container { started_ms: None, engine_error, ..container("a", 0, Phase::Exited) };
    assert_eq!(stage.put(failed).run().did(), ["stop sandbox"]);
    assert_eq!(stage.told(), ["a 0 terminated 128 StartError"]);
}

#[test]
fn another_image_is_another_attempt_of_that_container_alone() {
    let mut stage =
        stage(json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({})), ("b", json!({}))])}));
    stage.obedient = vec![("a".into(), 0)];
    stage.run().did();
    stage.reasons();
    let changed = json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({"image": "i:2"})), ("b", json!({}))])});
    stage.spec = crate::pods::machine::spec::Spec::of(&crate::pods::machine::fixture::pod(changed));
    stage.slow = vec!["start".into()];
    assert_eq!(stage.run().did(), ["kill a", "stop a 0 30", "check a", "start a 1"]);
    assert_eq!(stage.told(), ["a 0 waiting ContainerCreating", "b 0 running ready"], "no end that would be final");
    assert_eq!(stage.events[0].message, "Container a definition changed, will be restarted");
}

#[test]
fn last_words_that_nobody_answers_for_are_waited_for_no_longer_than_that() {
    let words = json!({"terminationMessagePath": "/dev/termination-log"});
    let mut stage = one("Never", words.clone());
    stage.slow = vec!["words".into()];
    stage.exit("a", 0, 0).run().did();
    assert_eq!((stage.told(), stage.waits()), (vec!["a 0 running ready".to_string()], Some(15)));
    assert_eq!(stage.after(15).did(), ["stop sandbox"]);
    assert_eq!((stage.told(), stage.phase()), (vec!["a 0 terminated 0 Completed".to_string()], "Succeeded".into()));
    // They are told when they come after all.
    stage.complete("words a 0");
    let end = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(end.message.as_deref(), Some("a says"));
    // A pod whose time is over goes without.
    let mut ending = one("Always", words);
    ending.slow = vec!["words".into()];
    ending.obedient = vec![("a".into(), 0)];
    let now = ending.now;
    ending.memory.end(crate::pods::machine::memory::Ending { until: now, remove: true }, now);
    assert_eq!(ending.run().did(), ["kill a", "stop a 0 2", "words a 0"]);
    assert_eq!(ending.waits(), Some(2));
    assert_eq!(ending.after(2).did(), ["remove sandbox"]);
    // Those of the attempt before do not hold up the next one's.
    let mut again = one("Always", json!({"terminationMessagePath": "/dev/termination-log"}));
    again.slow = vec!["words a 0".into()];
    again.exit("a", 0, 1).run().after(15);
    assert_eq!(again.told(), ["a 1 running ready"]);
    again.did();
    assert_eq!(again.exit("a", 1, 1).run().did(), ["words a 1"]);
    assert_eq!(again.told(), ["a 1 waiting CrashLoopBackOff"]);
}
