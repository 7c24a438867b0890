//! Use of resources, for `kubectl top` and autoscaling.

use std::time::Duration;

use vk_engine::Refusal;
use vk_engine::statistics::Statistics;
use vk_provider::stats::Usage;
use vk_provider::time::Time;
use vk_provider::{Page, PodRef, Result, clock};

use crate::context::{Context, PodSeen, Seen};
use crate::labels::Kind;
use crate::list;

/// Pods of one page: each costs a request for each of its containers.
const PAGE: usize = 50;

/// A page of figures of all pods, in the order of their uids.
///
/// # Errors
/// Not known.
pub(crate) fn page(context: &Context, after: Option<&str>) -> Result<Page<Usage>> {
    let pods = list::all(context)?;
    let mut rest = pods.iter().filter(|(id, _)| after.is_none_or(|after| id.uid.as_str() > after));
    let (mut items, mut last) = (Vec::new(), None);
    for (id, seen) in rest.by_ref().take(PAGE) {
        pod(context, id, seen, &mut items)?;
        last = Some(id.uid.clone());
    }
    let next = if rest.next().is_some() { last } else { None };
    Ok(Page { items, next })
}

/// Each container that runs, and the pod as a whole: its network is the sandbox's.
fn pod(context: &Context, id: &PodRef, seen: &PodSeen, items: &mut Vec<Usage>) -> Result<()> {
    let Some(sandbox) = seen.sandbox() else { return Ok(()) };
    let (of_sandbox, before) = (figures(context, sandbox)?, items.len());
    let mut whole = usage(id, None, sandbox, &of_sandbox.clone().unwrap_or_default());
    for seen in seen.containers.iter().filter(|seen| seen.running) {
        let (Kind::Container { name, .. }, Some(figures)) = (&seen.mark.kind, figures(context, seen)?) else {
            continue;
        };
        let container = usage(id, Some(name.clone()), seen, &figures);
        whole.cpu = sum(whole.cpu, container.cpu, Duration::saturating_add);
        whole.memory_working_set_bytes =
            sum(whole.memory_working_set_bytes, container.memory_working_set_bytes, u64::saturating_add);
        whole.memory_rss_bytes = sum(whole.memory_rss_bytes, container.memory_rss_bytes, u64::saturating_add);
        items.push(container);
    }
    if of_sandbox.is_none() && items.len() == before {
        return Ok(());
    }
    let network = of_sandbox.and_then(|figures| figures.network());
    whole.network_received_bytes = network.map(|(received, _)| received);
    whole.network_sent_bytes = network.map(|(_, sent)| sent);
    items.push(whole);
    Ok(())
}

/// none: it has ended meanwhile, or the engine has none of it, which must not hide those of all others.
fn figures(context: &Context, seen: &Seen) -> Result<Option<Statistics>> {
    match context.engine.statistics(&seen.id) {
        Err(failure) if failure.refusal().is_some_and(Refusal::is_verdict) => {
            if !failure.is_conflict() {
                vk_provider::log!("container {} has no statistics: {failure}", seen.id);
            }
            Ok(None)
        }
        outcome => Ok(outcome?),
    }
}

fn usage(id: &PodRef, container: Option<String>, seen: &Seen, figures: &Statistics) -> Usage {
    Usage {
        pod: Some(id.clone()),
        container,
        time: figures.read.unwrap_or_else(clock::now),
        // Each attempt is a container of its own, which starts right after it is made.
        started: Some(Time::from_millis(seen.created_at.saturating_mul(1000))),
        cpu: figures.cpu(),
        memory_working_set_bytes: figures.working_set(),
        memory_rss_bytes: figures.rss(),
        ..Usage::default()
    }
}

fn sum<T>(a: Option<T>, b: Option<T>, add: fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(add(a, b)),
        (one, None) | (None, one) => one,
    }
}
