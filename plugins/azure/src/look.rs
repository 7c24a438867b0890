//! A look at one pod's group: what is seen of it is kept, and events are told.

use vk_aci::group::ProvisioningState;
use vk_aci::{Cause, Group, Operation, Progress};
use vk_provider::{Code, Error, ObservedPod, PodRef, Result, cluster, log};

use crate::context::Context;
use crate::ledger::{self, Seen, Work};
use crate::poll::{Look, Pace};
use crate::trouble::Trouble;
use crate::{end, events, find, observe};

/// What Azure says of an operation that somebody else's has overtaken, such as a restart in the portal.
const OVERTAKEN: &str = "OperationPreempted";

/// What a look came to.
#[derive(Debug)]
pub(crate) enum View {
    /// The pod's group.
    There(Box<Sight>),
    /// Azure does not show it yet.
    Young,
    /// There is none, as it came to nothing: of the pod that is left.
    GivenUp(Box<Seen>),
    /// It is gone, and nothing is kept of it any more.
    Gone,
}

/// A pod's group.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) group: Group,
    pub(crate) seen: Seen,
    pub(crate) work: Work,
    /// It is another than before.
    pub(crate) is_news: bool,
}

impl Sight {
    pub(crate) fn observed(&self, id: PodRef) -> ObservedPod {
        self.seen.observed(id)
    }

    /// When it is to be looked at again.
    pub(crate) fn look(&self, before: Option<&Look>, now: u64) -> Look {
        let state = self.group.properties.provisioning_state.as_ref();
        let Work { operation, removal, stop, .. } = &self.work;
        // What the look before it has said of when to ask, or act, holds.
        let kept = |is_there: bool, at: fn(&Look) -> u64| match before.map_or(0, at) {
            _ if !is_there => 0,
            0 => now,
            at => at,
        };
        let act = kept(end::due(self, now).is_some(), |before| before.act);
        let asked = kept(operation.is_some() || end::operation(&self.work).is_some(), |before| before.operation);
        let is_busy = operation.is_some() || removal.is_some() || stop.is_some() || (1..=now).contains(&act);
        let pace = if is_busy { Pace::Changing } else { observe::pace(&self.group, &self.seen.status) };
        let changed = before.filter(|_| !self.is_news).map_or(now, |before| before.changed);
        let listed =
            before.map_or_else(|| state.map(ToString::to_string).unwrap_or_default(), |before| before.listed.clone());
        Look { at: now, changed, listed, pace, urgent: false, operation: asked, act, failures: 0, lost: 0 }
    }
}

/// Looks at a pod. What Azure took a moment ago it may not show yet: that is kept in the ledger.
///
/// # Errors
/// Not known.
pub(crate) fn look(context: &Context, id: &PodRef) -> Result<View, Trouble> {
    if let Some((group, revision)) = find::own(context, id)? {
        if observe::keeps_trying(&group) {
            ask_why(context, id)?;
        }
        return Ok(View::There(Box::new(note(id, group, revision)?)));
    }
    let mut work = ledger::work(id)?;
    if work.is_to_be_there() {
        if work.is_young(ledger::now()) {
            return Ok(View::Young);
        }
        ask_why(context, id)?;
        work = ledger::work(id)?;
    }
    match given_up(id, &work)? {
        Some(seen) => Ok(View::GivenUp(Box::new(seen))),
        None => {
            ledger::clear(id)?;
            Ok(View::Gone)
        }
    }
}

/// What is told of a pod that has no group as that came to nothing; none: of such a pod nothing is known, or it was to go.
fn given_up(id: &PodRef, work: &Work) -> Result<Option<Seen>> {
    let Some(seen) = ledger::seen(id)? else { return Ok(None) };
    if work.given_up {
        return Ok(Some(seen));
    }
    let Some(cause) = work.cause.as_ref().filter(|_| work.removal.is_none()) else { return Ok(None) };
    // First: what is told of it must not get lost.
    ledger::change(id, |work| work.given_up = true)?;
    let (seen, _) = ledger::see(id, |before| match before.unwrap_or(&seen) {
        before if before.is_final() => before.clone(),
        Seen { revision, status } => Seen { revision: revision.clone(), status: observe::unmade(status, cause) },
    })?;
    Ok(Some(seen))
}

