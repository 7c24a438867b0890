//! The status of one container.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pods::machine::action::Trouble;
use crate::pods::machine::clock::Moment;
use crate::pods::machine::scene::{End, Scene, View};
use crate::pods::machine::spec::{ContainerSpec, Kind, Policy};
use crate::provider::containers::Container;

/// What a container's newest attempt says, and which one that is.
struct Said<'a> {
    state: ContainerState,
    last: Option<End<'a>>,
    /// The attempt that the status is about; none: one that is yet to be made.
    of: Option<&'a Container>,
    count: u32,
}

/// The status of a container. `over`: the pod is, and nothing is run again.
pub(super) fn status(scene: &Scene<'_>, container: &ContainerSpec, over: bool, runtime: &str) -> ContainerStatus {
    let said = say(scene, container, over, runtime);
    let id = said.of.map(|of| id(runtime, of)).filter(|id| !id.is_empty());
    let image = said.of.map(|of| of.image.clone()).filter(|image| !image.is_empty());
    let runs = said.state.running.is_some();
    let succeeded = said.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0);
    let (started, ready) = match container.kind {
        Kind::Init => (runs, succeeded),
        Kind::Ephemeral => (runs, false),
        Kind::Sidecar | Kind::Ordinary => (runs && scene.is_started(container), runs && scene.is_ready(container)),
    };
    ContainerStatus {
        name: container.name.clone(),
        restart_count: i32::try_from(said.count).unwrap_or(i32::MAX),
        image: image.unwrap_or_else(|| container.image.clone()),
        image_id: said.of.and_then(|of| of.image_id.clone()).unwrap_or_default(),
        container_id: id,
        started: Some(started),
        ready,
        last_state: said.last.map(|end| terminated(&end, runtime)),
        state: Some(said.state),
        volume_mounts: Some(container.mounts.clone()).filter(|mounts| !mounts.is_empty()),
        ..ContainerStatus::default()
    }
}

fn say<'a>(scene: &Scene<'a>, container: &ContainerSpec, over: bool, runtime: &str) -> Said<'a> {
    let before = scene.before(container);
    let known = scene.known(container);
    let upcoming = |state, last| Said { state, last, of: None, count: known.upcoming() };
    let view = scene.view(container);
    if let Some(done) = before.as_ref().filter(|end| stays(scene, container, &view, end)) {
        let (of, count) = (Some(done.container), done.container.attempt);
        return Said { state: terminated(done, runtime), last: None, of, count };
    }
    match view {
        View::Absent | View::Created(_) => upcoming(waits(scene, container), before),
        View::Running(running) if scene.is_hooked(container, running.attempt) => {
            Said { state: waits(scene, container), last: before, of: None, count: running.attempt }
        }
        View::Running(running) | View::Closing(running) => {
            let started_at = running.started_ms.map(time);
            let state =
                ContainerState { running: Some(ContainerStateRunning { started_at }), ..ContainerState::default() };
            Said { state, last: before, of: Some(running), count: running.attempt }
        }
        View::Unclear(unclear) => {
            let state = terminated(&End::unknown(unclear, false), runtime);
            Said { state, last: before, of: Some(unclear), count: unclear.attempt }
        }
        View::Ended(end) if over || !scene.restarts(container, &end) => {
            let (of, count) = (Some(end.container), end.container.attempt);
            Said { state: terminated(&end, runtime), last: before, of, count }
        }
        View::Ended(end) if end.vanished && !end.is_known() => upcoming(waits(scene, container), Some(end)),
        View::Ended(end) => {
            let (of, count) = (Some(end.container), end.container.attempt);
            match waits_after(scene, container, &end) {
                Some(why) => Said { state: waiting(&why), last: Some(end), of, count },
                None => Said { state: terminated(&end, runtime), last: before, of, count },
            }
        }
    }
}

/// An init container that runs once more because the sandbox was lost has done its work: the API server takes no other word for it
/// where the pod does not restart always.
fn stays(scene: &Scene<'_>, container: &ContainerSpec, view: &View<'_>, before: &End<'_>) -> bool {
    let again = !matches!(view, View::Ended(_));
    container.kind == Kind::Init && again && scene.spec.policy != Policy::Always && !before.is_failure()
}

/// Why a container that has ended is not started at once; none: it is.
fn waits_after(scene: &Scene<'_>, container: &ContainerSpec, end: &End<'_>) -> Option<Trouble> {
    let known = scene.known(container);
    let waits = known.told.as_ref().filter(|(attempt, _)| *attempt == end.container.attempt);
    let waits = waits.map(|(_, trouble)| trouble.clone());
    let (due, _) = scene.again(container, end);
    if due > scene.now {
        return Some(waits.unwrap_or_else(|| scene.crash_loop(container)));
    }
    // What was started and could not run is told as that.
    let unstarted = end.reason == "StartError";
    match known.trouble.clone() {
        Some(trouble) if unstarted && trouble.reason == "CreateContainerError" => {
            Some(Trouble { reason: "RunContainerError", ..trouble })
        }
        Some(trouble) => Some(trouble),
        None if waits.is_some() => waits,
        // Its end was not its own: as one of the container's it would be final to the API server.
        None if known.rerun == Some(end.container.attempt) => Some(usual(scene)),
        None => None,
    }
}

/// What a container waits for that is on its way.
fn usual(scene: &Scene<'_>) -> Trouble {
    let reason = if scene.spec.init.is_empty() { "ContainerCreating" } else { "PodInitializing" };
    Trouble { reason, message: String::new() }
}

/// Why a container that has not run yet waits.
fn waits(scene: &Scene<'_>, container: &ContainerSpec) -> ContainerState {
    waiting(&scene.known(container).trouble.clone().unwrap_or_else(|| usual(scene)))
}

fn waiting(why: &Trouble) -> ContainerState {
    let message = Some(why.message.clone()).filter(|message| !message.is_empty());
    let waiting = ContainerStateWaiting { reason: Some(why.reason.into()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(end: &End<'_>, runtime: &str) -> ContainerState {
    let container = end.container;
    // One that never ran ended when it was made, as far as anybody knows.
    let made = container.created_ms.filter(|_| end.reason == "StartError");
    let terminated = ContainerStateTerminated {
        exit_code: end.exit_code,
        reason: Some(end.reason.into()),
        message: Some(end.message.clone()).filter(|message| !message.is_empty()),
        signal: container.signal.and_then(|signal| i32::try_from(signal).ok()),
        started_at: container.started_ms.map(time),
        finished_at: container.finished_ms.or(made).map(time),
        container_id: Some(id(runtime, container)).filter(|id| !id.is_empty()),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// `docker://ID`.
fn id(runtime: &str, container: &Container) -> String {
    if container.id.is_empty() { String::new() } else { format!("{runtime}://{}", container.id) }
}

fn time(ms: u64) -> Time {
    Time(Moment(ms).timestamp())
}
