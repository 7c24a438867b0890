//! One pod's life: created, running, ended, restarted, updated, deleted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vk_tests::audit::Filter;
use vk_tests::cluster::{Corner, eventually, phase, pod_condition, waiting_reason};

/// How long the host waits for the provider's answer before it writes a status of its own.
const FIRST_STATUS_WAIT: SignedDuration = SignedDuration::from_secs(1);

fn container(pod: &Pod, index: usize) -> Result<&ContainerStatus> {
    let statuses =
        pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).context("no container statuses")?;
    statuses.get(index).context("no such container")
}

fn exit_code(pod: &Pod) -> Option<i32> {
    Some(container(pod, 0).ok()?.state.as_ref()?.terminated.as_ref()?.exit_code)
}

/// The same pod with another field of its spec.
fn with(mut pod: Value, field: &str, value: Value) -> Value {
    if let Some(spec) = pod.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert(field.into(), value);
    }
    pod
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

/// Waits until the mock has said that it removed the pod's workload.
async fn workload_removed(corner: &Corner<'_>, uid: &str) -> Result<()> {
    let line = format!("workload removed uid={uid}");
    eventually("the workload is removed", || async { Ok(corner.host.log()?.contains(&line).then_some(())) }).await
}

/// Gives the task of each pod news that mean nothing, and waits until it has had them: what it does of its own accord with a
/// pod, it has done then.
async fn touch(corner: &Corner<'_>, names: &[&str]) -> Result<()> {
    let touched = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
    for name in names {
        corner.pods().patch(name, &PatchParams::default(), &Patch::Merge(&touched)).await?;
    }
    corner.create(corner.pod("probe", json!({}))).await?;
    corner.running("probe").await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_runs_with_addresses_conditions_and_times() -> Result<()> {
    let corner = Corner::new("pod-runs").await?;
    corner.create(corner.pod("web", json!({"ip": "10.1.2.3"}))).await?;
    let pod = corner.running("web").await?;
    let status = pod.status.clone().context("no status")?;
    assert_eq!(status.pod_ip.as_deref(), Some("10.1.2.3"));
    assert_eq!(status.pod_ips.map(|ips| ips.len()), Some(1));
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    assert!(status.start_time.is_some());
    assert_eq!(status.observed_generation, pod.metadata.generation);
    for kind in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(pod_condition(&pod, kind).as_deref(), Some("True"), "{kind}");
    }
    assert!(status.qos_class.is_some(), "the API server's own field is untouched");
    let container = container(&pod, 0)?;
    assert!(container.ready && container.container_id.as_deref().is_some_and(|id| id.starts_with("mock://")));
    corner.event("web", "Created").await?;
    Ok(())
}

