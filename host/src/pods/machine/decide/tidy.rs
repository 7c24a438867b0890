//! What is done beside all else: last words are read, and attempts that nobody needs are taken away.

use crate::pods::machine::action::{Action, Decision};
use crate::pods::machine::scene::{Scene, speaks};
use crate::pods::machine::spec::ContainerSpec;
use crate::provider::containers::{Container, Phase};

/// Attempts of a container that are kept: the newest, and the one before for `kubectl logs --previous`.
const KEPT: usize = 2;

/// Reads and removes.
pub(super) fn tidy(scene: &Scene<'_>, decision: &mut Decision) {
    for container in scene.spec.all() {
        let attempts = scene.observed.attempts(&container.name);
        for attempt in attempts.iter().take(KEPT) {
            listen(scene, container, attempt, decision);
        }
        // At the pod's end all go together.
        if scene.memory.ending.is_none_or(|ending| !ending.remove) {
            attempts.iter().skip(KEPT).for_each(|attempt| remove(scene, container, attempt, decision));
        }
    }
}

fn listen(scene: &Scene<'_>, container: &ContainerSpec, attempt: &Container, decision: &mut Decision) {
    let known = scene.known(container);
    let silent = attempt.phase != Phase::Exited || !speaks(container, attempt);
    if silent || known.words.contains_key(&attempt.attempt) {
        return;
    }
    let action = Action::LastWords { name: container.name.clone(), attempt: attempt.attempt };
    // Who waits for them goes on without then.
    let until = scene.words_until(container, attempt).filter(|until| *until > scene.now);
    until.into_iter().for_each(|until| decision.wake_at(until));
    match known.words_pause.until(scene.now) {
        Some(until) => decision.wake_at(until),
        None if scene.memory.flight.contains(&action) => {}
        None if decision
            .actions
            .iter()
            .any(|a| matches!(a, Action::LastWords { name, .. } if *name == container.name)) => {}
        None => decision.actions.push(action),
    }
}

/// An old attempt goes; one that, against all order, still runs is killed first.
fn remove(scene: &Scene<'_>, container: &ContainerSpec, old: &Container, decision: &mut Decision) {
    let (name, attempt) = (container.name.clone(), old.attempt);
    let action = match old.phase {
        Phase::Exited | Phase::Created => Action::Remove { name, attempt },
        Phase::Running | Phase::Lost => Action::Stop { name, attempt, grace: 0 },
    };
    match scene.known(container).removal.until(scene.now) {
        Some(until) => decision.wake_at(until),
        None if scene.memory.flight.contains(&action) => {}
        None => decision.actions.push(action),
    }
}
