//! How a container is ended: its preStop hook and then the signal, both within its grace, and at last the kill.
//!
//! ```text
//!  order ──▶ preStop ──▶ its turn ──▶ signal ──────────────▶ kill, again and again
//!     └──────── at most the grace ──────┘└─ what is left of it, 2 s at least
//! ```
//!
//! In the end of a pod sidecars wait for all ordinary containers, and each for the one after it; their hooks do not wait, as with the
//! kubelet. When the grace is over nobody waits for anybody.

use crate::defaults::machine::SHORTEST_GRACE;
use crate::pods::machine::action::{Action, Decision, Kill, Note};
use crate::pods::machine::clock::Moment;
use crate::pods::machine::memory::{Hook, Killing};
use crate::pods::machine::scene::{Scene, View};
use crate::pods::machine::spec::{ContainerSpec, Kind};
use crate::provider::containers::Container;

/// An order to end a container.
pub(super) fn order(
    container: &ContainerSpec,
    running: &Container,
    message: String,
    until: Moment,
    in_turn: bool,
    rerun: bool,
) -> Note {
    Note::Kill(Kill { name: container.name.clone(), attempt: running.attempt, message, until, in_turn, rerun })
}

/// The next step for each container that is being ended.
pub(super) fn go_on(scene: &Scene<'_>, decision: &mut Decision) {
    for container in scene.spec.all() {
        let Some(kill) = &scene.known(container).kill else { continue };
        let (View::Running(running) | View::Unclear(running)) = scene.view(container) else { continue };
        if kill.attempt == running.attempt {
            step(scene, container, kill, decision);
        }
    }
}

fn step(scene: &Scene<'_>, container: &ContainerSpec, kill: &Killing, decision: &mut Decision) {
    let Scene { memory, now, .. } = *scene;
    let (name, attempt) = (container.name.clone(), kill.attempt);
    let stops = |action: &&Action| {
        action.container() == Some(&container.name)
            && matches!(action, Action::Stop { attempt, .. } if *attempt == kill.attempt)
    };
    let signals: Vec<&Action> = memory.flight.iter().filter(stops).collect();
    if signals.iter().any(|action| matches!(action, Action::Stop { grace: 0, .. })) {
        return;
    }
    if let Some(deadline) = kill.deadline {
        let due = deadline.max(kill.pause.until(now).unwrap_or_default());
        if due > now {
            return decision.wake_at(due);
        }
        // A signal that is still on its way does not hold the kill up.
        decision.cancel.extend(signals.into_iter().cloned());
        return decision.actions.push(Action::Stop { name, attempt, grace: 0 });
    }
    if !signals.is_empty() {
        return;
    }
    if kill.until > now {
        let hook = Action::PreStop { name: name.clone(), attempt };
        match kill.hook {
            Hook::Due if container.pre_stop.is_some() => return decision.actions.push(hook),
            Hook::Running => return decision.wake_at(kill.until),
            Hook::Due | Hook::Over => {}
        }
        if kill.in_turn && !is_turn_of(scene, container) {
            return decision.wake_at(kill.until);
        }
    } else if kill.hook == Hook::Running {
        decision.cancel.push(Action::PreStop { name: name.clone(), attempt });
    }
    if let Some(until) = kill.pause.until(now) {
        return decision.wake_at(until);
    }
    let left = kill.until.since(now).max(SHORTEST_GRACE);
    let grace = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    decision.actions.push(Action::Stop { name, attempt, grace });
}

/// Whether nobody is left whose end this container waits for in the end of its pod.
fn is_turn_of(scene: &Scene<'_>, container: &ContainerSpec) -> bool {
    if container.kind != Kind::Sidecar {
        return true;
    }
    let later = scene.spec.init.iter().rev().take_while(|other| other.name != container.name);
    let later = later.filter(|other| other.kind == Kind::Sidecar);
    later.chain(&scene.spec.ordinary).all(|other| !scene.view(other).is_up())
}
