//! A group, run: its sandbox, init containers one after the other, and then all others beside each other.
//!
//! ```text
//! Pending ─▶ Creating ─▶ init ─▶ … ─▶ containers ──▶ Succeeded (each was started once)      its phase: Running ─▶ Succeeded, Failed
//!     └─────────┴──────────┴───────────────┴───────▶ Failed    (no volume, no image in time; it keeps trying)
//! ```
//!
//! A task runs a group until somebody wants it to end. Nothing that makes or removes something at the engine is cut short,
//! so that nothing is left there.

mod attempt;
mod attempts;
mod probe;
mod volumes;

pub(crate) use attempt::login;
pub(crate) use volumes::share_folder;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::{Place, Sandbox, Tail};
use crate::fault::{End, Plan};
use crate::group::{Group, Log, Runner};
use crate::view::{Stage, View};
use crate::world::{World, lock};
use attempts::{Ended, Kind};
use volumes::Volumes;

/// So much of a log is kept once a group was stopped.
const KEPT_BYTES: usize = 16 << 10;
const KEPT_LINES: u32 = 1000;

/// What begins a run, and what is to become of it.
pub(crate) struct Order {
    /// It ends when the group has been made, or could not be.
    pub(crate) operation: Option<String>,
    pub(crate) plan: Plan,
}

/// Somebody wants the group to end.
struct Cancelled;

/// A run of a group, as its parts see it.
struct Crew {
    world: Arc<World>,
    group: Arc<Group>,
    place: Place,
    volumes: Volumes,
    end: CancellationToken,
}

/// Runs a group from the beginning, after what ran of it has ended.
pub(crate) fn begin(world: &Arc<World>, group: &Arc<Group>, order: Order) {
    replace(world, group, move |world, group, end| async move { run(&world, &group, order, &end).await });
}

/// Ends all containers of a group, which stays. What has ended by itself stays as it is.
pub(crate) fn stop(world: &Arc<World>, group: &Arc<Group>) {
    if matches!(group.state().phase, "Succeeded" | "Failed" | "Stopped") {
        return;
    }
    replace(world, group, |_, group, _| async move {
        let mut state = group.state();
        state.phase = "Stopped";
        state.ip = None;
        if state.provisioning != "Failed" {
            state.provisioning = "Succeeded";
        }
    });
}

/// Removes a group.
pub(crate) fn remove(world: &Arc<World>, group: &Arc<Group>, operation: String, plan: Plan) {
    if let Some(end) = plan.end {
        lock(&world.operations).end(&operation, Err(end));
        return;
    }
    group.state().provisioning = "Deleting";
    replace(world, group, move |world, group, _| async move {
        tokio::time::sleep(world.behaviour().removal + plan.more).await;
        group.state().gone.get_or_insert_with(Instant::now);
        lock(&world.operations).end(&operation, Ok(()));
    });
}

/// Ends what runs of all groups, and waits for it.
pub(crate) async fn end_all(world: &Arc<World>) {
    let groups: Vec<Arc<Group>> = lock(&world.groups).values().cloned().collect();
    for runner in groups.iter().filter_map(|group| group.state().runner.take()) {
        ended(runner).await;
    }
}

/// Ends what runs of a group, and does something else.
fn replace<F>(
    world: &Arc<World>,
    group: &Arc<Group>,
    next: impl FnOnce(Arc<World>, Arc<Group>, CancellationToken) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let end = CancellationToken::new();
    let mut state = group.state();
    let previous = state.runner.take();
    let (world, own, token) = (world.clone(), group.clone(), end.clone());
    let task = tokio::spawn(async move {
        if let Some(previous) = previous {
            ended(previous).await;
        }
        next(world, own, token).await;
    });
    state.runner = Some(Runner { end, task });
}

async fn ended(runner: Runner) {
    runner.end.cancel();
    // A task that panicked has ended too, and its test fails by what it has not done.
    let _ = runner.task.await;
}

/// Runs a group, until somebody wants it to end.
async fn run(world: &Arc<World>, group: &Arc<Group>, order: Order, end: &CancellationToken) {
    let operation = order.operation.clone();
    run_whole(world, group, order, end).await;
    if let Some(operation) = operation {
        // What has ended before stays so.
        let message = "The operation was preempted by a later one.".to_owned();
        let end = End { state: "Canceled", code: "OperationPreempted".to_owned(), message };
        lock(&world.operations).end(&operation, Err(end));
    }
}

async fn run_whole(world: &Arc<World>, group: &Arc<Group>, order: Order, end: &CancellationToken) {
    let spec = {
        let mut state = group.state();
        let names: Vec<String> = state.spec.all().map(|container| container.name.clone()).collect();
        state.provisioning = "Pending";
        state.phase = "Pending";
        state.ip = None;
        state.views = names.into_iter().map(|name| (name, View::default())).collect();
        state.logs.clear();
        state.spec.clone()
    };
    let delay = world.behaviour().provisioning;
    if pause(end, delay + order.plan.more).await.is_err() {
        return;
    }
    if let Some(failure) = order.plan.end {
        fail(world, group, order.operation.as_deref(), failure);
        return;
    }
    group.state().provisioning = "Creating";
    if pause(end, delay).await.is_err() {
        return;
    }
    let volumes = match Volumes::prepare(world, &spec).await {
        Ok(volumes) => volumes,
        Err(error) => return failed(world, group, order.operation.as_deref(), "FailedMount", &format!("{error:#}")),
    };
    let sandbox = Sandbox {
        hostname: format!("SandboxHost-{}", jiff::Timestamp::now().as_microsecond()),
        dns: spec.dns_config.clone(),
        volumes: volumes.files(),
        label: group.key.path(),
    };
    match world.engine.place(&sandbox).await {
        Ok(place) => {
            group.state().ip.clone_from(&place.ip);
            let crew = Arc::new(Crew { world: world.clone(), group: group.clone(), place, volumes, end: end.clone() });
            crew.serve(order.operation).await;
            crew.wind_down().await;
        }
        Err(error) => {
            failed(world, group, order.operation.as_deref(), "FailedCreatePodSandBox", &format!("{error:#}"));
            note(group, volumes.remove(world).await);
        }
    }
}

