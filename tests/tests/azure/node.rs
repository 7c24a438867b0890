//! The node: what its operator says of it, and whether Azure answers.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use vk_fake_aci::{Fault, How};
use vk_tests::cluster::{condition, eventually};

use crate::corner::Ground;

/// What a refusal says; nobody is to repeat a token.
const REFUSAL: &str = "The client has no authorization to perform this action.";

#[tokio::test]
#[ignore = "in a namespace"]
async fn the_node_shows_what_its_operator_says_and_whether_azure_answers() -> Result<()> {
    let ground = Ground::with("shown", |setup| {
        setup.played();
        setup.provider.push_str("CPU = \"20\"\nMemory = \"40Gi\"\nPods = \"30\"\napi-version = \"2026-05-01\"\n");
    })
    .await?;
    let (corner, fake) = (&ground.corner, ground.fake());
    let node = corner.node_ready().await?;
    let status = node.status.clone().context("no status")?;
    let (capacity, allocatable) = (status.capacity.unwrap_or_default(), status.allocatable.unwrap_or_default());
    for (name, amount) in [("cpu", "20"), ("memory", "40Gi"), ("pods", "30"), ("ephemeral-storage", "1500G")] {
        for amounts in [&capacity, &allocatable] {
            ensure!(amounts.get(name).is_some_and(|there| there.0 == amount), "{name}: {amounts:?}");
        }
    }
    let info = status.node_info.context("no nodeInfo")?;
    ensure!(info.container_runtime_version == "aci://2026-05-01", "{info:?}");
    ensure!((info.architecture.as_str(), info.operating_system.as_str()) == ("amd64", "linux"), "{info:?}");
    let labels = node.metadata.labels.clone().unwrap_or_default();
    ensure!(labels.get("topology.kubernetes.io/region").is_some_and(|region| region == "westeurope"), "{labels:?}");
    let taints = node.spec.clone().and_then(|spec| spec.taints).unwrap_or_default();
    let is_ours = |key: &str, value: Option<&str>| key == "virtual-kubelet.io/provider" && value == Some("azure");
    ensure!(taints.iter().any(|taint| is_ours(&taint.key, taint.value.as_deref())), "{taints:?}");
    for kind in ["Ready", "ProviderReachable"] {
        ensure!(condition(&node, kind).as_deref() == Some("True"), "{kind}: {node:?}");
    }

    // It says so, and evicts nobody.
    let (status, code) = (403, "AuthorizationFailed".to_owned());
    let how = How::Refuse { status, code, message: REFUSAL.to_owned(), retry_after: None };
    fake.fault(Fault::next("GET", "vk-host-ping", how).times(u32::MAX));
    let nodes: Api<Node> = Api::all(corner.client.clone());
    let reachable = async |wanted: &str| {
        eventually("the node says whether Azure answers", || async {
            let node = nodes.get(corner.host.node()).await?;
            Ok((condition(&node, "ProviderReachable").as_deref() == Some(wanted)).then_some(node))
        })
        .await
    };
    let node = reachable("False").await?;
    ensure!(condition(&node, "Ready").as_deref() == Some("True"), "{node:?}");
    let conditions = node.status.clone().and_then(|status| status.conditions).unwrap_or_default();
    let told = conditions.iter().find(|one| one.type_ == "ProviderReachable").context("no condition")?;
    let message = told.message.clone().unwrap_or_default();
    ensure!(message.contains("AuthorizationFailed"), "{told:?}");
    let secret = &fake.account().client_secret;
    ensure!(!message.contains(secret) && !corner.host.log()?.contains(secret), "a secret is told");
    fake.clear_faults();
    reachable("True").await?;
    Ok(())
}
