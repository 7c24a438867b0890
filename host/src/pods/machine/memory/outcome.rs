//! What follows for the memory from how an action ended, and what is told of it.

mod end;
mod probe;
mod start;

use std::time::Duration;

use super::super::action::{Action, Event};
use super::super::clock::Moment;
use super::super::observed::Observed;
use super::super::probe::Answer;
use super::super::spec::{Kind, Spec};
use super::Memory;
use super::backoff::Rhythm;
use crate::defaults::machine::STOPPING_LOOK;
use crate::pods::lifecycle::{self, Verdict};
use crate::provider::containers::Sandbox;
use crate::provider::{Code, Deletion, Effect, Error};
use start::Pull;

/// How an action ended.
#[derive(Clone, Debug)]
pub(in crate::pods::machine) enum Outcome {
    Looked(Result<Observed, Error>),
    Sandbox(Result<Sandbox, Error>),
    /// Of `StopSandbox` and `Remove`.
    Done(Result<(), Error>),
    /// Of `RemoveSandbox` and `Stop`.
    Deleted(Result<Deletion, Error>),
    /// The image's id, and how long it took.
    Pulled(Result<(String, Duration), Error>),
    /// The backend's id.
    Started(Result<String, Unstarted>),
    /// An error is the text that a status tells; events do not, for it may hold a secret.
    Hooked(Result<(), String>),
    /// The message as it was read.
    Words(Result<String, Error>),
    Probed(Answer),
}

/// Why a container was not started.
#[derive(Clone, Debug)]
pub(in crate::pods::machine) struct Unstarted {
    /// Its values could not be worked out: nothing was asked of the backend.
    pub(in crate::pods::machine) unresolved: bool,
    pub(in crate::pods::machine) error: Error,
}

/// One that cannot run does not end its pod.
fn is_ephemeral(spec: &Spec, name: &str) -> bool {
    spec.container(name).is_some_and(|container| container.kind == Kind::Ephemeral)
}

impl Memory {
    /// An action has ended.
    pub(in crate::pods::machine) fn settle(
        &mut self,
        spec: &Spec,
        action: &Action,
        outcome: Outcome,
        now: Moment,
    ) -> Vec<Event> {
        if let Some(index) = self.flight.iter().position(|under_way| under_way == action) {
            self.flight.remove(index);
        }
        match (action, outcome) {
            (Action::Look, Outcome::Looked(result)) => self.looked(result.as_ref(), now),
            (Action::EnsureSandbox, Outcome::Sandbox(result)) => return self.made_sandbox(result, now),
            (Action::StopSandbox, Outcome::Done(result)) => self.stopped_sandbox(result, now),
            (Action::RemoveSandbox, Outcome::Deleted(result)) => return self.removed_sandbox(result, now),
            (Action::Pull { name, image, policy }, Outcome::Pulled(result)) => {
                return self.pulled(spec, &Pull { name, image, policy: *policy }, result, now);
            }
            (Action::Start { name, attempt, .. }, Outcome::Started(result)) => {
                return self.started(spec, name, *attempt, result, now);
            }
            (Action::PostStart { name, attempt }, Outcome::Hooked(result)) => {
                return self.post_started(name, *attempt, result);
            }
            (Action::PreStop { name, attempt }, Outcome::Hooked(result)) => {
                return self.pre_stopped(name, *attempt, &result);
            }
            (Action::Stop { name, attempt, grace }, Outcome::Deleted(result)) => {
                return self.stopped(name, *attempt, *grace, result, now);
            }
            (Action::Remove { name, attempt }, Outcome::Done(result)) => self.removed(name, *attempt, result, now),
            (Action::LastWords { name, attempt }, Outcome::Words(result)) => {
                self.read_words(name, *attempt, result, now);
            }
            (Action::Probe { name, attempt, kind }, Outcome::Probed(answer)) => {
                return self.probed(spec, name, *attempt, *kind, &answer);
            }
            (action, outcome) => tracing::error!(?action, ?outcome, "an outcome that is not the action's"),
        }
        Vec::new()
    }

