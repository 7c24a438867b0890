//! The host stops, dies and comes back: pods are adopted, none made anew, none lost.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, phase};

/// Enough that a kill finds them in all states.
const PODS: usize = 50;

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
    let gone = corner.running("gone").await?.uid().context("no UID")?;
    assert!(corner.host.stop()?.success());
    corner.delete("gone", Some(0)).await?;
    let corner = corner.restarted()?;
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
        Ok(corner.host.log()?.contains(&format!("workload removed uid={gone}")).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_workload_that_went_while_the_host_was_away_is_not_made_anew() -> Result<()> {
    let mut corner = Corner::new("restart-lost").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    assert!(corner.host.stop()?.success());
    std::fs::remove_dir_all(corner.host.config().state_dir.join("store"))?;
    let corner = corner.restarted()?;
    let lost = corner.in_phase("web", "Failed").await?;
    assert_eq!(lost.status.and_then(|status| status.reason).as_deref(), Some("NotFound"));
    assert_eq!(corner.host.log()?.matches("workload made").count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_host_killed_with_fifty_pods_converges_with_one_workload_each() -> Result<()> {
    let mut corner = Corner::new("restart-kill").await?;
    for number in 0..PODS {
        // Some take a moment to be made, so that the kill finds calls in flight.
        let annotations = if number % 2 == 0 { json!({}) } else { json!({"create-fault": "late for=300ms"}) };
        corner.create(corner.pod(&format!("pod-{number}"), annotations)).await?;
    }
    let running = eventually("a part of them runs", || async {
        let running: Vec<Pod> = pods(&corner).await?.into_iter().filter(|pod| phase(pod) == "Running").collect();
        Ok((running.len() >= PODS / 4).then_some(running))
    })
    .await?;
    corner.host.kill()?;
    let deleted = running.get(..2).context("two pods that run")?;
    for pod in deleted {
        corner.delete(&pod.name_any(), Some(1)).await?;
    }
    let mut corner = corner.restarted()?;
    eventually("all others run and the deleted are gone", || async {
        let pods = pods(&corner).await?;
        Ok((pods.len() == PODS - 2 && pods.iter().all(|pod| phase(pod) == "Running")).then_some(()))
    })
    .await?;
    eventually("the workloads of the deleted are removed", || async {
        let log = corner.host.log()?;
        let removed = |pod: &Pod| log.contains(&format!("workload removed uid={}", pod.uid().unwrap_or_default()));
        Ok(deleted.iter().all(removed).then_some(()))
    })
    .await?;
    let before = calls(&corner).await?;
    for (name, calls) in &before {
        assert!(calls.contains("workloads=1"), "{name}: {calls}");
        // A call that was late when the host died had not made anything yet, and is rightly made again. All others count once,
        // whether their answer was read or not.
        let late = pod_number(name)? % 2 == 1;
        assert!(late || calls.contains("create=1 "), "{name}: {calls}");
    }

    // Once more, when all is quiet: nothing may happen to any pod.
    let listed = |corner: &Corner<'_>| anyhow::Ok(corner.host.log()?.matches("API server listed").count());
    let lists = listed(&corner)?;
    corner.host.kill()?;
    let corner = corner.restarted()?;
    eventually("the new host has listed its pods", || async { Ok((listed(&corner)? > lists).then_some(())) }).await?;
    // One that is made now: by the time that it runs, whatever would have been done to the others has been done.
    corner.create(corner.pod("last", json!({}))).await?;
    corner.running("last").await?;
    let mut after = calls(&corner).await?;
    after.remove("last");
    assert_eq!(after, before);
    Ok(())
}

#[tokio::test]
async fn nothing_is_made_or_removed_before_the_provider_has_listed() -> Result<()> {
    let mut corner = Corner::new("restart-list").await?;
    let mut uids = Vec::new();
    for name in ["stays", "goes"] {
        uids.push(corner.create(corner.pod(name, json!({}))).await?.uid().context("no UID")?);
        corner.running(name).await?;
    }
    corner.host.kill()?;
    corner.delete("goes", Some(0)).await?;
    corner.gone("goes").await?;
    let mut config = corner.host.config().clone();
    let healthy = config.provider_config.clone().unwrap_or_default();
    config.provider_config =
        Some(format!("{healthy}[faults]\nchanges = \"unavailable\"\nget-pods = \"unavailable\"\n"));
    let corner = Corner { host: config.start()?, ..corner };
    uids.push(corner.create(corner.pod("new", json!({}))).await?.uid().context("no UID")?);
    eventually("the host says that it waits", || async {
        Ok(corner.host.log()?.contains("none is made before it has").then_some(()))
    })
    .await?;
    assert_eq!(corner.pods().get("new").await?.status.and_then(|status| status.start_time), None);
    assert!(!corner.host.log()?.contains("workload removed"));
    corner.host.config().write_provider_config(&healthy)?;
    corner.running("new").await?;
    let [stays, goes, new] = [0, 1, 2].map(|index: usize| uids.get(index).cloned().unwrap_or_default());
    eventually("what has no pod is removed", || async {
        Ok(corner.host.log()?.contains(&format!("workload removed uid={goes}")).then_some(()))
    })
    .await?;
    for uid in [stays, goes, new] {
        assert_eq!(corner.host.log()?.matches(&format!("workload made uid={uid} ")).count(), 1, "{uid}");
    }
    Ok(())
}

#[tokio::test]
async fn a_create_under_way_at_a_kill_is_remembered_and_looked_for_though_its_pod_is_gone() -> Result<()> {
    let mut corner = Corner::new("restart-create").await?;
    let mut uids = Vec::new();
    for name in ["stays", "goes"] {
        // The call does not listen to anybody: what ends it is the kill.
        let pod = corner.pod(name, json!({"create-fault": "late deaf for=15s"}));
        uids.push(corner.create(pod).await?.uid().context("no UID")?);
    }
    // What the host has written down, before any answer.
    let file = corner.host.config().state_dir.join("creates");
    eventually("both creates are on disk", || async {
        let text = std::fs::read_to_string(&file)?;
        Ok(uids.iter().all(|uid| text.contains(uid)).then_some(()))
    })
    .await?;
    corner.host.kill()?;
    corner.delete("goes", Some(0)).await?;
    corner.gone("goes").await?;
    let before = corner.host.log()?.len();
    let corner = corner.restarted()?;
    corner.running("stays").await?;
    let log = eventually("its log can be read", || async { Ok(Some(corner.log("stays").await?)) }).await?;
    assert!(log.contains("workloads=1"), "{log}");
    let said = |text: &str, uid: &str| -> Result<bool> {
        let log = corner.host.log()?;
        Ok(log.get(before..).unwrap_or_default().lines().any(|line| line.contains(text) && line.contains(uid)))
    };
    for uid in &uids {
        assert!(said("a create of unknown outcome is remembered", uid)?, "{uid}");
    }
    let goes = uids.last().context("no pod that goes")?;
    eventually("the create whose pod is gone is at its end", || async {
        Ok(said("nothing is left of the pod", goes)?.then_some(()))
    })
    .await?;
    assert!(said("a workload whose pod does not exist", goes)?);
    eventually("nothing is remembered any more", || async {
        let text = std::fs::read_to_string(&file)?;
        let over = |uid: &String| text.rfind(&format!("{{\"end\":\"{uid}\"}}"));
        let open = |uid: &String| text.rfind(&format!("\"uid\":\"{uid}\""));
        Ok(uids.iter().all(|uid| over(uid) > open(uid)).then_some(()))
    })
    .await
}

async fn pods(corner: &Corner<'_>) -> Result<Vec<Pod>> {
    Ok(corner.pods().list(&ListParams::default()).await?.items)
}

fn pod_number(name: &str) -> Result<usize> {
    name.strip_prefix("pod-").and_then(|number| number.parse().ok()).with_context(|| format!("{name} is none of ours"))
}

/// What the mock has counted for each pod that is there: the first line of its log.
async fn calls(corner: &Corner<'_>) -> Result<BTreeMap<String, String>> {
    let mut calls = BTreeMap::new();
    for pod in pods(corner).await? {
        let name = pod.name_any();
        // The node's port is another one after a restart; the API server learns it with the node's next status.
        let log = eventually("its log can be read", || async { Ok(Some(corner.log(&name).await?)) }).await?;
        calls.insert(name, log.lines().next().unwrap_or_default().to_owned());
    }
    Ok(calls)
}
