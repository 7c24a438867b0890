//! The node: registration, lease, status, taint, re-registration, shutdown, one holder at a time, an unreachable backend.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use nix::sys::signal::Signal;
use serde_json::json;
use vk_tests::cluster::{Corner, PATIENCE, condition, eventually, phase};

fn nodes(corner: &Corner<'_>) -> Api<Node> {
    Api::all(corner.client.clone())
}

fn leases(corner: &Corner<'_>) -> Api<Lease> {
    Api::namespaced(corner.client.clone(), "kube-node-lease")
}

async fn lease_of(corner: &Corner<'_>, uid: &str) -> Result<Lease> {
    eventually("the lease belongs to the Node", || async {
        let lease = leases(corner).get(corner.host.node()).await?;
        let owned =
            lease.metadata.owner_references.as_ref().is_some_and(|owners| owners.iter().any(|owner| owner.uid == uid));
        Ok(owned.then_some(lease))
    })
    .await
}

fn renewed(lease: &Lease) -> Option<Timestamp> {
    lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0)
}

/// Waits until the lease is renewed once more.
async fn renewed_again(corner: &Corner<'_>) -> Result<()> {
    let name = corner.host.node();
    let first = renewed(&leases(corner).get(name).await?);
    eventually("the lease is renewed", || async {
        Ok((renewed(&leases(corner).get(name).await?) > first).then_some(()))
    })
    .await
}

/// Takes the backend away, and waits until the node says so.
async fn unreachable(corner: &Corner<'_>) -> Result<Node> {
    let config = corner.host.config();
    let healthy = config.provider_config.clone().unwrap_or_default();
    config.write_provider_config(&format!("{healthy}[faults]\nping = \"unavailable\"\n"))?;
    eventually("the node says that its provider is unreachable", || async {
        let node = nodes(corner).get(corner.host.node()).await?;
        Ok((condition(&node, "ProviderReachable").as_deref() == Some("False")).then_some(node))
    })
    .await
}

#[tokio::test]
async fn registration_says_what_the_node_is() -> Result<()> {
    let corner = Corner::with("node-register", |mut config| {
        config.provider_config = Some("cpu = \"7\"\nmemory = \"9Gi\"\npods = \"11\"\nproviderID = \"mock:///x\"\n[others]\n\"example.com/gpu\" = \"2\"\n".into());
        config
    })
    .await?;
    let node = corner.node_ready().await?;
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let expected = [
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/hostname", corner.host.node()),
        ("node.kubernetes.io/exclude-from-external-load-balancers", "true"),
        ("type", "virtual-kubelet"),
    ];
    for (key, value) in expected {
        assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert!(!labels.contains_key("kubernetes.io/role"));
    let spec = node.spec.clone().context("no spec")?;
    assert_eq!(spec.provider_id.as_deref(), Some("mock:///x"));
    let taint =
        spec.taints.iter().flatten().find(|taint| taint.key == "virtual-kubelet.io/provider").context("no taint")?;
    assert_eq!((taint.value.as_deref(), taint.effect.as_str()), (Some("mock"), "NoSchedule"));
    let status = node.status.clone().context("no status")?;
    let capacity = status.capacity.unwrap_or_default();
    for (name, amount) in [("cpu", "7"), ("memory", "9Gi"), ("pods", "11"), ("example.com/gpu", "2")] {
        assert_eq!(capacity.get(name).map(|q| q.0.as_str()), Some(amount), "{name}");
    }
    for kind in ["Ready", "ProviderReachable"] {
        assert_eq!(condition(&node, kind).as_deref(), Some("True"), "{kind}");
    }
    for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
        assert_eq!(condition(&node, kind).as_deref(), Some("False"), "{kind}");
    }
    let addresses = status.addresses.unwrap_or_default();
    assert!(addresses.iter().any(|a| a.type_ == "InternalIP" && a.address == "127.0.0.1"));
    let lease = lease_of(&corner, node.metadata.uid.as_deref().context("no UID")?).await?;
    let spec = lease.spec.context("no lease spec")?;
    assert_eq!(spec.lease_duration_seconds, Some(40));
    assert!(spec.holder_identity.is_some_and(|holder| holder.starts_with(corner.host.node())));
    Ok(())
}

