//! create-pod and update-pod.
//!
//! The group's name follows from the pod's uid, and Azure is asked before anything is put: a PUT of what is there would start
//! its containers again. A PUT whose answer is lost is found by the host's look.

use vk_aci::Operation;
use vk_aci::group::{Group, ProvisioningState};
use vk_provider::{DesiredPod, Error, ObservedPod, PodRef, Result, log};

use crate::context::Context;
use crate::ledger::{self, Seen, Work};
use crate::poll::Look;
use crate::translate::{self, Made};
use crate::{find, look, observe};

/// Makes a pod's group, or finds it.
///
/// # Errors
/// The pod cannot be served as it is written, Azure said no or did not answer, or there is a group of this name that is not
/// the pod's.
pub(crate) fn create(context: &Context, pod: &DesiredPod) -> Result<ObservedPod> {
    let id = &pod.id;
    // Before it is asked what the pod would be now: one that is there stays, though a Secret that it was made with is gone.
    if let Some((group, revision)) = there(context, id)? {
        return Ok(look::note(id, group, revision)?.observed(id.clone()));
    }
    // A group that came to nothing is removed, and not made anew.
    if let Some(seen) = ledger::seen(id)?.filter(Seen::is_final) {
        return Ok(seen.observed(id.clone()));
    }
    let made = translate::group(&context.config, &context.node, pod)?;
    put(context, pod, made)
}

/// Brings a pod to a new revision, which starts all its containers again.
///
/// # Errors
/// As [`create`], or Azure cannot change this of a group that is there.
pub(crate) fn update(context: &Context, pod: &DesiredPod) -> Result<()> {
    let made = translate::group(&context.config, &context.node, pod)?;
    let Some((group, revision)) = there(context, &pod.id)? else {
        return Err(Error::not_found(
            "ContainerGroupNotFound",
            format!("pod {:?} has no container group", pod.id.name),
        ));
    };
    // Azure has taken it already, and its answer was lost.
    if revision.as_ref() == Some(&pod.revision) {
        return look::note(&pod.id, group, revision).map(drop);
    }
    if let Some(fixed) = unchangeable(&group, &made.group) {
        return Err(fixed.refused());
    }
    put(context, pod, made).map(drop)
}

/// The pod's own group, which can be asked to be otherwise; none: there is none of this name.
fn there(context: &Context, id: &PodRef) -> Result<Option<(Group, Option<String>)>> {
    let found = find::own_or_nothing(context, id)?;
    if found.as_ref().is_some_and(|(group, _)| observe::is_going(group)) {
        return Err(Error::aborted("ContainerGroupDeleting", "the container group is being removed").effect_none());
    }
    Ok(found)
}

/// What only a new group can have otherwise.
#[derive(Debug, PartialEq, Eq)]
enum Fixed {
    /// A field of the pod.
    Field(String),
    /// A setting: its name, what the group has, and what it would have.
    Setting(&'static str, String, String),
}

impl Fixed {
    fn refused(self) -> Error {
        const CANNOT: &str =
            "Azure cannot change this of a container group that is there: delete the pod and make it anew";
        match self {
            Self::Field(field) => Error::unimplemented("UpdateNotSupported", CANNOT).field(field),
            Self::Setting(name, there, wanted) => {
                let why =
                    format!("{name} was {there} when the container group was made, and is {wanted} now. {CANNOT}");
                Error::unimplemented("UpdateNotSupported", why)
            }
        }
    }
}

/// The first thing that only a new group can have otherwise (Update containers in Azure Container Instances).
fn unchangeable(there: &Group, wanted: &Group) -> Option<Fixed> {
    field(there, wanted).map(Fixed::Field).or_else(|| setting(there, wanted))
}

/// Of where a group is: what was configured otherwise when it was made. A PUT in another region is one of a group that exists,
/// which the host would try without end.
fn setting(there: &Group, wanted: &Group) -> Option<Fixed> {
    // Azure spells a region as it likes, and case does not matter in any of them.
    let plain = |text: &str| text.split_whitespace().collect::<String>().to_ascii_lowercase();
    let of = |group: &Group| {
        let region = group.location.iter().map(|name| plain(name)).collect();
        let subnets = group.properties.subnet_ids.iter().map(|subnet| plain(&subnet.id)).collect();
        let zones = group.zones.iter().map(|zone| plain(zone)).collect();
        [("Region", region), ("SubnetName", subnets), ("zone", zones)]
    };
    let shown =
        |values: &Vec<String>| if values.is_empty() { "none".to_owned() } else { format!("{:?}", values.join(", ")) };
    let mut pairs = of(there).into_iter().zip(of(wanted));
    pairs.find_map(|((name, there), (_, wanted))| {
        (there != wanted).then(|| Fixed::Setting(name, shown(&there), shown(&wanted)))
    })
}

/// The first field of the pod.
fn field(there: &Group, wanted: &Group) -> Option<String> {
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
fn put(context: &Context, pod: &DesiredPod, made: Made) -> Result<ObservedPod> {
    let id = &pod.id;
    let Made { name, mut group, notices } = made;
    let accepted = context.client.put_group(&name, &group)?;
    for notice in &notices {
        notice.tell(id);
    }
    // What an answer says of how far it is cannot be relied on.
    group.properties.provisioning_state = Some(ProvisioningState::Creating);
    group.id = accepted.group.id;
    let seen = |before: Option<&Seen>| {
        // What is there goes on as it was until Azure says otherwise; and a look may have been quicker.
        let status = before.map_or_else(|| observe::pending(&group), |before| before.status.clone());
        Seen { revision: Some(pod.revision.clone()), status }
    };
    let kept = keep(context, id, accepted.operation, seen).unwrap_or_else(|error| {
        // It is found by its tags all the same.
        log!("what was made of pod {} could not be kept: {error}", id.name);
        seen(None)
    });
    Ok(kept.observed(id.clone()))
}

/// Keeps what was made.
fn keep(
    context: &Context,
    id: &PodRef,
    operation: Option<Operation>,
    seen: impl Fn(Option<&Seen>) -> Seen,
) -> Result<Seen> {
    let now = ledger::now();
    ledger::change(id, |work| {
        let told = std::mem::take(&mut work.told);
        *work = Work { made: now, operation: operation.clone(), told, ..Work::default() };
    })?;
    let asked = if operation.is_some() { now.saturating_add(ledger::millis(context.config.poll)) } else { 0 };
    ledger::looked(id, &Look { at: now, changed: now, operation: asked, ..Look::default() })?;
    Ok(ledger::see(id, seen)?.0)
}
