//! What a group's containers, and Azure in their stead, sign in to Azure as.

use vk_aci::group;
use vk_aci::group::{IdentityType, UserAssignedIdentity};

use super::Scene;
use crate::annotations::Identities;
use crate::resource::Identity;

/// The pod's own, or those of all, and those that images and keys are fetched with.
pub(super) fn of(scene: Scene<'_>, pulls: Option<Identity>, key: Option<String>) -> Option<group::Identity> {
    let asked = scene.wishes.identities.as_ref().unwrap_or(&scene.config.defaults.identities);
    let Identities { system, given } = asked;
    let key = key.and_then(|path| path.parse().ok());
    let mut all: Vec<&Identity> = Vec::new();
    for identity in given.iter().chain(&pulls).chain(&key) {
        if !all.contains(&identity) {
            all.push(identity);
        }
    }
    let r#type = match (system, all.is_empty()) {
        (false, true) => return None,
        (true, true) => IdentityType::SystemAssigned,
        (false, false) => IdentityType::UserAssigned,
        (true, false) => IdentityType::SystemAssignedUserAssigned,
    };
    let given = all.into_iter().map(|path| (path.as_str().to_owned(), UserAssignedIdentity::default()));
    Some(group::Identity { r#type, user_assigned_identities: given.collect(), ..group::Identity::default() })
}
