//! What is remembered of one container.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::action::{Kill, Trouble};
use super::super::clock::Moment;
use super::super::probe::Counter;
use super::super::spec::ProbeKind;
use super::backoff::{CrashLoop, Pause, Rhythm, Spread};
use crate::defaults::machine::{KILL_AGAIN, KILL_AGAIN_LONGEST};
use crate::provider::containers::{Container, Phase};

/// What is remembered of a container. What is said of its newest attempt is forgotten with it.
#[derive(Clone, Debug, Default)]
pub(in crate::pods::machine) struct Known {
    /// The number of the next attempt. None is used twice.
    pub(in crate::pods::machine) next: u32,
    /// The newest attempt, as it was last seen.
    pub(in crate::pods::machine) last: Option<Container>,
    /// The one before, as it was last seen.
    pub(in crate::pods::machine) past: Option<Container>,
    /// Since when the newest attempt is not to be seen any more.
    pub(in crate::pods::machine) missing: Option<Moment>,
    /// When the newest attempt was first seen running, and whether that was when the pod was adopted.
    pub(in crate::pods::machine) running: Option<(Moment, bool)>,
    /// When its end was noticed.
    pub(in crate::pods::machine) ended: Option<Moment>,
    /// The newest attempt could not be started: its number, and what the backend said.
    pub(in crate::pods::machine) unstartable: Option<(u32, String)>,
    /// The attempt that was ended to be run again.
    pub(in crate::pods::machine) rerun: Option<u32>,
    pub(in crate::pods::machine) kill: Option<Killing>,
    /// The attempt whose postStart hook has not ended yet, and whether it has begun.
    pub(in crate::pods::machine) hook: Option<(u32, bool)>,
    /// The attempt whose postStart hook has failed.
    pub(in crate::pods::machine) hook_failed: Option<u32>,
    pub(in crate::pods::machine) probes: Probes,
    /// The attempt after whose end it waits, and what was told of that.
    pub(in crate::pods::machine) told: Option<(u32, Trouble)>,
    /// The attempt whose wait is over and counted: what keeps it from starting now does not make it wait again.
    pub(in crate::pods::machine) counted: Option<u32>,
    /// Messages of attempts that have ended, as a status tells them.
    pub(in crate::pods::machine) words: BTreeMap<u32, String>,
    pub(in crate::pods::machine) words_pause: Pause,
    /// When the message of an attempt was first asked for.
    pub(in crate::pods::machine) words_asked: BTreeMap<u32, Moment>,
    /// Why it waits.
    pub(in crate::pods::machine) trouble: Option<Trouble>,
    pub(in crate::pods::machine) crash: Option<CrashLoop>,
    pub(in crate::pods::machine) image: Image,
    pub(in crate::pods::machine) start: Pause,
    pub(in crate::pods::machine) removal: Pause,
}

/// A container that is being ended.
#[derive(Clone, Debug)]
pub(in crate::pods::machine) struct Killing {
    pub(in crate::pods::machine) attempt: u32,
    pub(in crate::pods::machine) until: Moment,
    pub(in crate::pods::machine) in_turn: bool,
    pub(in crate::pods::machine) hook: Hook,
    /// When it is killed; none: the signal was not sent yet.
    pub(in crate::pods::machine) deadline: Option<Moment>,
    /// It was sent the kill.
    pub(in crate::pods::machine) deadly: bool,
    /// It was killed, as far as the backend says.
    pub(in crate::pods::machine) killed: bool,
    pub(in crate::pods::machine) pause: Pause,
}

/// How far the preStop hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) enum Hook {
    Due,
    Running,
    Over,
}

/// What is known of the image of the attempt that is to be started.
#[derive(Clone, Debug, Default)]
pub(in crate::pods::machine) struct Image {
    name: String,
    attempt: u32,
    pub(in crate::pods::machine) state: Presence,
    pub(in crate::pods::machine) pause: Pause,
    /// It failed by what may pass by itself.
    pub(in crate::pods::machine) soon: bool,
    /// What the registry last said, and when.
    pub(in crate::pods::machine) error: Option<(String, Moment)>,
}

/// Whether the image is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::pods::machine) enum Presence {
    #[default]
    Unknown,
    Missing,
    /// Under this id.
    There(String),
}

/// What the probes of the newest attempt said.
#[derive(Clone, Debug, Default)]
pub(in crate::pods::machine) struct Probes([Probed; ProbeKind::ALL.len()]);

/// What one of them said.
#[derive(Clone, Debug, Default)]
pub(in crate::pods::machine) struct Probed {
    /// When it last began.
    pub(in crate::pods::machine) begun: Option<Moment>,
    pub(in crate::pods::machine) counter: Counter,
    /// The result that counts; none: none does yet.
    pub(in crate::pods::machine) result: Option<bool>,
    /// Nothing more is to be learned until the container runs anew.
    pub(in crate::pods::machine) over: bool,
}

