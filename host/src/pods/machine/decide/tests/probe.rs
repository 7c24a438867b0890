use serde_json::{Value, json};

use crate::pods::machine::fixture::{Stage, containers, stage};
use crate::pods::machine::probe::Answer;
use crate::pods::machine::spec::ProbeKind;

fn probe(more: Value) -> Value {
    let mut probe = json!({"exec": {"command": ["x"]}});
    for (key, value) in more.as_object().unwrap() {
        probe[key] = value.clone();
    }
    probe
}

fn fail(stage: &mut Stage, kind: ProbeKind) {
    stage.answers.push((kind, Answer::Failure("no".into())));
}

fn one(policy: &str, more: Value) -> Stage {
    let mut stage = stage(json!({"restartPolicy": policy, "containers": containers(&[("a", more)])}));
    stage.obedient = vec![("a".into(), 143)];
    stage
}

#[test]
fn readiness_moves_ready_and_nothing_else() {
    let mut stage = one("Always", json!({"readinessProbe": probe(json!({"periodSeconds": 5, "successThreshold": 2}))}));
    stage.run();
    assert_eq!((stage.told(), stage.waits()), (vec!["a 0 running".to_string()], Some(5)));
    stage.after(5);
    assert_eq!(stage.told(), ["a 0 running ready"]);
    fail(&mut stage, ProbeKind::Readiness);
    stage.after(5);
    stage.after(5);
    assert_eq!(stage.told(), ["a 0 running ready"], "three failures count");
    stage.did();
    assert_eq!(stage.after(5).did(), ["probe a Readiness"]);
    assert_eq!((stage.told(), stage.phase()), (vec!["a 0 running".to_string()], "Running".into()));
    assert!(stage.reasons().contains(&"Unhealthy".to_string()));
    for _ in 0..10 {
        stage.after(5);
    }
    assert!(!stage.did().iter().any(|did| did.starts_with("kill")));
}

#[test]
fn initial_delay_and_period_are_kept() {
    let mut stage =
        one("Always", json!({"readinessProbe": probe(json!({"initialDelaySeconds": 7, "periodSeconds": 3}))}));
    stage.run().did();
    assert_eq!(stage.waits(), Some(7));
    assert_eq!(stage.after(7).did(), ["probe a Readiness"]);
    assert_eq!(stage.waits(), Some(3));
    let mut liveness = one("Always", json!({"livenessProbe": probe(json!({"periodSeconds": 4}))}));
    liveness.run();
    assert_eq!(liveness.waits(), Some(4), "it can only do harm before");
}

#[test]
fn a_probe_that_takes_long_is_not_begun_twice() {
    let mut stage = one("Always", json!({"readinessProbe": probe(json!({"periodSeconds": 1}))}));
    stage.slow = vec!["probe".into()];
    stage.run().did();
    assert!(stage.after(5).did().is_empty());
    stage.slow.clear();
    assert_eq!(stage.complete("probe").did(), ["probe a Readiness"], "the next one is overdue");
}

#[test]
fn startup_gates_the_two_others() {
    let mut stage = one(
        "Always",
        json!({
            "startupProbe": probe(json!({"periodSeconds": 2})),
            "readinessProbe": probe(json!({})),
            "livenessProbe": probe(json!({"periodSeconds": 1})),
        }),
    );
    fail(&mut stage, ProbeKind::Startup);
    stage.run();
    assert_eq!(stage.did().last().unwrap(), "probe a Startup");
    let started = |stage: &Stage| stage.status().container_statuses.unwrap()[0].started;
    assert_eq!(started(&stage), Some(false));
    stage.answers.clear();
    assert_eq!(stage.after(2).did(), ["probe a Startup", "probe a Readiness", "probe a Liveness"]);
    assert_eq!(started(&stage), Some(true));
    assert_eq!(stage.told(), ["a 0 running ready"]);
    assert!(!stage.after(2).did().contains(&"probe a Startup".to_string()), "it has done its work");
}

