//! The end of a pod: whatever is being made is called off, all containers are ended in their order, and then the sandbox goes.
//!
//! A pod that has ended by itself, or that this node will never run, keeps its attempts for people to read, and gives back network and
//! ports; a pod that shall go leaves nothing.

use crate::pods::machine::action::{Action, Decision};
use crate::pods::machine::scene::{Scene, View};
use crate::pods::machine::spec::ProbeKind;

use super::kill;

/// Whether the pod shall end, whatever its containers do.
pub(super) fn is_wanted(scene: &Scene<'_>) -> bool {
    let Scene { spec, memory, .. } = *scene;
    memory.ending.is_some() || memory.refused.is_some() || memory.abandoned || spec.terminal
}

/// The next steps of the pod's end.
pub(super) fn close(scene: &Scene<'_>, decision: &mut Decision) {
    call_off(scene, decision);
    let Scene { spec, memory, now, .. } = *scene;
    let until = memory.ending.map_or_else(|| now.plus(spec.grace), |ending| ending.until);
    for container in spec.all() {
        let (View::Running(running) | View::Unclear(running)) = scene.view(container) else { continue };
        if scene.known(container).kill.is_none() {
            let message = format!("Stopping container {}", container.name);
            decision.notes.push(kill::order(container, running, message, until, true, false));
        }
    }
    if !scene.is_down() {
        return;
    }
    if memory.ending.is_some_and(|ending| ending.remove) { remove(scene, decision) } else { stop(scene, decision) }
}

/// What is under way and makes something, or asks how a container does that shall end.
fn call_off(scene: &Scene<'_>, decision: &mut Decision) {
    let pointless = |action: &&Action| match action {
        Action::Probe { kind, .. } => *kind != ProbeKind::Readiness,
        action => action.makes(),
    };
    decision.cancel.extend(scene.memory.flight.iter().filter(pointless).cloned());
}

/// Nothing shall be left. What was asked for last may come to be after it was looked for, so that absence counts only once the backend
/// has settled.
fn remove(scene: &Scene<'_>, decision: &mut Decision) {
    let Scene { memory, observed, now, .. } = *scene;
    if memory.flight.iter().any(|action| matches!(action, Action::RemoveSandbox | Action::Remove { .. })) {
        return;
    }
    if !observed.is_nothing() {
        return match memory.sandbox.removal.until(now) {
            Some(until) => decision.wake_at(until),
            None if memory.look.due.is_some() => {}
            None => decision.actions.push(Action::RemoveSandbox),
        };
    }
    let settled = memory.sandbox.asked.map(|asked| asked.plus(memory.settle)).unwrap_or_default();
    if memory.look.last.is_some_and(|last| last >= settled) {
        decision.gone = true;
    } else if now >= settled {
        decision.actions.push(Action::Look);
    } else {
        decision.wake_at(settled);
    }
}

/// The pod needs its network no more.
fn stop(scene: &Scene<'_>, decision: &mut Decision) {
    let Scene { memory, observed, now, .. } = *scene;
    if !observed.is_ready() || memory.sandbox.stopped || memory.flight.contains(&Action::StopSandbox) {
        return;
    }
    match memory.sandbox.removal.until(now) {
        Some(until) => decision.wake_at(until),
        None => decision.actions.push(Action::StopSandbox),
    }
}
