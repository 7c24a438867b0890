use serde_json::json;

use crate::pods::machine::clock::Moment;
use crate::pods::machine::fixture::{START, Stage, container, containers, id, stage};
use crate::pods::machine::observed::Observed;
use crate::pods::machine::probe::Answer;
use crate::pods::machine::spec::ProbeKind;
use crate::provider::containers::{Container, Phase, SandboxState};

/// What an engine has of a pod that another process made; the API server says nothing.
fn found(spec: serde_json::Value, attempts: Vec<Container>) -> Stage {
    let mut stage = stage(spec);
    let sandbox = crate::pods::machine::fixture::sandbox(true);
    stage.engine = Some(SandboxState { sandbox, containers: attempts });
    stage.observed = Observed::of(stage.engine.clone());
    let (now, observed) = (stage.now, stage.observed.clone());
    stage.memory.adopt(&id(), &stage.spec, None, &observed, now);
    stage
}

fn one() -> serde_json::Value {
    json!({"containers": containers(&[("a", json!({}))])})
}

#[test]
fn a_host_that_is_killed_at_any_step_makes_nothing_twice() {
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}, "imagePullPolicy": "Always"});
    for step in ["ensure sandbox", "pull a", "start a 0", "postStart a"] {
        let mut stage = stage(json!({"containers": containers(&[("a", hook.clone())])}));
        stage.slow = vec![step.into()];
        stage.run();
        // What was asked for was done, and nobody heard of it.
        if let Some(action) = stage.memory.flight.first().cloned() {
            let call = crate::pods::machine::fixture::called(&action);
            stage.slow.clear();
            match call.as_str() {
                "start a 0" => drop(stage.put(container("a", 0, Phase::Running))),
                "ensure sandbox" => {
                    let sandbox = crate::pods::machine::fixture::sandbox(true);
                    stage.engine = Some(SandboxState { sandbox, containers: Vec::new() });
                }
                _ => {}
            }
        }
        stage.restart_host();
        assert_eq!(stage.told(), ["a 0 running ready"], "{step}");
        assert_eq!(stage.engine.as_ref().unwrap().containers.len(), 1, "{step}");
    }
}

#[test]
fn a_container_that_runs_is_left_alone() {
    let mut stage = found(one(), vec![container("a", 3, Phase::Running), container("a", 2, Phase::Exited)]);
    assert!(stage.run().did().is_empty());
    assert_eq!(stage.told(), ["a 3 running ready"]);
    let status = stage.status().container_statuses.unwrap().remove(0);
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.container_id.as_deref()), (0, Some("docker://a2")));
}

#[test]
fn so_is_one_whose_image_nobody_knows() {
    let mut stage = found(one(), vec![Container { image: String::new(), ..container("a", 0, Phase::Running) }]);
    assert!(stage.run().did().is_empty());
}

#[test]
fn one_that_ended_meanwhile_is_run_again_under_the_next_number() {
    let ended = Container { exit_code: Some(7), ..container("a", 3, Phase::Exited) };
    let mut stage = found(one(), vec![ended]);
    stage.run();
    assert_eq!((stage.told(), stage.waits()), (vec!["a 3 waiting CrashLoopBackOff".to_string()], Some(10)));
    assert_eq!(stage.after(10).did(), ["check a", "start a 4"]);
}

#[test]
fn a_crash_loop_goes_on_as_long_as_it_was() {
    let before =
        Container { finished_ms: Some(START - 41_000), exit_code: Some(1), ..container("a", 2, Phase::Exited) };
    let ended = Container {
        finished_ms: Some(START),
        started_ms: Some(START - 1000),
        exit_code: Some(1),
        ..container("a", 3, Phase::Exited)
    };
    let mut stage = found(one(), vec![before, ended]);
    stage.run();
    assert_eq!(stage.waits(), Some(80), "it had waited 40 s");
}

