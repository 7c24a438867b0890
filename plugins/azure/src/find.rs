//! A pod's group in Azure: its name follows from the pod, and its tags say whether it is the pod's.

use vk_aci::Group;
use vk_provider::{Error, PodRef, Result, log};

use crate::context::Context;
use crate::orphans::{self, Whose};
use crate::trouble::Trouble;
use crate::{ledger, names};

/// What Azure has under the name of a pod's group.
#[derive(Debug)]
pub(crate) enum Found {
    /// The pod's group, with the revision that it was made from.
    Own(Box<Group>, Option<String>),
    /// Somebody else's: its name, and what says so.
    Foreign(String, String),
    /// There is none of this name.
    Nothing,
}

/// Asks Azure.
///
/// # Errors
/// Not known: there was no answer, or nobody can tell whose the group is.
pub(crate) fn group(context: &Context, id: &PodRef) -> Result<Found, Trouble> {
    let name = names::group(&context.node, id);
    let Some(group) = context.client.get_group(&name)? else { return Ok(Found::Nothing) };
    match orphans::whose(&context.node, id, &group.tags) {
        Whose::Ours(revision) => Ok(Found::Own(Box::new(group), revision)),
        Whose::Foreign(why) => Ok(Found::Foreign(name, why)),
        Whose::Unclear(missing) => Err(orphans::unclear(id, &name, &missing).into()),
    }
}

/// The pod's group; none: there is none, or somebody else's, which is as good as none.
///
/// # Errors
/// As [`group`].
pub(crate) fn own(context: &Context, id: &PodRef) -> Result<Option<(Group, Option<String>)>, Trouble> {
    match group(context, id)? {
        Found::Own(group, revision) => Ok(Some((*group, revision))),
        Found::Nothing => Ok(None),
        Found::Foreign(name, why) => {
            tell_foreign(id, &name, &why)?;
            Ok(None)
        }
    }
}

/// Tells the log of somebody else's group.
///
/// # Errors
/// The store does not answer.
pub(crate) fn tell_foreign(id: &PodRef, name: &str, why: &str) -> Result<()> {
    if ledger::is_to_tell(name)? {
        log!("the container group {name} is called as that of pod {} would be, but {why}: it is left alone", id.name);
    }
    Ok(())
}

/// The same where nobody may be taken for the pod's.
///
/// # Errors
/// As [`group`], or there is a group of this name that is not the pod's.
pub(crate) fn own_or_nothing(context: &Context, id: &PodRef) -> Result<Option<(Group, Option<String>)>> {
    match group(context, id)? {
        Found::Own(group, revision) => Ok(Some((*group, revision))),
        Found::Nothing => Ok(None),
        Found::Foreign(name, why) => Err(Error::failed_precondition(
            "ContainerGroupNameTaken",
            format!("the container group {name} is not this pod's: {why}; it is left alone"),
        )),
    }
}
