//! Who may use the plugin's store: what it keeps belongs to the build that serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::store::Failure;

/// What the instances of one generation may do with the store. It can be taken from those that run.
#[derive(Clone, Debug)]
pub(super) struct StoreAccess(Arc<AtomicU8>);

const NONE: u8 = 0;
const READ: u8 = 1;
const ALL: u8 = 2;

impl StoreAccess {
    /// Of a build that does not serve yet, and may never do: it must not touch what the serving one keeps.
    pub(super) fn none() -> Self {
        Self(Arc::new(NONE.into()))
    }

    /// Of one that serves.
    pub(super) fn all() -> Self {
        Self(Arc::new(ALL.into()))
    }

    /// From now on only reads: a successor keeps it in another shape, and a log that is still followed here must not write its own.
    pub(super) fn forbid_writes(&self) {
        self.0.fetch_min(READ, Ordering::Relaxed);
    }

    pub(super) fn reads(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) >= READ {
            return Ok(());
        }
        Err(Failure::Unavailable(
            "the store is open to a build that serves: describe and configure may not use it".into(),
        ))
    }

    pub(super) fn writes(&self) -> Result<(), Failure> {
        self.reads()?;
        if self.0.load(Ordering::Relaxed) >= ALL {
            return Ok(());
        }
        Err(Failure::Unavailable("another build keeps the store in another shape now".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_taken_from_all_who_share_it() {
        let access = StoreAccess::all();
        let running = access.clone();
        assert!(running.reads().is_ok() && running.writes().is_ok());
        access.forbid_writes();
        assert!(running.reads().is_ok() && running.writes().is_err());
        let none = StoreAccess::none();
        none.forbid_writes();
        assert!(none.reads().is_err() && none.writes().is_err());
    }
}
