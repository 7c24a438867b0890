//! News of pods: what the ledger's changes tell, which are kept up to date by looks meanwhile.
//!
//! ```text
//! next ─┬─ poller: what is due is listed, looked at, stopped   ─▶ the ledger, if something changed
//!       ├─ ledger: what changed since the cursor's revision?   ─▶ told, and it is over
//!       └─ else: wait for the ledger, the next look, the end
//! ```
//!
//! The cursor is a revision of the store, and what is told follows from it and the store alone: an answer that is lost is given
//! again. Of two calls at once one looks, and both tell.

mod poller;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::changes::{Batch, Scope};
use vk_provider::clock::Deadline;
use vk_provider::store::{self, Change};
use vk_provider::wait::Wait;
use vk_provider::{Error, Result, call};

use crate::context::Context;
use crate::{ledger, pods};
use poller::{Poller, Step};

/// What happens together is told together; short beside a period.
const GATHER: Duration = Duration::from_millis(50);

/// Where the next call goes on. Later versions must understand it: add fields, keep these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// All changes of the ledger up to here were told.
    revision: u64,
    /// A full list, told up to this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listing: Option<String>,
}

impl Cursor {
    fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::out_of_range("CursorOutworn", format!("the cursor cannot be read: {error}")))
    }

    fn write(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

/// See [`vk_provider::Changes::next`].
///
/// # Errors
/// `out-of-range`: the cursor is outworn. Or a full list failed, or the store does not answer.
pub(crate) fn next(context: &Context, cursor: Option<&str>, wait: Duration) -> Result<Batch> {
    let deadline = Deadline::after(wait);
    match cursor.map(Cursor::read).transpose()? {
        None => full_list(context, Cursor { revision: store::revision()?, listing: None }),
        Some(cursor) if cursor.listing.is_some() => full_list(context, cursor),
        Some(cursor) => follow(context, cursor, deadline),
    }
}

/// A page of a full list. What happens meanwhile is told afterwards, as the cursor was taken before.
fn full_list(context: &Context, cursor: Cursor) -> Result<Batch> {
    let page = pods::page(context, cursor.listing.as_deref())?;
    let scope = if page.next.is_some() { Scope::Listing } else { Scope::Listed };
    let cursor = Cursor { listing: page.next, ..cursor };
    Ok(Batch { changed: page.items, ..Batch::empty(scope, cursor.write()) })
}

#[derive(Clone, Copy, PartialEq)]
enum Woken {
    News,
    Turn,
    Clock,
}

/// Waits for the first news, and looks for them.
fn follow(context: &Context, mut cursor: Cursor, deadline: Deadline) -> Result<Batch> {
    let mut poller = Poller::new(context);
    // While many pods are made, every call finds news of them: it looks once all the same, or nobody ever would.
    let mut has_looked = false;
    loop {
        let (revision, changed) = store::since(ledger::PODS, cursor.revision)?;
        let (is_news, is_over) = (!changed.is_empty(), deadline.is_over() || call::cancelled());
        if is_news && (has_looked || is_over) {
            cursor.revision = revision;
            return news(&cursor, changed);
        }
        if !is_news {
            cursor.revision = revision;
            if is_over || poller.is_tired() {
                return Ok(Batch::empty(Scope::Delta, cursor.write()));
            }
        }
        let step = poller.step(is_news)?;
        has_looked = true;
        let (rest, has_turn) = match step {
            Step::Acted => continue,
            _ if is_news => continue,
            Step::Rest(rest) => (rest.min(deadline.remaining()), true),
            Step::NotMyTurn => (deadline.remaining(), false),
        };
        let wait =
            Wait::new().on(Woken::News, store::subscribe(ledger::PODS, cursor.revision)).after(Woken::Clock, rest);
        let woken = if has_turn { wait.first() } else { wait.on(Woken::Turn, poller.turn()).first() };
        // A turn that is over does not come again in this call.
        if woken.has(Woken::Turn) && !poller.has_turn() {
            return Ok(Batch::empty(Scope::Delta, cursor.write()));
        }
    }
}

fn news(cursor: &Cursor, changed: Vec<Change>) -> Result<Batch> {
    let mut batch = Batch { again_after: GATHER, ..Batch::empty(Scope::Delta, cursor.write()) };
    for (key, entry) in changed {
        match ledger::told(&key, entry.as_ref()) {
            Ok((id, Some(seen))) => batch.changed.push(seen.observed(id)),
            Ok((id, None)) => batch.touched.push(id),
            // It is found anew in Azure.
            Err(_) => store::remove(&key, store::Expect::Anything)?,
        }
    }
    Ok(batch)
}
