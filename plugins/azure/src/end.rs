//! What becomes of a group whose pod has ended: it must cost nothing, and not run again.
//!
//! ```text
//! came to nothing, and nothing of it has begun      removed: it has no log, and Azure would keep trying, and count it
//!                                                   no room for that as yet: stopped, and removed once there is
//! came to nothing, or may be started again          stopped: its logs stay, as far as Azure keeps them
//! ended otherwise                                   left as it is: it costs nothing any more
//! ```
//!
//! What Azure took may come to nothing too: it is asked, and done again.

use vk_aci::{Operation, Removal as Outcome};
use vk_provider::{PodRef, cluster};

use crate::context::Context;
use crate::ledger::{self, Accepted, Work};
use crate::look::{self, Sight};
use crate::trouble::Trouble;
use crate::{events, names, observe};

/// What is to be done with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Stop,
    Removal,
}

/// What is to be done with a group now; none: nothing.
pub(crate) fn due(sight: &Sight, now: u64) -> Option<Due> {
    let Sight { group, seen, work, .. } = sight;
    let is_awaited = |accepted: &Option<Accepted>| accepted.as_ref().is_some_and(|accepted| accepted.is_awaited(now));
    if !seen.is_final() || is_awaited(&work.removal) || is_awaited(&work.stop) {
        return None;
    }
    let came_to_nothing = work.cause.is_some() || observe::keeps_trying(group);
    if work.vacant || (came_to_nothing && !work.stopped && !observe::may_have_logs(group)) {
        return Some(Due::Removal);
    }
    let once = came_to_nothing || observe::may_come_back(group, &seen.status);
    ((once && !is_stopped(work)) || observe::runs(group)).then_some(Due::Stop)
}

/// Its group was stopped, as far as anybody knows.
const fn is_stopped(work: &Work) -> bool {
    work.stopped && work.stop.is_none()
}

/// Does it. `removals`: what there have been of late. Returns whether it was done; else there is no room for it as yet.
///
/// # Errors
/// There was no answer, Azure said no, or the store does not answer: it is tried again.
pub(crate) fn act(context: &Context, id: &PodRef, sight: &mut Sight, removals: &mut Vec<u64>) -> Result<bool, Trouble> {
    let now = ledger::now();
    match due(sight, now) {
        None => {}
        Some(Due::Stop) => stop(context, id, sight, false)?,
        Some(Due::Removal) if context.config.rates.take_removal(removals, now) => remove(context, id, sight)?,
        Some(Due::Removal) if is_stopped(&sight.work) && !observe::runs(&sight.group) => return Ok(false),
        Some(Due::Removal) => stop(context, id, sight, true)?,
    }
    Ok(true)
}

fn stop(context: &Context, id: &PodRef, sight: &mut Sight, vacant: bool) -> Result<(), Trouble> {
    let is_again = is_stopped(&sight.work);
    let operation = context.client.stop_group(&names::group(&context.node, id))?;
    let accepted = operation.map(|operation| Accepted { at: ledger::now(), operation: Some(operation), failed: false });
    sight.work = ledger::change(id, |work| {
        (work.stopped, work.vacant) = (true, vacant);
        // How its making went changes nothing any more.
        work.operation = None;
        work.stop.clone_from(&accepted);
    })?;
    let message = if is_again {
        "Azure had started the container group again; it was stopped once more"
    } else {
        "the pod has ended: its container group was stopped, so that it costs nothing and does not run again"
    };
    cluster::event(id, false, "ContainerGroupStopped", message);
    Ok(())
}

fn remove(context: &Context, id: &PodRef, sight: &mut Sight) -> Result<(), Trouble> {
    // First: should the answer be lost, the pod is not lost too. Where a removal is left of a deletion, the pod is to go.
    ledger::change(id, |work| work.given_up |= work.removal.is_none())?;
    let operation = match context.client.delete_group(&names::group(&context.node, id))? {
        Outcome::Gone => None,
        Outcome::Accepted(operation) => operation,
    };
    let removal = Accepted { at: ledger::now(), operation, failed: false };
    sight.work = ledger::change(id, |work| {
        (work.removal, work.stop, work.operation) = (Some(removal.clone()), None, None);
    })?;
    let message = "the container group came to nothing: it is removed, so that Azure does not keep trying, for money, and \
                   others have its place in the subscription's quota";
    cluster::event(id, false, "ContainerGroupRemoved", message);
    Ok(())
}

/// What goes on with the group of a pod that has ended. The removal of one that is deleted is asked for by whoever deletes it.
pub(crate) fn operation(work: &Work) -> Option<&Operation> {
    let removal = work.removal.as_ref().filter(|_| work.given_up);
    work.stop.as_ref().or(removal)?.operation.as_ref()
}

/// Asks how far that is; returns when to ask again, in unix milliseconds, 0: it is over.
///
/// # Errors
/// As [`look::outcome`], or the store does not answer.
pub(crate) fn ask(context: &Context, id: &PodRef, operation: &Operation, period: u64) -> Result<u64, Trouble> {
    let cause = match look::outcome(context, operation, period)? {
        look::Outcome::Running(again) => return Ok(again),
        look::Outcome::Over(cause) => cause,
    };
    let is_this = |accepted: &Accepted| accepted.operation.as_ref() == Some(operation);
    ledger::change(id, |work| {
        for accepted in [&mut work.stop, &mut work.removal].into_iter().flatten().filter(|accepted| is_this(accepted)) {
            (accepted.operation, accepted.failed) = (None, cause.is_some());
        }
        // That of a stop says that all has ended; of a removal the group itself tells.
        work.stop.take_if(|stop| stop.operation.is_none() && !stop.failed);
    })?;
    if let Some(cause) = &cause {
        let message = events::scrubbed(&format!("Azure could not stop or remove the container group: {cause}"));
        cluster::event(id, true, "ContainerGroupNotStopped", &message);
    }
    Ok(0)
}
