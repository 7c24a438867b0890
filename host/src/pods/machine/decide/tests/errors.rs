use serde_json::json;

use crate::pods::machine::fixture::{Stage, container, containers, stage};
use crate::provider::containers::Phase;
use crate::provider::{Code, Error};

fn pod() -> Stage {
    stage(json!({"containers": containers(&[("a", json!({}))])}))
}

fn with(call: &str, error: Error) -> Stage {
    let mut stage = pod();
    stage.faults = vec![(call.into(), error)];
    stage.run();
    stage
}

#[test]
fn what_can_never_be_done_ends_the_pod_by_its_field() {
    for (call, code) in [
        ("ensure sandbox", Code::InvalidArgument),
        ("ensure sandbox", Code::Unimplemented),
        ("start", Code::InvalidArgument),
        ("start", Code::OutOfRange),
    ] {
        let field = Some("spec.containers[0].securityContext.seLinuxOptions".to_string());
        let stage = with(call, Error { field, ..Error::new(code, "UnsupportedField", "not on this engine") });
        let status = stage.status();
        assert_eq!(status.phase.as_deref(), Some("Failed"), "{call} {code:?}");
        assert_eq!(status.reason.as_deref(), Some("UnsupportedField"));
        assert!(status.message.unwrap().contains("spec.containers[0].securityContext.seLinuxOptions"));
        assert_eq!(stage.waits(), None, "{call} {code:?}");
    }
}

#[test]
fn a_backend_that_does_not_answer_is_asked_again_soon_and_one_that_needs_mending_slowly() {
    for (code, first) in
        [(Code::Unavailable, 1), (Code::Aborted, 1), (Code::PermissionDenied, 10), (Code::Internal, 10)]
    {
        let mut stage = with("ensure sandbox", Error::new(code, "R", "no"));
        assert_eq!((stage.waits(), stage.phase()), (Some(first), "Pending".into()), "{code:?}");
        assert_eq!(stage.reasons(), ["FailedCreatePodSandBox"]);
        stage.did();
        stage.faults.clear();
        assert_eq!(stage.after(first).did()[0], "ensure sandbox");
    }
}

#[test]
fn what_the_backend_asks_for_is_heeded() {
    let retry_after = Some(std::time::Duration::from_secs(33));
    let stage = with("ensure sandbox", Error { retry_after, ..Error::new(Code::ResourceExhausted, "R", "slowly") });
    assert_eq!(stage.waits(), Some(33));
}

#[test]
fn a_volume_that_waits_for_its_source_is_told_as_that_and_tried_soon() {
    let source = Error::new(Code::FailedPrecondition, "FailedMount", "configmap \"x\" not found");
    let mut missing = with("ensure sandbox", source);
    assert_eq!((missing.reasons().len(), missing.waits()), (0, Some(1)), "the cluster has told it");
    let mut failed = with("ensure sandbox", Error::new(Code::Internal, "FailedMount", "no space left on device"));
    assert_eq!((failed.reasons(), failed.waits()), (vec!["FailedMount".to_string()], Some(1)));
}

#[test]
fn values_that_wait_for_their_source_keep_one_container_from_starting() {
    let mut stage = with("start", Error::new(Code::FailedPrecondition, "Unresolved", "secret \"x\" not found"));
    assert_eq!(stage.told(), ["a 0 waiting CreateContainerConfigError"]);
    assert_eq!(stage.waits(), Some(1));
    stage.did();
    stage.faults.clear();
    assert_eq!(stage.after(1).did(), ["check a", "start a 0"], "the same attempt: none was made");
}

#[test]
fn after_an_unclear_start_it_is_looked_before_anything_is_started() {
    let unclear = || Error::new(Code::DeadlineExceeded, "DeadlineExceeded", "late").with_unknown_effect();
    // It was started all the same.
    let mut stage = pod();
    stage.faults = vec![("start".into(), unclear())];
    stage.slow = vec!["start".into()];
    stage.run();
    stage.put(container("a", 0, Phase::Running));
    stage.complete("start a 0");
    assert_eq!(stage.told(), ["a 0 running ready"]);
    for _ in 0..5 {
        stage.after(60);
    }
    assert_eq!(stage.engine.as_ref().unwrap().containers.len(), 1);
    // It was not: the same attempt is started once more.
    let mut absent = pod();
    absent.faults = vec![("start".into(), unclear())];
    absent.run().did();
    absent.faults.clear();
    assert_eq!(absent.after(1).did(), ["check a", "start a 0"]);
    // It was made and not started.
    let mut created = pod();
    created.faults = vec![("start".into(), unclear())];
    created.slow = vec!["start".into()];
    created.run();
    created.put(container("a", 0, Phase::Created));
    created.complete("start a 0");
    created.did();
    created.slow.clear();
    created.faults.clear();
    assert_eq!(created.after(1).did(), ["check a", "start a 0"]);
    assert_eq!(created.engine.as_ref().unwrap().containers.len(), 1);
}