#[tokio::test]
async fn an_ordinary_pod_costs_one_status_patch_and_one_delete() -> Result<()> {
    let corner = Corner::new("pod-costs").await?;
    let names: Vec<String> = (0..10).map(|number| format!("pod-{number}")).collect();
    for name in &names {
        corner.create(corner.pod(name, json!({}))).await?;
        corner.running(name).await?;
    }
    // By the time that all are gone, whatever would have been written again has been written.
    for name in &names {
        corner.delete(name, None).await?;
        corner.gone(name).await?;
    }
    let log = corner.control_plane.audit_log();
    log.wait_flushed(corner.control_plane)?;
    let node = format!("system:node:{}", corner.host.node());
    let filter = Filter { resource: Some("pods"), namespace: Some(&corner.namespace), ..Filter::default() };
    let asked = log.select(filter)?;
    let (patch, delete) = (("patch", "status"), ("delete", ""));
    let mut costs = Vec::new();
    for name in &names {
        let of_pod: Vec<_> = asked.iter().filter(|event| event.name == *name).collect();
        let by_us = |verb: &str| {
            let event = of_pod.iter().find(|event| event.user != node && event.verb == verb);
            event.map(|event| event.received).with_context(|| format!("nobody asked to {verb} {name}"))
        };
        let (made, ended) = (by_us("create")?, by_us("delete")?);
        let by_node: Vec<_> = of_pod.iter().filter(|event| event.user == node).collect();
        let patches: Vec<Timestamp> = by_node.iter().filter(|e| e.verb == "patch").map(|e| e.received).collect();
        assert!(patches.iter().all(|at| *at < ended), "{name}: a status after its delete was asked for: {by_node:?}");
        let cost: Vec<_> = by_node.iter().map(|event| (event.verb.as_str(), event.subresource.as_str())).collect();
        match patches[..] {
            [_] => assert_eq!(cost, [patch, delete], "{name}"),
            // A provider that takes its time costs a first status more; these machines are busy.
            [first, _] => {
                assert_eq!(cost, [patch, patch, delete], "{name}");
                assert!(made.duration_until(first) >= FIRST_STATUS_WAIT, "{name}: {by_node:?}");
            }
            _ => panic!("{name}: {by_node:?}"),
        }
        costs.push(cost);
    }
    assert!(costs.contains(&vec![patch, delete]), "{costs:?}");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_ends_has_its_exit_code_and_its_phase_is_final() -> Result<()> {
    let corner = Corner::new("pod-ends").await?;
    let mut ended = Vec::new();
    for (name, code, wanted) in [("good", "0", "Succeeded"), ("bad", "3", "Failed")] {
        let pod = corner.pod(name, json!({"run-for": "300ms", "exit-code": code}));
        corner.create(with(pod, "restartPolicy", json!("Never"))).await?;
        let pod = corner.in_phase(name, wanted).await?;
        assert_eq!(exit_code(&pod), Some(code.parse()?));
        assert_eq!(pod_condition(&pod, "Ready").as_deref(), Some("False"));
        ended.push((name, pod));
    }
    touch(&corner, &["good", "bad"]).await?;
    for (name, pod) in ended {
        assert_eq!(corner.pods().get(name).await?.status, pod.status, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_crashing_container_restarts_with_back_off_count_and_last_state() -> Result<()> {
    let corner = Corner::new("pod-restarts").await?;
    corner
        .create(corner.pod("crash", json!({"run-for": "200ms", "exit-code": "7", "restart-backoff": "500ms"})))
        .await?;
    corner
        .until("crash", "waits in CrashLoopBackOff", |pod| waiting_reason(pod).as_deref() == Some("CrashLoopBackOff"))
        .await?;
    let pod =
        corner.until("crash", "restarted twice", |pod| container(pod, 0).is_ok_and(|c| c.restart_count >= 2)).await?;
    let last =
        container(&pod, 0)?.last_state.as_ref().and_then(|state| state.terminated.as_ref()).context("no last state")?;
    assert_eq!(last.exit_code, 7);
    assert_eq!(phase(&pod), "Running", "a pod that restarts is not Failed");
    Ok(())
}

#[tokio::test]
async fn init_containers_come_first_and_the_pod_waits_for_them() -> Result<()> {
    let corner = Corner::new("pod-init").await?;
    let pod = corner.pod("init", json!({"run-for.prepare": "20s"}));
    corner.create(with(pod, "initContainers", json!([{"name": "prepare", "image": "mock"}]))).await?;
    corner.until("init", "initializes", |pod| waiting_reason(pod).as_deref() == Some("PodInitializing")).await?;
    let pod = corner.running("init").await?;
    let init = pod.status.and_then(|status| status.init_container_statuses).context("no init statuses")?;
    let end = init.first().and_then(|c| c.state.as_ref()).and_then(|state| state.terminated.as_ref());
    assert_eq!(end.map(|end| end.exit_code), Some(0));
    Ok(())
}

#[tokio::test]
async fn an_image_changed_in_place_reaches_the_provider_once() -> Result<()> {
    let corner = Corner::new("pod-update").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let image = json!({"spec": {"containers": [{"name": "main", "image": "mock:2"}]}});
    corner.pods().patch("web", &PatchParams::default(), &Patch::Strategic(&image)).await?;
    let pod =
        corner.until("web", "shows the new image", |pod| container(pod, 0).is_ok_and(|c| c.image == "mock:2")).await?;
    assert_eq!(phase(&pod), "Running");
    corner.event("web", "Updated").await?;
    assert!(
        corner.log("web").await?.contains("calls create=1 update=1 delete=0 workloads=1"),
        "{}",
        corner.log("web").await?
    );
    Ok(())
}

#[tokio::test]
async fn an_update_that_the_provider_refuses_is_said_and_the_pod_runs_on() -> Result<()> {
    let corner = Corner::new("pod-update-refused").await?;
    corner.create(corner.pod("web", json!({"update-fault": "unimplemented"}))).await?;
    corner.running("web").await?;
    let image = json!({"spec": {"containers": [{"name": "main", "image": "mock:2"}]}});
    corner.pods().patch("web", &PatchParams::default(), &Patch::Strategic(&image)).await?;
    let event = corner.event("web", "UpdateRefused").await?;
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    touch(&corner, &["web"]).await?;
    corner.running("web").await?;
    assert!(corner.log("web").await?.contains("update=1 "), "it is tried once for each revision");
    Ok(())
}

#[tokio::test]
async fn a_deleted_pod_leaves_backend_and_api() -> Result<()> {
    let corner = Corner::new("pod-delete").await?;
    let pod = corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    corner.delete("web", None).await?;
    corner.gone("web").await?;
    workload_removed(&corner, &uid(&pod)).await
}

#[tokio::test]
async fn a_stopping_pod_stays_until_it_has_ended() -> Result<()> {
    let corner = Corner::new("pod-stops").await?;
    corner.create(corner.pod("slow", json!({"stop-after": "2s"}))).await?;
    corner.running("slow").await?;
    let asked = Instant::now();
    corner.delete("slow", Some(30)).await?;
    corner.gone("slow").await?;
    let stayed = asked.elapsed();
    assert!(stayed >= Duration::from_secs(2), "it was gone after {stayed:?}, before it had ended");
    Ok(())
}

#[tokio::test]
async fn a_second_delete_with_a_shorter_grace_shortens_the_first() -> Result<()> {
    let corner = Corner::new("pod-shorter").await?;
    corner.create(corner.pod("slow", json!({"stop-after": "10m"}))).await?;
    corner.running("slow").await?;
    corner.delete("slow", Some(600)).await?;
    corner.until("slow", "is deleting", |pod| pod.metadata.deletion_timestamp.is_some()).await?;
    corner.delete("slow", Some(1)).await?;
    corner.gone("slow").await
}

#[tokio::test]
async fn a_forced_delete_ends_the_workload_too() -> Result<()> {
    let corner = Corner::new("pod-force").await?;
    let pod = corner.create(corner.pod("slow", json!({"stop-after": "10m"}))).await?;
    corner.running("slow").await?;
    corner.delete("slow", Some(0)).await?;
    corner.gone("slow").await?;
    workload_removed(&corner, &uid(&pod)).await
}

#[tokio::test]
async fn a_namesake_made_at_once_is_another_pod() -> Result<()> {
    let corner = Corner::new("pod-namesake").await?;
    let first = corner.create(corner.pod("same", json!({}))).await?;
    corner.running("same").await?;
    corner.delete("same", Some(0)).await?;
    let second =
        eventually("the name is free", || async { Ok(Some(corner.create(corner.pod("same", json!({}))).await?)) })
            .await?;
    assert_ne!(uid(&first), uid(&second));
    corner.running("same").await?;
    workload_removed(&corner, &uid(&first)).await?;
    assert!(corner.log("same").await?.contains("workloads=1"));
    assert_eq!(
        uid(&corner.running("same").await?),
        uid(&second),
        "the late end of the first does not touch the second"
    );
    Ok(())
}

#[tokio::test]
async fn a_workload_that_vanished_makes_the_pod_failed_and_never_new() -> Result<()> {
    let corner = Corner::new("pod-vanishes").await?;
    let pod = corner.create(corner.pod("lost", json!({"vanish-after": "1s"}))).await?;
    let lost = corner.in_phase("lost", "Failed").await?;
    assert_eq!(lost.status.as_ref().and_then(|status| status.reason.as_deref()), Some("NotFound"));
    assert_eq!(exit_code(&lost), Some(137));
    assert_eq!(corner.host.log()?.matches(&format!("workload made uid={}", uid(&pod))).count(), 1);
    corner.delete("lost", None).await?;
    corner.gone("lost").await
}

#[tokio::test]
async fn a_pod_past_its_active_deadline_fails_and_its_workload_ends() -> Result<()> {
    let corner = Corner::new("pod-deadline").await?;
    let pod = corner.create(with(corner.pod("late", json!({})), "activeDeadlineSeconds", json!(5))).await?;
    let failed = corner.in_phase("late", "Failed").await?;
    assert_eq!(failed.status.as_ref().and_then(|status| status.reason.as_deref()), Some("DeadlineExceeded"));
    workload_removed(&corner, &uid(&pod)).await
}

#[tokio::test]
async fn a_condition_flipped_by_someone_else_is_restored() -> Result<()> {
    let corner = Corner::new("pod-flipped").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let flipped = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeLost"}]}});
    corner.pods().patch_status("web", &PatchParams::default(), &Patch::Strategic(&flipped)).await?;
    corner
        .until("web", "is Ready again, and not for NodeLost", |pod| {
            let reason = |pod: &Pod| {
                pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == "Ready")?.reason.clone()
            };
            pod_condition(pod, "Ready").as_deref() == Some("True") && reason(pod).as_deref() != Some("NodeLost")
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_the_node_cannot_run_fails_with_field_and_reason() -> Result<()> {
    let corner = Corner::new("pod-refused").await?;
    let late = json!([{"name": "main", "image": "mock", "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]);
    let table = [
        ("late", with(corner.pod("late", json!({})), "containers", late), "UnsupportedField", "spec.containers[0].env"),
        (
            "os",
            with(corner.pod("os", json!({})), "os", json!({"name": "windows"})),
            "PodOSNotSupported",
            "spec.os.name",
        ),
        ("annotation", corner.pod("annotation", json!({"run-for": "soon"})), "InvalidAnnotation", "run-for"),
        (
            "refused",
            corner.pod("refused", json!({"create-fault": "invalid"})),
            "MockInvalid",
            "spec.containers[0].image",
        ),
    ];
    for (name, pod, reason, says) in table {
        corner.create(pod).await?;
        let pod = corner.in_phase(name, "Failed").await?;
        let status = pod.status.unwrap_or_default();
        assert_eq!(status.reason.as_deref(), Some(reason), "{name}");
        assert!(
            status.message.as_deref().is_some_and(|message| message.contains(says)),
            "{name}: {:?}",
            status.message
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_pod_waits_for_a_provider_that_refuses_for_now_and_says_why() -> Result<()> {
    let corner = Corner::new("pod-throttled").await?;
    let pod = corner.pod("throttled", json!({"create-fault": "resource-exhausted times=3 for=300ms"}));
    corner.create(with(pod, "restartPolicy", json!("Never"))).await?;
    corner.event("throttled", "FailedToCreatePod").await?;
    corner.running("throttled").await?;
    assert!(corner.log("throttled").await?.contains("create=4 "), "{}", corner.log("throttled").await?);
    Ok(())
}

#[tokio::test]
async fn pods_of_other_namespaces_are_left_alone() -> Result<()> {
    let outside = vk_tests::cluster::unique("outside");
    let control_plane = vk_tests::cluster::shared_control_plane()?;
    let client = vk_tests::cluster::client(control_plane.admin_kubeconfig()).await?;
    vk_tests::cluster::create_namespace(&client, &outside).await?;
    let corner = Corner::with("pod-namespace", |config| {
        let namespace = config.node.clone();
        config.flag("--namespace").flag(namespace)
    })
    .await?;
    let mut foreign = corner.pod("foreign", json!({}));
    foreign["metadata"]["namespace"] = json!(outside);
    let pods: kube::Api<Pod> = kube::Api::namespaced(client, &outside);
    let foreign = pods.create(&PostParams::default(), &serde_json::from_value(foreign)?).await?;
    // A pod of its own namespace, made later, runs: the host has seen whatever it was going to see.
    corner.create(corner.pod("own", json!({}))).await?;
    corner.running("own").await?;
    let foreign_now = pods.get("foreign").await?;
    assert_eq!(foreign_now.status.and_then(|status| status.start_time), None, "nobody touched it");
    assert!(!corner.host.log()?.contains(&uid(&foreign)));
    Ok(())
}

#[tokio::test]
async fn a_job_s_finalizer_does_not_keep_the_host_from_telling_the_end() -> Result<()> {
    let corner = Corner::new("pod-finalizer").await?;
    let mut pod = corner.pod("held", json!({}));
    pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
    corner.create(pod).await?;
    corner.running("held").await?;
    corner.delete("held", None).await?;
    let pod = corner.until("held", "is in a final phase", |pod| phase(pod) == "Failed").await?;
    assert!(pod.metadata.deletion_timestamp.is_some());
    let release = json!({"metadata": {"finalizers": null}});
    corner.pods().patch("held", &PatchParams::default(), &Patch::Merge(&release)).await?;
    corner.gone("held").await
}
