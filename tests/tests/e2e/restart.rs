//! The host stops, dies and comes back: pods are adopted, none made anew, none lost.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, phase};

/// Ordinary pods, enough that a kill finds them in all states.
const PODS: usize = 50;

fn with_host(
    corner: Corner,
    restart: impl FnOnce(vk_tests::host::Host) -> Result<vk_tests::host::Host>,
) -> Result<Corner> {
    let Corner { control_plane, client, host, namespace } = corner;
    Ok(Corner { control_plane, client, host: restart(host)?, namespace })
}

#[tokio::test]
async fn a_stopped_host_adopts_its_pods_and_writes_nothing() -> Result<()> {
    let mut corner = Corner::new("restart-stop").await?;
    let mut done = corner.pod("done", json!({"run-for": "200ms"}));
    done["spec"]["restartPolicy"] = json!("Never");
    corner.create(done).await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.create(corner.pod("gone", json!({}))).await?;
    let before = corner.running("web").await?;
    let done = corner.in_phase("done", "Succeeded").await?;
    corner.running("gone").await?;
    assert!(corner.host.stop()?.success());
    corner.delete("gone", Some(0)).await?;
    let corner = with_host(corner, vk_tests::host::Host::restart)?;
    corner.create(corner.pod("new", json!({}))).await?;
    corner.running("new").await?;
    assert_eq!(
        corner.pods().get("web").await?.metadata.resource_version,
        before.metadata.resource_version,
        "an adopted pod is not written"
    );
    assert_eq!(
        corner.pods().get("done").await?.metadata.resource_version,
        done.metadata.resource_version,
        "nor one that has ended"
    );
    assert!(corner.log("web").await?.contains("calls create=1 update=0 delete=0 workloads=1"));
    let made = corner.host.log()?.matches("workload made").count();
    assert_eq!(made, 4, "web, done, gone, new: each once");
    eventually("the workload whose pod went meanwhile is removed", || async {
        Ok(corner.host.log()?.contains("removing a workload whose pod does not exist").then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_host_killed_with_fifty_pods_converges_with_one_workload_each() -> Result<()> {
    let mut corner = Corner::new("restart-kill").await?;
    for number in 0..PODS {
        // Some take a moment to be made, so that the kill finds calls in flight.
        let annotations = if number % 2 == 0 { json!({}) } else { json!({"create-fault": "late for=300ms"}) };
        corner.create(corner.pod(&format!("pod-{number}"), annotations)).await?;
    }
    eventually("a part of them runs", || async {
        Ok((corner.count(|pod| phase(pod) == "Running").await? >= PODS / 4).then_some(()))
    })
    .await?;
    corner.host.kill()?;
    corner.delete("pod-0", Some(1)).await?;
    corner.delete("pod-1", Some(1)).await?;
    let mut corner = with_host(corner, vk_tests::host::Host::restart)?;
    let running = |corner: &Corner| {
        let pods = corner.pods();
        async move {
            eventually("all others run and the deleted are gone", || async {
                let pods: Vec<Pod> = pods.list(&ListParams::default()).await?.items;
                Ok((pods.len() == PODS - 2 && pods.iter().all(|pod| phase(pod) == "Running")).then_some(()))
            })
            .await
        }
    };
    running(&corner).await?;
    corner.host.kill()?;
    let corner = with_host(corner, vk_tests::host::Host::restart)?;
    running(&corner).await?;
    for pod in corner.pods().list(&ListParams::default()).await?.items {
        let name = pod.metadata.name.unwrap_or_default();
        // The node's port is another one after a restart; the API server learns it with the node's next status.
        let log = eventually("its log can be read", || async { Ok(Some(corner.log(&name).await?)) }).await?;
        assert!(log.contains("workloads=1"), "{name}: {log}");
    }
    Ok(())
}
