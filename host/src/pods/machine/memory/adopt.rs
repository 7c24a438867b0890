//! What a host that meets a pod can still know of it: from what the backend shows, and from what the API server was told last.
//!
//! The backend has the attempts, their times and their ends. The API server adds what no backend keeps: which containers were
//! ready, what they left as their last words, and attempts that are gone since. Where it says nothing, the backend is enough.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::clock::Moment;
use super::super::observed::Observed;
use super::super::spec::{ContainerSpec, Kind, ProbeKind, Spec};
use super::backoff::CrashLoop;
use super::{Known, Memory};
use crate::provider::PodRef;
use crate::provider::containers::{Container, Phase};

impl Memory {
    /// Takes over a pod that was made before this process knew of it.
    pub(in crate::pods::machine) fn adopt(
        &mut self,
        id: &PodRef,
        spec: &Spec,
        told: Option<&PodStatus>,
        observed: &Observed,
        now: Moment,
    ) {
        let up = |phase: Phase| matches!(phase, Phase::Created | Phase::Running);
        let is_up = |container: &ContainerSpec| observed.newest(&container.name).is_some_and(|newest| up(newest.phase));
        // What init containers have done was done for this sandbox.
        let runs = observed.is_ready() && spec.ordinary.iter().any(is_up);
        for container in spec.all() {
            let told = told.and_then(|told| status_of(told, &container.name));
            let known = self.of_mut(&container.name);
            *known = recall(id, container, told, observed);
            if container.kind == Kind::Init && !runs {
                known.doubt(observed.newest(&container.name));
            }
            known.catch_up(container, told, observed, now);
        }
        self.see(observed, now);
        self.sandbox.had |= self.has_run();
    }
}

fn status_of<'a>(told: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let lists = [&told.init_container_statuses, &told.container_statuses, &told.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == name)
}

/// Attempts that the API server knows of: the backend may not have them any more.
fn recall(id: &PodRef, spec: &ContainerSpec, told: Option<&ContainerStatus>, observed: &Observed) -> Known {
    let mut known = Known::default();
    let Some(told) = told else { return known };
    let count = u32::try_from(told.restart_count).unwrap_or_default();
    let attempt = |number, state: Option<&ContainerState>| attempt(id, spec, told, number, state);
    // Without an id the newest attempt is yet to be made.
    let Some(newest) = backend_id(told.container_id.as_deref()) else {
        known.next = count;
        known.past = count.checked_sub(1).and_then(|before| attempt(before, told.last_state.as_ref()));
        return known;
    };
    known.next = count.saturating_add(1);
    let over = told.state.as_ref().is_some_and(|state| state.waiting.is_some());
    if over {
        known.last = attempt(count, told.last_state.as_ref());
    } else {
        known.last = attempt(count, told.state.as_ref());
        known.past = count.checked_sub(1).and_then(|before| attempt(before, told.last_state.as_ref()));
    }
    for state in [&told.state, &told.last_state] {
        let Some(end) = state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        let of = backend_id(end.container_id.as_deref());
        let attempts = observed.attempts(&spec.name);
        let attempt = attempts.iter().find(|container| Some(container.id.as_str()) == of).map(|c| c.attempt);
        let attempt = attempt.or((of == Some(newest)).then_some(count));
        if let Some(attempt) = attempt {
            known.words.insert(attempt, end.message.clone().unwrap_or_default());
        }
    }
    known
}

/// `docker://ID`: the part that is the backend's.
fn backend_id(id: Option<&str>) -> Option<&str> {
    id.map(|id| id.split_once("://").map_or(id, |(_, id)| id)).filter(|id| !id.is_empty())
}

