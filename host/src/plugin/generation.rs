//! A build in service: what a hot swap exchanges.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::build::Build;
use super::call::Class;
use crate::defaults::swap::TRIAL_TRAPS;
use crate::provider::{Call, Canceller, Code, Error, Why};

/// See the module. A build that comes back after a roll-back is another generation.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) build: Arc<Build>,
    /// Asks those to end that can go on with the next generation: `changes.next` and logs.
    replaced: (Canceller, Call),
    /// Asks the short calls to end that outlast a drain.
    overdue: (Canceller, Call),
    pub(super) trial: Trial,
}

impl Generation {
    pub(super) fn new(number: u64, build: Arc<Build>) -> Self {
        Self { number, build, replaced: Call::new(), overdue: Call::new(), trial: Trial::default() }
    }

    pub(super) fn replace(&self) {
        self.replaced.0.cancel(Why::Replaced);
    }

    pub(super) fn hurry(&self) {
        self.overdue.0.cancel(Why::Replaced);
    }

    pub(super) fn replaced(&self) -> Call {
        self.replaced.1.clone()
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.1.reason().is_some()
    }

    pub(super) fn overdue(&self) -> Call {
        self.overdue.1.clone()
    }
}

impl Deref for Generation {
    type Target = Build;

    fn deref(&self) -> &Build {
        &self.build
    }
}

/// How the calls of a generation ended so far.
#[derive(Debug, Default)]
pub(super) struct Trial {
    traps: AtomicU32,
    /// A call about pods was answered. One about the node says little: it may touch nothing of what the plugin keeps.
    answered: AtomicBool,
    /// A create was acknowledged: a store from before knows nothing of that pod.
    created: AtomicBool,
}

impl Trial {
    /// Takes note of how a call ended; true: it is time to look whether this generation should go.
    pub(super) fn note(&self, class: Class, error: Option<&Error>) -> bool {
        match error {
            None => {
                // Looked at first: every call comes by here.
                if class != Class::Node && !self.answered.load(Ordering::Relaxed) {
                    self.answered.store(true, Ordering::Relaxed);
                }
                false
            }
            // The runner says `internal` for what the guest did to itself, and for nothing else.
            Some(error) if error.code == Code::Internal => {
                self.traps.fetch_add(1, Ordering::Relaxed);
                self.fails()
            }
            Some(_) => false,
        }
    }

    pub(super) fn note_created(&self) {
        self.created.store(true, Ordering::Relaxed);
    }

    pub(super) fn created(&self) -> bool {
        self.created.load(Ordering::Relaxed)
    }

    pub(super) fn traps(&self) -> u32 {
        self.traps.load(Ordering::Relaxed)
    }

    /// It traps, and nothing else.
    pub(super) fn fails(&self) -> bool {
        self.traps() >= TRIAL_TRAPS && !self.answered.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Error {
        Error::new(Code::Internal, "PluginTrapped", "trapped")
    }

    #[test]
    fn traps_alone_fail_a_trial() {
        let trial = Trial::default();
        for _ in 1..TRIAL_TRAPS {
            assert!(!trial.note(Class::Poll, Some(&trap())));
        }
        // The backend's refusals and answers about the node prove nothing.
        let late = Error::new(Code::DeadlineExceeded, "DeadlineExceeded", "late");
        assert!(!trial.note(Class::Create, Some(&late)) && !trial.note(Class::Node, None));
        assert!(trial.note(Class::Changes, Some(&trap())));
    }

    #[test]
    fn an_answer_about_pods_passes_it() {
        let trial = Trial::default();
        trial.note(Class::Poll, None);
        assert!((0..2 * TRIAL_TRAPS).all(|_| !trial.note(Class::Poll, Some(&trap()))));
    }
}
