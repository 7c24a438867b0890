//! What Azure cannot do is refused by the field's name, and nothing is made.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use vk_tests::cluster::{eventually, phase};

use super::subnet_path;
use crate::corner::{Ground, container};

/// Where a change of an ordinary pod is made.
#[derive(Clone, Copy)]
enum At {
    /// `spec`
    Pod,
    /// `spec.containers[0]`
    Container,
    /// An init container more.
    Init,
    /// `spec.volumes[0]`, which the container mounts.
    Volume,
    /// `spec.containers[0].volumeMounts[0]`
    Mount,
    /// `metadata.annotations`
    Annotations,
}

/// Changes, and the fields for which pods are refused that have them.
fn table() -> Vec<(At, Value, &'static str)> {
    use At::{Annotations, Container, Init, Mount, Pod, Volume};
    let command = json!({"exec": {"command": ["true"]}});
    let port = |more: Value| {
        let mut port = json!({"containerPort": 80});
        for (name, value) in more.as_object().into_iter().flatten() {
            port[name] = value.clone();
        }
        json!({"ports": [port]})
    };
    let requests = |amounts: Value| json!({"resources": {"requests": amounts.clone(), "limits": amounts}});
    let csi = |attributes: Value| json!({"csi": {"driver": "file.csi.azure.com", "volumeAttributes": attributes, "nodePublishSecretRef": {"name": "s"}}});
    let six: Vec<Value> = (1..=6).map(|port| json!({"containerPort": port})).collect();
    vec![
        (Pod, json!({"hostNetwork": true}), "spec.hostNetwork"),
        (Pod, json!({"hostPID": true}), "spec.hostPID"),
        (Pod, json!({"hostIPC": true}), "spec.hostIPC"),
        (Pod, json!({"hostUsers": false}), "spec.hostUsers"),
        (Pod, json!({"shareProcessNamespace": true}), "spec.shareProcessNamespace"),
        (Pod, json!({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}]}), "spec.hostAliases"),
        (Pod, json!({"subdomain": "x", "setHostnameAsFQDN": true}), "spec.setHostnameAsFQDN"),
        (Pod, json!({"os": {"name": "windows"}}), "spec.os.name"),
        (Pod, json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1"]}}), "spec.dnsConfig"),
        (Pod, json!({"securityContext": {"fsGroup": 1}}), "spec.securityContext.fsGroup"),
        (Pod, json!({"securityContext": {"supplementalGroups": [1]}}), "spec.securityContext.supplementalGroups"),
        (
            Pod,
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]}}),
            "spec.securityContext.sysctls",
        ),
        (Pod, json!({"securityContext": {"seLinuxOptions": {"level": "s0"}}}), "spec.securityContext.seLinuxOptions"),
        (
            Pod,
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
            "spec.securityContext.seccompProfile.type",
        ),
        (
            Pod,
            json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}),
            "spec.securityContext.appArmorProfile.type",
        ),
        (Pod, json!({"securityContext": {"runAsNonRoot": true}}), "spec.securityContext.runAsNonRoot"),
        (Container, json!({"command": null, "args": ["a"]}), "spec.containers[0].args"),
        (
            Container,
            json!({"command": ["sh", "-c", "$(KEY)"],
                "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}]}),
            "spec.containers[0].command",
        ),
        (Container, json!({"env": [{"name": "a.b", "value": "1"}]}), "spec.containers[0].env[0].name"),
        (
            Container,
            json!({"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}),
            "spec.containers[0].env",
        ),
        (Container, json!({"workingDir": "/srv"}), "spec.containers[0].workingDir"),
        (Container, json!({"stdin": true}), "spec.containers[0].stdin"),
        (Container, json!({"tty": true}), "spec.containers[0].tty"),
        (Container, json!({"imagePullPolicy": "Never"}), "spec.containers[0].imagePullPolicy"),
        (Container, json!({"startupProbe": command}), "spec.containers[0].startupProbe"),
        (
            Container,
            json!({"livenessProbe": {"tcpSocket": {"port": 80}}}),
            "spec.containers[0].livenessProbe.tcpSocket",
        ),
        (Container, json!({"readinessProbe": {"grpc": {"port": 80}}}), "spec.containers[0].readinessProbe.grpc"),
        (
            Container,
            json!({"livenessProbe": {"httpGet": {"port": 80, "host": "a.test"}}}),
            "spec.containers[0].livenessProbe.httpGet.host",
        ),
        (Container, json!({"lifecycle": {"postStart": command}}), "spec.containers[0].lifecycle.postStart"),
        (Container, json!({"lifecycle": {"preStop": command}}), "spec.containers[0].lifecycle.preStop"),
        (Container, json!({"terminationMessagePath": "/tmp/m"}), "spec.containers[0].terminationMessagePath"),
        (Container, port(json!({"hostPort": 80})), "spec.containers[0].ports[0].hostPort"),
        (Container, port(json!({"protocol": "SCTP"})), "spec.containers[0].ports[0].protocol"),
        (Container, json!({"ports": six}), "spec.containers[0].ports[5]"),
        (Container, requests(json!({"nvidia.com/gpu": "1"})), "spec.containers[0].resources.requests[nvidia.com/gpu]"),
        (
            Container,
            requests(json!({"hugepages-2Mi": "2Mi", "cpu": "1"})),
            "spec.containers[0].resources.requests[hugepages-2Mi]",
        ),
        (
            Container,
            requests(json!({"ephemeral-storage": "51G"})),
            "spec.containers[0].resources.requests[ephemeral-storage]",
        ),
        (Container, requests(json!({"cpu": "32"})), "spec.containers[0].resources.requests[cpu]"),
        (Container, requests(json!({"memory": "241G"})), "spec.containers[0].resources.requests[memory]"),
        (
            Container,
            json!({"securityContext": {"readOnlyRootFilesystem": true}}),
            "spec.containers[0].securityContext.readOnlyRootFilesystem",
        ),
        (Init, json!({"restartPolicy": "Always"}), "spec.initContainers[0].restartPolicy"),
        (Init, json!({"ports": [{"containerPort": 80}]}), "spec.initContainers[0].ports"),
        (Init, requests(json!({"cpu": "2"})), "spec.initContainers[0].resources.requests[cpu]"),
        (Volume, json!({"hostPath": {"path": "/"}}), "spec.volumes[0].hostPath"),
        (Volume, json!({"persistentVolumeClaim": {"claimName": "c"}}), "spec.volumes[0].persistentVolumeClaim"),
        (Volume, json!({"nfs": {"server": "s", "path": "/"}}), "spec.volumes[0].nfs"),
        (Volume, json!({"emptyDir": {"medium": "Memory"}}), "spec.volumes[0].emptyDir.medium"),
        (Volume, json!({"emptyDir": {"sizeLimit": "51G"}}), "spec.volumes[0].emptyDir.sizeLimit"),
        (Volume, json!({"gitRepo": {"repository": "git@host:repo"}}), "spec.volumes[0].gitRepo.repository"),
        (Volume, json!({"csi": {"driver": "disk.csi.azure.com"}}), "spec.volumes[0].csi.driver"),
        (Volume, csi(json!({})), "spec.volumes[0].csi.volumeAttributes[shareName]"),
        (
            Volume,
            csi(json!({"shareName": "s", "mountOptions": "vers=3"})),
            "spec.volumes[0].csi.volumeAttributes[mountOptions]",
        ),
        (
            Volume,
            csi(json!({"shareName": "s", "mountWithManagedIdentity": "true"})),
            "spec.volumes[0].csi.volumeAttributes[mountWithManagedIdentity]",
        ),
        (Volume, json!({"secret": {"secretName": "s", "defaultMode": 0o400}}), "spec.volumes[0].secret.defaultMode"),
        (
            Volume,
            json!({"configMap": {"name": "m", "items": [{"key": "k", "path": "a/b"}]}}),
            "spec.volumes[0].configMap.items[0].path",
        ),
        (Mount, json!({"subPath": "a"}), "spec.containers[0].volumeMounts[0].subPath"),
        (Mount, json!({"subPathExpr": "a"}), "spec.containers[0].volumeMounts[0].subPathExpr"),
        (Mount, json!({"mountPropagation": "HostToContainer"}), "spec.containers[0].volumeMounts[0].mountPropagation"),
        (
            Annotations,
            json!({"virtual-kubelet.io/gpu-type": "K80"}),
            "metadata.annotations[virtual-kubelet.io/gpu-type]",
        ),
        (
            Annotations,
            json!({"virtual-kubelet.io/container-skuu": "Standard"}),
            "metadata.annotations[virtual-kubelet.io/container-skuu]",
        ),
        (
            Annotations,
            json!({"virtual-kubelet.io/priority": "Cheap"}),
            "metadata.annotations[virtual-kubelet.io/priority]",
        ),
        (
            Annotations,
            json!({"virtual-kubelet.io/priority": "Spot", "microsoft.containerinstance.virtualnode.subnets.primary": subnet_path("aci")}),
            "metadata.annotations[microsoft.containerinstance.virtualnode.subnets.primary]",
        ),
        (
            Annotations,
            json!({"virtualkubelet.io/dnsnamelabel": "no_label"}),
            "metadata.annotations[virtualkubelet.io/dnsnamelabel]",
        ),
        (
            Annotations,
            json!({"virtual-kubelet.io/confidential-compute-cce-policy": ""}),
            "metadata.annotations[virtual-kubelet.io/confidential-compute-cce-policy]",
        ),
        (
            Annotations,
            json!({"microsoft.containerinstance.virtualnode.injectkubeproxy": "true"}),
            "metadata.annotations[microsoft.containerinstance.virtualnode.injectkubeproxy]",
        ),
    ]
}

/// A pod with a change.
fn changed(ground: &Ground, name: &str, at: At, change: &Value) -> Value {
    let mut pod = ground.pod(name, container("true"));
    match at {
        At::Annotations => pod["metadata"]["annotations"] = json!({}),
        At::Init => pod["spec"]["initContainers"] = json!([{"name": "first", "image": "i", "command": ["true"]}]),
        At::Volume => pod["spec"]["volumes"] = json!([{"name": "data"}]),
        At::Mount => pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]),
        At::Pod | At::Container => {}
    }
    if matches!(at, At::Volume | At::Mount) {
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    }
    let place = match at {
        At::Pod => &mut pod["spec"],
        At::Container => &mut pod["spec"]["containers"][0],
        At::Init => &mut pod["spec"]["initContainers"][0],
        At::Volume => &mut pod["spec"]["volumes"][0],
        At::Mount => &mut pod["spec"]["containers"][0]["volumeMounts"][0],
        At::Annotations => &mut pod["metadata"]["annotations"],
    };
    for (name, value) in change.as_object().into_iter().flatten() {
        place[name] = value.clone();
    }
    pod
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_azure_cannot_do_is_refused_by_field_before_anything_is_made() -> Result<()> {
    let ground = Ground::with("refused", |setup| setup.played()).await?;
    let corner = &ground.corner;
    ground.secret("keys", json!({"key": "s3cret"})).await?;
    let table = table();
    let name = |index: usize| format!("p{index}");
    for (index, (at, change, field)) in table.iter().enumerate() {
        let pod = changed(&ground, &name(index), *at, change);
        corner.create(pod).await.with_context(|| format!("{field}: {change}"))?;
    }
    eventually("all have failed", || async {
        let failed = corner.count(|pod| phase(pod) == "Failed").await?;
        ensure!(failed == table.len(), "{failed} of {}", table.len());
        Ok(Some(()))
    })
    .await?;
    let mut wrong = BTreeMap::new();
    for (index, (_, change, field)) in table.iter().enumerate() {
        let Pod { status, .. } = corner.pods().get(&name(index)).await?;
        let message = status.and_then(|status| status.message).unwrap_or_default();
        if !message.contains(field) || message.contains("s3cret") {
            wrong.insert(format!("{change}, by {field}"), message);
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let made = ground.fake().requests().into_iter().filter(|request| request.method == "PUT").count();
    ensure!(made == 0, "{made} groups were put");
    let names: Vec<String> = (0..table.len()).map(name).collect();
    ground.over(&names.iter().map(String::as_str).collect::<Vec<_>>()).await
}
