//! A look at one pod's group: what is seen of it is kept, events are told, and what has ended is stopped from costing.

use vk_aci::group::ProvisioningState;
use vk_aci::{Group, Operation, Progress};
use vk_provider::{ObservedPod, PodRef, Result, cluster, log};

use crate::context::Context;
use crate::ledger::{self, Seen, Work};
use crate::orphans::{self, Whose};
use crate::poll::{Look, Pace};
use crate::{events, names, observe};

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
        let is_busy = self.work.operation.is_some() || self.work.removal.is_some() || self.must_be_stopped();
        let pace = if is_busy { Pace::Changing } else { observe::pace(&self.group, &self.seen.status) };
        let changed = before.filter(|_| !self.is_news).map_or(now, |before| before.changed);
        let operation = match (&self.work.operation, before) {
            (None, _) => 0,
            (Some(_), Some(before)) if before.operation > 0 => before.operation,
            (Some(_), _) => now,
        };
        let listed =
            before.map_or_else(|| state.map(ToString::to_string).unwrap_or_default(), |before| before.listed.clone());
        Look { at: now, changed, listed, pace, urgent: false, operation }
    }

    /// Azure keeps trying or may start it again, or does so, though the pod has ended.
    fn must_be_stopped(&self) -> bool {
        let once = self.work.cause.is_some()
            || observe::keeps_trying(&self.group)
            || observe::may_come_back(&self.group, &self.seen.status);
        self.seen.is_final()
            && self.work.removal.is_none()
            && ((once && !self.work.stopped) || observe::runs(&self.group))
    }
}

/// The group of a pod, with the revision that it was made from; none: there is none of the pod's.
///
/// # Errors
/// Not known: there was no answer, or nobody can tell whose the group is.
pub(crate) fn find(context: &Context, id: &PodRef) -> Result<Option<(Group, Option<String>)>> {
    let name = names::group(&context.node, id);
    let Some(group) = context.client.get_group(&name)? else { return Ok(None) };
    match orphans::whose(&context.node, id, &group.tags) {
        Whose::Ours(revision) => Ok(Some((group, revision))),
        Whose::Foreign(why) => {
            log!(
                "the container group {name} is called as that of pod {} would be, but {why}: it is left alone",
                id.name
            );
            Ok(None)
        }
        Whose::Unclear(missing) => Err(orphans::unclear(id, &name, &missing)),
    }
}

/// Looks at a pod; none: it is not there. What Azure took a moment ago it may not show yet: that is kept in the ledger.
///
/// # Errors
/// Not known.
pub(crate) fn look(context: &Context, id: &PodRef) -> Result<Option<Sight>> {
    if let Some((group, revision)) = find(context, id)? {
        return note(id, group, revision).map(Some);
    }
    let work = ledger::work(id)?;
    let may_come = work.removal.is_none() && work.cause.is_none() && work.is_young(ledger::now());
    if !may_come {
        ledger::clear(id)?;
    }
    Ok(None)
}

/// Keeps what is seen of a pod.
///
/// # Errors
/// The store does not answer.
pub(crate) fn note(id: &PodRef, group: Group, revision: Option<String>) -> Result<Sight> {
    let mut work = ledger::work(id)?;
    let before = ledger::seen(id)?;
    let status = match &before {
        // What has ended has ended, whatever Azure makes of it.
        Some(before) if before.is_final() => before.status.clone(),
        _ => {
            let told = observe::status(&group, work.cause.as_ref());
            let known = || before.as_ref().map(|before| before.status.clone());
            told.or_else(known).unwrap_or_else(|| observe::pending(&group))
        }
    };
    let told = events::tell(id, &group, &work.told);
    let is_made = group.properties.provisioning_state == Some(ProvisioningState::Succeeded);
    if told != work.told || (is_made && work.operation.is_some()) {
        let over = work.operation.take_if(|_| is_made);
        work = ledger::change(id, |work| {
            work.told.clone_from(&told);
            // What a later call has begun goes on.
            work.operation.take_if(|operation| Some(&*operation) == over.as_ref());
        })?;
    }
    let seen = Seen { revision, status };
    let is_news = ledger::see(id, &seen, before.as_ref())?;
    Ok(Sight { group, seen, work, is_news })
}

/// Asks how far the making or change of a pod is; returns when to ask again, in unix milliseconds, 0: it is over.
///
/// # Errors
/// There was no answer, or the store does not answer.
pub(crate) fn ask(context: &Context, id: &PodRef, operation: &Operation, period: u64) -> Result<u64> {
    let cause = match context.client.progress(operation) {
        Ok(Progress::Running { after }) => {
            return Ok(ledger::now().saturating_add(after.map_or(0, ledger::millis).max(period)));
        }
        Ok(Progress::Succeeded) => None,
        Ok(Progress::Failed(cause)) => Some(cause),
        // It is forgotten: the group itself tells.
        Err(failure) if failure.refusal().is_some_and(|refusal| matches!(refusal.status, 404 | 410)) => None,
        Err(failure) => return Err(failure.into()),
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

/// Stops a group that costs, or runs again, though its pod has ended. Its logs stay, as far as Azure keeps them.
///
/// # Errors
/// There was no answer, or Azure said no: it is tried again at the next look.
pub(crate) fn stop(context: &Context, id: &PodRef, sight: &mut Sight) -> Result<()> {
    if !sight.must_be_stopped() {
        return Ok(());
    }
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