    fn looked(&mut self, result: Result<&Observed, &Error>, now: Moment) {
        match result {
            Ok(observed) => {
                self.look.pause.reset();
                // Something was made or ended since it began, of which it may know nothing. Another one follows.
                if !self.look.stale {
                    self.look.last = self.look.begun;
                    self.see(observed, now);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "look failed");
                self.look.stale = true;
                self.look.pause.after(error, self.spread, now);
            }
        }
    }

    fn made_sandbox(&mut self, result: Result<Sandbox, Error>, now: Moment) -> Vec<Event> {
        self.look.stale = true;
        self.may_come(result.as_ref().err(), now);
        let error = match result {
            Ok(sandbox) if sandbox.ready => {
                self.sandbox.pause.grow(None, Rhythm::SOON, self.spread, now);
                self.sandbox.stopped = false;
                return Vec::new();
            }
            Ok(_) => Error::new(Code::Unavailable, "SandboxNotReady", "the sandbox has no network yet"),
            Err(error) => error,
        };
        let unmounted = error.reason == "FailedMount";
        let rhythm = if unmounted { Rhythm::MISSING } else { Rhythm::after(&error) };
        self.sandbox.pause.grow(Some(&error), rhythm, self.spread, now);
        if self.is_off(&error) {
            return Vec::new();
        }
        tracing::warn!(%error, effect = ?error.effect, "sandbox not made");
        if lifecycle::verdict(&error) == Verdict::Final {
            return self.refuse(&error);
        }
        if unmounted {
            // What is missing in the cluster was told when the provider asked for it.
            let told = error.code == Code::FailedPrecondition;
            return Some(Event::warning("FailedMount", error.message)).filter(|_| !told).into_iter().collect();
        }
        vec![Event::warning("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {}", error.message))]
    }

    /// What a call has asked for may still come to be, for as long as the backend takes to settle after it has ended.
    fn may_come(&mut self, error: Option<&Error>, now: Moment) {
        if error.is_none_or(|error| error.effect == Effect::Unknown) {
            self.sandbox.asked = Some(now);
        }
    }

    /// Nobody is told of a call that fails because the pod ends.
    fn is_off(&self, error: &Error) -> bool {
        error.code == Code::Cancelled || (self.ending.is_some() && error.effect == Effect::Unknown)
    }

    /// The provider will never run this pod.
    fn refuse(&mut self, error: &Error) -> Vec<Event> {
        self.refused.get_or_insert((error.reason.to_string(), error.to_string()));
        vec![Event::warning(error.reason.clone(), error.to_string())]
    }

    fn stopped_sandbox(&mut self, result: Result<(), Error>, now: Moment) {
        match result {
            Ok(()) => self.sandbox.stopped = true,
            // It stays as it is until the pod goes.
            Err(error) if error.code == Code::Unimplemented => self.sandbox.stopped = true,
            Err(error) => {
                tracing::warn!(%error, "sandbox not stopped");
                self.sandbox.removal.after(&error, self.spread, now);
            }
        }
        self.look.hinted = true;
    }

    fn removed_sandbox(&mut self, result: Result<Deletion, Error>, now: Moment) -> Vec<Event> {
        match result {
            Ok(Deletion::Gone) => {
                self.sandbox.removal.grow(None, Rhythm::SOON, self.spread, now);
                self.look.stale = true;
                Vec::new()
            }
            Ok(Deletion::Stopping) => {
                self.look.due = Some(now.plus(STOPPING_LOOK));
                Vec::new()
            }
            Err(error) if error.code == Code::NotFound => {
                self.sandbox.removal.grow(None, Rhythm::SOON, self.spread, now);
                self.look.stale = true;
                Vec::new()
            }
            Err(error) => {
                self.look.stale = true;
                self.sandbox.removal.after(&error, self.spread, now);
                vec![Event::warning("FailedKillPod", format!("error killing pod: {}", error.message))]
            }
        }
    }
}
