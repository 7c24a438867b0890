//! One pod at one moment, as decision and status both see it: what each container is.

use std::time::Duration;

use super::action::{Action, Trouble};
use super::clock::Moment;
use super::memory::backoff::{CrashLoop, Run};
use super::memory::{Known, Memory, told};
use super::observed::Observed;
use super::spec::{ContainerSpec, Kind, ProbeKind, Spec};
use crate::defaults::machine::{SHORTEST_GRACE, WORDS_LONGEST};
use crate::provider::containers::{Container, Phase};

/// Exit code of a container whose end nobody saw (kubelet: 128 + SIGKILL).
const EXIT_UNKNOWN: i32 = 137;
/// Exit code of a container that could not be started (containerd's).
const EXIT_UNSTARTED: i32 = 128;

/// All that decisions and statuses are made from.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) spec: &'a Spec,
    pub(super) observed: &'a Observed,
    pub(super) memory: &'a Memory,
    pub(super) now: Moment,
}

/// What a container is: its newest attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View<'a> {
    /// None was made, or what was made never ran.
    Absent,
    Created(&'a Container),
    Running(&'a Container),
    /// It has ended, and its last words are not read yet.
    Closing(&'a Container),
    Ended(End<'a>),
    /// The backend does not know how it is.
    Unclear(&'a Container),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End<'a> {
    pub(super) container: &'a Container,
    pub(super) exit_code: i32,
    pub(super) reason: &'static str,
    /// Empty: none.
    pub(super) message: String,
    /// The attempt is gone.
    pub(super) vanished: bool,
}

impl View<'_> {
    /// Its process may be there.
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Running(_) | Self::Closing(_) | Self::Unclear(_))
    }
}

impl<'a> End<'a> {
    /// Of an attempt that has ended. `refusal`: what the backend said when it could not be started.
    fn of(container: &'a Container, words: Option<&String>, refusal: Option<&str>, vanished: bool) -> Self {
        let words = words.cloned().unwrap_or_default();
        let unstarted = container.engine_error.as_deref().or(refusal.filter(|_| container.started_ms.is_none()));
        let (exit_code, reason, message) = match (unstarted, container.exit_code) {
            (Some(said), code) => {
                let message = if words.is_empty() { said.to_string() } else { words };
                (code.filter(|code| *code != 0).unwrap_or(EXIT_UNSTARTED), "StartError", message)
            }
            (None, code) if container.oom_killed => (code.unwrap_or(EXIT_UNKNOWN), "OOMKilled", words),
            (None, Some(0)) => (0, "Completed", words),
            (None, Some(code)) => (code, "Error", words),
            (None, None) => return Self::unknown(container, vanished),
        };
        Self { container, exit_code, reason, message, vanished }
    }

    /// Of one whose end nobody saw.
    pub(super) fn unknown(container: &'a Container, vanished: bool) -> Self {
        Self {
            container,
            exit_code: EXIT_UNKNOWN,
            reason: "ContainerStatusUnknown",
            message: "The container could not be located when the pod was terminated".into(),
            vanished,
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.exit_code != 0 || self.reason == "OOMKilled"
    }

    pub(super) fn is_known(&self) -> bool {
        self.reason != "ContainerStatusUnknown"
    }
}

impl<'a> Scene<'a> {
    pub(super) fn known(&self, container: &ContainerSpec) -> &'a Known {
        self.memory.of(&container.name)
    }

    /// What a container is.
    pub(super) fn view(&self, container: &ContainerSpec) -> View<'a> {
        let known = self.known(container);
        let Some(last) = &known.last else { return View::Absent };
        if known.missing.is_some() {
            return self.missing(container, last, known);
        }
        match last.phase {
            Phase::Created if refusal(known, last.attempt).is_some() => View::Ended(self.end(known, last, false)),
            Phase::Created => View::Created(last),
            Phase::Running => View::Running(last),
            Phase::Exited if self.is_silent(container, last) => View::Ended(self.end(known, last, false)),
            Phase::Exited => View::Closing(last),
            Phase::Lost if known.kill.as_ref().is_some_and(|kill| kill.killed) => {
                View::Ended(End::unknown(last, false))
            }
            Phase::Lost => View::Unclear(last),
        }
    }

    /// Nothing is to be waited for of what an attempt that has ended may have said last.
    fn is_silent(&self, container: &ContainerSpec, ended: &Container) -> bool {
        let said = self.known(container).words.contains_key(&ended.attempt) || !speaks(container, ended);
        said || self.words_until(container, ended).is_some_and(|until| until <= self.now)
    }

    /// Until when the last words of an attempt are waited for; none: nobody has asked for them yet. A pod whose time is over hardly waits.
    pub(super) fn words_until(&self, container: &ContainerSpec, ended: &Container) -> Option<Moment> {
        let asked = self.known(container).words_asked.get(&ended.attempt)?;
        let longest = asked.plus(WORDS_LONGEST);
        Some(match self.memory.ending {
            Some(ending) => longest.min(ending.until.max(asked.plus(SHORTEST_GRACE))),
            None => longest,
        })
    }

    /// When it will be known whether an attempt that is not to be seen any more is lost: by a look that begins then. Just after
    /// something was made absence proves nothing. none: it is known, or it is there.
    pub(super) fn settles(&self, container: &ContainerSpec) -> Option<Moment> {
        let known = self.known(container);
        let ended = known.last.as_ref().is_none_or(|last| last.phase == Phase::Exited);
        let settles = known.missing.filter(|_| !ended)?.plus(self.memory.settle);
        self.memory.look.last.is_none_or(|last| last < settles).then_some(settles)
    }

    /// A newest attempt that is not to be seen any more.
    fn missing(&self, container: &ContainerSpec, last: &'a Container, known: &'a Known) -> View<'a> {
        let settling = self.settles(container).is_some();
        match last.phase {
            Phase::Exited => View::Ended(self.end(known, last, true)),
            Phase::Created if settling => View::Created(last),
            Phase::Created => View::Absent,
            Phase::Running if settling => View::Running(last),
            Phase::Lost if settling => View::Unclear(last),
            Phase::Running | Phase::Lost => View::Ended(End::unknown(last, true)),
        }
    }

    fn end(&self, known: &'a Known, container: &'a Container, vanished: bool) -> End<'a> {
        let words = known.words.get(&container.attempt);
        End::of(container, words, refusal(known, container.attempt), vanished)
    }

    /// How the attempt before the newest one ended; none: there was none, or nobody knows of it.
    pub(super) fn before(&self, container: &ContainerSpec) -> Option<End<'a>> {
        let known = self.known(container);
        let newest = known.last.as_ref().map_or(known.next, |last| last.attempt);
        let shown = self.observed.before(&container.name, newest);
        let before = shown.filter(|before| before.phase != Phase::Running).or(known.past.as_ref())?;
        Some(match before.phase {
            Phase::Exited | Phase::Created => self.end(known, before, shown.is_none()),
            Phase::Running | Phase::Lost => End::unknown(before, shown.is_none()),
        })
    }

    /// Whether it runs and its startup probe, if it has one, has succeeded. One that has just ended is told as running until its last
    /// words are read.
    pub(super) fn is_started(&self, container: &ContainerSpec) -> bool {
        let (View::Running(running) | View::Closing(running)) = self.view(container) else { return false };
        let known = self.known(container);
        !self.is_hooked(container, running.attempt)
            && (container.probe(ProbeKind::Startup).is_none()
                || known.probes.of(ProbeKind::Startup).result == Some(true))
    }

    /// Its postStart hook has not ended yet, or is still to come: it may be seen to run before the answer to its start is there.
    pub(super) fn is_hooked(&self, container: &ContainerSpec, attempt: u32) -> bool {
        let starts = |action: &Action| matches!(action, Action::Start { attempt: of, .. } if *of == attempt);
        self.known(container).hook.is_some_and(|(of, _)| of == attempt)
            || (container.post_start.is_some() && self.memory.is_under_way(&container.name, starts))
    }

    /// Whether it takes requests.
    pub(super) fn is_ready(&self, container: &ContainerSpec) -> bool {
        self.is_started(container)
            && (container.probe(ProbeKind::Readiness).is_none()
                || self.known(container).probes.of(ProbeKind::Readiness).result == Some(true))
    }

    /// Whether a container that has ended so is to be run again.
    pub(super) fn restarts(&self, container: &ContainerSpec, end: &End<'_>) -> bool {
        let rerun = self.known(container).rerun == Some(end.container.attempt);
        match container.kind {
            Kind::Ephemeral => false,
            Kind::Sidecar => true,
            Kind::Init if !end.is_failure() => false,
            Kind::Init if !end.is_known() => rerun || container.restart.after_kill(),
            Kind::Init | Kind::Ordinary => rerun || container.restart.after(end.exit_code),
        }
    }

    /// When a container that has ended may be started again, and what its back-off counts from then on.
    pub(super) fn again(&self, container: &ContainerSpec, end: &End<'_>) -> (Moment, Option<CrashLoop>) {
        let known = self.known(container);
        let ended = known.ended.or(known.missing).unwrap_or(self.now);
        if known.counted == Some(end.container.attempt) {
            return (ended, None);
        }
        let between = |from: Option<u64>, to: Option<u64>| Some(Moment(to?).since(Moment(from?)));
        let seen = known.running.map_or(Duration::ZERO, |(running, _)| ended.since(running));
        let lasted = between(end.container.started_ms, end.container.finished_ms).unwrap_or(seen);
        let killed = (known.rerun == Some(end.container.attempt)).then(|| {
            let before = self.before(container)?;
            Some(between(before.container.finished_ms, end.container.finished_ms).unwrap_or(lasted))
        });
        CrashLoop::again(known.crash.as_ref(), &container.image, Run { ended, lasted, killed })
    }

    /// What a container that crashed waits for.
    pub(super) fn crash_loop(&self, container: &ContainerSpec) -> Trouble {
        let pause = self.known(container).crash.as_ref().map(|crash| crash.pause).unwrap_or_default();
        told::crash_loop(&self.spec.title, &container.name, pause)
    }

    /// Whether a regular container has been made, so that the pod was initialized.
    pub(super) fn has_initialized(&self) -> bool {
        let views = self.spec.ordinary.iter().map(|container| self.view(container));
        views.into_iter().any(|view| !matches!(view, View::Absent))
    }

    /// Whether no process of the pod is left, and none is about to begin.
    pub(super) fn is_down(&self) -> bool {
        !self.memory.flight.iter().any(Action::makes) && self.spec.all().all(|container| !self.view(container).is_up())
    }
}

/// What the backend said when an attempt could not be started.
fn refusal(known: &Known, attempt: u32) -> Option<&str> {
    known.unstartable.as_ref().filter(|(of, _)| *of == attempt).map(|(_, said)| said.as_str())
}

/// Whether a container that has ended may have left last words. One that never ran has not.
pub(super) fn speaks(container: &ContainerSpec, ended: &Container) -> bool {
    let ran = ended.engine_error.is_none() || ended.started_ms.is_some();
    ran && (!container.words.path.is_empty() || falls_back(container, ended))
}

/// Whether the end of the log stands in for last words.
pub(super) fn falls_back(container: &ContainerSpec, ended: &Container) -> bool {
    container.words.or_log && ended.exit_code != Some(0) && ended.engine_error.is_none()
}
