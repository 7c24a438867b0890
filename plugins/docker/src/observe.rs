//! What the engine tells of a container, in the contract's words. Nothing is made up: an exit code that nobody knows is
//! none.

use vk_engine::container::{Details, State};
use vk_provider::containers::{Container, Phase};
use vk_provider::time::Time;

use crate::labels::{Kind, Mark};

/// Docker's code for a container that was found dead when the engine came back.
const FOUND_DEAD: i64 = 255;
/// What was found dead together was found within so many milliseconds.
const TOGETHER: u64 = 30_000;

/// When the engine found a container's sandbox dead; none: it did not, as far as is known. The sandbox's own program
/// never ends with that code.
pub(crate) fn found_dead(sandbox: &Details) -> Option<Time> {
    sandbox.state.finished_at.filter(|_| !sandbox.state.is_running() && sandbox.state.exit_code == FOUND_DEAD)
}

/// One attempt; none: it is none.
pub(crate) fn container(details: &Details, mark: Mark, found_dead: Option<Time>) -> Option<Container> {
    let Kind::Container { name, attempt } = mark.kind else { return None };
    let state = &details.state;
    let phase = phase(state);
    let finished = state.finished_at.filter(|_| phase == Phase::Exited);
    Some(Container {
        pod: mark.pod,
        name,
        attempt,
        id: details.id.clone(),
        phase,
        started_ms: state.started_at.map(Time::as_millis),
        finished_ms: finished.map(Time::as_millis),
        exit_code: if phase == Phase::Exited { exit_code(state, found_dead) } else { None },
        // The engine keeps the code alone, and 137 may be a program's own.
        signal: None,
        oom_killed: state.oom_killed,
        created_ms: details.created.map(Time::as_millis),
        image: mark.image,
        image_id: mark.image_id,
        revision: mark.revision,
        engine_error: Some(state.error.clone()).filter(|error| !error.is_empty()),
    })
}

fn phase(state: &State) -> Phase {
    match state.status.as_str() {
        // Docker leaves it so when it could not be started, with the error and a code.
        "created" | "configured" | "initialized" if state.error.is_empty() => Phase::Created,
        "created" | "configured" | "initialized" | "exited" | "dead" | "removing" | "stopped" => Phase::Exited,
        _ if state.is_running() => Phase::Running,
        _ => Phase::Lost,
    }
}

/// none: the engine does not know. After it was killed together with its containers it writes 255 for all of them,
/// which may as well be a program's own.
fn exit_code(state: &State, found_dead: Option<Time>) -> Option<i32> {
    let was_found = state.exit_code == FOUND_DEAD
        && state
            .finished_at
            .zip(found_dead)
            .is_some_and(|(own, sandbox)| own.as_millis().abs_diff(sandbox.as_millis()) <= TOGETHER);
    // Podman says -1, or 0 of what never ended.
    let is_known = state.finished_at.is_some() || !state.error.is_empty();
    i32::try_from(state.exit_code).ok().filter(|code| *code >= 0 && is_known && !was_found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{self, Attempt};
    use vk_provider::PodRef;

    const STARTED: &str = "2026-11-24T10:00:01Z";
    const FINISHED: &str = "2026-11-24T10:00:05Z";

    fn details(state: &str) -> Details {
        let (node, id) = (
            vk_provider::config::node(),
            PodRef { namespace: "n".to_owned(), name: "p".to_owned(), uid: "u".to_owned() },
        );
        let attempt = Attempt {
            name: "c",
            number: 2,
            revision: "1-c",
            image: "nginx:1",
            image_id: "nginx@sha256:1",
            sandbox: "s",
        };
        let labels = labels::container(&node, &id, attempt);
        let json = serde_json::json!({"Id": "4f", "Created": "2026-11-24T10:00:00Z", "Config": {"Labels": labels}});
        let state: serde_json::Value = serde_json::from_str(state).unwrap();
        let mut json = json;
        json["State"] = state;
        serde_json::from_value(json).unwrap()
    }

    fn observed(state: &str, found_dead: Option<&str>) -> Container {
        let details = details(state);
        let mark = Mark::read(&vk_provider::config::node(), &details.config.labels).unwrap();
        container(&details, mark, found_dead.map(|time| time.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_container_is_told_in_the_contracts_words() {
        let container = observed(
            &format!(
                r#"{{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"{STARTED}","FinishedAt":"{FINISHED}"}}"#
            ),
            None,
        );
        assert_eq!((container.name.as_str(), container.attempt, container.id.as_str()), ("c", 2, "4f"));
        assert_eq!((container.phase, container.exit_code, container.signal), (Phase::Exited, Some(137), None));
        assert!(container.oom_killed && container.engine_error.is_none());
        assert_eq!((container.image.as_str(), container.image_id.as_deref()), ("nginx:1", Some("nginx@sha256:1")));
        assert_eq!(container.revision.as_deref(), Some("1-c"));
        assert_eq!(container.finished_ms.unwrap() - container.started_ms.unwrap(), 4000);
        assert_eq!(container.created_ms, Some(1_795_514_400_000));
    }

    #[test]
    fn states_of_both_engines_have_a_phase() {
        let zero = "0001-01-01T00:00:00Z";
        for (status, phase) in [
            ("created", Phase::Created),
            ("configured", Phase::Created),
            ("running", Phase::Running),
            ("paused", Phase::Running),
            ("stopping", Phase::Running),
            ("exited", Phase::Exited),
            ("dead", Phase::Exited),
            ("stopped", Phase::Exited),
            ("improper", Phase::Lost),
        ] {
            let state = format!(r#"{{"Status":"{status}","ExitCode":0,"StartedAt":"{zero}","FinishedAt":"{zero}"}}"#);
            let container = observed(&state, None);
            assert_eq!(
                (container.phase, container.exit_code),
                (phase, None),
                "{status}: 0 of what never ended is no code"
            );
        }
    }

    #[test]
    fn a_start_that_failed_is_an_end_with_the_engines_words() {
        let container = observed(
            r#"{"Status":"created","ExitCode":127,"Error":"exec: \"nope\": executable file not found in $PATH",
            "StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"0001-01-01T00:00:00Z"}"#,
            None,
        );
        assert_eq!((container.phase, container.exit_code, container.started_ms), (Phase::Exited, Some(127), None));
        assert!(container.engine_error.unwrap().contains("executable file not found"));
    }

    #[test]
    fn what_was_found_dead_has_no_code_of_its_own() {
        let state = |code: i64| {
            format!(r#"{{"Status":"exited","ExitCode":{code},"StartedAt":"{STARTED}","FinishedAt":"{FINISHED}"}}"#)
        };
        for (code, sandbox, known) in [
            (255, Some("2026-11-24T10:00:05.3Z"), None),
            (255, None, Some(255)),
            (255, Some("2026-11-24T11:00:00Z"), Some(255)),
            (3, Some(FINISHED), Some(3)),
            (-1, None, None),
            (0, None, Some(0)),
        ] {
            assert_eq!(observed(&state(code), sandbox).exit_code, known, "{code} {sandbox:?}");
        }
    }

    #[test]
    fn a_sandbox_that_was_stopped_was_not_found_dead() {
        let sandbox =
            |code: i64| details(&format!(r#"{{"Status":"exited","ExitCode":{code},"FinishedAt":"{FINISHED}"}}"#));
        assert!(found_dead(&sandbox(255)).is_some());
        assert!(found_dead(&sandbox(0)).is_none() && found_dead(&sandbox(137)).is_none());
        assert!(found_dead(&details(r#"{"Status":"running","ExitCode":255}"#)).is_none());
    }
}
