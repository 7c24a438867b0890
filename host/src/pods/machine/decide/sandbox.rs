//! The sandbox comes first, and comes again when it is lost.

use crate::pods::machine::action::{Action, Decision, Note};
use crate::pods::machine::scene::{Scene, View};
use crate::pods::machine::spec::{ContainerSpec, Kind, Policy};

use super::kill;

/// Whether there is a sandbox to start containers in; does what is needed for one.
pub(super) fn is_there(scene: &Scene<'_>, decision: &mut Decision) -> bool {
    let Scene { memory, observed, .. } = *scene;
    if memory.flight.contains(&Action::EnsureSandbox) {
        return false;
    }
    if observed.is_ready() {
        if memory.sandbox.lost {
            decision.notes.push(Note::SandboxRestored);
        }
        return true;
    }
    if !memory.sandbox.had && !memory.has_run() {
        ensure(scene, decision);
        return false;
    }
    // A pod that is run once is not begun anew; one of which nothing ran yet may well be.
    if scene.spec.policy == Policy::Never && memory.has_run() {
        decision.notes.push(Note::Abandoned);
        return false;
    }
    if !memory.sandbox.lost {
        decision.notes.push(Note::SandboxChanged);
    }
    if clear(scene, decision) {
        ensure(scene, decision);
    }
    false
}

/// Ends what still runs without the lost sandbox, and takes the init containers away: they run again, from the first on. Returns
/// whether that is done.
fn clear(scene: &Scene<'_>, decision: &mut Decision) -> bool {
    let Scene { spec, memory, now, .. } = *scene;
    let mut clear = true;
    for container in spec.all() {
        let view = scene.view(container);
        clear &= !view.is_up() && !memory.is_under_way(&container.name, needs_sandbox);
        let (View::Running(running) | View::Unclear(running)) = view else { continue };
        if scene.known(container).kill.is_none() {
            let message = format!("Stopping container {}", container.name);
            let until = now.plus(spec.grace);
            decision.notes.push(kill::order(
                container,
                running,
                message,
                until,
                true,
                container.kind != Kind::Ephemeral,
            ));
        }
    }
    if !clear {
        return false;
    }
    let left = spec.init.iter().filter(|container| !take_away(scene, container, decision));
    left.count() == 0
}

/// Takes all attempts of an init container away. Returns whether none is left.
fn take_away(scene: &Scene<'_>, container: &ContainerSpec, decision: &mut Decision) -> bool {
    let Scene { memory, observed, now, .. } = *scene;
    let attempts = observed.attempts(&container.name);
    for attempt in attempts {
        let action = Action::Remove { name: container.name.clone(), attempt: attempt.attempt };
        match scene.known(container).removal.until(now) {
            Some(until) => decision.wake_at(until),
            None if memory.flight.contains(&action) => {}
            None => decision.actions.push(action),
        }
    }
    let remembered = attempts.is_empty() && scene.known(container).last.is_some();
    if remembered {
        decision.notes.push(Note::TakenAway { name: container.name.clone() });
    }
    attempts.is_empty() && !remembered
}

fn needs_sandbox(action: &Action) -> bool {
    matches!(action, Action::Start { .. } | Action::PostStart { .. })
}

fn ensure(scene: &Scene<'_>, decision: &mut Decision) {
    match scene.memory.sandbox.pause.until(scene.now) {
        Some(until) => decision.wake_at(until),
        None => decision.actions.push(Action::EnsureSandbox),
    }
}
