//! `credentials.json`: what `az ad sp create-for-rbac --sdk-auth` (or `--json-auth`) writes.

use super::Fields;
use super::document::Document;
use super::mistakes::Mistakes;

/// What the file says.
pub(super) fn read(file: Document, mistakes: &mut Mistakes) -> Fields {
    // The same command without that flag writes other names, and no subscription.
    if file.has("appId") && !file.has("clientId") {
        let message = "it has appId in place of clientId: make it with `az ad sp create-for-rbac --json-auth`";
        mistakes.add("appId", Some(file.path()), message);
    }
    let mut text = |key| file.text(key, mistakes);
    Fields {
        authority: text("activeDirectoryEndpointUrl"),
        resource_manager: text("resourceManagerEndpointUrl"),
        tenant: text("tenantId"),
        subscription: text("subscriptionId"),
        client_id: text("clientId"),
        secret: text("clientSecret"),
        ..Fields::default()
    }
}
