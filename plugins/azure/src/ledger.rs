//! What is kept of a pod between calls. Azure keeps the rest: all of this can be lost, and is then found anew.
//!
//! ```text
//! pods/KEY    what was last seen of it: written when that changes, so it is the news      Seen
//! work/KEY    what goes on with it: operations, why it failed, which events were told      Work
//! looks/KEY   when it was looked at, in memory alone                                       poll::Look
//! beat        when groups were listed, and how much was asked, in memory alone             poll::Beat
//! place       where all these groups are                                                   place::Place
//! told/NAME   it was told in the log: again in an hour, in memory alone
//! ```
//!
//! Of the last, `told/operations/…` is of operations that are not followed, for which [`vk_aci`] writes one too.
//!
//! KEY is the pod's namespace, name and uid. Later versions must understand it: add fields, keep these.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_aci::{Cause, Operation};
use vk_provider::status::{Phase, PodStatus};
use vk_provider::store::{self, Entry, Expect, Failure, Versioned};
use vk_provider::{Error, ObservedPod, PodRef, Result, clock, log};

use crate::SETTLE;
use crate::poll::{Beat, Look};

/// Where the news are.
pub(crate) const PODS: &str = "pods/";
const WORK: &str = "work/";
const LOOKS: &str = "looks/";
const BEAT: &str = "beat";
/// After so long a stop or a removal that goes on is asked for again.
const PATIENCE: Duration = Duration::from_secs(600);
/// The same of one that came to nothing.
const AGAIN: Duration = Duration::from_secs(60);
/// What is in memory alone is forgotten so long after it was last written, if nobody has removed it.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// What was last seen of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    pub(crate) status: PodStatus,
}

impl Seen {
    /// Nothing of it changes any more.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self.status.phase, Phase::Succeeded | Phase::Failed)
    }

    pub(crate) fn observed(&self, id: PodRef) -> ObservedPod {
        self.status.observed(id, self.revision.clone())
    }
}

/// What goes on with a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Work {
    /// When Azure took it, in unix milliseconds; 0: nobody remembers.
    pub(crate) made: u64,
    /// Its making, or change, until that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<Operation>,
    /// Why that came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) removal: Option<Accepted>,
    /// Its group was stopped from here, as the pod had ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopped: bool,
    /// That stop, until it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<Accepted>,
    /// It was stopped before anything in it had begun, as there was no room to remove it: it is removed once there is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) vacant: bool,
    /// Its group is removed from here, as it came to nothing: the pod is as it was last seen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) given_up: bool,
    /// Which events were told, and how often each had happened then.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) told: BTreeMap<String, i32>,
}

/// A stop or a removal that Azure took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// When, in unix milliseconds.
    pub(crate) at: u64,
    /// How far it is; none: the group itself tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<Operation>,
    /// It came to nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) failed: bool,
}

impl Accepted {
    /// It is not asked for again as yet.
    pub(crate) fn is_awaited(&self, now: u64) -> bool {
        now <= self.at.saturating_add(millis(if self.failed { AGAIN } else { PATIENCE }))
    }
}

impl Work {
    /// Azure took it so short a time ago that it may not show it as yet.
    pub(crate) fn is_young(&self, now: u64) -> bool {
        now < self.made.saturating_add(millis(SETTLE))
    }

    /// Nothing is known here for which its group would not be there any more.
    pub(crate) const fn is_to_be_there(&self) -> bool {
        !self.given_up && self.removal.is_none() && self.cause.is_none()
    }
}

/// This moment, as it is kept.
pub(crate) fn now() -> u64 {
    clock::now().as_millis()
}

/// A duration, as it is kept.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn key(prefix: &str, id: &PodRef) -> String {
    format!("{prefix}{}", id.key())
}

/// Whose an entry is.
///
/// # Errors
/// The key is none of ours.
pub(crate) fn id(prefix: &str, key: &str) -> Result<PodRef> {
    let id = key.strip_prefix(prefix).and_then(PodRef::from_key);
    id.ok_or_else(|| Error::data_loss("LedgerBroken", format!("{key:?} is no key of a pod")))
}

/// What was last seen of a pod.
///
/// # Errors
/// The store does not answer.
pub(crate) fn seen(id: &PodRef) -> Result<Option<Seen>> {
    Ok(store::get(&key(PODS, id))?.map(|there| there.value))
}

/// What was last seen of all pods.
///
/// # Errors
/// The store does not answer.
pub(crate) fn all_seen() -> Result<BTreeMap<PodRef, Seen>> {
    all(PODS)
}

