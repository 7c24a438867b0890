//! delete-pod. Azure gives no grace: it stops containers when it likes.
//!
//! A removal that Azure took goes on; the host's next call asks how far it is, and removes again only if that came to nothing.
//!
//! A group that Azure took a moment ago and does not show yet is removed all the same, and is not said to be gone before it
//! would be shown.

use vk_aci::{Progress, Removal as Outcome};
use vk_provider::{Deletion, Error, PodRef, Result};

use crate::context::Context;
use crate::find::{self, Found};
use crate::ledger::{self, Accepted};
use crate::poll::Look;
use crate::trouble::Trouble;
use crate::{names, observe};

/// How far a removal is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    GoesOn,
    /// It came to nothing, took too long, or there was none.
    IsOver,
    /// The group itself tells.
    Untold,
}

/// Removes the group of a pod, or says how far that is.
///
/// # Errors
/// There was no answer, Azure said no, or nobody can tell whose the group is.
pub(crate) fn delete(context: &Context, id: &PodRef) -> Result<Deletion> {
    let work = ledger::work(id)?;
    if work.given_up {
        // Of a pod that has ended its group's removal may go on already. Now the pod itself is to go with it.
        ledger::change(id, |work| work.given_up = false)?;
        await_end(id)?;
    }
    let course = course(context, work.removal.as_ref())?;
    if course == Course::GoesOn {
        return Ok(Deletion::Stopping);
    }
    let is_hidden = match find::group(context, id)? {
        Found::Own(group, _) if course == Course::Untold && observe::is_going(&group) => return Ok(Deletion::Stopping),
        Found::Own(..) => {
            if work.is_young(ledger::now()) {
                // It is shown by now: when it is not any more it is gone, though the answer to its removal may be lost.
                ledger::change(id, |work| work.made = 0)?;
            }
            false
        }
        // What is somebody else's is not removed, whatever it is called.
        Found::Foreign(name, why) => {
            find::tell_foreign(id, &name, &why)?;
            return gone(id);
        }
        Found::Nothing if work.is_young(ledger::now()) && work.is_to_be_there() => true,
        Found::Nothing => return gone(id),
    };
    let operation = match context.client.delete_group(&names::group(&context.node, id))? {
        Outcome::Gone if is_hidden => return Ok(Deletion::Stopping),
        Outcome::Gone => return gone(id),
        // Done, as a rule.
        Outcome::Accepted(None) if find::own(context, id)?.is_none() => return gone(id),
        Outcome::Accepted(operation) => operation,
    };
    let removal = Accepted { at: ledger::now(), operation, failed: false };
    ledger::change(id, |work| work.removal = Some(removal.clone()))?;
    await_end(id)?;
    Ok(Deletion::Stopping)
}

/// The end of a removal is awaited by looks.
fn await_end(id: &PodRef) -> Result<()> {
    let now = ledger::now();
    ledger::looked(id, &Look { at: now, changed: now, ..Look::default() })
}

fn course(context: &Context, removal: Option<&Accepted>) -> Result<Course> {
    let Some(removal) = removal.filter(|removal| removal.is_awaited(ledger::now())) else { return Ok(Course::IsOver) };
    let Some(operation) = &removal.operation else { return Ok(Course::Untold) };
    match context.client.progress(operation) {
        Ok(Progress::Running { .. }) => Ok(Course::GoesOn),
        Ok(Progress::Succeeded | Progress::Failed(_)) => Ok(Course::IsOver),
        Err(failure) => match Trouble::from(failure) {
            // It is forgotten, nobody may ask, or nobody understands the answer.
            Trouble::Own(_) => Ok(Course::Untold),
            Trouble::Lost(error) | Trouble::Barred(error) => Err::<_, Error>(error),
        },
    }
}

fn gone(id: &PodRef) -> Result<Deletion> {
    ledger::clear(id)?;
    Ok(Deletion::Gone)
}
