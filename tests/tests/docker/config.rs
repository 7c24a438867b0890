//! The provider's configuration, which is read anew at each call.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Api;
use kube::api::ListParams;
use vk_tests::cluster::{Corner, eventually, phase};
use vk_tests::engine::Engine;
use vk_tests::host::{HostConfig, plugin};

use crate::corner::{control_plane, idle, objects, once};

/// What the node, or an event on a pod, says that has this word in it.
async fn said(corner: &Corner<'_>, word: &str) -> Result<bool> {
    let nodes: Api<Node> = Api::all(corner.client.clone());
    let node = nodes.get(corner.host.node()).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let events = objects::<Event>(corner).list(&ListParams::default()).await?.items;
    let of_node = conditions.into_iter().filter_map(|condition| condition.message);
    let mut messages = of_node.chain(events.into_iter().filter_map(|event| event.message));
    Ok(messages.any(|message| message.contains(word)))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_mistake_that_is_made_while_pods_run_ends_none_and_new_ones_wait_until_it_is_mended() -> Result<()> {
    let (plugin, socket) = (plugin("docker")?, Engine::shared().await?.socket());
    let endpoint = format!("engine=unix://{}", socket.display());
    let configure = |config: HostConfig| {
        HostConfig { plugin, provider_config: Some(String::new()), ..config }.flag("--endpoint").flag(endpoint)
    };
    let corner = Corner::on(control_plane()?, "mistake", configure).await?;
    corner.create(once(&corner, "before", idle())).await?;
    corner.running("before").await?;

    corner.host.config().write_provider_config("prefx = \"k8s\"\n")?;
    corner.create(once(&corner, "web", idle())).await?;
    let has_not_failed = |pod: &Pod| phase(pod) != "Failed";
    eventually("the mistake is told", || async {
        let pods = corner.pods().list(&ListParams::default()).await?.items;
        ensure!(pods.iter().all(has_not_failed), "a pod ended for a mistake of the operator's");
        Ok(said(&corner, "prefx").await?.then_some(()))
    })
    .await?;
    let waits = corner.pods().get("web").await?;
    ensure!(phase(&waits) == "Pending", "{:?}", waits.status);

    corner.host.config().write_provider_config("")?;
    for pod in ["web", "before"] {
        corner.running(pod).await?;
    }
    Ok(())
}
