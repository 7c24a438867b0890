//! What no machine here can do: Windows, Spot, other skus, zones, identities, keys, extensions, workspaces, probes by
//! https. Each is sent as Microsoft's schema has it, which a fake checks of all that it is sent, and each is in its list of
//! what it only pretends.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vk_tests::engine;

use crate::corner::{Ground, container};

const IDENTITIES: &str =
    "/subscriptions/s/resourceGroups/ids/providers/Microsoft.ManagedIdentity/userAssignedIdentities";
const SUBNET: &str =
    "/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/cluster/subnets/aci";
/// Base64, as a policy is.
const POLICY: &str = "cGFja2FnZSBwb2xpY3k=";

/// The group of a pod that runs, and what is only pretended of it.
async fn shown(ground: &Ground, pod: &str) -> Result<(Value, Vec<&'static str>)> {
    ground.corner.running(pod).await?;
    let mut groups = ground.fake().groups().into_iter();
    groups.find(|(group, _)| group["tags"]["PodName"] == pod).with_context(|| format!("{pod} has no group"))
}

/// Whether all that is expected is there; there may be more.
fn has(shown: &Value, expected: &Value) -> bool {
    match (shown, expected) {
        (Value::Object(shown), Value::Object(expected)) => {
            expected.iter().all(|(name, value)| shown.get(name).is_some_and(|shown| has(shown, value)))
        }
        _ => shown == expected,
    }
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_annotations_ask_for_is_in_the_group() -> Result<()> {
    let ground = Ground::with("wishes", |setup| setup.played()).await?;
    let node = |name: &str| format!("microsoft.containerinstance.virtualnode.{name}");
    let azure = |name: &str| format!("virtual-kubelet.io/{name}");
    let user = |name: &str| format!("{IDENTITIES}/{name}");
    let spot = json!({"properties": {"priority": "Spot"}});
    let confidential =
        json!({"properties": {"sku": "Confidential", "confidentialComputeProperties": {"ccePolicy": POLICY}}});
    let of_policy = vec!["sku Confidential", "confidentialComputeProperties"];
    let key = json!({"vaultBaseUrl": "https://keys.vault.azure.net", "keyName": "pods", "keyVersion": "7", "identity": user("key")});
    let table = [
        ("spot", json!({azure("priority"): "Spot"}), spot, vec!["priority Spot"]),
        (
            "dedicated",
            json!({azure("container-sku"): "Dedicated"}),
            json!({"properties": {"sku": "Dedicated"}}),
            vec!["sku Dedicated"],
        ),
        (
            "confidential",
            json!({azure("confidential-compute-cce-policy"): POLICY}),
            confidential.clone(),
            of_policy.clone(),
        ),
        ("policy", json!({node("ccepolicy"): POLICY}), confidential, of_policy),
        ("zone", json!({node("zones"): "2"}), json!({"zones": ["2"]}), vec!["zones"]),
        (
            "identity",
            json!({node("identity"): format!("SystemAssigned;{};{}", user("one"), user("two"))}),
            json!({"identity": {"type": "SystemAssigned, UserAssigned",
                "userAssignedIdentities": {user("one"): {}, user("two"): {}}}}),
            vec!["identity"],
        ),
        (
            "key",
            json!({node("cmk.vaultbaseurl"): "https://keys.vault.azure.net", node("cmk.keyname"): "pods",
                node("cmk.keyversion"): "7", node("cmk.identity"): user("key")}),
            json!({"properties": {"encryptionProperties": key},
                "identity": {"type": "UserAssigned", "userAssignedIdentities": {user("key"): {}}}}),
            vec!["encryptionProperties", "identity"],
        ),
        (
            "tags",
            json!({node("customtags"): "env=dev; team = web"}),
            json!({"tags": {"env": "dev", "team": "web"}}),
            vec![],
        ),
    ];
    for (name, annotations, ..) in &table {
        let mut pod = ground.pod(name, container("true"));
        pod["metadata"]["annotations"] = annotations.clone();
        ground.corner.create(pod).await?;
    }
    for (name, _, expected, pretended) in &table {
        let (group, is_pretended) = shown(&ground, name).await?;
        ensure!(has(&group, expected), "{name}: {expected} is not in {group}");
        ensure!(is_pretended == *pretended, "{name}: {is_pretended:?}");
    }
    ground.over(&table.map(|(name, ..)| name)).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_the_configuration_adds_to_all_groups_is_in_each() -> Result<()> {
    let kubeconfig = engine::folder()?.join("kube-proxy.kubeconfig");
    fs::write(&kubeconfig, "apiVersion: v1")?;
    let file = kubeconfig.display().to_string();
    let ground = Ground::with("adds", |setup| {
        setup.played();
        setup.flags.extend(["--grant".to_owned(), format!("file={file}")]);
        setup.provider.push_str(&format!(
            "subnet = {SUBNET:?}\nrealtime-metrics = true\nidentities = [\"{IDENTITIES}/all\"]\n\
             [tags]\nenv = \"dev\"\n\
             [encryption]\nvault-base-url = \"https://keys.vault.azure.net\"\nkey-name = \"pods\"\nkey-version = \"7\"\n\
             [log-analytics]\nworkspace-id = \"7\"\nworkspace-key = \"a2V5\"\ncluster-resource-id = \"/subscriptions/s/clusters/c\"\n\
             [kube-proxy]\nkubeconfig = {file:?}\ncluster-cidr = \"10.1.0.0/16\"\n"
        ));
    })
    .await?;
    ground.corner.create(ground.pod("web", container("true"))).await?;
    let mut alone = ground.pod("alone", container("true"));
    alone["metadata"]["annotations"] = json!({"microsoft.containerinstance.virtualnode.injectkubeproxy": "false"});
    ground.corner.create(alone).await?;
    let (group, pretended) = shown(&ground, "web").await?;
    let uid = ground.corner.pods().get("web").await?.metadata.uid;
    let extension = |name: &str, more: Value| {
        let mut properties = json!({"extensionType": name.trim_start_matches("vk-"), "version": "1.0"});
        for (name, value) in more.as_object().into_iter().flatten() {
            properties[name] = value.clone();
        }
        json!({"name": name, "properties": properties})
    };
    let proxy = extension("kube-proxy", json!({"settings": {"clusterCidr": "10.1.0.0/16", "kubeVersion": "v1.9.10"}}));
    let measure = extension("vk-realtime-metrics", json!({}));
    let expected = json!({
        "tags": {"env": "dev"},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {format!("{IDENTITIES}/all"): {}}},
        "properties": {
            "subnetIds": [{"id": SUBNET}], "extensions": [proxy, measure.clone()],
            "encryptionProperties": {"vaultBaseUrl": "https://keys.vault.azure.net", "keyName": "pods", "keyVersion": "7"},
            "diagnostics": {"logAnalytics": {"workspaceId": "7", "logType": "ContainerInsights", "metadata": {
                "cluster-resource-id": "/subscriptions/s/clusters/c", "node-name": ground.corner.host.node(), "pod-uuid": uid}}},
        },
    });
    ensure!(has(&group, &expected), "{expected} is not in {group}");
    ensure!(
        pretended == ["diagnostics", "extensions", "encryptionProperties", "subnetIds", "identity"],
        "{pretended:?}"
    );
    let (group, _) = shown(&ground, "alone").await?;
    ensure!(group["properties"]["extensions"] == json!([measure]), "{group}");
    ground.over(&["web", "alone"]).await
}

/// Not together with a subnet, which a group in a zone cannot have.
#[tokio::test]
#[ignore = "in a namespace"]
async fn the_zone_of_the_configuration_is_that_of_groups_whose_pod_names_no_other() -> Result<()> {
    let ground = Ground::with("zone", |setup| {
        setup.played();
        setup.provider.push_str("zone = \"1\"\n");
    })
    .await?;
    ground.corner.create(ground.pod("usual", container("true"))).await?;
    let mut other = ground.pod("other", container("true"));
    other["metadata"]["annotations"] = json!({"microsoft.containerinstance.virtualnode.zones": "3"});
    ground.corner.create(other).await?;
    for (pod, zone) in [("usual", "1"), ("other", "3")] {
        let (group, pretended) = shown(&ground, pod).await?;
        ensure!(group["zones"] == json!([zone]) && pretended == ["zones"], "{pod}: {} {pretended:?}", group["zones"]);
    }
    ground.over(&["usual", "other"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_probe_by_https_is_in_the_group() -> Result<()> {
    let ground = Ground::with("https", |setup| setup.played()).await?;
    let mut pod = ground.pod("web", container("true"));
    let probe =
        |scheme: &str| json!({"httpGet": {"path": "/healthz", "port": 8443, "scheme": scheme}, "periodSeconds": 7});
    pod["spec"]["containers"][0]["livenessProbe"] = probe("HTTPS");
    ground.corner.create(pod).await?;
    let (group, pretended) = shown(&ground, "web").await?;
    let asked = &group["properties"]["containers"][0]["properties"]["livenessProbe"];
    ensure!(has(asked, &probe("https")), "{asked}");
    ensure!(pretended == ["https probes"], "{pretended:?}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_node_of_windows_makes_groups_of_windows() -> Result<()> {
    let ground = Ground::with("windows", |setup| {
        setup.played();
        setup.provider.push_str("OperatingSystem = \"Windows\"\n");
        setup.flags.extend(["--os", "Windows"].map(str::to_owned));
    })
    .await?;
    let node = ground.corner.node_ready().await?;
    let labels = node.metadata.labels.unwrap_or_default();
    ensure!(labels.get("kubernetes.io/os").map(String::as_str) == Some("windows"), "{labels:?}");
    let mut pod = ground.pod("web", json!({"name": "main", "image": "mcr.microsoft.com/windows/nanoserver:ltsc2022"}));
    pod["spec"]["os"] = json!({"name": "windows"});
    pod["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    // Every pod is given a volume with the token of its service account, which a group of Windows goes without.
    pod["spec"]["automountServiceAccountToken"] = json!(true);
    ground.corner.create(pod).await?;
    let (group, pretended) = shown(&ground, "web").await?;
    ensure!(group["properties"]["osType"] == "Windows" && group["properties"]["volumes"].is_null(), "{group}");
    ensure!(pretended == ["osType Windows"], "{pretended:?}");
    ground.over(&["web"]).await
}
