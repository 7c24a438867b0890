//! What Azure adds to groups of a Virtual Kubelet: kube-proxy, so that services of the cluster are reached, and a
//! measure of what pods use. Both need the subnet, and Linux; nothing is added to a confidential group, whose policy
//! says what may run.

use data_encoding::BASE64;
use serde_json::json;
use vk_aci::Redacted;
use vk_aci::group::{Extension, ExtensionProperties};
use vk_provider::Result;

use super::Scene;
use super::placement::Placement;
use crate::annotations::KUBE_PROXY;
use crate::config::KubeProxy;
use crate::refusals::refuse_annotation;

const VERSION: &str = "1.0";
/// The only one that Azure's extension was ever asked for.
const KUBE_VERSION: &str = "v1.9.10";

/// # Errors
/// The pod wants what this node, or a group of this kind, does not have.
pub(super) fn of(scene: Scene<'_>, placement: &Placement) -> Result<Vec<Extension>> {
    if placement.is_confidential() {
        return Ok(Vec::new());
    }
    let possible = scene.subnet().is_some() && scene.is_linux();
    let wanted = scene.wishes.kube_proxy;
    let proxy = scene.config.kube_proxy.as_ref().filter(|_| possible && wanted != Some(false));
    if wanted == Some(true) && proxy.is_none() {
        let why = if possible { "this node has no [kube-proxy] to give" } else { "it takes a subnet, and Linux" };
        return Err(refuse_annotation(KUBE_PROXY, why));
    }
    let metrics = (possible && scene.config.realtime_metrics).then(metrics);
    Ok(proxy.map(kube_proxy).into_iter().chain(metrics).collect())
}

fn kube_proxy(config: &KubeProxy) -> Extension {
    let kubeconfig = BASE64.encode(config.kubeconfig.expose().as_bytes());
    Extension {
        name: "kube-proxy".to_owned(),
        properties: ExtensionProperties {
            extension_type: "kube-proxy".to_owned(),
            version: VERSION.to_owned(),
            settings: Some(json!({"clusterCidr": config.cluster_cidr, "kubeVersion": KUBE_VERSION})),
            protected_settings: Some(Redacted::new(json!({"kubeConfig": kubeconfig}))),
        },
    }
}

fn metrics() -> Extension {
    Extension {
        name: "vk-realtime-metrics".to_owned(),
        properties: ExtensionProperties {
            extension_type: "realtime-metrics".to_owned(),
            version: VERSION.to_owned(),
            ..ExtensionProperties::default()
        },
    }
}