#[tokio::test]
async fn taints_are_what_the_flags_say() -> Result<()> {
    let corner =
        Corner::with("node-taint", |config| config.flag("--taint").flag("example.com/burst=yes:PreferNoSchedule"))
            .await?;
    let ours = |node: Node| {
        // The controller manager has its own taints for a node that is new.
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        let ours = taints.into_iter().filter(|taint| !taint.key.starts_with("node.kubernetes.io/"));
        ours.map(|taint| (taint.key, taint.value, taint.effect)).collect::<Vec<_>>()
    };
    let expected = ("example.com/burst".to_string(), Some("yes".to_string()), "PreferNoSchedule".to_string());
    assert_eq!(ours(corner.node_ready().await?), [expected]);
    let corner = Corner::with("node-no-taint", |config| config.flag("--taint").flag("")).await?;
    assert_eq!(ours(corner.node_ready().await?), []);
    Ok(())
}

#[tokio::test]
async fn the_lease_is_renewed_and_what_others_wrote_survives() -> Result<()> {
    let corner = Corner::new("node-foreign").await?;
    let name = corner.host.node();
    let metadata = json!({"metadata": {"labels": {"team": "blue", "type": "changed"}, "annotations": {"note": "x"}}});
    nodes(&corner).patch(name, &PatchParams::default(), &Patch::Merge(&metadata)).await?;
    let status = json!({"status": {
        "conditions": [{"type": "Elsewhere", "status": "True"}, {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}],
        "capacity": {"example.com/dongle": "1"},
    }});
    nodes(&corner).patch_status(name, &PatchParams::default(), &Patch::Strategic(&status)).await?;
    let node = eventually("our label and Ready are restored", || async {
        let node = nodes(&corner).get(name).await?;
        let label = node.metadata.labels.as_ref().and_then(|labels| labels.get("type").cloned());
        Ok((condition(&node, "Ready").as_deref() == Some("True") && label.as_deref() == Some("virtual-kubelet"))
            .then_some(node))
    })
    .await?;
    assert_eq!(node.metadata.labels.as_ref().and_then(|labels| labels.get("team").cloned()).as_deref(), Some("blue"));
    assert_eq!(node.metadata.annotations.as_ref().and_then(|a| a.get("note").cloned()).as_deref(), Some("x"));
    assert_eq!(condition(&node, "Elsewhere").as_deref(), Some("True"));
    assert!(node.status.and_then(|s| s.capacity).is_some_and(|capacity| capacity.contains_key("example.com/dongle")));
    renewed_again(&corner).await
}

#[tokio::test]
async fn a_deleted_node_is_registered_again_with_a_new_lease_owner() -> Result<()> {
    let corner = Corner::new("node-deleted").await?;
    let name = corner.host.node().to_string();
    let before = corner.node_ready().await?.metadata.uid;
    nodes(&corner).delete(&name, &DeleteParams::default()).await?;
    let node = eventually("another Node object is there", || async {
        Ok(nodes(&corner).get_opt(&name).await?.filter(|node| node.metadata.uid != before))
    })
    .await?;
    assert!(node.spec.is_some_and(|spec| spec.taints.is_some_and(|taints| !taints.is_empty())), "with its taint");
    lease_of(&corner, node.metadata.uid.as_deref().context("no UID")?).await?;
    Ok(())
}

#[tokio::test]
async fn a_stopped_host_leaves_node_and_pods_as_they_are() -> Result<()> {
    let mut corner = Corner::new("node-stop").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    assert!(corner.host.stop()?.success(), "{}", corner.host.log()?);
    assert_eq!(condition(&nodes(&corner).get(corner.host.node()).await?, "Ready").as_deref(), Some("True"));
    assert_eq!(phase(&corner.pods().get("web").await?), "Running");
    assert!(!corner.host.log()?.contains("workload removed"));
    Ok(())
}