#[test]
fn so_does_that_of_a_container_that_never_ran() {
    let unstarted = |attempt, created_ms| Container {
        started_ms: None,
        finished_ms: None,
        exit_code: None,
        created_ms: Some(created_ms),
        engine_error: Some("exec: \"nope\": executable file not found".into()),
        ..container("a", attempt, Phase::Exited)
    };
    let mut stage = found(one(), vec![unstarted(2, START - 45_000), unstarted(3, START - 5_000)]);
    stage.run();
    assert_eq!(stage.waits(), Some(75), "it waits 80 s since the last one was made");
}

#[test]
fn an_engine_whose_clock_is_ahead_puts_nothing_off() {
    let future = START + 3_600_000;
    let ended = Container {
        started_ms: Some(future - 1000),
        finished_ms: Some(future),
        exit_code: Some(1),
        ..container("a", 1, Phase::Exited)
    };
    let mut stage = found(one(), vec![ended]);
    stage.run();
    assert_eq!(stage.waits(), Some(10));
}

#[test]
fn a_pod_that_ended_is_not_begun_again() {
    let once = json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({}))])});
    let mut stage = found(once, vec![container("a", 0, Phase::Exited)]);
    assert_eq!(stage.run().did(), ["stop sandbox"]);
    assert_eq!(stage.phase(), "Succeeded");
}

#[test]
fn a_container_stays_ready_and_started_over_a_restart_of_the_host() {
    let probes = json!({
        "readinessProbe": {"exec": {"command": ["x"]}},
        "startupProbe": {"exec": {"command": ["x"]}, "periodSeconds": 1},
    });
    let mut stage = stage(json!({"containers": containers(&[("a", probes)])}));
    stage.run();
    assert_eq!(stage.told(), ["a 0 running ready"]);
    stage.did();
    stage.answers = vec![(ProbeKind::Readiness, Answer::Failure("no".into()))];
    stage.restart_host();
    assert_eq!(stage.told(), ["a 0 running ready"], "until a probe says otherwise, three times");
    let did = stage.did();
    assert!(!did.contains(&"probe a Startup".to_string()), "{did:?}");
    for _ in 0..3 {
        stage.after(10);
    }
    assert_eq!(stage.told(), ["a 0 running"]);
}

#[test]
fn what_the_backend_lost_while_nobody_looked_is_made_anew_with_numbers_of_its_own() {
    let init = containers(&[("x", json!({}))]);
    let mut stage = stage(json!({"initContainers": init, "containers": containers(&[("a", json!({}))])}));
    stage.run();
    stage.exit("x", 0, 0).run();
    stage.exit("a", 0, 1).run();
    assert_eq!(stage.told()[1], "a 1 running ready");
    stage.did();
    stage.reasons();
    stage.engine = None;
    stage.restart_host();
    assert_eq!(stage.did(), ["ensure sandbox", "check x", "start x 1"]);
    assert_eq!(stage.reasons()[0], "SandboxChanged");
    stage.exit("x", 1, 0).run();
    assert_eq!(stage.told()[1], "a 2 running ready", "no number is used twice");
}

#[test]
fn last_words_are_read_once_over_restarts_of_the_host() {
    let words = json!({"terminationMessagePath": "/dev/termination-log"});
    let spec = json!({"restartPolicy": "Never", "containers": containers(&[("a", words)])});
    let mut stage = stage(spec);
    stage.run();
    stage.exit("a", 0, 1).run().did();
    assert!(stage.restart_host().did().is_empty());
    let end = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(end.message.as_deref(), Some("a says"));
}

