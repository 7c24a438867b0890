//! `azure.json`: what AKS gives its nodes, usually `/etc/kubernetes/azure.json`.

use super::document::Document;
use super::mistakes::Mistakes;
use super::{Fields, Said};

/// In place of an application and its secret: the node's managed identity.
const MANAGED: &str = "msi";

/// What the file says.
pub(super) fn read(file: Document, mistakes: &mut Mistakes) -> Fields {
    let flag = file.flag("useManagedIdentityExtension", mistakes);
    let mut text = |key| file.text(key, mistakes);
    let (client_id, secret) = (text("aadClientId"), text("aadClientSecret"));
    let is_msi = |said: &Option<Said>| said.as_ref().is_some_and(|said| said.value.eq_ignore_ascii_case(MANAGED));
    let managed = [&client_id, &secret].into_iter().find(|said| is_msi(said)).cloned().flatten().or(flag);
    Fields {
        cloud: text("cloud"),
        tenant: text("tenantId"),
        subscription: text("subscriptionId"),
        client_id: client_id.filter(|_| managed.is_none()),
        secret: secret.filter(|_| managed.is_none()),
        identity: text("userAssignedIdentityID"),
        managed,
        resource_group: text("resourceGroup"),
        location: text("location"),
        vnet: text("vnetName"),
        vnet_resource_group: text("vnetResourceGroup"),
        ..Fields::default()
    }
}
