//! How pods end, and what is left of them: nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use vk_tests::engine::Engine;

use crate::corner::{OUTSIDE, at_engine, container, corner, idle, kubectl, log_until, nothing_left, pod};

/// Much less than the graces that are given here, and much more than an end takes.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_container_that_hears_the_signal_ends_long_before_its_grace() -> Result<()> {
    let corner = corner("hears").await?;
    let mut pod =
        pod(&corner, "web", container("main", "trap 'exit 0' TERM; echo ready; while true; do sleep 0.1; done"));
    pod["spec"]["terminationGracePeriodSeconds"] = json!(120);
    corner.create(pod).await?;
    log_until(&corner, "web", "says that it listens", |log| log == "ready\n").await?;
    let began = Instant::now();
    corner.delete("web", None).await?;
    corner.gone("web").await?;
    ensure!(began.elapsed() < SOON, "{:?}", began.elapsed());
    nothing_left(&corner, Engine::shared().await?).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_second_delete_with_a_shorter_grace_shortens_the_first() -> Result<()> {
    let corner = corner("shortens").await?;
    corner.create(pod(&corner, "web", idle())).await?;
    corner.running("web").await?;
    corner.delete("web", Some(600)).await?;
    corner.event("web", "Killing").await?;
    let there = at_engine(&corner).await?;
    ensure!(there.iter().any(|container| container.is_attempt() && container.state == "running"), "{there:?}");
    let began = Instant::now();
    kubectl(&corner, &["delete", "pod", "web", "--grace-period=1", "--timeout=60s"])?;
    ensure!(began.elapsed() < SOON, "{:?}", began.elapsed());
    nothing_left(&corner, Engine::shared().await?).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_forced_delete_ends_the_containers_too() -> Result<()> {
    let corner = corner("forced").await?;
    let mut pod = pod(&corner, "web", idle());
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    corner.create(pod).await?;
    corner.running("web").await?;
    kubectl(&corner, &["delete", "pod", "web", "--force", "--grace-period=0"])?;
    nothing_left(&corner, Engine::shared().await?).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn hooks_run_after_the_start_and_before_the_end() -> Result<()> {
    let corner = corner("hooks").await?;
    // The test is told: what a container says last goes with it.
    let listener = TcpListener::bind((OUTSIDE, 0)).await?;
    let port = listener.local_addr()?.port();
    let tells = |words: &str| json!({"exec": {"command": ["sh", "-c", format!("echo {words} | nc {OUTSIDE} {port}")]}});
    let mut hooked = container("main", "echo mine > /tmp/own; exec sleep 100000");
    hooked["lifecycle"] = json!({"postStart": tells("hello"), "preStop": tells("bye $(cat /tmp/own)")});
    corner.create(pod(&corner, "web", hooked)).await?;
    let heard = async || {
        let (mut stream, _) = listener.accept().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        anyhow::Ok(text)
    };
    let hello = tokio::time::timeout(SOON, heard()).await.context("postStart did not run")??;
    ensure!(hello == "hello\n", "{hello}");
    corner.running("web").await?;
    corner.delete("web", Some(20)).await?;
    let bye = tokio::time::timeout(SOON, heard()).await.context("preStop did not run")??;
    ensure!(bye == "bye mine\n", "{bye}");
    corner.gone("web").await
}