#[test]
fn nothing_is_made_on_an_unknown_answer() {
    let mut stage = pod();
    stage.run().did();
    stage.faults = vec![("look".into(), Error::new(Code::Unavailable, "R", "engine is down"))];
    stage.engine = None;
    stage.memory.look.stale = true;
    stage.run();
    assert!(stage.after(100).did().is_empty(), "an error is not absence");
    assert_eq!(stage.told(), ["a 0 running ready"]);
    stage.faults.clear();
    stage.memory.relieve();
    stage.run();
    assert!(stage.did().contains(&"ensure sandbox".to_string()));
}

#[test]
fn an_ephemeral_container_that_cannot_run_does_not_end_the_pod() {
    let ephemeral = json!([{"name": "e", "image": "i:1", "imagePullPolicy": "IfNotPresent"}]);
    let mut stage = stage(json!({"containers": containers(&[("a", json!({}))]), "ephemeralContainers": ephemeral}));
    stage.faults = vec![("start e".into(), Error::new(Code::Unimplemented, "R", "not here"))];
    stage.run();
    assert_eq!(stage.told(), ["a 0 running ready", "e 0 waiting CreateContainerError"]);
    assert_eq!(stage.phase(), "Running");
}

/// A pod that is run once, whose attempt was made and not started, and the error of that start.
fn made_and(error: Error) -> Stage {
    let mut stage = stage(json!({"restartPolicy": "Never", "containers": containers(&[("a", json!({}))])}));
    stage.faults = vec![("start".into(), error)];
    stage.slow = vec!["start".into()];
    stage.run();
    stage.put(container("a", 0, Phase::Created));
    stage.complete("start a 0");
    stage.did();
    stage.faults.clear();
    stage.slow.clear();
    stage
}

#[test]
fn only_what_the_contract_calls_an_end_ends_an_attempt_that_was_not_started() {
    let codes = [
        (Code::FailedPrecondition, true),
        (Code::Internal, false),
        (Code::Unknown, false),
        (Code::PermissionDenied, false),
        (Code::Unauthenticated, false),
        (Code::NotFound, false),
        (Code::DataLoss, false),
        (Code::Unavailable, false),
        (Code::Aborted, false),
    ];
    for (code, ends) in codes {
        let mut stage = made_and(Error::new(code, "R", "no").with_unknown_effect());
        assert_eq!(stage.phase() == "Failed", ends, "{code:?}: {:?}", stage.told());
        if !ends {
            assert_eq!(stage.after(15).did(), ["check a", "start a 0"], "{code:?}: the same one");
            assert_eq!(stage.told(), ["a 0 running ready"], "{code:?}");
        }
    }
}

#[test]
fn what_a_start_said_counts_no_more_once_it_is_tried_again() {
    let refusal = || Error::new(Code::FailedPrecondition, "StartFailed", "no such image");
    let lost = || Error::new(Code::Unavailable, "R", "connection reset").with_unknown_effect();
    for phase in [Phase::Created, Phase::Running] {
        let readiness = json!({"readinessProbe": {"exec": {"command": ["x"]}}});
        let mut stage = stage(json!({"restartPolicy": "Never", "containers": containers(&[("a", readiness)])}));
        // Nothing was made.
        stage.faults = vec![("start".into(), refusal())];
        stage.run().did();
        stage.slow = vec!["start".into()];
        assert_eq!(stage.after(10).did(), ["check a", "start a 0"]);
        stage.faults = vec![("start".into(), lost())];
        stage.put(container("a", 0, phase));
        stage.complete("start a 0");
        stage.faults.clear();
        stage.slow.clear();
        assert_eq!(stage.phase(), if phase == Phase::Running { "Running" } else { "Pending" }, "{phase:?}");
        stage.after(20);
        assert_eq!(stage.told(), ["a 0 running ready"], "{phase:?}: and its probes count");
    }
}

#[test]
fn a_container_that_runs_after_all_has_not_ended_before() {
    let mut stage = made_and(Error::new(Code::FailedPrecondition, "StartFailed", "not now"));
    assert_eq!(stage.memory.of("a").ended, Some(stage.now));
    stage.put(container("a", 0, Phase::Running)).run();
    assert_eq!((&stage.memory.of("a").ended, &stage.memory.of("a").unstartable), (&None, &None));
}

#[test]
fn a_look_that_began_before_something_was_made_does_not_take_it_back() {
    let mut stage = stage(json!({"containers": containers(&[("a", json!({})), ("b", json!({}))])}));
    stage.slow = vec!["start".into()];
    stage.run();
    stage.slow.push("look".into());
    stage.complete("start a 0");
    let older = crate::pods::machine::observed::Observed::of(stage.engine.clone());
    stage.complete("start b 0");
    let looked = crate::pods::machine::memory::outcome::Outcome::Looked(Ok(older));
    stage.finish(&crate::pods::machine::action::Action::Look, looked);
    assert_eq!(stage.run().told(), ["a 0 running ready", "b 0 running ready"]);
    stage.slow.clear();
    assert_eq!(stage.complete("look").told(), ["a 0 running ready", "b 0 running ready"]);
}
