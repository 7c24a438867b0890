//! create-pod and update-pod.
//!
//! The group's name follows from the pod's uid, and Azure is asked before anything is put: a PUT of what is there would start
//! its containers again. A PUT whose answer is lost is found by the host's look.

use vk_aci::Operation;
use vk_aci::group::{Group, ProvisioningState};
use vk_provider::{DesiredPod, Error, ObservedPod, PodRef, Result, log};

use crate::context::Context;
use crate::ledger::{self, Seen, Work};
use crate::orphans::{self, Whose};
use crate::poll::Look;
use crate::translate::{self, Made};
use crate::{look, names, observe};

/// Makes a pod's group, or finds it.
///
/// # Errors
/// The pod cannot be served as it is written, Azure said no or did not answer, or there is a group of this name that is not
/// the pod's.
pub(crate) fn create(context: &Context, pod: &DesiredPod) -> Result<ObservedPod> {
    let id = &pod.id;
    let made = translate::group(&context.config, &context.node, pod)?;
    if let Some((group, revision)) = there(context, id)? {
        if is_going(&group) {
            return Err(Error::aborted("ContainerGroupDeleting", "the container group is being removed").effect_none());
        }
        return Ok(look::note(id, group, revision)?.observed(id.clone()));
    }
    put(context, pod, made, None)
}

/// Brings a pod to a new revision, which starts all its containers again.
///
/// # Errors
/// As [`create`], or Azure cannot change this of a group that is there.
pub(crate) fn update(context: &Context, pod: &DesiredPod) -> Result<()> {
    let made = translate::group(&context.config, &context.node, pod)?;
    let Some((group, _)) = there(context, &pod.id)? else {
        return Err(Error::not_found(
            "ContainerGroupNotFound",
            format!("pod {:?} has no container group", pod.id.name),
        ));
    };
    if is_going(&group) {
        return Err(Error::aborted("ContainerGroupDeleting", "the container group is being removed").effect_none());
    }
    if let Some(field) = unchangeable(&group, &made.group) {
        let why = "Azure cannot change this of a container group that is there: delete the pod and make it anew";
        return Err(Error::unimplemented("UpdateNotSupported", why).field(field));
    }
    // It goes on as it was until Azure says otherwise.
    let before = ledger::seen(&pod.id)?;
    put(context, pod, made, before).map(drop)
}

/// The pod's own group; none: there is none of this name.
fn there(context: &Context, id: &PodRef) -> Result<Option<(Group, Option<String>)>> {
    let name = names::group(&context.node, id);
    let Some(group) = context.client.get_group(&name)? else { return Ok(None) };
    match orphans::whose(&context.node, id, &group.tags) {
        Whose::Ours(revision) => Ok(Some((group, revision))),
        Whose::Foreign(why) => Err(Error::failed_precondition(
            "ContainerGroupNameTaken",
            format!("the container group {name} is not this pod's: {why}; it is left alone"),
        )),
        Whose::Unclear(missing) => Err(orphans::unclear(id, &name, &missing)),
    }
}

fn is_going(group: &Group) -> bool {
    group.properties.provisioning_state == Some(ProvisioningState::Deleting)
}

/// The first field that only a new group can have otherwise (Update containers in Azure Container Instances).
fn unchangeable(there: &Group, wanted: &Group) -> Option<String> {
    let pairs = there.properties.containers.iter().zip(&wanted.properties.containers).enumerate();
    let is_list = there.properties.containers.len() == wanted.properties.containers.len();
    if !is_list || there.properties.init_containers.len() != wanted.properties.init_containers.len() {
        return Some("spec.containers".to_owned());
    }
    for (index, (there, wanted)) in pairs {
        if there.properties.resources != wanted.properties.resources {
            return Some(format!("spec.containers[{index}].resources"));
        }
    }
    None
}

/// Puts a group. From Azure's answer on nothing fails any more.
fn put(context: &Context, pod: &DesiredPod, made: Made, before: Option<Seen>) -> Result<ObservedPod> {
    let id = &pod.id;
    let Made { name, mut group, notices } = made;
    let accepted = context.client.put_group(&name, &group)?;
    for notice in &notices {
        notice.tell(id);
    }
    // What an answer says of how far it is cannot be relied on.
    group.properties.provisioning_state = Some(ProvisioningState::Creating);
    group.id = accepted.group.id;
    let status = before.map_or_else(|| observe::pending(&group), |before| before.status);
    let seen = Seen { revision: Some(pod.revision.clone()), status };
    // It is found by its tags all the same.
    if let Err(error) = keep(context, id, accepted.operation, &seen) {
        log!("what was made of pod {} could not be kept: {error}", id.name);
    }
    Ok(seen.observed(id.clone()))
}

/// Keeps what was made.
fn keep(context: &Context, id: &PodRef, operation: Option<Operation>, seen: &Seen) -> Result<()> {
    let now = ledger::now();
    ledger::change(id, |work| {
        let told = std::mem::take(&mut work.told);
        *work = Work { made: now, operation: operation.clone(), told, ..Work::default() };
    })?;
    let asked = if operation.is_some() { now.saturating_add(ledger::millis(context.config.poll)) } else { 0 };
    ledger::looked(id, &Look { at: now, changed: now, operation: asked, ..Look::default() })?;
    ledger::see(id, seen, None)?;
    Ok(())
}
