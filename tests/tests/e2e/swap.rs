//! Exchanging the plugin under a node with pods.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::LogParams;
use serde_json::json;
use vk_tests::cluster::{Corner, event, eventually};
use vk_tests::host::{HostConfig, plugin};

/// A host whose plugin is a file of the test's own.
async fn corner(name: &str) -> Result<Corner<'static>> {
    let mock = fs::read(plugin("mock")?)?;
    Corner::with(name, |config| {
        let file = config.state_dir.with_extension("wasm");
        // A file that is not there is told by the host.
        let _ = put(&mock, &file);
        HostConfig { plugin: file, ..config }
    })
    .await
}

/// Whole or not at all, as `mv` and a ConfigMap volume do it.
fn put(bytes: &[u8], file: &Path) -> Result<()> {
    let new = file.with_extension("wasm-new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(new, file)?)
}

/// What the node shows as its container runtime.
async fn runtime(corner: &Corner<'_>) -> Result<String> {
    let nodes: Api<Node> = Api::all(corner.client.clone());
    let info = nodes.get(corner.host.node()).await?.status.and_then(|status| status.node_info);
    Ok(info.context("no nodeInfo")?.container_runtime_version)
}

#[tokio::test]
async fn pods_and_readers_go_on_over_a_swap() -> Result<()> {
    let corner = corner("swap").await?;
    let file = corner.host.config().plugin.clone();
    let mut pod = corner.pod("web", json!({"log-every": "100ms", "run-for": "15s"}));
    pod["spec"]["restartPolicy"] = json!("Never");
    corner.create(pod).await?;
    let before = corner.running("web").await?;
    let params = LogParams { follow: true, ..LogParams::default() };
    let log = eventually("its log can be read", || async { Ok(Some(corner.pods().log_stream("web", &params).await?)) });
    let reading = tokio::spawn(log.await?.lines().try_collect::<Vec<String>>());

    put(&fs::read(plugin("mock-next")?)?, &file)?;
    let told = event(&corner.client, "default", corner.host.node(), "PluginReplaced").await?;
    let message = told.message.context("no message")?;
    assert!(message.contains("0.1.0-next") && told.type_.as_deref() == Some("Normal"), "{message}");
    eventually("the node shows the new build", || async {
        Ok(runtime(&corner).await?.ends_with("-next").then_some(()))
    })
    .await?;

    put(b"broken", &file)?;
    let told = event(&corner.client, "default", corner.host.node(), "PluginRefused").await?;
    let message = told.message.context("no message")?;
    assert!(message.contains("is not WebAssembly") && told.type_.as_deref() == Some("Warning"), "{message}");
    corner.create(corner.pod("later", json!({}))).await?;
    corner.running("later").await?;
    assert!(runtime(&corner).await?.ends_with("-next"), "the old one serves");

    let after = corner.in_phase("web", "Succeeded").await?;
    assert_eq!(after.metadata.uid, before.metadata.uid);
    let lines = reading.await??;
    let ticks: Vec<&String> = lines.iter().filter(|line| line.starts_with("tick ")).collect();
    let expected: Vec<String> = (1..=150).map(|n| format!("tick {n}")).collect();
    assert_eq!(ticks, expected.iter().collect::<Vec<_>>(), "one each 100 ms for 15 s: none lost, none twice");
    assert!(lines.first().is_some_and(|line| line.contains("workloads=1")), "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn an_operator_asks_for_a_swap_and_is_told_how_it_ended() -> Result<()> {
    let corner = corner("swap-reload").await?;
    let file = corner.host.config().plugin.clone();
    let reload = || -> Result<(bool, String)> {
        let mut command = std::process::Command::new(vk_tests::host::program()?);
        command.args(["plugin", "reload", "--state-dir"]).arg(&corner.host.config().state_dir);
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    };
    let (ok, said) = reload()?;
    assert!(ok && said.contains("PluginUnchanged"), "{said}");
    put(b"broken", &file)?;
    let (ok, said) = reload()?;
    assert!(!ok && said.contains("PluginRefused") && said.contains("is not WebAssembly"), "{said}");
    put(&fs::read(plugin("mock-next")?)?, &file)?;
    let (ok, said) = reload()?;
    // The watch may have been faster.
    assert!(ok && (said.contains("PluginReplaced") || said.contains("PluginUnchanged")), "{said}");
    put(&fs::read(plugin("mock")?)?, &file)?;
    corner.host.signal(nix::sys::signal::Signal::SIGHUP)?;
    eventually("the node shows the first build again", || async {
        Ok((!runtime(&corner).await?.ends_with("-next")).then_some(()))
    })
    .await
}