#[test]
fn pods_that_are_adopted_together_are_not_probed_together() {
    let probe = json!({"readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 100}});
    let mut stage = found(json!({"containers": containers(&[("a", probe)])}), vec![container("a", 0, Phase::Running)]);
    stage.memory.spread = crate::pods::machine::memory::backoff::Spread::of("some uid");
    assert!(stage.run().did().is_empty());
    let due = stage.waits().unwrap();
    assert!(due > 0 && due < 100, "{due}");
    assert_eq!(stage.memory.began, Moment(START));
}

#[test]
fn hooks_of_containers_that_run_are_not_run_again() {
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let mut stage = found(json!({"containers": containers(&[("a", hook)])}), vec![container("a", 0, Phase::Running)]);
    assert!(stage.run().did().is_empty());
    assert_eq!(stage.told(), ["a 0 running ready"]);
}

#[test]
fn an_end_that_was_begun_by_an_earlier_host_is_brought_to_its_end() {
    let mut stage = stage(one());
    stage.run();
    let until = stage.now.plus(std::time::Duration::from_secs(30));
    let now = stage.now;
    stage.memory.end(crate::pods::machine::memory::Ending { until, remove: true }, now);
    stage.run().did();
    stage.restart_host();
    assert!(stage.did().is_empty(), "until somebody says again that it shall end");
    stage.memory.end(crate::pods::machine::memory::Ending { until: stage.now, remove: true }, now);
    assert_eq!(stage.run().did(), ["kill a", "stop a 0 2"]);
    assert_eq!(stage.after(2).did(), ["stop a 0 0", "remove sandbox"]);
}

#[test]
fn what_an_init_container_did_in_a_sandbox_that_was_lost_is_done_again_by_a_host_that_starts_meanwhile() {
    let init = containers(&[("x", json!({"imagePullPolicy": "Always"}))]);
    let spec =
        json!({"restartPolicy": "OnFailure", "initContainers": init, "containers": containers(&[("a", json!({}))])});
    let mut stage = stage(spec);
    stage.obedient = vec![("a".into(), 1)];
    stage.run();
    stage.exit("x", 0, 0).run();
    assert_eq!(stage.told(), ["x 0 terminated 0 Completed", "a 0 running ready"]);
    stage.did();
    stage.slow = vec!["pull x".into()];
    stage.lose_sandbox().run();
    assert_eq!(stage.did(), ["kill a", "stop a 0 30", "remove x 0", "ensure sandbox", "pull x"]);
    assert_eq!(stage.restart_host().did(), ["pull x"], "it is in the new one that it has to run");
    assert_eq!(stage.told()[0], "x 0 terminated 0 Completed", "the API server takes no other word for it");
    stage.slow.clear();
    assert_eq!(stage.complete("pull x").did(), ["start x 1"]);
    assert_eq!(stage.exit("x", 1, 0).run().did(), ["check a", "start a 1"]);
}

#[test]
fn the_work_of_an_init_container_that_was_removed_counts_while_somebody_runs_on_it() {
    let spec =
        json!({"initContainers": containers(&[("x", json!({}))]), "containers": containers(&[("a", json!({}))])});
    let mut stage = stage(spec);
    stage.run();
    stage.exit("x", 0, 0).run().did();
    stage.take("x", 0);
    assert!(stage.restart_host().did().is_empty());
    assert_eq!(stage.told(), ["x 0 terminated 0 Completed", "a 0 running ready"]);
}

#[test]
fn a_container_of_which_no_more_is_known_once_it_was_killed_runs_again() {
    let lost = Container { started_ms: Some(START), ..container("a", 1, Phase::Lost) };
    let mut stage = found(one(), vec![container("a", 0, Phase::Exited), lost]);
    stage.slow = vec!["stop a 1 0".into()];
    assert_eq!(stage.run().did(), ["kill a", "stop a 1 30"]);
    stage.after(30);
    // It is not to be seen any better than before.
    let killed = crate::pods::machine::memory::outcome::Outcome::Deleted(Ok(crate::provider::Deletion::Stopping));
    let kill = crate::pods::machine::action::Action::Stop { name: "a".into(), attempt: 1, grace: 0 };
    stage.finish(&kill, killed);
    stage.run().did();
    let wait = stage.waits().unwrap();
    assert_eq!((stage.told(), wait), (vec!["a 1 waiting CrashLoopBackOff".to_string()], 10));
    stage.after(wait - 1);
    assert!(stage.after(1).did().contains(&"start a 2".to_string()));
}
