//! Virtual Kubelet's own scenarios (node/lifecycle_test.go), against a real API server, and those that its issues tell of. The
//! simple ones are in `pods.rs` and `faults.rs`; here is what needs a host that was away, or somebody who meddles.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use nix::sys::signal::Signal;
use serde_json::json;
use vk_tests::audit::Filter;
use vk_tests::cluster::{Corner, eventually, own_control_plane, phase, within};
use vk_tests::control_plane::{Component, Ending};

/// Waits until the mock has said that it removed the pod's workload.
async fn removed(corner: &Corner<'_>, uid: &str) -> Result<()> {
    let line = format!("workload removed uid={uid}");
    eventually("the workload is removed", || async { Ok(corner.host.log()?.contains(&line).then_some(())) }).await
}

/// How many workloads were made for this pod.
fn made(corner: &Corner<'_>, uid: &str) -> Result<usize> {
    Ok(corner.host.log()?.matches(&format!("workload made uid={uid} ")).count())
}

/// Has the backend forget all its workloads.
fn forget_workloads(corner: &Corner<'_>) -> Result<()> {
    Ok(fs::remove_dir_all(corner.host.config().state_dir.join("store"))?)
}

/// Makes a pod and waits for it: by then, whatever the host was going to do to the others has been done.
async fn probe(corner: &Corner<'_>) -> Result<()> {
    corner.create(corner.pod("probe", json!({}))).await?;
    corner.running("probe").await.map(drop)
}

