//! One container's way to running: its back-off, its image, its start, its postStart hook.

use crate::defaults::machine::PULL_ERROR_SHOWN;
use crate::pods::machine::action::{Action, Decision, Event, Note, Trouble};
use crate::pods::machine::clock::Moment;
use crate::pods::machine::memory::{Presence, told};
use crate::pods::machine::scene::{End, Scene, View};
use crate::pods::machine::spec::{ContainerSpec, image};
use crate::provider::containers::PullPolicy;

/// What comes next for a container.
enum Step {
    Do(Action),
    Wait(Moment),
    /// It waits for nothing that time brings.
    Stay,
}

/// The next step of a container that shall start. Returns whether it moves on; false: something is in its way.
pub(super) fn start(scene: &Scene<'_>, container: &ContainerSpec, decision: &mut Decision) -> bool {
    if scene.memory.is_under_way(&container.name, Action::makes) {
        return true;
    }
    let step = match scene.view(container) {
        View::Ended(end) => again(scene, container, &end, decision),
        _ => begin(scene, container, decision),
    };
    match step {
        Step::Do(action) => {
            decision.actions.push(action);
            true
        }
        Step::Wait(until) => {
            decision.wake_at(until);
            false
        }
        Step::Stay => false,
    }
}

/// A container that has ended waits for its time, and is counted when it starts.
fn again(scene: &Scene<'_>, container: &ContainerSpec, end: &End<'_>, decision: &mut Decision) -> Step {
    let (due, next) = scene.again(container, end);
    let (name, attempt) = (container.name.clone(), end.container.attempt);
    let known = scene.known(container);
    if due > scene.now {
        if known.told.as_ref().is_none_or(|(told, _)| *told != attempt) {
            let trouble = scene.crash_loop(container);
            let event = told::crash_back_off(&scene.spec.title, &name);
            decision.notes.push(Note::BackOff { name, attempt, trouble, event });
        }
        return Step::Wait(due);
    }
    let step = begin(scene, container, decision);
    if matches!(step, Step::Do(Action::Start { .. })) && known.counted != Some(attempt) {
        decision.notes.push(Note::Again { name, attempt, next });
    }
    step
}

/// The image, and then the start.
fn begin(scene: &Scene<'_>, container: &ContainerSpec, decision: &mut Decision) -> Step {
    let Scene { memory, now, .. } = *scene;
    let known = scene.known(container);
    let name = container.name.clone();
    if let Some(until) = known.start.until(now) {
        return Step::Wait(until);
    }
    if !image::is_well_formed(&container.image) {
        trouble(scene, container, told::invalid_image(&container.image), decision);
        return Step::Stay;
    }
    if let Some(target) = container.target.as_ref().filter(|target| memory.of(target).last.is_none()) {
        trouble(scene, container, told::no_target(target), decision);
        return Step::Stay;
    }
    let attempt = known.upcoming();
    let (presence, pause) = known.image.for_attempt(&container.image, attempt);
    let policy = match (presence, container.pull) {
        (Presence::There(id), _) => return Step::Do(Action::Start { name, attempt, image_id: id.clone() }),
        // Whether it is there is asked first: people are told only of pulls that are made.
        (Presence::Unknown, PullPolicy::IfNotPresent) | (_, PullPolicy::Never) => PullPolicy::Never,
        (_, policy) => policy,
    };
    let Some(until) = pause.and_then(|pause| pause.until(now)) else {
        return Step::Do(Action::Pull { name, image: container.image.clone(), policy });
    };
    if *presence == Presence::Missing && container.pull == PullPolicy::Never {
        trouble(scene, container, told::never_pulled(&container.image), decision);
    } else {
        back_off(scene, container, decision);
    }
    Step::Wait(until)
}

/// While an image is not pulled because it failed before, first the failure is told and then that it is waited.
fn back_off(scene: &Scene<'_>, container: &ContainerSpec, decision: &mut Decision) {
    let Some((error, at)) = &scene.known(container).image.error else { return };
    let shown = at.plus(PULL_ERROR_SHOWN);
    if shown > scene.now {
        return decision.wake_at(shown);
    }
    trouble(scene, container, told::pull_back_off(&container.image, error), decision);
}

/// Tells why a container waits, once.
fn trouble(scene: &Scene<'_>, container: &ContainerSpec, why: (Trouble, Vec<Event>), decision: &mut Decision) {
    let (trouble, events) = why;
    if scene.known(container).trouble.as_ref() != Some(&trouble) {
        decision.notes.push(Note::Trouble { name: container.name.clone(), trouble, events });
    }
}

/// The postStart hooks of containers that have just started.
pub(super) fn hooks(scene: &Scene<'_>, decision: &mut Decision) {
    for container in scene.spec.all() {
        let View::Running(running) = scene.view(container) else { continue };
        let known = scene.known(container);
        if known.hook == Some((running.attempt, false)) && known.kill.is_none() {
            let (name, attempt) = (container.name.clone(), running.attempt);
            decision.actions.push(Action::PostStart { name, attempt });
        }
    }
}
