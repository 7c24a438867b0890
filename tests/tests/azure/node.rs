//! The node: what its operator says of it, and whether Azure answers.

use anyhow::{Context as _, Result, ensure};
use vk_fake_aci::Fault;
use vk_tests::cluster::{condition, eventually};

use crate::corner::Ground;
use crate::faults::{is_reachable, refuse};
use crate::rows::leaks;

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
    let token = eventually("somebody has signed in", || async { Ok(fake.issued().pop()) }).await?;
    let refusal = format!("The client with access_token={token} has no authorization to perform this action.");
    let pings = Fault::next("GET", "vk-host-ping", refuse(403, "AuthorizationFailed", &refusal));
    fake.fault(pings.times(u32::MAX));
    let told = is_reachable(&ground, false).await?;
    let message = told.message.clone().unwrap_or_default();
    ensure!(message.contains("AuthorizationFailed"), "{told:?}");
    let mut secrets = leaks::issued(fake);
    secrets.push(("the application's secret".to_owned(), fake.account().client_secret.clone()));
    for (place, text) in [("the condition", message), ("the host's log", corner.host.log()?)] {
        let found = leaks::found(place, &text, &secrets)?;
        ensure!(found.is_empty(), "{found:#?}");
    }
    fake.clear_faults();
    is_reachable(&ground, true).await?;
    Ok(())
}
