//! How the end of a container went: its preStop hook, its signal, its last words, its removal.

use crate::defaults::machine::{KILL_AGAIN, KILL_AGAIN_LONGEST, LONGEST_WORDS, WORDS_LONGEST};
use crate::pods::machine::action::Event;
use crate::pods::machine::clock::Moment;
use crate::pods::machine::memory::backoff::Rhythm;
use crate::pods::machine::memory::{Hook, Killing, Memory};
use crate::provider::containers::{Container, Phase};
use crate::provider::{Code, Deletion, Error};

impl Memory {
    fn kill_of(&mut self, name: &str, attempt: u32) -> Option<&mut Killing> {
        self.of_mut(name).kill.as_mut().filter(|kill| kill.attempt == attempt)
    }

    pub(super) fn pre_stopped(&mut self, name: &str, attempt: u32, result: &Result<(), String>) -> Vec<Event> {
        if let Some(kill) = self.kill_of(name, attempt) {
            kill.hook = Hook::Over;
        }
        match result {
            Ok(()) => Vec::new(),
            Err(_) => vec![Event::warning("FailedPreStopHook", "PreStopHook failed")],
        }
    }

    pub(super) fn stopped(
        &mut self,
        name: &str,
        attempt: u32,
        grace: u32,
        result: Result<Deletion, Error>,
        now: Moment,
    ) -> Vec<Event> {
        let spread = self.spread;
        let error = match result {
            Ok(deletion) => {
                // Without news of its end it is looked for when it is due.
                self.look.hinted |= deletion == Deletion::Gone || grace == 0;
                match self.kill_of(name, attempt) {
                    Some(kill) => {
                        kill.killed |= grace == 0;
                        let known = self.of_mut(name);
                        if grace == 0 && known.last.as_ref().is_some_and(|last| last.phase == Phase::Lost) {
                            // Nobody will see more of its end than this.
                            known.ended.get_or_insert(now);
                        }
                    }
                    // An old attempt that ran against all order.
                    None => {
                        let again = Rhythm { first: KILL_AGAIN, longest: KILL_AGAIN_LONGEST };
                        self.of_mut(name).removal.grow(None, again, spread, now);
                    }
                }
                return Vec::new();
            }
            Err(error) => error,
        };
        self.look.stale = true;
        // What becomes of a signal is of no interest any more once the kill was sent.
        let overtaken = grace > 0 && self.kill_of(name, attempt).is_some_and(|kill| kill.deadly);
        if error.code == Code::NotFound || overtaken {
            return Vec::new();
        }
        tracing::warn!(%error, container = name, attempt, "container not stopped");
        if let Some(kill) = self.kill_of(name, attempt) {
            kill.pause.after(&error, spread, now);
            kill.deadline.take_if(|_| grace > 0);
        }
        vec![Event::warning("FailedKillPod", format!("error killing pod: {}", error.message))]
    }

    pub(super) fn removed(&mut self, name: &str, attempt: u32, result: Result<(), Error>, now: Moment) {
        let spread = self.spread;
        self.look.hinted = true;
        let known = self.of_mut(name);
        match result {
            Ok(()) => {
                known.removal.reset();
                // One that the machine takes away itself is not lost.
                if known.last.as_ref().is_some_and(|last| last.attempt == attempt) {
                    known.take_away();
                }
            }
            Err(error) => {
                tracing::warn!(%error, container = name, attempt, "attempt not removed");
                known.removal.after(&error, spread, now);
            }
        }
    }

    /// What the backend said of the attempt comes before what the container did.
    pub(super) fn read_words(&mut self, name: &str, attempt: u32, result: Result<String, Error>, now: Moment) {
        let spread = self.spread;
        let known = self.of_mut(name);
        let asked = known.words_asked.get(&attempt).copied().unwrap_or(now);
        let words = match result {
            Ok(words) => words,
            Err(error) if error.code == Code::Unimplemented => String::new(),
            Err(error) if now < asked.plus(WORDS_LONGEST) => {
                return known.words_pause.after(&error, spread, now);
            }
            Err(error) => format!("Error on reading termination log: {}", error.message),
        };
        known.words_pause.reset();
        let of = |known: &Option<Container>| known.clone().filter(|container| container.attempt == attempt);
        let said = of(&known.last).or_else(|| of(&known.past)).and_then(|container| container.engine_error);
        let parts: Vec<String> = said.into_iter().chain(Some(words)).filter(|part| !part.is_empty()).collect();
        let mut message = parts.join(": ");
        message.truncate(message.floor_char_boundary(LONGEST_WORDS));
        known.words.insert(attempt, message);
    }
}
