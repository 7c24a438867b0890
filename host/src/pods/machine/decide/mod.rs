//! What to do next about a pod: a pure function of its spec, of what the backend shows, of what is remembered, and of the moment.
//! All rules of the pod machine live here, one file a subject; the task ([`super::run`]) does what they say and decides again.
//!
//! ```text
//!  look ── what was seen last cannot be relied upon: look, and make nothing before
//!  kill ── containers that are being ended: hook, turn, signal, kill
//!  ask  ── probes that are due
//!  then one of
//!    close   ── the pod shall end, or has: everything down, then the sandbox
//!    sandbox ── first of all; one that was lost is made anew, once nothing runs in it any more
//!    order   ── init containers one by one, sidecars, then the others: who starts, who is ended to start anew
//!    start   ── one container's way: back-off, image, start, hook
//!  tidy ── last words, attempts that are of no use any more
//! ```
//!
//! (kubelet: kuberuntime_manager.go `computePodActions`, `computeInitContainerActions`, `doBackOff`; kuberuntime_container.go
//! `startContainer`, `killContainer`; KEP-753 sidecars, KEP-5307 restart rules)

mod ask;
mod close;
mod kill;
mod order;
mod sandbox;
mod start;
#[cfg(test)]
mod tests;
mod tidy;

use super::action::{Action, Decision};
use super::clock::Moment;
use super::memory::Memory;
use super::observed::Observed;
use super::scene::Scene;
use super::spec::Spec;
use order::State;

/// What follows from what is known. The caller remembers its notes, begins its actions, and decides again.
pub(super) fn decide(spec: &Spec, observed: &Observed, memory: &Memory, now: Moment) -> Decision {
    let scene = Scene { spec, observed, memory, now };
    let mut decision = Decision::default();
    let blind = look(&scene, &mut decision);
    kill::go_on(&scene, &mut decision);
    if blind {
        ask::probes(&scene, close::is_wanted(&scene), &mut decision);
        return decision;
    }
    let progress = order::progress(&scene);
    let over = matches!(progress.state, State::Finished | State::Failed);
    let closes = over || close::is_wanted(&scene);
    ask::probes(&scene, closes, &mut decision);
    if closes {
        close::close(&scene, &mut decision);
    } else if sandbox::is_there(&scene, &mut decision) {
        order::follow(&scene, progress, &mut decision);
    }
    tidy::tidy(&scene, &mut decision);
    decision
}

/// Whether the pod is over or about to be: nothing of it is started any more.
pub(super) fn is_over(scene: &Scene<'_>) -> bool {
    close::is_wanted(scene) || matches!(order::progress(scene).state, State::Finished | State::Failed)
}

/// Looks if it is time to. Returns whether what is known may not be acted upon meanwhile.
fn look(scene: &Scene<'_>, decision: &mut Decision) -> bool {
    let Scene { memory, now, .. } = *scene;
    if memory.flight.contains(&Action::Look) {
        return true;
    }
    // The answer to a start is followed by a look, which tells what hints meanwhile would.
    let starting = memory.flight.iter().any(|action| matches!(action, Action::EnsureSandbox | Action::Start { .. }));
    let look = &memory.look;
    // What is not to be seen any more is looked for once the backend has settled: nothing else need ever happen to the pod.
    let settles = scene.spec.all().filter_map(|container| scene.settles(container)).min();
    let due = look.due.into_iter().chain(settles).min();
    if !look.stale && due.is_none_or(|due| due > now) && (!look.hinted || starting) {
        due.into_iter().for_each(|due| decision.wake_at(due));
        return false;
    }
    match look.pause.until(now) {
        Some(until) => {
            decision.wake_at(until);
            look.stale
        }
        None => {
            decision.actions.push(Action::Look);
            true
        }
    }
}
