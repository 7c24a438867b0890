//! What a pod names of Azure's has to be what the operator allows: whoever may write pods has no other bound but what the
//! node's own principal may assign.

use vk_provider::Result;

use super::Scene;
use crate::annotations::{IDENTITY, KEY_IDENTITY, PULL_IDENTITY, SUBNET};
use crate::config::Allowed;
use crate::refusals::refuse_annotation;
use crate::resource::Path;

/// # Errors
/// An identity or a subnet that is not among those allowed.
pub(super) fn check(scene: Scene<'_>) -> Result<()> {
    let Scene { wishes, config, .. } = scene;
    let Allowed { identities, subnets } = &config.allowed;
    let (identities, subnets) =
        (("allowed-identities", identities.as_deref()), ("allowed-subnets", subnets.as_deref()));
    let own = wishes.identities.iter().flat_map(|own| &own.given).map(|identity| (IDENTITY, identity));
    let others = [(PULL_IDENTITY, &wishes.pull_identity), (KEY_IDENTITY, &wishes.key_identity)];
    let others = others.into_iter().filter_map(|(name, identity)| Some((name, identity.as_ref()?)));
    own.chain(others).try_for_each(|(name, identity)| is_among(name, identity, identities))?;
    wishes.subnet.iter().try_for_each(|subnet| is_among(SUBNET, subnet, subnets))
}

/// A key of the configuration, and what stands there.
type Key<'a, K> = (&'static str, Option<&'a [Path<K>]>);

fn is_among<K>(annotation: &str, path: &Path<K>, (key, allowed): Key<'_, K>) -> Result<()> {
    if allowed.is_none_or(|allowed| allowed.contains(path)) {
        return Ok(());
    }
    let why = format!("pods may not name {path:?}: name one of {key} in the node's configuration, or none");
    Err(refuse_annotation(annotation, why))
}