#[tokio::test]
async fn a_delete_of_what_the_backend_does_not_have_succeeds() -> Result<()> {
    let mut corner = Corner::new("delete-not-found").await?;
    let uid = corner.create(corner.pod("web", json!({}))).await?.uid().context("no UID")?;
    corner.running("web").await?;
    corner.host.kill()?;
    forget_workloads(&corner)?;
    corner.delete("web", None).await?;
    let corner = corner.restarted()?;
    corner.gone("web").await?;
    assert_eq!(made(&corner, &uid)?, 1, "nothing is made for a pod that goes");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_was_deleted_while_the_host_was_away_ends() -> Result<()> {
    let mut corner = Corner::new("dangling-deleted").await?;
    let uid = corner.create(corner.pod("web", json!({}))).await?.uid().context("no UID")?;
    corner.running("web").await?;
    corner.host.kill()?;
    corner.delete("web", None).await?;
    corner.until("web", "is deleting", |pod| pod.metadata.deletion_timestamp.is_some()).await?;
    let corner = corner.restarted()?;
    corner.gone("web").await?;
    removed(&corner, &uid).await
}

#[tokio::test]
async fn a_workload_whose_pod_went_while_it_stopped_is_removed_by_the_next_host() -> Result<()> {
    let mut corner = Corner::new("dangling-stopping").await?;
    let uid = corner.create(corner.pod("slow", json!({"stop-after": "10m"}))).await?.uid().context("no UID")?;
    corner.running("slow").await?;
    corner.delete("slow", Some(600)).await?;
    eventually("the removal was asked for", || async {
        Ok(corner.log("slow").await?.contains("delete=1 ").then_some(()))
    })
    .await?;
    corner.host.kill()?;
    corner.delete("slow", Some(0)).await?;
    corner.gone("slow").await?;
    let corner = corner.restarted()?;
    removed(&corner, &uid).await
}

#[tokio::test]
async fn pods_that_have_ended_are_left_alone_after_a_restart_though_the_backend_has_forgotten_them() -> Result<()> {
    let mut corner = Corner::new("ended-restart").await?;
    let mut before = Vec::new();
    for (name, code, wanted) in [("good", "0", "Succeeded"), ("bad", "3", "Failed")] {
        let mut pod = corner.pod(name, json!({"run-for": "200ms", "exit-code": code}));
        pod["spec"]["restartPolicy"] = json!("Never");
        corner.create(pod).await?;
        before.push(corner.in_phase(name, wanted).await?);
    }
    assert!(corner.host.stop()?.success());
    forget_workloads(&corner)?;
    let corner = corner.restarted()?;
    probe(&corner).await?;
    for pod in before {
        let now = corner.pods().get(&pod.name_any()).await?;
        assert_eq!(now.resource_version(), pod.resource_version(), "{}", pod.name_any());
        assert_eq!(made(&corner, &pod.uid().context("no UID")?)?, 1);
    }
    Ok(())
}

#[tokio::test]
async fn a_namesake_that_came_while_the_host_was_away_is_another_pod() -> Result<()> {
    let mut corner = Corner::new("namesake-away").await?;
    let first = corner.create(corner.pod("same", json!({"ip": "10.1.1.1"}))).await?.uid().context("no UID")?;
    corner.running("same").await?;
    corner.host.kill()?;
    corner.delete("same", Some(0)).await?;
    corner.gone("same").await?;
    let second = corner.create(corner.pod("same", json!({"ip": "10.1.1.2"}))).await?.uid().context("no UID")?;
    let corner = corner.restarted()?;
    let pod = corner.running("same").await?;
    assert_eq!(pod.uid(), Some(second.clone()));
    assert_eq!(pod.status.and_then(|status| status.pod_ip).as_deref(), Some("10.1.1.2"));
    removed(&corner, &first).await?;
    assert_eq!((made(&corner, &first)?, made(&corner, &second)?), (1, 1));
    Ok(())
}

#[tokio::test]
async fn the_last_words_of_a_pod_that_went_do_not_touch_its_namesake() -> Result<()> {
    let corner = Corner::new("namesake-late").await?;
    // Its container ends, badly, after the pod is gone, and its removal fails for longer than that.
    let annotations = json!({
        "ip": "10.1.1.1", "run-for": "20s", "exit-code": "9", "delete-fault": "unavailable times=8 for=3s",
    });
    let mut pod = corner.pod("same", annotations);
    pod["spec"]["restartPolicy"] = json!("Never");
    let first = corner.create(pod).await?.uid().context("no UID")?;
    corner.running("same").await?;
    corner.delete("same", Some(0)).await?;
    corner.gone("same").await?;
    corner.create(corner.pod("same", json!({"ip": "10.1.1.2"}))).await?;
    let before = corner.running("same").await?;
    removed(&corner, &first).await?;
    probe(&corner).await?;
    let after = corner.pods().get("same").await?;
    assert_eq!(after.resource_version(), before.resource_version(), "{:?}", after.status);
    assert_eq!(after.status.and_then(|status| status.pod_ip).as_deref(), Some("10.1.1.2"));
    Ok(())
}

#[tokio::test]
async fn a_status_that_somebody_took_away_is_written_again() -> Result<()> {
    let corner = Corner::new("status-lost").await?;
    corner.create(corner.pod("web", json!({"ip": "10.1.1.1"}))).await?;
    corner.running("web").await?;
    let lost = json!({"status": {"podIP": null, "podIPs": null, "containerStatuses": null}});
    let params = PatchParams::default();
    let after = corner.pods().patch_status("web", &params, &Patch::Merge(&lost)).await?;
    assert_eq!(after.status.and_then(|status| status.pod_ip), None);
    corner
        .until("web", "has its status again", |pod| {
            let status = pod.status.as_ref();
            let containers = status.and_then(|status| status.container_statuses.as_ref());
            status.and_then(|status| status.pod_ip.as_deref()) == Some("10.1.1.1")
                && containers.is_some_and(|containers| containers.iter().all(|container| container.ready))
        })
        .await?;
    Ok(())
}

/// The host is paused, its watch breaks, and what it missed is nowhere to be had any more: etcd is compacted, and the API server
/// is new and remembers nothing.
#[tokio::test]
async fn a_host_whose_watch_is_too_old_lists_anew_and_misses_nothing() -> Result<()> {
    let flags = [(Component::ApiServer, "--etcd-compaction-interval=1s")];
    let control_plane = own_control_plane("compacted", &flags)?;
    let corner = Corner::on(&control_plane, "compacted", |config| config).await?;
    let mut uids = Vec::new();
    for name in ["goes", "same", "stays"] {
        uids.push(corner.create(corner.pod(name, json!({}))).await?.uid().context("no UID")?);
        corner.running(name).await?;
    }
    let known = corner.pods().list(&ListParams::default()).await?.metadata.resource_version.context("no version")?;
    let before = corner.pods().get("stays").await?;

    corner.host.signal(Signal::SIGSTOP)?;
    // Ends the watch: what happens from here on is in no buffer of the host's connection.
    control_plane.restart(Component::ApiServer, Ending::Crash)?;
    for name in ["goes", "same"] {
        corner.delete(name, Some(0)).await?;
        corner.gone(name).await?;
    }
    let namesake = corner.create(corner.pod("same", json!({}))).await?.uid().context("no UID")?;
    corner.create(corner.pod("new", json!({}))).await?;
    // What is read at a certain version comes from the API server's own memory, until that is gone too.
    control_plane.restart(Component::ApiServer, Ending::Crash)?;
    let at = ListParams { limit: Some(1), ..ListParams::default().at(&known) };
    let at = at.matching(kube::api::VersionMatch::Exact);
    within(Duration::from_secs(60), "etcd is compacted", || async {
        match corner.pods().list(&at).await {
            Err(kube::Error::Api(status)) if status.code == 410 => Ok(Some(())),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(None),
        }
    })
    .await?;
    let resumed = Timestamp::now();
    corner.host.signal(Signal::SIGCONT)?;

    for name in ["same", "new"] {
        corner.running(name).await?;
    }
    assert_eq!(corner.pods().get("same").await?.uid().as_deref(), Some(namesake.as_str()));
    for uid in uids.iter().take(2) {
        removed(&corner, uid).await?;
    }
    // The node controller may have written a condition meanwhile; all else is as it was.
    let stays = corner.pods().get("stays").await?;
    let start = |pod: &Pod| pod.status.as_ref().and_then(|status| status.start_time.clone());
    assert_eq!((stays.uid(), start(&stays)), (before.uid(), start(&before)));
    let pods: Api<Pod> = corner.pods();
    for pod in pods.list(&ListParams::default()).await?.items {
        assert_eq!(phase(&pod), "Running");
        assert_eq!(made(&corner, &pod.uid().context("no UID")?)?, 1, "{}", pod.name_any());
    }
    let log = control_plane.audit_log();
    log.wait_flushed(&control_plane)?;
    let user = format!("system:node:{}", corner.host.node());
    let asked = Filter { user: Some(&user), resource: Some("pods"), since: Some(resumed), ..Filter::default() };
    let asked = log.select(asked)?;
    assert!(asked.iter().any(|event| event.verb == "list"), "the watch went on, so that nothing was shown: {asked:?}");
    Ok(())
}
