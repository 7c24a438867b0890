//! What Azure has of this node's pods. A list tells which; how they are is what was last seen, as looks keep it up to date:
//! a look at each would take Azure's patience.

use std::collections::BTreeMap;
use std::time::Duration;

use vk_aci::Listed;
use vk_provider::clock::Deadline;
use vk_provider::{ObservedPod, Page, PodRef, Result, cluster, log};

use crate::context::Context;
use crate::ledger::{self, Seen};
use crate::look::{self, View};
use crate::orphans;
use crate::trouble::Trouble;

/// The contract's bounds of a page: pods, and bytes of their statuses with some room.
const MOST: usize = 500;
const MOST_BYTES: usize = 900 << 10;
/// More pages than Azure has groups.
const PAGES: usize = 1000;
/// How long pods that are in no list are looked at before a page is told without; the rest is told as it was.
const CONFIRM: Duration = Duration::from_secs(10);
/// A status of which nothing is known: the host leaves it as it is.
const UNKNOWN: &str = "{}";

/// A group of this node's.
#[derive(Clone, Debug)]
pub(crate) struct There {
    pub(crate) revision: Option<String>,
    /// Its provisioning state.
    pub(crate) state: String,
}

/// All groups of this node, how many there are of everybody, and how many requests that took.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) ours: BTreeMap<PodRef, There>,
    pub(crate) groups: usize,
    pub(crate) requests: u64,
}

/// Lists all groups.
///
/// # Errors
/// Not known: a part is no list.
pub(crate) fn census(context: &Context) -> Result<Census> {
    let mut census = Census { ours: BTreeMap::new(), groups: 0, requests: 0 };
    let mut next = None;
    for _ in 0..PAGES {
        let Listed { groups, next: following } = context.client.list_groups(next.as_deref())?;
        census.requests += 1;
        census.groups += groups.len();
        for (mark, state) in orphans::ours(&context.node, groups)? {
            census.ours.insert(mark.id, There { revision: mark.revision, state });
        }
        let Some(following) = following else { return Ok(census) };
        next = Some(following);
    }
    Err(vk_provider::Error::unknown("PagesDoNotEnd", "Azure's list of container groups does not come to an end"))
}

/// One pod; none: surely absent.
///
/// # Errors
/// Not known.
pub(crate) fn get(context: &Context, id: &PodRef) -> Result<Option<ObservedPod>> {
    Ok(look_at(context, id)?)
}

fn look_at(context: &Context, id: &PodRef) -> Result<Option<ObservedPod>, Trouble> {
    Ok(match look::look(context, id)? {
        View::There(sight) => Some(sight.observed(id.clone())),
        View::GivenUp(seen) => Some(seen.observed(id.clone())),
        View::Young | View::Gone => None,
    })
}

/// A page of all pods, in the order of their keys. Of one about which nobody can tell anything it has what was last seen: before
/// there is a whole list the host makes no pod.
///
/// # Errors
/// Not known.
pub(crate) fn page(context: &Context, after: Option<&str>) -> Result<Page<ObservedPod>> {
    let after = after.and_then(PodRef::from_key);
    let mut known = ledger::all_seen()?;
    let mut all: BTreeMap<PodRef, Entry> = BTreeMap::new();
    for (id, there) in census(context)?.ours {
        let seen = known.remove(&id);
        all.insert(id, Entry::Listed(there, seen));
    }
    all.extend(known.into_iter().map(|(id, seen)| (id, Entry::Missing(seen))));
    let confirm = Deadline::after(CONFIRM);
    let (mut page, mut bytes) = (Page::default(), 0);
    for (id, entry) in all.into_iter().filter(|(id, _)| after.as_ref().is_none_or(|after| id > after)) {
        let Some(pod) = entry.told(context, id, confirm)? else { continue };
        bytes += pod.status.len() + pod.id.key().len();
        if page.items.len() == MOST || (bytes > MOST_BYTES && !page.items.is_empty()) {
            page.next = page.items.last().map(|last: &ObservedPod| last.id.key());
            break;
        }
        page.items.push(pod);
    }
    Ok(page)
}

/// Why a pod may be in a page.
enum Entry {
    /// The list has it.
    Listed(There, Option<Seen>),
    /// The ledger alone has it: lists lag behind, so that proves nothing.
    Missing(Seen),
}

impl Entry {
    fn told(self, context: &Context, id: PodRef, confirm: Deadline) -> Result<Option<ObservedPod>> {
        match self {
            Self::Listed(There { revision, .. }, Some(seen)) => Ok(Some(Seen { revision, ..seen }.observed(id))),
            Self::Listed(There { revision, .. }, None) => {
                Ok(Some(ObservedPod { id, revision, status: UNKNOWN.to_owned() }))
            }
            Self::Missing(seen) if confirm.is_over() => Ok(Some(seen.observed(id))),
            Self::Missing(seen) => match look_at(context, &id) {
                Ok(Some(pod)) => Ok(Some(pod)),
                // What is kept of it is too young to be given up.
                Ok(None) => Ok(ledger::seen(&id)?.map(|seen| seen.observed(id))),
                Err(Trouble::Own(error)) => {
                    cluster::event(&id, true, &error.reason, &error.message);
                    Ok(Some(seen.observed(id)))
                }
                Err(Trouble::Lost(error)) => {
                    log!("whether pod {} is there still nobody tells: {error}", id.name);
                    Ok(Some(seen.observed(id)))
                }
                Err(Trouble::Barred(error)) => Err(error),
            },
        }
    }
}
