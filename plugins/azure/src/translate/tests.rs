//! Pods as container groups: what goes over the wire.

mod groups;
mod places;
mod storage;

use serde_json::{Value, json};
use vk_aci::Account;
use vk_aci::Credential;
use vk_provider::cluster::{File, Files};
use vk_provider::{DesiredPod, Result, config, testing};

use super::*;
use crate::config::Reading;

const IDENTITY: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/";
const SUBNET: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/aci";

/// A node with this configuration besides the two keys that have to be there.
fn node(text: &str) {
    testing::reset();
    testing::configure(&format!("Region = \"westeurope\"\nResourceGroup = \"pods\"\n{text}"));
}

/// A pod of this spec and these annotations, in shop/web-0 with the uid `u-1`.
fn pod(annotations: &[(&str, &str)], spec: &str) -> DesiredPod {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let metadata = json!({"name": "web-0", "namespace": "shop", "uid": "u-1", "annotations": annotations,
        "creationTimestamp": "2026-11-24T10:00:00Z"});
    testing::desired(&format!(r#"{{"metadata":{metadata},"spec":{spec}}}"#))
}

/// A pod of one container, `web`, that has these fields too.
fn plain(annotations: &[(&str, &str)], fields: &str) -> DesiredPod {
    pod(annotations, &format!(r#"{{"containers":[{{"name":"web","image":"nginx:1"{fields}}}]}}"#))
}

fn made(pod: &DesiredPod) -> Result<Made> {
    let account = Account {
        cloud: vk_aci::Cloud::public(),
        tenant: "t".to_owned(),
        subscription: "s".to_owned(),
        credential: Credential::Managed { client_id: None },
        metadata: String::new(),
        resource_group: None,
        location: None,
        vnet: None,
    };
    group(&Reading::of(Some(&account)).into_config()?, &config::node(), pod)
}

/// The group as it is sent.
fn sent(pod: &DesiredPod) -> Value {
    serde_json::to_value(made(pod).unwrap().group).unwrap()
}

/// Its properties alone.
fn properties(pod: &DesiredPod) -> Value {
    sent(pod)["properties"].take()
}

/// The field for which a pod is refused.
fn refused(pod: &DesiredPod) -> String {
    let error = made(pod).unwrap_err();
    assert_eq!(error.effect, vk_provider::Effect::None, "{error}");
    error.field.clone().unwrap_or_else(|| panic!("{error}"))
}

fn at(annotation: &str) -> String {
    format!("metadata.annotations[{annotation}]")
}

/// Files that the host renders for a volume.
fn rendered(volume: &str, files: &[(&str, &str)]) {
    let file = |(path, content): &(&str, &str)| File {
        path: (*path).to_owned(),
        mode: 0o644,
        uid: None,
        gid: None,
        content: content.as_bytes().to_vec(),
        secret: true,
    };
    let files = files.iter().map(file).collect();
    testing::volume(volume, Ok(Files { revision: "1".to_owned(), files, expires_ms: None }));
}
