//! A build in service: what a hot swap exchanges.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::build::Build;
use super::call::{ByClass, Class};
use super::store_access::StoreAccess;
use crate::defaults::swap::TRIAL_TRAPS;
use crate::provider::{Call, Canceller, Code, Error, Why};

/// See the module. A build that comes back after a roll-back is another generation.
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) build: Arc<Build>,
    /// What its instances may do with the store.
    pub(super) store: StoreAccess,
    /// Asks those to end that can go on with the next generation: `changes.next` and logs.
    replaced: (Canceller, Call),
    /// Asks the short calls to end that outlast a drain.
    overdue: (Canceller, Call),
    pub(super) trial: Trial,
}

impl Generation {
    pub(super) fn new(number: u64, build: Arc<Build>) -> Self {
        Self {
            number,
            build,
            store: StoreAccess::all(),
            replaced: Call::new(),
            overdue: Call::new(),
            trial: Trial::default(),
        }
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
///
/// What decides are traps of calls of a kind that was never answered: one pod that traps, and did before, must not take back a
/// build that makes all others, and a build that makes none must go though it lists them.
#[derive(Debug, Default)]
pub(super) struct Trial {
    tallies: ByClass<Tally>,
    /// A create, an update or a delete was acknowledged: a store from before knows nothing of it.
    acknowledged: AtomicBool,
}

/// Calls of one class.
#[derive(Debug, Default)]
struct Tally {
    traps: AtomicU32,
    answered: AtomicBool,
}

impl Tally {
    /// None count once one was answered.
    fn traps(&self) -> u32 {
        if self.answered.load(Ordering::Relaxed) { 0 } else { self.traps.load(Ordering::Relaxed) }
    }
}

impl Trial {
    /// Takes note of how a call ended; true: it is time to look whether this generation should go.
    pub(super) fn note(&self, class: Class, error: Option<&Error>) -> bool {
        let tally = self.tallies.of(class);
        match error {
            None => {
                // Looked at first: every call comes by here.
                if !tally.answered.load(Ordering::Relaxed) {
                    tally.answered.store(true, Ordering::Relaxed);
                }
                false
            }
            // The runner says `internal` for what the guest did to itself, and for nothing else.
            Some(error) if error.code == Code::Internal => {
                tally.traps.fetch_add(1, Ordering::Relaxed);
                self.fails()
            }
            Some(_) => false,
        }
    }

    pub(super) fn note_acknowledged(&self) {
        self.acknowledged.store(true, Ordering::Relaxed);
    }

    pub(super) fn acknowledged(&self) -> bool {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Traps of calls of the kinds that were never answered.
    pub(super) fn traps(&self) -> u32 {
        self.tallies.all().into_iter().map(Tally::traps).fold(0, u32::saturating_add)
    }

    /// There is something that it does not do but trap.
    pub(super) fn fails(&self) -> bool {
        self.traps() >= TRIAL_TRAPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Error {
        Error::new(Code::Internal, "PluginTrapped", "trapped")
    }

    #[test]
    fn traps_of_what_is_never_answered_fail_a_trial() {
        let trial = Trial::default();
        trial.note(Class::Poll, None);
        let classes = [Class::Create, Class::Changes, Class::Delete];
        for class in classes.into_iter().cycle().take(TRIAL_TRAPS as usize - 1) {
            assert!(!trial.note(class, Some(&trap())));
        }
        // What the backend or the host refuses is no trap, and answers of another kind prove nothing.
        let late = Error::new(Code::DeadlineExceeded, "DeadlineExceeded", "late");
        assert!(!trial.note(Class::Create, Some(&late)) && !trial.note(Class::Node, None));
        assert!(trial.note(Class::Changes, Some(&trap())));
    }

    #[test]
    fn traps_of_what_is_answered_too_do_not() {
        let trial = Trial::default();
        trial.note(Class::Create, None);
        assert!((0..2 * TRIAL_TRAPS).all(|_| !trial.note(Class::Create, Some(&trap()))));
        // Also where the answer comes later.
        assert!((1..TRIAL_TRAPS).all(|_| !trial.note(Class::Poll, Some(&trap()))));
        trial.note(Class::Poll, None);
        assert!(!trial.note(Class::Poll, Some(&trap())) && trial.traps() == 0);
    }
}
