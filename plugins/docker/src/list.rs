//! What the engine has of this node's pods.

use std::collections::BTreeMap;

use vk_engine::container::Details;
use vk_provider::containers::{Container, Page, Sandbox, SandboxState};
use vk_provider::{PodRef, Result};

use crate::context::{Context, PodSeen, Seen};
use crate::labels::{self, Mark};
use crate::{observe, sandbox};

/// Pods of one page: each costs a look at each of its containers, and a call has half a minute.
const PAGE: usize = 50;

/// One pod; none: surely nothing is left of it.
///
/// # Errors
/// Not known.
pub(crate) fn get(context: &Context, id: &PodRef) -> Result<Option<SandboxState>> {
    let seen = context.pod(id)?;
    if !seen.is_empty() {
        return look(context, id, &seen).map(Some);
    }
    let volumes = context.engine.volumes(&labels::of_pod(&context.node, id))?;
    Ok((!volumes.is_empty())
        .then(|| SandboxState { sandbox: sandbox::gone(context, id.clone()), containers: Vec::new() }))
}

/// A page of all pods, in the order of their uids.
///
/// # Errors
/// Not known.
pub(crate) fn page(context: &Context, after: Option<&str>) -> Result<Page> {
    let pods = all(context)?;
    let mut rest = pods.iter().filter(|(id, _)| after.is_none_or(|after| id.uid.as_str() > after));
    let (mut sandboxes, mut containers, mut last) = (Vec::<Sandbox>::new(), Vec::<Container>::new(), None);
    for (id, seen) in rest.by_ref().take(PAGE) {
        let state = look(context, id, seen)?;
        sandboxes.push(state.sandbox);
        containers.extend(state.containers);
        last = Some(id.uid.clone());
    }
    let next = if rest.next().is_some() { last } else { None };
    Ok(Page { sandboxes, containers, next })
}

/// All pods of this node that have left something in the engine, by uid.
///
/// # Errors
/// Not known.
pub(crate) fn all(context: &Context) -> Result<Vec<(PodRef, PodSeen)>> {
    let filter = labels::of_node(&context.node);
    let mut pods = BTreeMap::<String, (PodRef, Vec<Seen>)>::new();
    for summary in context.engine.containers(&filter)? {
        if let Some(seen) = Seen::of(&context.node, summary) {
            let id = seen.mark.pod.clone();
            pods.entry(id.uid.clone()).or_insert_with(|| (id, Vec::new())).1.push(seen);
        }
    }
    // Of some pods only volumes may be left.
    for volume in context.engine.volumes(&filter)? {
        if let Some(Mark { pod, .. }) = Mark::read(&context.node, &volume.labels.unwrap_or_default()) {
            pods.entry(pod.uid.clone()).or_insert_with(|| (pod, Vec::new()));
        }
    }
    Ok(pods.into_values().map(|(id, seen)| (id, PodSeen::from_all(seen))).collect())
}

/// Looks at each container of a pod. What has gone since is left out.
fn look(context: &Context, id: &PodRef, seen: &PodSeen) -> Result<SandboxState> {
    let mark = |details: &Details| Mark::read(&context.node, &details.config.labels);
    let sandboxes = details(context, &seen.sandboxes)?;
    let newest = seen.sandboxes.last().and_then(|last| sandboxes.iter().find(|details| details.id == last.id));
    let observed = newest.and_then(|details| Some(sandbox::observed(context, seen, details, mark(details)?)));
    let mut containers = Vec::new();
    for details in details(context, &seen.containers)? {
        let Some(mark) = mark(&details) else { continue };
        let joined = sandboxes.iter().find(|sandbox| mark.sandbox.as_ref() == Some(&sandbox.id));
        containers.extend(observe::container(&details, mark, joined.and_then(observe::found_dead)));
    }
    let sandbox = observed.transpose()?.unwrap_or_else(|| sandbox::gone(context, id.clone()));
    Ok(SandboxState { sandbox, containers })
}

fn details(context: &Context, all: &[Seen]) -> Result<Vec<Details>> {
    let each = all.iter().map(|seen| context.engine.container(&seen.id)).filter_map(vk_engine::Result::transpose);
    Ok(each.collect::<vk_engine::Result<_>>()?)
}
