//! Pods for the tests of the WebAssembly half.

use vk_host::plugin::Plugin;
use vk_host::provider::{Call, DesiredPod, Error, Network, PodRef, Provider as _, ResolvedContainer};

/// A pod of one container `main`, with annotations of the mock.
pub fn pod(uid: &str, annotations: &[(&str, &str)]) -> DesiredPod {
    let annotations: serde_json::Map<_, _> =
        annotations.iter().map(|(name, value)| (format!("mock.virtual-kubelet.io/{name}"), (*value).into())).collect();
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "default", "name": uid, "uid": uid, "annotations": annotations },
        "spec": { "containers": [{ "name": "main", "image": "nginx:1.27" }] },
    });
    let main = ResolvedContainer {
        name: "main".into(),
        command: vec![],
        args: vec![],
        env: vec![],
        secret_args: false,
        revision: "c1".into(),
        late: false,
    };
    DesiredPod {
        id: PodRef { namespace: "default".into(), name: uid.into(), uid: uid.into() },
        revision: "r1".into(),
        manifest: manifest.to_string().into(),
        containers: vec![main],
        network: Network::default(),
    }
}

/// Has such a pod made.
pub async fn create(plugin: &Plugin, uid: &str, annotations: &[(&str, &str)]) -> Result<(), Error> {
    plugin.create_pod(Call::uncancelled(), pod(uid, annotations)).await.map(drop)
}
