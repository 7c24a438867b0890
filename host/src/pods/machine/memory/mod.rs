//! What only the host knows of a pod: what it is about to do and why, what probes said, how long to wait. Pure.
//!
//! Nothing of it is on disk. A host that starts anew makes it from what the backend shows and what the API server was told last
//! ([`adopt`]); what it cannot know, it forgets as a kubelet does.

pub(super) mod adopt;
pub(super) mod backoff;
mod known;
pub(super) mod outcome;
pub(super) mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::{Action, Event, Note};
use super::clock::Moment;
use super::observed::Observed;
use crate::defaults::machine::SHORTEST_GRACE;
use crate::provider::containers::PullPolicy;
use backoff::{Pause, Spread};
pub(super) use known::{Hook, Killing, Known, Presence, Probed};

/// What is remembered of a pod.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// When this process met the pod.
    pub(super) began: Moment,
    pub(super) spread: Spread,
    /// How long absence proves nothing after something was made.
    pub(super) settle: Duration,
    pub(super) sandbox: SandboxMemory,
    pub(super) look: Look,
    /// The pod shall end.
    pub(super) ending: Option<Ending>,
    /// The provider will never run it: the reason and the message.
    pub(super) refused: Option<(String, String)>,
    /// Its sandbox was lost, and it must not begin anew.
    pub(super) abandoned: bool,
    /// What is under way.
    pub(super) flight: Vec<Action>,
    containers: BTreeMap<String, Known>,
    unknown: Known,
}

/// What is remembered of the sandbox.
#[derive(Clone, Debug, Default)]
pub(super) struct SandboxMemory {
    /// There was one, with a network.
    pub(super) had: bool,
    /// It was lost and is not there again.
    pub(super) lost: bool,
    /// When something was last asked for that may still come to be.
    pub(super) asked: Option<Moment>,
    /// It was given back.
    pub(super) stopped: bool,
    pub(super) pause: Pause,
    pub(super) removal: Pause,
}

/// Whether what was last seen can be relied upon.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// It cannot: nothing is made before another look.
    pub(super) stale: bool,
    /// Something has changed since.
    pub(super) hinted: bool,
    /// When to look though nothing was heard.
    pub(super) due: Option<Moment>,
    /// When the last one began.
    pub(super) begun: Option<Moment>,
    /// When the last one that was answered began.
    pub(super) last: Option<Moment>,
    pub(super) pause: Pause,
}

/// An order to end the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// By when its containers shall have ended by themselves.
    pub(super) until: Moment,
    /// Nothing of it shall be left; else what people may want to read stays.
    pub(super) remove: bool,
}

impl Memory {
    /// Of a pod of which nothing is known yet.
    pub(super) fn new(uid: &str, settle: Duration, now: Moment) -> Self {
        Self {
            began: now,
            spread: Spread::of(uid),
            settle,
            sandbox: SandboxMemory::default(),
            look: Look::default(),
            ending: None,
            refused: None,
            abandoned: false,
            flight: Vec::new(),
            containers: BTreeMap::new(),
            unknown: Known::default(),
        }
    }

    pub(super) fn of(&self, name: &str) -> &Known {
        self.containers.get(name).unwrap_or(&self.unknown)
    }

    fn of_mut(&mut self, name: &str) -> &mut Known {
        self.containers.entry(name.to_string()).or_default()
    }

    /// Some attempt of some container was made.
    pub(super) fn has_run(&self) -> bool {
        self.containers.values().any(|known| known.last.is_some() || known.past.is_some())
    }

    /// Something of this kind is under way for a container.
    pub(super) fn is_under_way(&self, name: &str, what: impl Fn(&Action) -> bool) -> bool {
        self.flight.iter().any(|action| action.container() == Some(name) && what(action))
    }

    /// Takes what a look has shown.
    pub(super) fn see(&mut self, observed: &Observed, now: Moment) {
        self.sandbox.had |= observed.is_ready();
        // What a call said counts once it is seen: a backend that says yes and shows nothing of it is not asked without a pause.
        if observed.is_ready() {
            self.sandbox.pause.reset();
        }
        if observed.is_nothing() {
            self.sandbox.removal.reset();
        }
        let names: Vec<String> = observed.names().map(str::to_string).collect();
        for name in names {
            if let Some(newest) = observed.newest(&name) {
                self.of_mut(&name).see(newest, now);
            }
        }
        for (name, known) in &mut self.containers {
            if known.last.is_some() && observed.newest(name).is_none() {
                known.missing.get_or_insert(now);
            }
        }
    }