/// What cannot be made says so by an event, of the type that recorded ones have, and by its operation.
fn failed(world: &World, group: &Group, operation: Option<&str>, event: &str, message: &str) {
    group.state().event(event, "Normal", message);
    fail(world, group, operation, End { state: "Failed", code: "Failed".to_owned(), message: message.to_owned() });
}

fn fail(world: &World, group: &Group, operation: Option<&str>, end: End) {
    group.state().provisioning = end.state;
    if let Some(operation) = operation {
        lock(&world.operations).end(operation, Err(end));
    }
}

/// What the engine cannot do is for whoever looks at the group.
fn note(group: &Group, result: anyhow::Result<()>) {
    if let Err(error) = result {
        group.state().event("EngineError", "Warning", &format!("{error:#}"));
    }
}

/// Lets all end what they do: they know that somebody wants the group to end.
async fn drain(mut tasks: JoinSet<Ended>) {
    while tasks.join_next().await.is_some() {}
}

/// Waits, unless somebody wants the group to end.
async fn pause(end: &CancellationToken, time: Duration) -> Result<(), Cancelled> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = end.cancelled() => Err(Cancelled),
    }
}

impl Crew {
    /// Runs all containers, and then waits until somebody wants the group to end.
    async fn serve(self: &Arc<Self>, operation: Option<String>) {
        let give_up = self.world.behaviour().give_up;
        let operation = operation.as_deref();
        let mut making = std::pin::pin!(self.make());
        let made = tokio::select! {
            made = &mut making => made,
            () = tokio::time::sleep(give_up) => {
                let message = "The container group could not be provisioned in time.".to_owned();
                fail(&self.world, &self.group, operation, End { state: "Failed", code: "Timeout".to_owned(), message });
                // It keeps trying.
                making.await
            }
        };
        let Ok(tasks) = made else { return };
        {
            let mut state = self.group.state();
            state.provisioning = "Succeeded";
            if tasks.is_none() {
                state.phase = "Failed";
            }
        }
        if let Some(operation) = operation {
            lock(&self.world.operations).end(operation, Ok(()));
        }
        if let Some(mut tasks) = tasks {
            let mut all_well = true;
            while let Some(ended) = tasks.join_next().await {
                match ended {
                    Ok(Ended::Well) => {}
                    Ok(Ended::Badly) | Err(_) => all_well = false,
                    Ok(Ended::Cancelled) => return drain(tasks).await,
                }
            }
            self.group.state().phase = if all_well { "Succeeded" } else { "Failed" };
        }
        self.end.cancelled().await;
    }

    /// Until each container has been started once. none: an init container has failed for good.
    async fn make(self: &Arc<Self>) -> Result<Option<JoinSet<Ended>>, Cancelled> {
        let spec = self.group.state().spec.clone();
        for container in &spec.init_containers {
            match self.clone().attempts(container.clone(), Kind::Init, None).await {
                Ended::Well => {}
                Ended::Badly => return Ok(None),
                Ended::Cancelled => return Err(Cancelled),
            }
        }
        let mut tasks = JoinSet::new();
        let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
        for container in &spec.containers {
            tasks.spawn(self.clone().attempts(container.clone(), Kind::Ordinary, Some(started.clone())));
        }
        drop(started);
        for _ in &spec.containers {
            if starts.recv().await.is_none() {
                drain(tasks).await;
                return Err(Cancelled);
            }
            self.group.state().phase = "Running";
        }
        Ok(Some(tasks))
    }

    /// Ends and removes all that was made, and keeps the ends of logs.
    async fn wind_down(&self) {
        let logs: Vec<(String, Log)> = self.group.state().logs.clone().into_iter().collect();
        let engine = &self.world.engine;
        let ends = logs.iter().filter_map(|(name, log)| match log {
            Log::Engine(id) => Some(self.end_container(name, id)),
            Log::Kept(_) => None,
        });
        futures::future::join_all(ends).await;
        let gone = engine.remove(&self.place.id).await;
        note(&self.group, gone);
        note(&self.group, self.volumes.remove(&self.world).await);
    }

    async fn end_container(&self, name: &str, id: &str) {
        let engine = &self.world.engine;
        let since = match self.group.state().view(name).current {
            Stage::Running { since } => Some(since),
            _ => None,
        };
        if since.is_some() {
            self.group.state().view(name).event("Killing", "Normal", &format!("Killing container {name}"));
            let stopped = engine.stop(id, self.world.behaviour().grace).await;
            note(&self.group, stopped);
            if let Ok(exit) = engine.wait(id).await {
                attempts::note_end(&mut self.group.state(), name, &exit);
            }
        }
        let text = engine.logs(id, Tail { lines: Some(KEPT_LINES), ..Tail::WHOLE }).await.unwrap_or_default();
        let begin = text.ceil_char_boundary(text.len().saturating_sub(KEPT_BYTES));
        let kept = text.get(begin..).unwrap_or_default().to_owned();
        self.group.state().logs.insert(name.to_owned(), Log::Kept(kept));
        let removed = engine.remove(id).await;
        note(&self.group, removed);
    }
}
