//! Attempts at one container, one after the other.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::{Crew, attempt, note, pause};
use crate::engine::Exit;
use crate::group::{Log, State};
use crate::spec::{Container, RestartPolicy};
use crate::view::{Stage, View};

/// The code of what could not be started at all.
const NOT_STARTED: i64 = 128;
/// The code of what the engine has lost sight of.
const UNKNOWN: i64 = -1;

/// What a container is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Init,
    Ordinary,
}

/// What became of a container for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    Badly,
    Cancelled,
}

/// Writes down how an attempt ended.
pub(super) fn note_end(state: &mut State, name: &str, exit: &Exit) {
    let why = match exit.code {
        _ if exit.out_of_memory => "OOMKilled",
        0 => "Completed",
        _ => "Error",
    };
    state.view(name).current =
        Stage::Terminated { since: exit.since, until: exit.until, code: exit.code, why: why.to_owned() };
}

impl Crew {
    /// Attempts at a container until one is the last. `started` is told of the first.
    pub(super) async fn attempts(
        self: Arc<Self>,
        container: Container,
        kind: Kind,
        started: Option<UnboundedSender<()>>,
    ) -> Ended {
        let name = container.name.as_str();
        let mut started = started;
        loop {
            let Some(exit) = self.attempt(&container, &mut started).await else { return Ended::Cancelled };
            note_end(&mut self.group.state(), name, &exit);
            if !self.is_restarted(name, kind, exit.code) {
                return if exit.code == 0 { Ended::Well } else { Ended::Badly };
            }
            let back_off = self.back_off(name);
            let waits = format!("CrashLoopBackOff: Back-off {back_off:?} restarting failed");
            self.with(name, |view| {
                view.previous = Some(view.current.clone());
                view.current = Stage::waiting(waits);
                view.event("BackOff", "Warning", "Back-off restarting failed container");
            });
            if pause(&self.end, back_off).await.is_err() {
                return Ended::Cancelled;
            }
            self.with(name, |view| view.restarts += 1);
        }
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut View)) {
        change(self.group.state().view(name));
    }

    fn is_restarted(&self, name: &str, kind: Kind, code: i64) -> bool {
        let restarts = self.group.state().view(name).restarts;
        match self.group.state().spec.policy() {
            RestartPolicy::Always if kind == Kind::Ordinary => true,
            // Init containers end at some time.
            RestartPolicy::Always | RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => code != 0 && restarts < self.world.behaviour().restarts_of_never,
        }
    }

    fn back_off(&self, name: &str) -> std::time::Duration {
        let behaviour = self.world.behaviour();
        let restarts = self.group.state().view(name).restarts;
        let factor = 2_u32.saturating_pow(restarts.min(16));
        behaviour.back_off.saturating_mul(factor).min(behaviour.longest_back_off)
    }

    /// One attempt, from its image to its end. none: somebody wants the group to end.
    async fn attempt(&self, container: &Container, started: &mut Option<UnboundedSender<()>>) -> Option<Exit> {
        let name = container.name.as_str();
        let engine = &self.world.engine;
        let id = self.made(container).await?;
        let last = self.group.state().logs.insert(name.to_owned(), Log::Engine(id.clone()));
        if let Some(Log::Engine(last)) = last {
            let removed = engine.remove(&last).await;
            note(&self.group, removed);
        }
        self.with(name, |view| view.event("Created", "Normal", "Created container"));
        if let Err(error) = engine.start(&id).await {
            self.with(name, |view| view.event("Failed", "Warning", &format!("Error: {error:#}")));
            let now = Timestamp::now();
            tell(started);
            return Some(Exit { since: now, until: now, code: NOT_STARTED, out_of_memory: false });
        }
        self.with(name, |view| {
            view.event("Started", "Normal", "Started container");
            view.current = Stage::Running { since: Timestamp::now() };
        });
        tell(started);
        tokio::select! {
            exit = engine.wait(&id) => Some(self.known(exit)),
            () = self.probed(container, &id) => {
                self.with(name, |view| view.event("Killing", "Normal", &format!("Killing container {name}, as its liveness probe failed")));
                let stopped = engine.stop(&id, self.world.behaviour().grace).await;
                note(&self.group, stopped);
                Some(self.known(engine.wait(&id).await))
            }
            () = self.end.cancelled() => None,
        }
    }

    /// How an attempt ended. What the engine does not tell is for whoever looks at the group.
    fn known(&self, exit: anyhow::Result<Exit>) -> Exit {
        exit.unwrap_or_else(|error| {
            note(&self.group, Err(error));
            let now = Timestamp::now();
            Exit { since: now, until: now, code: UNKNOWN, out_of_memory: false }
        })
    }

    /// A container at the engine, which has not been started. What fails is tried again.
    async fn made(&self, container: &Container) -> Option<String> {
        let (name, image) = (container.name.as_str(), container.properties.image.as_str());
        let spec = self.group.state().spec.clone();
        let login = attempt::login(&spec, image);
        let mut tries = 0_u32;
        loop {
            self.with(name, |view| view.event("Pulling", "Normal", &format!("pulling image \"{image}\"")));
            let (failure, waits) = match self.world.engine.pull(image, login.as_ref()).await {
                Ok(()) => {
                    let message = format!("Successfully pulled image \"{image}\"");
                    self.with(name, |view| view.event("Pulled", "Normal", &message));
                    let attempt = attempt::of(container, &self.volumes);
                    match self.world.engine.make(&self.place, &attempt).await {
                        Ok(id) => return Some(id),
                        Err(error) => (format!("Error: {error:#}"), "CreateContainerError"),
                    }
                }
                Err(error) => (format!("Failed to pull image \"{image}\": {error:#}"), "ImagePullBackOff"),
            };
            let behaviour = self.world.behaviour();
            let back_off =
                behaviour.back_off.saturating_mul(2_u32.saturating_pow(tries)).min(behaviour.longest_back_off);
            self.with(name, |view| {
                view.event("Failed", "Warning", &failure);
                view.event("BackOff", "Normal", &format!("Back-off pulling image \"{image}\""));
                view.current = Stage::waiting(format!("{waits}: {failure}"));
            });
            tries = tries.saturating_add(1).min(16);
            if pause(&self.end, back_off).await.is_err() {
                return None;
            }
        }
    }
}

/// Of the first start alone.
fn tell(started: &mut Option<UnboundedSender<()>>) {
    if let Some(started) = started.take() {
        // Nobody waits for it any more if another container has come to nothing.
        let _ = started.send(());
    }
}