/// Asks why a group came to nothing, where its operation tells: what its pod fails for is told once.
fn ask_why(context: &Context, id: &PodRef) -> Result<(), Trouble> {
    let work = ledger::work(id)?;
    let Some(operation) = &work.operation else { return Ok(()) };
    let Err(trouble) = ask(context, id, operation, 0) else { return Ok(()) };
    let (Trouble::Own(error) | Trouble::Lost(error) | Trouble::Barred(error)) = &trouble;
    // In a moment, perhaps.
    if work.is_young(ledger::now()) && passes(error) {
        return Err(trouble);
    }
    log!("nobody tells why the container group of pod {} came to nothing: {error}", id.name);
    Ok(())
}

/// Whether it may be otherwise in a moment.
pub(crate) const fn passes(error: &Error) -> bool {
    matches!(error.code, Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled)
}

/// Keeps what is seen of a pod.
///
/// # Errors
/// The store does not answer.
pub(crate) fn note(id: &PodRef, group: Group, revision: Option<String>) -> Result<Sight> {
    let mut work = ledger::work(id)?;
    let status = observe::status(&group, work.cause.as_ref());
    let told = events::tell(id, &group, &work.told);
    let is_made = group.properties.provisioning_state == Some(ProvisioningState::Succeeded);
    if told != work.told || (is_made && (work.operation.is_some() || work.cause.is_some())) {
        // It runs all the same: what came to nothing once says nothing of what becomes of it later.
        let (over, refuted) = (work.operation.take_if(|_| is_made), work.cause.take_if(|_| is_made));
        work = ledger::change(id, |work| {
            work.told.clone_from(&told);
            // What a later call has begun goes on.
            work.operation.take_if(|operation| Some(&*operation) == over.as_ref());
            work.cause.take_if(|cause| Some(&*cause) == refuted.as_ref());
        })?;
    }
    let (seen, is_news) = ledger::see(id, |before| {
        let status = match before {
            // What has ended has ended, whatever Azure makes of it.
            Some(before) if before.is_final() => before.status.clone(),
            before => match (&status, before) {
                (Some(status), Some(before)) => observe::after(&before.status, status.clone()),
                (Some(status), None) => status.clone(),
                (None, Some(before)) => observe::silent(&group, &before.status),
                (None, None) => observe::pending(&group),
            },
        };
        Seen { revision: revision.clone(), status }
    })?;
    Ok(Sight { group, seen, work, is_news })
}

/// What came of an operation.
pub(crate) enum Outcome {
    /// It goes on: when to ask again, in unix milliseconds.
    Running(u64),
    /// It is over, and why it came to nothing if it did.
    Over(Option<Cause>),
}

/// Asks how far an operation is.
///
/// # Errors
/// There was no answer, or Azure said no.
pub(crate) fn outcome(context: &Context, operation: &Operation, period: u64) -> Result<Outcome, Trouble> {
    match context.client.progress(operation) {
        Ok(Progress::Running { after }) => {
            Ok(Outcome::Running(ledger::now().saturating_add(after.map_or(0, ledger::millis).max(period))))
        }
        Ok(Progress::Succeeded) => Ok(Outcome::Over(None)),
        Ok(Progress::Failed(Cause { code, .. })) if code.eq_ignore_ascii_case(OVERTAKEN) => Ok(Outcome::Over(None)),
        Ok(Progress::Failed(cause)) => Ok(Outcome::Over(Some(cause))),
        // It is forgotten: the group itself tells.
        Err(failure) if failure.refusal().is_some_and(|refusal| matches!(refusal.status, 404 | 410)) => {
            Ok(Outcome::Over(None))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Asks how far the making or change of a pod is; returns when to ask again, in unix milliseconds, 0: it is over.
///
/// # Errors
/// As [`outcome`], or the store does not answer.
pub(crate) fn ask(context: &Context, id: &PodRef, operation: &Operation, period: u64) -> Result<u64, Trouble> {
    let cause = match outcome(context, operation, period)? {
        Outcome::Running(again) => return Ok(again),
        Outcome::Over(cause) => cause,
    };
    ledger::change(id, |work| {
        // Another one may have begun meanwhile.
        if work.operation.as_ref() == Some(operation) {
            work.operation = None;
            work.cause.clone_from(&cause);
        }
    })?;
    if let Some(cause) = &cause {
        let message = events::scrubbed(&format!("Azure could not make the container group: {cause}"));
        cluster::event(id, true, "ContainerGroupFailed", &message);
    }
    Ok(0)
}
