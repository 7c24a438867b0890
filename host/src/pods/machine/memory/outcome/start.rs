//! How a container's way to running went: its image, its start, its postStart hook.

use std::time::Duration;

use super::{Unstarted, is_ephemeral};
use crate::defaults::machine::{ABSENT_LONGEST, PULL_FIRST, PULL_LONGEST};
use crate::pods::lifecycle::{self, Verdict};
use crate::pods::machine::action::{Event, Trouble};
use crate::pods::machine::clock::Moment;
use crate::pods::machine::memory::backoff::Rhythm;
use crate::pods::machine::memory::{Memory, Presence};
use crate::pods::machine::spec::Spec;
use crate::provider::containers::{Container, Phase, PullPolicy};
use crate::provider::{Code, Effect, Error, PodRef};

/// A registry is asked as often as the kubelet asks it.
const REGISTRY: Rhythm = Rhythm { first: PULL_FIRST, longest: PULL_LONGEST };
/// Somebody may put an image there that is not pulled.
const BY_HAND: Rhythm = Rhythm { first: PULL_FIRST, longest: ABSENT_LONGEST };

/// An image and how it was asked for.
pub(super) struct Pull<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    pub(super) policy: PullPolicy,
}

impl Memory {
    pub(super) fn pulled(
        &mut self,
        spec: &Spec,
        pull: &Pull<'_>,
        result: Result<(String, Duration), Error>,
        now: Moment,
    ) -> Vec<Event> {
        let asked_only = pull.policy == PullPolicy::Never;
        match result {
            Ok((id, took)) => {
                let image = &mut self.of_mut(pull.name).image;
                (image.state, image.error) = (Presence::There(id), None);
                image.pause.reset();
                let message = if asked_only {
                    format!("Container image {:?} already present on machine", pull.image)
                } else {
                    format!("Successfully pulled image {:?} in {:.3}s", pull.image, took.as_secs_f64())
                };
                vec![Event::normal("Pulled", message)]
            }
            Err(error) if asked_only && error.code == Code::NotFound => {
                let never = spec.container(pull.name).is_some_and(|container| container.pull == PullPolicy::Never);
                let (spread, image) = (self.spread, &mut self.of_mut(pull.name).image);
                image.state = Presence::Missing;
                if never {
                    image.pause.grow(None, BY_HAND, spread, now);
                }
                Vec::new()
            }
            Err(error) => self.not_pulled(spec, pull, &error, now),
        }
    }

    /// What may pass by itself is tried again soon, the rest at the pace of registries. It is never the end of the pod, but for a field.
    fn not_pulled(&mut self, spec: &Spec, pull: &Pull<'_>, error: &Error, now: Moment) -> Vec<Event> {
        let (spread, off) = (self.spread, self.is_off(error));
        let known = self.of_mut(pull.name);
        known.image.soon = lifecycle::verdict(error) == Verdict::Retry { slow: false };
        let rhythm = if known.image.soon { Rhythm::after(error) } else { REGISTRY };
        known.image.pause.grow(Some(error), rhythm, spread, now);
        if off {
            return Vec::new();
        }
        tracing::warn!(%error, container = pull.name, image = pull.image, "image not pulled");
        known.image.error = Some((error.message.clone(), now));
        let reason = if error.code == Code::InvalidArgument { "InvalidImageName" } else { "ErrImagePull" };
        known.trouble = Some(Trouble { reason, message: error.message.clone() });
        let last = lifecycle::verdict(error) == Verdict::Final && error.field.is_some();
        if last && !is_ephemeral(spec, pull.name) {
            return self.refuse(error);
        }
        vec![
            Event::warning("Failed", format!("Failed to pull image {:?}: {}", pull.image, error.message)),
            Event::warning("Failed", format!("Error: {reason}")),
        ]
    }

    pub(super) fn started(
        &mut self,
        spec: &Spec,
        name: &str,
        attempt: u32,
        result: Result<String, Unstarted>,
        now: Moment,
    ) -> Vec<Event> {
        self.look.stale = true;
        let error = result.as_ref().err().map(|unstarted| &unstarted.error);
        self.may_come(error, now);
        let container = spec.container(name);
        let hooked = container.is_some_and(|container| container.post_start.is_some());
        // Also of one that may run though the answer was lost.
        let may_run = error.is_none_or(|error| error.effect == Effect::Unknown);
        self.of_mut(name).hook = (hooked && may_run).then_some((attempt, false));
        let id = match result {
            Ok(id) => id,
            Err(unstarted) => return self.not_started(spec, name, attempt, &unstarted, now),
        };
        let image = container.map(|container| container.image.clone()).unwrap_or_default();
        let known = self.of_mut(name);
        (known.trouble, known.unstartable) = (None, None);
        known.start.reset();
        known.see(&just_started(name, attempt, id, image), now);
        vec![Event::normal("Created", "Container created"), Event::normal("Started", "Container started")]
    }

    fn not_started(
        &mut self,
        spec: &Spec,
        name: &str,
        attempt: u32,
        Unstarted { unresolved, error }: &Unstarted,
        now: Moment,
    ) -> Vec<Event> {
        let (spread, off) = (self.spread, self.is_off(error));
        let known = self.of_mut(name);
        let rhythm = if *unresolved { Rhythm::MISSING } else { Rhythm::after(error) };
        known.start.grow(Some(error), rhythm, spread, now);
        if off {
            return Vec::new();
        }
        tracing::warn!(%error, effect = ?error.effect, container = name, attempt, "container not started");
        // The image may be what is wrong: it is asked for again.
        known.image.state = Presence::Unknown;
        let verdict = lifecycle::verdict(error);
        let config = *unresolved || error.reason == "CreateContainerConfigError";
        if !config && error.code == Code::FailedPrecondition && error.field.is_none() {
            // If it was made at all, this was the end of the attempt. After any other error it is started again.
            known.unstartable = Some((attempt, error.message.clone()));
        }
        let reason = if config { "CreateContainerConfigError" } else { "CreateContainerError" };
        known.trouble = Some(Trouble { reason, message: error.message.clone() });
        if verdict == Verdict::Final && !is_ephemeral(spec, name) {
            return self.refuse(error);
        }
        vec![Event::warning("Failed", format!("Error: {}", error.message))]
    }

    pub(super) fn post_started(&mut self, name: &str, attempt: u32, result: Result<(), String>) -> Vec<Event> {
        let ending = self.ending.is_some();
        let known = self.of_mut(name);
        known.hook.take_if(|(of, _)| *of == attempt);
        let Some(message) = result.err().filter(|_| !ending) else { return Vec::new() };
        known.hook_failed = Some(attempt);
        known.trouble = Some(Trouble { reason: "PostStartHookError", message });
        vec![Event::warning("FailedPostStartHook", "PostStartHook failed")]
    }
}

/// An attempt as its start leaves it: it is there, though a backend may not show it at once.
fn just_started(name: &str, attempt: u32, id: String, image: String) -> Container {
    Container {
        pod: PodRef { namespace: String::new(), name: String::new(), uid: String::new() },
        name: name.to_string(),
        attempt,
        id,
        phase: Phase::Running,
        started_ms: None,
        finished_ms: None,
        exit_code: None,
        signal: None,
        oom_killed: false,
        created_ms: None,
        image,
        image_id: None,
        revision: None,
        engine_error: None,
    }
}
