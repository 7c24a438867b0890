//! Which probes are due.
//!
//! Startup and readiness are asked as soon as the container runs and its initial delay is over, so that a pod is soon ready; liveness,
//! which can only do harm early on, a period after that, and as often then as the kubelet does. Pods that were adopted together are
//! not all asked at once.

use crate::pods::machine::action::{Action, Decision};
use crate::pods::machine::clock::Moment;
use crate::pods::machine::memory::Probed;
use crate::pods::machine::scene::{Scene, View};
use crate::pods::machine::spec::{ContainerSpec, Kind, Probe, ProbeKind};

/// Begins the probes that are due. `closing`: the pod ends, and only whether it still takes requests is of interest.
pub(super) fn probes(scene: &Scene<'_>, closing: bool, decision: &mut Decision) {
    let containers = scene.spec.all().filter(|c| matches!(c.kind, Kind::Ordinary | Kind::Sidecar));
    for container in containers {
        let View::Running(running) = scene.view(container) else { continue };
        if scene.is_hooked(container, running.attempt) {
            continue;
        }
        let ends = closing || scene.known(container).kill.is_some();
        for kind in ProbeKind::ALL {
            let wanted = match kind {
                ProbeKind::Startup => !ends && !scene.is_started(container),
                ProbeKind::Readiness => scene.is_started(container),
                ProbeKind::Liveness => !ends && scene.is_started(container),
            };
            if let Some(probe) = container.probe(kind).filter(|_| wanted) {
                ask(scene, container, running.attempt, kind, probe, decision);
            }
        }
    }
}

fn ask(
    scene: &Scene<'_>,
    container: &ContainerSpec,
    attempt: u32,
    kind: ProbeKind,
    probe: &Probe,
    decision: &mut Decision,
) {
    let Scene { memory, now, .. } = *scene;
    let probed = scene.known(container).probes.of(kind);
    let same = |action: &Action| matches!(action, Action::Probe { kind: asked, .. } if *asked == kind);
    if probed.over || memory.is_under_way(&container.name, same) {
        return;
    }
    match due(scene, container, kind, probe, probed) {
        due if due > now => decision.wake_at(due),
        _ => decision.actions.push(Action::Probe { name: container.name.clone(), attempt, kind }),
    }
}

fn due(scene: &Scene<'_>, container: &ContainerSpec, kind: ProbeKind, probe: &Probe, probed: &Probed) -> Moment {
    let memory = scene.memory;
    if let Some(begun) = probed.begun {
        return begun.plus(probe.period);
    }
    let (running, adopted) = scene.known(container).running.unwrap_or((scene.now, false));
    let delayed = running.plus(probe.initial_delay);
    let first = match kind {
        ProbeKind::Startup | ProbeKind::Readiness => delayed,
        ProbeKind::Liveness => delayed.max(running.plus(probe.period)),
    };
    if adopted { first.max(memory.began.plus(memory.spread.within(probe.period))) } else { first }
}