#[tokio::test]
async fn a_second_host_of_one_name_is_refused_and_may_wait() -> Result<()> {
    let mut corner = Corner::new("node-second").await?;
    // A node is Ready a moment before its lease is taken.
    lease_of(&corner, corner.node_ready().await?.metadata.uid.as_deref().context("no UID")?).await?;
    let mut second = corner.host.config().clone();
    second.state_dir = second.state_dir.join("second");
    let (status, said) = second.run(PATIENCE)?;
    assert_eq!(status.code(), Some(1), "{said}");
    let last = said.lines().last().context("it says nothing")?;
    assert!(
        last.contains("is served by") && last.contains(corner.host.node()) && last.contains("--take-over"),
        "{last}"
    );
    // The first one dies; its lease ends within 40 s, and then the second one has the node.
    corner.host.kill()?;
    let taken = second.flag("--take-over").start()?;
    let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    let before = holder(&leases(&corner).get(corner.host.node()).await?);
    eventually("the lease has another holder", || async {
        Ok((holder(&leases(&corner).get(taken.node()).await?) != before).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_host_that_was_paused_and_replaced_stops_itself() -> Result<()> {
    let mut corner = Corner::new("node-replaced").await?;
    lease_of(&corner, corner.node_ready().await?.metadata.uid.as_deref().context("no UID")?).await?;
    corner.host.signal(Signal::SIGSTOP)?;
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(Timestamp::now());
    let stolen = json!({"spec": {"holderIdentity": "somebody-else", "renewTime": now, "leaseDurationSeconds": 40}});
    leases(&corner).patch(corner.host.node(), &PatchParams::default(), &Patch::Merge(&stolen)).await?;
    corner.host.signal(Signal::SIGCONT)?;
    let status = corner.host.wait(Duration::from_secs(30))?;
    assert_eq!(status.code(), Some(1));
    assert!(corner.host.log()?.contains("taken over by somebody-else"), "{}", corner.host.log()?);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_backend_is_a_condition_and_no_eviction() -> Result<()> {
    let corner = Corner::new("node-unreachable").await?;
    // Evicted at once if the node ever were not Ready.
    let mut pod = corner.pod("delicate", json!({}));
    let at_once = ["not-ready", "unreachable"].map(|taint| {
        let key = format!("node.kubernetes.io/{taint}");
        json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0})
    });
    pod["spec"]["tolerations"] = json!(at_once);
    let uid = corner.create(pod).await?.metadata.uid;
    corner.running("delicate").await?;
    unreachable(&corner).await?;
    vk_tests::cluster::event(&corner.client, "default", corner.host.node(), "ProviderUnreachable").await?;
    // Two renewals are time enough for another ping, for another status and for the taint.
    renewed_again(&corner).await?;
    renewed_again(&corner).await?;
    let node = nodes(&corner).get(corner.host.node()).await?;
    assert_eq!(condition(&node, "ProviderReachable").as_deref(), Some("False"));
    assert_eq!(condition(&node, "Ready").as_deref(), Some("True"));
    let pod = corner.pods().get("delicate").await?;
    assert_eq!((&pod.metadata.uid, &pod.metadata.deletion_timestamp), (&uid, &None));
    assert_eq!(phase(&pod), "Running");
    Ok(())
}

#[tokio::test]
async fn ready_turns_false_when_the_backend_is_away_for_as_long_as_not_ready_after_says() -> Result<()> {
    let corner = Corner::with("node-not-ready", |config| config.flag("--not-ready-after").flag("20s")).await?;
    let name = corner.host.node();
    let healthy = corner.host.config().provider_config.clone().unwrap_or_default();
    corner.create(corner.pod("before", json!({}))).await?;
    corner.running("before").await?;
    let node = unreachable(&corner).await?;
    assert_eq!(condition(&node, "Ready").as_deref(), Some("True"), "not yet");
    corner.create(corner.pod("meanwhile", json!({}))).await?;
    // The lease is the host's life, not the backend's.
    renewed_again(&corner).await?;
    assert_eq!(phase(&corner.pods().get("meanwhile").await?), "Pending", "new pods wait");
    eventually("Ready turns False", || async {
        Ok((condition(&nodes(&corner).get(name).await?, "Ready").as_deref() == Some("False")).then_some(()))
    })
    .await?;
    corner.host.config().write_provider_config(&healthy)?;
    corner.running("meanwhile").await?;
    corner.node_ready().await?;
    assert_eq!(phase(&corner.pods().get("before").await?), "Running");
    Ok(())
}
