//! The key that encrypts what Azure stores of a group: the pod's own, or that of all.

use vk_aci::group::EncryptionProperties;

use super::Scene;

/// none: Azure's own key.
pub(super) fn of(scene: Scene<'_>) -> Option<EncryptionProperties> {
    let wishes = scene.wishes;
    // Annotations have seen to it that all three are there, or none.
    let own = wishes.vault.clone().zip(wishes.key_name.clone()).zip(wishes.key_version.clone());
    let Some(((vault_base_url, key_name), key_version)) = own else { return scene.config.defaults.encryption.clone() };
    let identity = wishes.key_identity.as_ref().map(|identity| identity.as_str().to_owned());
    Some(EncryptionProperties { vault_base_url, key_name, key_version, identity })
}