/// An attempt as a status tells it; none: it does not say that there was one.
fn attempt(
    id: &PodRef,
    spec: &ContainerSpec,
    told: &ContainerStatus,
    attempt: u32,
    state: Option<&ContainerState>,
) -> Option<Container> {
    let state = state?;
    let (phase, started, end) = match (&state.running, &state.terminated) {
        (Some(running), _) => (Phase::Running, running.started_at.as_ref(), None),
        (None, Some(end)) => (Phase::Exited, end.started_at.as_ref(), Some(end)),
        (None, None) => return None,
    };
    let unknown = |end: &&ContainerStateTerminated| end.reason.as_deref() != Some("ContainerStatusUnknown");
    let ids = end.and_then(|end| end.container_id.as_deref()).or(told.container_id.as_deref());
    Some(Container {
        pod: id.clone(),
        name: spec.name.clone(),
        attempt,
        id: backend_id(ids).unwrap_or_default().to_string(),
        phase,
        started_ms: started.and_then(milliseconds),
        finished_ms: end.and_then(|end| end.finished_at.as_ref()).and_then(milliseconds),
        exit_code: end.filter(unknown).map(|end| end.exit_code),
        signal: end.and_then(|end| end.signal).and_then(|signal| u32::try_from(signal).ok()),
        oom_killed: end.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled")),
        created_ms: None,
        image: told.image.clone(),
        image_id: Some(told.image_id.clone()).filter(|id| !id.is_empty()),
        revision: None,
        engine_error: None,
    })
}

fn milliseconds(time: &Time) -> Option<u64> {
    u64::try_from(time.0.as_millisecond()).ok()
}

/// When it began. One that could not be started has only been made.
fn started(container: &Container) -> Option<u64> {
    container.started_ms.or(container.created_ms)
}

fn finished(container: &Container) -> Option<u64> {
    container.finished_ms.or(started(container).filter(|_| container.phase == Phase::Exited))
}

impl Known {
    /// An init container that was told to have done its work, and of which nothing is left, may have done it in a sandbox that was lost:
    /// it runs again, under another number.
    fn doubt(&mut self, newest: Option<&Container>) {
        let unseen = |last: &Container| newest.is_none_or(|newest| newest.attempt < last.attempt);
        if self.last.as_ref().is_some_and(|last| last.exit_code == Some(0) && unseen(last)) {
            self.take_away();
        }
    }

    /// What follows from the attempts that are there.
    fn catch_up(&mut self, spec: &ContainerSpec, told: Option<&ContainerStatus>, observed: &Observed, now: Moment) {
        let Some(newest) = observed.newest(&spec.name) else { return };
        self.see(newest, now);
        if self.last.as_ref().is_some_and(|last| last.attempt != newest.attempt) {
            return;
        }
        let before = observed.before(&spec.name, newest.attempt);
        if let Some(before) = before {
            self.past = Some(before.clone());
        }
        let at = |ms: Option<u64>| ms.map_or(now, |ms| Moment(ms).min(now));
        self.running = (newest.phase == Phase::Running).then(|| (at(newest.started_ms), true));
        self.ended = (newest.phase == Phase::Exited).then(|| at(finished(newest)));
        let between = |from: Option<u64>, to: Option<u64>| Some(Moment(to?).since(Moment(from?)));
        let waited = before.and_then(|before| between(finished(before), started(newest)));
        let until = finished(newest).or(Some(now.0));
        if newest.attempt > 0 {
            let lasted = between(started(newest), until);
            self.crash = CrashLoop::seen(&newest.image, waited.unwrap_or(Duration::ZERO), lasted);
        }
        let same = told.filter(|told| backend_id(told.container_id.as_deref()) == Some(newest.id.as_str()));
        if let Some(told) = same.filter(|told| told.state.as_ref().is_some_and(|state| state.running.is_some())) {
            // A pod that was ready stays so until a probe says otherwise.
            let startup = self.probes.of_mut(ProbeKind::Startup);
            startup.result = told.started.filter(|started| *started);
            startup.over = startup.result.is_some();
            self.probes.of_mut(ProbeKind::Readiness).result = Some(true).filter(|_| told.ready);
        }
    }
}