impl Probes {
    pub(in crate::pods::machine) fn of(&self, kind: ProbeKind) -> &Probed {
        let [startup, readiness, liveness] = &self.0;
        match kind {
            ProbeKind::Startup => startup,
            ProbeKind::Readiness => readiness,
            ProbeKind::Liveness => liveness,
        }
    }

    pub(super) fn of_mut(&mut self, kind: ProbeKind) -> &mut Probed {
        let [startup, readiness, liveness] = &mut self.0;
        match kind {
            ProbeKind::Startup => startup,
            ProbeKind::Readiness => readiness,
            ProbeKind::Liveness => liveness,
        }
    }
}

impl Image {
    /// What is known of an image for an attempt: what was found for another one counts no more, and neither does another image's pause.
    pub(in crate::pods::machine) fn for_attempt(&self, name: &str, attempt: u32) -> (&Presence, Option<&Pause>) {
        let same = self.name == name;
        let state = if same && self.attempt == attempt { &self.state } else { &Presence::Unknown };
        (state, same.then_some(&self.pause))
    }

    pub(super) fn begin(&mut self, name: &str, attempt: u32) {
        if self.name != name {
            *self = Self { name: name.to_string(), ..Self::default() };
        }
        if self.attempt != attempt {
            self.attempt = attempt;
            self.state = Presence::Unknown;
        }
    }
}

impl Known {
    /// The attempt that is started next: one that was made and not started yet, or a new one.
    pub(in crate::pods::machine) fn upcoming(&self) -> u32 {
        match &self.last {
            Some(last)
                if last.phase == Phase::Created
                    && self.missing.is_none()
                    && self.unstartable.as_ref().is_none_or(|(attempt, _)| *attempt != last.attempt) =>
            {
                last.attempt
            }
            _ => self.next,
        }
    }

    /// Another attempt takes the newest one's place.
    fn turn_over(&mut self, newest: &Container) {
        self.past = self.last.take().or(self.past.take());
        self.missing = None;
        self.running = None;
        self.ended = None;
        // What is known of the newest one already came with the answer to its start.
        self.unstartable.take_if(|(attempt, _)| *attempt != newest.attempt);
        self.hook_failed.take_if(|attempt| *attempt != newest.attempt);
        self.rerun = None;
        self.kill = None;
        self.probes = Probes::default();
        self.words_pause.reset();
        self.words.retain(|attempt, _| attempt.saturating_add(1) >= newest.attempt);
        self.words_asked.retain(|attempt, _| attempt.saturating_add(1) >= newest.attempt);
    }

    /// The newest attempt is there no more, and that is no loss.
    pub(super) fn take_away(&mut self) {
        self.past = self.last.take().or(self.past.take());
        self.missing = None;
    }

    pub(super) fn see(&mut self, newest: &Container, now: Moment) {
        if self.last.as_ref().is_none_or(|last| last.attempt < newest.attempt) {
            self.turn_over(newest);
        }
        if self.last.as_ref().is_some_and(|last| last.attempt > newest.attempt) {
            // The newest one is gone, and this is the one before.
            self.missing.get_or_insert(now);
            return;
        }
        self.missing = None;
        let unstartable = self.unstartable.as_ref().is_some_and(|(attempt, _)| *attempt == newest.attempt);
        if unstartable && matches!(newest.phase, Phase::Created | Phase::Exited) {
            // It was made, so that it has ended: from here on the crash loop's pauses count.
            self.start.reset();
            self.ended.get_or_insert(now);
        }
        match newest.phase {
            Phase::Running => {
                self.running.get_or_insert((now, false));
                // Whatever was said or seen of it before.
                self.ended = None;
                self.unstartable.take_if(|_| unstartable);
            }
            Phase::Exited => {
                self.ended.get_or_insert(now);
                self.kill = None;
            }
            Phase::Created | Phase::Lost => {}
        }
        self.next = self.next.max(newest.attempt.saturating_add(1));
        self.last = Some(newest.clone());
    }

    pub(super) fn begin_kill(&mut self, kill: &Kill) {
        let hook = Hook::Due;
        let Kill { attempt, until, in_turn, .. } = *kill;
        if kill.rerun {
            self.rerun = Some(attempt);
        }
        self.kill = Some(Killing {
            attempt,
            until,
            in_turn,
            hook,
            deadline: None,
            deadly: false,
            killed: false,
            pause: Pause::default(),
        });
    }
}

impl Killing {
    /// The signal is sent: a grace of 0 kills, and is sent again, ever more rarely, as long as that does not help.
    pub(super) fn begin_stop(&mut self, grace: u32, spread: Spread, now: Moment) {
        self.hook = Hook::Over;
        if grace > 0 {
            self.deadline = Some(now.plus(Duration::from_secs(grace.into())));
            return;
        }
        self.deadly = true;
        self.pause.grow(None, Rhythm { first: KILL_AGAIN, longest: KILL_AGAIN_LONGEST }, spread, now);
        self.deadline = self.pause.until(now);
    }
}
