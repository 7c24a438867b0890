//! Who runs when: init containers one by one, each sidecar once the one before has started, then all others together; and who is
//! ended to be run anew.

use std::time::Duration;

use crate::pods::machine::action::{Decision, Note};
use crate::pods::machine::memory::Known;
use crate::pods::machine::scene::{Scene, View};
use crate::pods::machine::spec::{ContainerSpec, Kind, ProbeKind};
use crate::provider::containers::Container;

use super::{kill, start};

/// How far the pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its init containers have not all done their work.
    Initializing,
    Running,
    /// All ordinary containers have ended, and none is run again.
    Finished,
    /// An init container has failed for good.
    Failed,
}

/// What the order of containers asks for.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    pub(super) state: State,
    /// Init containers and sidecars that shall start, in order.
    init: Vec<&'a ContainerSpec>,
    /// Ordinary containers that shall start, in order.
    ordinary: Vec<&'a ContainerSpec>,
    kills: Vec<Note>,
}

/// How far the pod is, and what follows.
pub(super) fn progress<'a>(scene: &Scene<'a>) -> Progress<'a> {
    let mut progress =
        Progress { state: State::Initializing, init: Vec::new(), ordinary: Vec::new(), kills: Vec::new() };
    if has_ended(scene) {
        // Sidecars do not hold the pod's end up.
        progress.state = State::Finished;
        return progress;
    }
    progress.state = initialize(scene, &mut progress);
    if progress.state != State::Running {
        return progress;
    }
    for container in &scene.spec.ordinary {
        match scene.view(container) {
            View::Absent | View::Created(_) => progress.ordinary.push(container),
            View::Ended(end) if scene.restarts(container, &end) => progress.ordinary.push(container),
            View::Ended(_) | View::Closing(_) => {}
            View::Running(running) | View::Unclear(running) => {
                progress.kills.extend(verdict(scene, container, running));
            }
        }
    }
    progress
}

/// All ordinary containers have ended, and none is run again.
fn has_ended(scene: &Scene<'_>) -> bool {
    scene.spec.ordinary.iter().all(|container| match scene.view(container) {
        View::Ended(end) => !scene.restarts(container, &end),
        _ => false,
    })
}

/// From the last init container to the first: the last one that was begun says how far the pod is, as those before it may have been
/// taken away. Once it was initialized only sidecars are looked after.
fn initialize<'a>(scene: &Scene<'a>, progress: &mut Progress<'a>) -> State {
    let init = &scene.spec.init;
    let runs = |container| matches!(scene.view(container), View::Created(_) | View::Running(_) | View::Closing(_));
    // One that has ended is no proof: it may have run in a sandbox that was lost.
    let mut begun = scene.spec.ordinary.iter().any(runs);
    let mut done = begun || init.is_empty();
    for (index, container) in init.iter().enumerate().rev() {
        let view = scene.view(container);
        let next = init.get(index.saturating_add(1));
        let sidecar = container.kind == Kind::Sidecar;
        if view == View::Absent {
            if begun && sidecar {
                progress.init.push(container);
            }
            continue;
        }
        if begun && !sidecar {
            continue;
        }
        let over = match view {
            View::Absent | View::Closing(_) => false,
            View::Created(_) => {
                progress.init.push(container);
                false
            }
            View::Running(running) if sidecar => {
                progress.kills.extend(verdict(scene, container, running));
                scene.is_started(container)
            }
            View::Unclear(running) => {
                progress.kills.extend(verdict(scene, container, running));
                false
            }
            View::Running(_) => false,
            View::Ended(end) if scene.restarts(container, &end) => {
                progress.init.push(container);
                false
            }
            View::Ended(end) if end.is_failure() => {
                progress.init.clear();
                progress.kills.clear();
                return State::Failed;
            }
            View::Ended(_) => true,
        };
        match next {
            None => done |= over,
            Some(next) if over && !begun => progress.init.push(next),
            Some(_) => {}
        }
        begun = true;
    }
    if !begun {
        progress.init.extend(init.first());
    }
    progress.init.reverse();
    if done { State::Running } else { State::Initializing }
}

/// Whether a container that runs must be ended, to be run anew where its policy allows it.
fn verdict(scene: &Scene<'_>, container: &ContainerSpec, running: &Container) -> Option<Note> {
    let known = scene.known(container);
    if known.kill.is_some() {
        return None;
    }
    let sidecar = container.kind == Kind::Sidecar;
    let title =
        if sidecar { format!("Init container {}", container.name) } else { format!("Container {}", container.name) };
    let (message, again, grace) = if matches!(scene.view(container), View::Unclear(_)) {
        let message = "Container is in \"unknown\" state, try killing it before restart".to_string();
        let again = container.kind != Kind::Init || container.restart.after_kill();
        return Some(order(scene, container, running, message, None, again));
    } else if known.hook_failed == Some(running.attempt) {
        return Some(order(scene, container, running, "FailedPostStartHook".into(), None, false));
    } else if !running.image.is_empty() && running.image != container.image {
        // Whatever its policy says: it is another container now.
        (format!("{title} definition changed"), true, None)
    } else {
        let failed = [ProbeKind::Liveness, ProbeKind::Startup].into_iter().find(|kind| has_failed(known, *kind))?;
        let name = failed.name().to_lowercase();
        let grace = container.probe(failed).and_then(|probe| probe.grace);
        (format!("{title} failed {name} probe"), sidecar || container.restart.after_kill(), grace)
    };
    let message = if again && !sidecar { format!("{message}, will be restarted") } else { message };
    Some(order(scene, container, running, message, grace, again))
}

fn has_failed(known: &Known, kind: ProbeKind) -> bool {
    let probed = known.probes.of(kind);
    probed.over && probed.result == Some(false)
}

fn order(
    scene: &Scene<'_>,
    container: &ContainerSpec,
    running: &Container,
    message: String,
    grace: Option<Duration>,
    rerun: bool,
) -> Note {
    let until = scene.now.plus(grace.unwrap_or(scene.spec.grace));
    kill::order(container, running, message, until, false, rerun)
}

/// Does what the order asks for.
pub(super) fn follow(scene: &Scene<'_>, progress: Progress<'_>, decision: &mut Decision) {
    decision.notes.extend(progress.kills);
    start::hooks(scene, decision);
    for container in &scene.spec.ephemeral {
        if matches!(scene.view(container), View::Absent | View::Created(_)) {
            start::start(scene, container, decision);
        }
    }
    for container in progress.init {
        start::start(scene, container, decision);
    }
    // All together, but for those behind a postStart hook: pods rely on it that the kubelet waits for one before it starts the next
    // container, to hold an application until its proxy is up.
    for container in &scene.spec.ordinary {
        let wanted = progress.ordinary.iter().any(|wanted| wanted.name == container.name);
        let moves = if wanted {
            start::start(scene, container, decision)
        } else {
            matches!(scene.view(container), View::Running(running) if scene.is_hooked(container, running.attempt))
        };
        if moves && container.post_start.is_some() {
            return;
        }
    }
}
