//! A provider that fails, loses answers, traps, hangs, spins and eats memory: its own pods wait, nothing else notices.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually, phase};

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_made_once() -> Result<()> {
    let corner = Corner::new("fault-lost").await?;
    for (name, fault) in [("lost", "lost times=1"), ("trap", "lost-trap times=1")] {
        corner.create(corner.pod(name, json!({"create-fault": fault}))).await?;
        corner.running(name).await?;
        // The mock finds what it has made for a UID; that the host looked and did not ask again is in the calls.
        let log = corner.log(name).await?;
        assert!(log.contains("calls create=1 update=0 delete=0 workloads=1"), "{name}: {log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_look_that_fails_proves_no_absence() -> Result<()> {
    let corner = Corner::new("fault-look").await?;
    // A host that has not listed yet what the provider has makes nothing, and a node may be Ready before it has.
    corner.create(corner.pod("listed", json!({}))).await?;
    corner.running("listed").await?;
    let config = corner.host.config();
    let healthy = config.provider_config.clone().unwrap_or_default();
    // What is there is told by nothing but a look.
    config.write_provider_config(&format!(
        "{healthy}[faults]\nchanges = \"unavailable\"\nget-pods = \"unavailable\"\n"
    ))?;
    // Ends the call that waits for changes since before there was a fault.
    corner.create(corner.pod("first", json!({}))).await?;
    eventually("the lists fail", || async {
        Ok(corner.host.log()?.contains("list of the provider's pods failed").then_some(()))
    })
    .await?;
    let faults = json!({"create-fault": "lost times=1 for=100ms", "get-fault": "unavailable times=3 for=200ms"});
    corner.create(corner.pod("unseen", faults)).await?;
    corner.running("unseen").await?;
    assert!(corner.host.log()?.contains("look failed"), "it was found before it was looked for");
    let log = corner.log("unseen").await?;
    assert!(log.contains("calls create=1 update=0 delete=0 workloads=1"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_delete_overtakes_a_create_that_hangs() -> Result<()> {
    let corner = Corner::new("fault-overtake").await?;
    corner.create(corner.pod("hung", json!({"create-fault": "hang"}))).await?;
    corner
        .until("hung", "has its first status", |pod| {
            phase(pod) == "Pending" && pod.status.as_ref().is_some_and(|s| s.start_time.is_some())
        })
        .await?;
    corner.delete("hung", Some(5)).await?;
    // By itself the call would hang until its deadline of 60 s.
    corner.gone_within(Duration::from_secs(15), "hung").await
}

#[tokio::test]
async fn a_delete_that_fails_is_tried_until_it_works() -> Result<()> {
    let corner = Corner::new("fault-delete").await?;
    let mut uids = Vec::new();
    for (name, fault) in [("soon", "unavailable times=3 for=200ms"), ("trap", "trap times=1"), ("lost", "lost times=1")]
    {
        uids.push(corner.create(corner.pod(name, json!({"delete-fault": fault}))).await?.uid().context("no UID")?);
        corner.running(name).await?;
        corner.delete(name, Some(1)).await?;
        corner.event(name, "FailedToDeletePod").await?;
    }
    for name in ["soon", "trap", "lost"] {
        corner.gone(name).await?;
    }
    eventually("the workloads are removed", || async {
        let log = corner.host.log()?;
        Ok(uids.iter().all(|uid| log.contains(&format!("workload removed uid={uid}"))).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_pod_that_ends_while_its_removal_hangs_leaves_the_api_at_once() -> Result<()> {
    let corner = Corner::new("fault-hanging-delete").await?;
    let mut pod = corner.pod("ends", json!({"run-for": "20s", "delete-fault": "hang"}));
    pod["spec"]["restartPolicy"] = json!("Never");
    corner.create(pod).await?;
    let pod = corner.running("ends").await?;
    corner.delete("ends", Some(300)).await?;
    let asked = Timestamp::now();
    let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let running = containers.first().and_then(|container| container.state.as_ref()?.running.as_ref());
    let began = running.and_then(|running| running.started_at.as_ref()).context("no start")?.0;
    let ran = began.duration_until(asked);
    assert!(ran < SignedDuration::from_secs(19), "it ended by itself before it was to be deleted: {ran}");
    // The call hangs until its deadline of 30 s, and the next one does again.
    corner.gone_within(Duration::from_secs(28), "ends").await
}

#[tokio::test]
async fn what_fails_again_and_again_is_one_event_that_counts_and_a_condition_that_says_why() -> Result<()> {
    let corner = Corner::new("fault-again").await?;
    let mut pod = corner.pod("again", json!({"create-fault": "unavailable for=100ms"}));
    pod["spec"]["restartPolicy"] = json!("Never");
    corner.create(pod).await?;
    let events: kube::Api<k8s_openapi::api::core::v1::Event> =
        kube::Api::namespaced(corner.client.clone(), &corner.namespace);
    let params = kube::api::ListParams::default().fields("involvedObject.name=again,reason=FailedToCreatePod");
    eventually("one event counts the tries", || async {
        let found = events.list(&params).await?.items;
        anyhow::ensure!(found.len() <= 1, "{} events", found.len());
        let count = found.first().and_then(|event| event.series.as_ref()?.count);
        Ok(count.is_some_and(|count| count >= 8).then_some(()))
    })
    .await?;
    let pod = corner.pods().get("again").await?;
    assert_eq!(phase(&pod), "Pending");
    let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
    let condition = conditions.iter().find(|condition| condition.type_ == "PodReadyToStartContainers");
    assert_eq!(condition.and_then(|condition| condition.reason.as_deref()), Some("MockUnavailable"));
    Ok(())
}

#[tokio::test]
async fn a_change_feed_that_fails_is_replaced_by_lists() -> Result<()> {
    let corner = Corner::new("fault-changes").await?;
    let config = corner.host.config();
    let healthy = config.provider_config.clone().unwrap_or_default();
    config.write_provider_config(&format!("{healthy}[faults]\nchanges = \"unavailable\"\n"))?;
    // Ends the call that waits for changes since before there was a fault.
    corner.create(corner.pod("first", json!({}))).await?;
    eventually("the changes fail", || async {
        Ok(corner.host.log()?.contains("changes failed; listing meanwhile").then_some(()))
    })
    .await?;
    corner.create(corner.pod("starts", json!({"start-after": "2s"}))).await?;
    corner.running("starts").await?;
    Ok(())
}

/// One node, all kinds of misbehaviour at once for longer than a lease would live without renewal, and ordinary pods beside it.
#[tokio::test]
async fn a_provider_that_traps_hangs_spins_and_eats_memory_stops_neither_heartbeat_nor_other_pods() -> Result<()> {
    let corner = Corner::new("fault-all").await?;
    let faults = ["trap", "spin", "allocate", "hang", "deaf-hang"];
    for fault in faults {
        for number in 0..4 {
            corner.create(corner.pod(&format!("{fault}-{number}"), json!({"create-fault": fault}))).await?;
        }
    }
    let began = Timestamp::now();
    let mut made = 0;
    while began.duration_until(Timestamp::now()) < SignedDuration::from_secs(45) {
        let name = format!("fine-{made}");
        corner.create(corner.pod(&name, json!({}))).await?;
        corner.running(&name).await?;
        corner.delete(&name, Some(0)).await?;
        corner.gone(&name).await?;
        made += 1;
    }
    let ended = Timestamp::now();
    assert!(made >= 5, "only {made} ordinary pods came and went in 45 s");
    for fault in faults {
        let name = format!("{fault}-0");
        assert_eq!(phase(&corner.pods().get(&name).await?), "Pending", "{name} is not ended by the provider's faults");
        corner.event(&name, "FailedToCreatePod").await?;
    }
    let longest = corner.longest_without_renewal(began, ended)?;
    assert!(longest <= SignedDuration::from_secs(15), "{longest:?} without a renewal");
    // All of it can be deleted while it misbehaves.
    for fault in faults {
        for number in 0..4 {
            corner.delete(&format!("{fault}-{number}"), Some(0)).await?;
        }
    }
    eventually("all are gone", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    let mut host = corner.host;
    assert!(host.is_running()?, "{}", host.log()?);
    assert!(host.stop()?.success());
    Ok(())
}