    /// The pod shall end; a second order can only hurry the first, and take away more. Either overtakes every pause.
    pub(super) fn end(&mut self, order: Ending, now: Moment) {
        let before = self.ending;
        let ending = self.ending.get_or_insert(order);
        ending.until = ending.until.min(order.until);
        ending.remove |= order.remove;
        let until = ending.until;
        if self.ending != before {
            self.relieve();
        }
        let soonest = now.plus(SHORTEST_GRACE);
        for kill in self.containers.values_mut().filter_map(|known| known.kill.as_mut()) {
            kill.until = kill.until.min(until);
            kill.deadline = kill.deadline.map(|deadline| deadline.min(until.max(soonest)));
        }
    }

    /// What failed may work now, or must: it is tried at once.
    pub(super) fn relieve(&mut self) {
        self.look.pause.reset();
        self.sandbox.pause.reset();
        self.sandbox.removal.reset();
        for known in self.containers.values_mut() {
            known.words_pause.reset();
            known.start.reset();
            known.removal.reset();
            if known.image.soon {
                known.image.pause.reset();
            }
            known.kill.iter_mut().filter(|kill| !kill.killed).for_each(|kill| kill.pause.reset());
        }
    }

    /// Takes note of a decision.
    pub(super) fn note(&mut self, note: &Note) -> Vec<Event> {
        match note {
            Note::Kill(kill) => {
                self.of_mut(&kill.name).begin_kill(kill);
                vec![Event::normal("Killing", &kill.message)]
            }
            Note::Trouble { name, trouble, events } => {
                self.of_mut(name).trouble = Some(trouble.clone());
                events.clone()
            }
            Note::BackOff { name, attempt, trouble, event } => {
                let known = self.of_mut(name);
                (known.told, known.trouble) = (Some((*attempt, trouble.clone())), None);
                vec![event.clone()]
            }
            Note::Again { name, attempt, next } => {
                let known = self.of_mut(name);
                known.counted = Some(*attempt);
                known.crash = next.clone().or(known.crash.take());
                Vec::new()
            }
            Note::SandboxChanged => {
                self.sandbox.lost = true;
                vec![Event::normal("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")]
            }
            Note::TakenAway { name } => {
                self.of_mut(name).take_away();
                Vec::new()
            }
            Note::SandboxRestored => {
                self.sandbox.lost = false;
                Vec::new()
            }
            Note::Abandoned => {
                self.abandoned = true;
                Vec::new()
            }
        }
    }

    /// An action begins.
    pub(super) fn begin(&mut self, action: &Action, now: Moment) -> Vec<Event> {
        self.flight.push(action.clone());
        let mut events = Vec::new();
        match action {
            Action::Look => {
                self.look.stale = false;
                self.look.hinted = false;
                self.look.due = None;
                self.look.begun = Some(now);
            }
            Action::EnsureSandbox => self.sandbox.asked = Some(now),
            Action::Pull { name, image, policy } => {
                let known = self.of_mut(name);
                let upcoming = known.upcoming();
                known.image.begin(image, upcoming);
                if *policy != PullPolicy::Never {
                    events.push(Event::normal("Pulling", format!("Pulling image {image:?}")));
                }
            }
            Action::Start { name, attempt, .. } => {
                self.sandbox.asked = Some(now);
                // It is tried again, and may come to run.
                self.of_mut(name).unstartable.take_if(|(of, _)| of == attempt);
            }
            Action::PostStart { name, attempt } => self.of_mut(name).hook = Some((*attempt, true)),
            Action::PreStop { name, .. } => {
                if let Some(kill) = &mut self.of_mut(name).kill {
                    kill.hook = Hook::Running;
                }
            }
            Action::Stop { name, grace, .. } => {
                let (known, spread) = (self.containers.get_mut(name), self.spread);
                if let Some(kill) = known.and_then(|known| known.kill.as_mut()) {
                    kill.begin_stop(*grace, spread, now);
                }
            }
            Action::Probe { name, kind, .. } => self.of_mut(name).probes.of_mut(*kind).begun = Some(now),
            Action::LastWords { name, attempt } => {
                self.of_mut(name).words_asked.entry(*attempt).or_insert(now);
            }
            Action::StopSandbox | Action::RemoveSandbox | Action::Remove { .. } => {}
        }
        events
    }
}
