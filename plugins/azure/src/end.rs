//! What becomes of a group whose pod has ended: it must cost nothing, and not run again.
//!
//! ```text
//! came to nothing, and nothing of it has begun      removed: it has no log, and Azure would keep trying, and count it
//! came to nothing, or may be started again          stopped: its logs stay, as far as Azure keeps them
//! ended otherwise                                   left as it is: it costs nothing any more
//! ```

use vk_aci::Removal as Outcome;
use vk_provider::{PodRef, Result, cluster};

use crate::context::Context;
use crate::ledger::{self, Removal};
use crate::look::Sight;
use crate::{names, observe};

/// What is to be done with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Stop,
    Removal,
}

/// What is to be done with a group now; none: nothing.
pub(crate) fn due(sight: &Sight, now: u64) -> Option<Due> {
    let Sight { group, seen, work, .. } = sight;
    if !seen.is_final() || work.removal.as_ref().is_some_and(|removal| removal.is_awaited(now)) {
        return None;
    }
    let came_to_nothing = work.cause.is_some() || observe::keeps_trying(group);
    if came_to_nothing && !work.stopped && !observe::may_have_logs(group) {
        return Some(Due::Removal);
    }
    let once = came_to_nothing || observe::may_come_back(group, &seen.status);
    ((once && !work.stopped) || observe::runs(group)).then_some(Due::Stop)
}

/// Does it.
///
/// # Errors
/// There was no answer, or Azure said no: it is tried again at the next look.
pub(crate) fn act(context: &Context, id: &PodRef, sight: &mut Sight) -> Result<()> {
    match due(sight, ledger::now()) {
        Some(Due::Stop) => stop(context, id, sight),
        Some(Due::Removal) => remove(context, id, sight),
        None => Ok(()),
    }
}

fn stop(context: &Context, id: &PodRef, sight: &mut Sight) -> Result<()> {
    let is_again = sight.work.stopped;
    context.client.stop_group(&names::group(&context.node, id))?;
    sight.work = ledger::change(id, |work| work.stopped = true)?;
    let message = if is_again {
        "Azure had started the container group again; it was stopped once more"
    } else {
        "the pod has ended: its container group was stopped, so that it costs nothing and does not run again"
    };
    cluster::event(id, false, "ContainerGroupStopped", message);
    Ok(())
}

fn remove(context: &Context, id: &PodRef, sight: &mut Sight) -> Result<()> {
    // First: should the answer be lost, the pod is not lost too.
    ledger::change(id, |work| work.given_up = true)?;
    let operation = match context.client.delete_group(&names::group(&context.node, id))? {
        Outcome::Gone => None,
        Outcome::Accepted(operation) => operation,
    };
    let removal = Removal { at: ledger::now(), operation };
    sight.work = ledger::change(id, |work| work.removal = Some(removal.clone()))?;
    let message = "the container group came to nothing: it is removed, so that Azure does not keep trying, for money, and \
                   others have its place in the subscription's quota";
    cluster::event(id, false, "ContainerGroupRemoved", message);
    Ok(())
}