#[test]
fn liveness_and_startup_end_their_container_within_the_probe_s_own_grace() {
    for kind in [ProbeKind::Liveness, ProbeKind::Startup] {
        let field = if kind == ProbeKind::Liveness { "livenessProbe" } else { "startupProbe" };
        let given = probe(json!({"periodSeconds": 1, "failureThreshold": 2, "terminationGracePeriodSeconds": 3}));
        let mut stage = one("Always", json!({field: given}));
        fail(&mut stage, kind);
        stage.run().after(1);
        stage.after(1);
        let did = stage.did();
        let kill = did.iter().position(|did| did == "kill a").unwrap();
        assert_eq!(did[kill..kill + 4], ["kill a", "stop a 0 3", "check a", "start a 1"], "{kind:?}");
        let killing = stage.events.iter().find(|event| event.reason == "Killing").unwrap();
        let said = format!("Container a failed {} probe, will be restarted", kind.name().to_lowercase());
        assert_eq!(killing.message, said);
    }
}

#[test]
fn a_container_that_is_not_restarted_ends_with_its_liveness() {
    let mut stage = one("Never", json!({"livenessProbe": probe(json!({"periodSeconds": 1, "failureThreshold": 1}))}));
    fail(&mut stage, ProbeKind::Liveness);
    stage.run().after(1);
    assert_eq!((stage.told(), stage.phase()), (vec!["a 0 terminated 143 Error".to_string()], "Failed".into()));
    let killing = stage.events.iter().find(|event| event.reason == "Killing").unwrap();
    assert_eq!(killing.message, "Container a failed liveness probe");
}

#[test]
fn a_container_that_ends_well_when_its_probe_has_failed_is_run_again_all_the_same() {
    let mut stage =
        one("OnFailure", json!({"livenessProbe": probe(json!({"periodSeconds": 1, "failureThreshold": 1}))}));
    stage.obedient = vec![("a".into(), 0)];
    fail(&mut stage, ProbeKind::Liveness);
    stage.run();
    stage.slow = vec!["check".into()];
    stage.after(1);
    assert_eq!(stage.told(), ["a 0 waiting ContainerCreating"], "its end would be final to the API server");
    stage.slow.clear();
    stage.complete("check");
    assert_eq!(stage.told(), ["a 1 running ready"]);
}

#[test]
fn a_container_that_fails_its_probe_again_and_again_is_in_a_crash_loop() {
    let mut stage = one("Always", json!({"livenessProbe": probe(json!({"periodSeconds": 5, "failureThreshold": 1}))}));
    fail(&mut stage, ProbeKind::Liveness);
    stage.run().after(5);
    assert_eq!(stage.told(), ["a 1 running ready"], "nothing ended before");
    stage.after(5);
    assert_eq!(stage.told(), ["a 2 running ready"], "five seconds lie between the two ends");
    stage.after(5);
    assert_eq!((stage.told(), stage.waits()), (vec!["a 2 waiting CrashLoopBackOff".to_string()], Some(10)));
}

#[test]
fn a_probe_that_could_not_be_done_counts_for_nothing() {
    let mut stage = one("Always", json!({"livenessProbe": probe(json!({"periodSeconds": 1, "failureThreshold": 1}))}));
    stage.answers = vec![(ProbeKind::Liveness, Answer::Error("the engine is busy".into()))];
    stage.run();
    for _ in 0..5 {
        stage.after(1);
    }
    assert_eq!(stage.told(), ["a 0 running ready"]);
}

#[test]
fn at_the_end_only_readiness_is_asked() {
    let every = probe(json!({"periodSeconds": 1, "failureThreshold": 1}));
    let mut stage = one("Always", json!({"livenessProbe": every, "readinessProbe": every}));
    stage.obedient.clear();
    stage.run().after(1);
    stage.did();
    let until = stage.now.plus(std::time::Duration::from_secs(30));
    let now = stage.now;
    stage.memory.end(crate::pods::machine::memory::Ending { until, remove: true }, now);
    fail(&mut stage, ProbeKind::Readiness);
    assert_eq!(stage.run().did(), ["kill a", "stop a 0 30"]);
    assert_eq!(stage.after(1).did(), ["probe a Readiness"]);
    assert_eq!(stage.told(), ["a 0 running"], "it takes no requests any more");
}