/// All pods of which something was seen.
///
/// # Errors
/// The store does not answer.
pub(crate) fn known() -> Result<BTreeSet<PodRef>> {
    let mut known = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let keys = store::keys(PODS, after.as_deref())?;
        let Some(last) = keys.last() else { return Ok(known) };
        after = Some(last.clone());
        known.extend(keys.iter().filter_map(|key| id(PODS, key).ok()));
    }
}

/// Whether something was seen of any pod.
///
/// # Errors
/// The store does not answer.
pub(crate) fn is_empty() -> Result<bool> {
    Ok(store::keys(PODS, None)?.is_empty())
}

/// Keeps what is seen of a pod. `seen` says what that is after what is kept of it already, whatever other calls keep meanwhile.
/// Returns it, and whether it is news.
///
/// # Errors
/// The store does not answer.
pub(crate) fn see(id: &PodRef, seen: impl Fn(Option<&Seen>) -> Seen) -> Result<(Seen, bool)> {
    let key = key(PODS, id);
    let there: Option<Versioned<Seen>> = store::get(&key)?;
    if let Some(there) = &there
        && seen(Some(&there.value)) == there.value
    {
        return Ok((there.value.clone(), false));
    }
    let kept = store::update_from(&key, there, None, |there| Ok::<_, Failure>(seen(there.as_ref())))?;
    Ok((kept.value, true))
}

/// What goes on with a pod.
///
/// # Errors
/// The store does not answer.
pub(crate) fn work(id: &PodRef) -> Result<Work> {
    Ok(store::get(&key(WORK, id))?.map(|there| there.value).unwrap_or_default())
}

/// Changes that, whatever other calls change of it meanwhile.
///
/// # Errors
/// The store does not answer.
pub(crate) fn change(id: &PodRef, change: impl Fn(&mut Work)) -> Result<Work> {
    let changed = store::update(&key(WORK, id), None, |there: Option<Work>| {
        let mut work = there.unwrap_or_default();
        change(&mut work);
        Ok::<_, Failure>(work)
    })?;
    Ok(changed.value)
}

/// Forgets a pod that is surely gone: news, if it was known.
///
/// # Errors
/// The store does not answer.
pub(crate) fn clear(id: &PodRef) -> Result<()> {
    // The news last: whoever hears them finds nothing of it any more.
    for prefix in [LOOKS, WORK, PODS] {
        store::remove(&key(prefix, id), Expect::Anything)?;
    }
    Ok(())
}

/// When each pod was looked at.
///
/// # Errors
/// The store does not answer.
pub(crate) fn looks() -> Result<BTreeMap<PodRef, Look>> {
    all(LOOKS)
}

/// Keeps that.
///
/// # Errors
/// The store does not answer.
pub(crate) fn looked(id: &PodRef, look: &Look) -> Result<()> {
    store::put(&key(LOOKS, id), look, Expect::Anything, Some(FORGOTTEN))?;
    Ok(())
}

/// What all looks have in common.
///
/// # Errors
/// The store does not answer.
pub(crate) fn beat() -> Result<Beat> {
    Ok(store::get(BEAT)?.map(|there| there.value).unwrap_or_default())
}

/// Keeps that.
///
/// # Errors
/// The store does not answer.
pub(crate) fn beats(beat: &Beat) -> Result<()> {
    store::put(BEAT, beat, Expect::Anything, Some(FORGOTTEN))?;
    Ok(())
}

/// Whether something is to be told again: once an hour.
///
/// # Errors
/// The store does not answer.
pub(crate) fn is_to_tell(what: &str) -> Result<bool> {
    // Of calls at once, one tells.
    match store::put_bytes(&format!("told/{what}"), b"", Expect::Absent, Some(FORGOTTEN)) {
        Ok(_) => Ok(true),
        Err(failure) if failure.is_conflict() => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// What a change of the ledger tells: the pod, and what is seen of it now; none: it is gone.
///
/// # Errors
/// It cannot be read.
pub(crate) fn told(key: &str, entry: Option<&Entry>) -> Result<(PodRef, Option<Seen>)> {
    Ok((id(PODS, key)?, entry.map(|entry| entry.parse(key)).transpose()?))
}

fn all<T: serde::de::DeserializeOwned>(prefix: &str) -> Result<BTreeMap<PodRef, T>> {
    let mut all = BTreeMap::new();
    store::scan_all(prefix, |key, entry| {
        match (id(prefix, &key), entry.parse(&key)) {
            (Ok(id), Ok(value)) => {
                all.insert(id, value);
            }
            // It is found anew in Azure.
            _ => {
                log!("what is stored under {key:?} cannot be read, and is removed");
                store::remove(&key, Expect::Anything)?;
            }
        }
        Ok::<_, Failure>(())
    })?;
    Ok(all)
}

#[cfg(test)]
mod tests;
