//! delete-pod. Azure gives no grace: it stops containers when it likes.
//!
//! A removal that Azure took goes on; the host's next call asks how far it is, and removes again only if that came to nothing.

use std::time::Duration;

use vk_aci::{Progress, Removal as Outcome};
use vk_provider::{Deletion, PodRef, Result};

use crate::context::Context;
use crate::ledger::{self, Removal};
use crate::poll::Look;
use crate::{look, names};

/// After so long a removal that goes on is asked for again.
const PATIENCE: Duration = Duration::from_secs(600);

/// Removes the group of a pod, or says how far that is.
///
/// # Errors
/// There was no answer, Azure said no, or nobody can tell whose the group is.
pub(crate) fn delete(context: &Context, id: &PodRef) -> Result<Deletion> {
    if let Some(removal) = ledger::work(id)?.removal
        && goes_on(context, &removal)?
    {
        return Ok(Deletion::Stopping);
    }
    // What is somebody else's is not removed, whatever it is called.
    if look::find(context, id)?.is_none() {
        return gone(id);
    }
    match context.client.delete_group(&names::group(&context.node, id))? {
        Outcome::Gone => gone(id),
        // Done, as a rule.
        Outcome::Accepted(None) => {
            if look::find(context, id)?.is_none() {
                return gone(id);
            }
            await_end(id, None)
        }
        Outcome::Accepted(Some(operation)) => await_end(id, Some(Removal { at: ledger::now(), operation })),
    }
}

fn goes_on(context: &Context, removal: &Removal) -> Result<bool> {
    if ledger::now() > removal.at.saturating_add(ledger::millis(PATIENCE)) {
        return Ok(false);
    }
    match context.client.progress(&removal.operation) {
        Ok(Progress::Running { .. }) => Ok(true),
        Ok(Progress::Succeeded | Progress::Failed(_)) => Ok(false),
        // It is forgotten: the group itself tells.
        Err(failure) if failure.refusal().is_some_and(|refusal| matches!(refusal.status, 404 | 410)) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Its end is awaited by looks.
fn await_end(id: &PodRef, removal: Option<Removal>) -> Result<Deletion> {
    ledger::change(id, |work| work.removal.clone_from(&removal))?;
    let now = ledger::now();
    ledger::looked(id, &Look { at: now, changed: now, ..Look::default() })?;
    Ok(Deletion::Stopping)
}

fn gone(id: &PodRef) -> Result<Deletion> {
    ledger::clear(id)?;
    Ok(Deletion::Gone)
}
