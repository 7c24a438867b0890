//! Exchanging the plugin under a node with pods.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, LogParams};
use kube::{Api, ResourceExt as _};
use nix::sys::signal::Signal;
use serde_json::json;
use vk_host::plugin::store::{Bounds, Store};
use vk_tests::cluster::{Corner, PATIENCE, event, eventually};
use vk_tests::host::{HostConfig, plugin};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

use crate::endpoints::Kubelet;

/// Kills around a swap.
const KILLS: u32 = 10;
/// How long a call is under way when a swap begins, which has to wait for it.
const LATE: &str = "late for=100ms";

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
    // A fit file, refused for its configuration: no watch takes it when that is mended, only who asks.
    let healthy = corner.host.config().provider_config.clone().unwrap_or_default();
    corner.host.config().write_provider_config(&format!("{healthy}memroy = \"1Gi\"\n"))?;
    put(&fs::read(plugin("mock")?)?, &file)?;
    eventually("it is refused", || async {
        Ok(corner.host.log()?.contains("the plugin refuses its configuration").then_some(()))
    })
    .await?;
    corner.host.config().write_provider_config(&healthy)?;
    corner.host.signal(Signal::SIGHUP)?;
    eventually("the node shows the first build again", || async {
        Ok((!runtime(&corner).await?.ends_with("-next")).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_hangup_before_the_plugin_is_there_ends_nobody_and_is_remembered() -> Result<()> {
    let mut corner = corner("swap-early").await?;
    eventually("the node is served", || async { Ok(corner.host.log()?.contains(" running").then_some(())) }).await?;
    // Waits for the node before it reads its plugin.
    let mut second = corner.host.config().clone();
    second.state_dir = second.state_dir.join("second");
    let mut second = second.flag("--take-over").start()?;
    let said = |text: &str| anyhow::Ok(second.log()?.contains(text).then_some(()));
    eventually("it waits", || async { said("waiting for the other host's lease to end") }).await?;
    second.signal(Signal::SIGHUP)?;
    assert!(corner.host.stop()?.success());
    // Instead of the 40 s until it ends.
    let leases: Api<Lease> = Api::namespaced(corner.client.clone(), "kube-node-lease");
    leases.delete(corner.host.node(), &DeleteParams::default()).await?;
    eventually("it does what it was asked for", || async { said("SIGHUP: the plugin's file is read anew") }).await?;
    assert!(second.is_running()?);
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    Ok(())
}

/// The file is replaced by a build with another state version, and the host killed a moment later: before it has looked, while it
/// waits for a call that is under way, while it copies the store, when the new build serves.
#[tokio::test]
async fn a_host_killed_in_the_middle_of_a_swap_comes_up_with_the_new_build_and_all_it_kept() -> Result<()> {
    let mut corner = corner("swap-kill").await?;
    let builds = [fs::read(plugin("mock-next")?)?, fs::read(plugin("mock")?)?];
    corner.create(corner.pod("old", json!({"log-lines": "3"}))).await?;
    corner.running("old").await?;
    let mut pods = vec!["old".to_owned()];
    let began = begin_swap(&corner, &builds[0], "late-first").await?;
    swapped(&corner, 0).await?;
    let takes = began.elapsed();
    // The two builds never meet in the store: the call that was under way ended on the old one, before the new one began.
    corner.running("late-first").await?;
    let log = corner.host.log()?;
    let (before, after) = log.split_once(TOOK_OVER).context("it took over")?;
    let made =
        |log: &str| log.lines().filter(|line| line.contains("workload made")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((made(before).len(), made(after)), (2, Vec::new()));
    let mut swapped_before = 0;
    for kill in 0..=KILLS {
        let from = corner.host.log()?.len();
        let (late, build) = (format!("late-{kill}"), (kill + 1) % 2);
        begin_swap(&corner, &builds[usize::try_from(build)?], &late).await?;
        // The last one as soon as it is done; of the others some before and some after.
        if kill == KILLS {
            swapped(&corner, from).await?;
        } else {
            tokio::time::sleep(takes * kill / 6).await;
        }
        corner.host.kill()?;
        let log = corner.host.log()?;
        let life = log.get(from..).context("the log was cut")?;
        swapped_before += u32::from(life.contains(TOOK_OVER));
        whole_store(&corner, &pods).await.with_context(|| format!("after kill {kill} of\n{life}"))?;
        corner = corner.restarted()?;
        // One that the new process makes, and one that may have been under way.
        let name = format!("new-{kill}");
        corner.create(corner.pod(&name, json!({"log-lines": "3"}))).await?;
        corner.running(&name).await?;
        corner.running(&late).await?;
        assert_eq!(runtime(&corner).await?.ends_with("-next"), build == 0, "kill {kill}");
        pods.extend([name, late]);
    }
    assert!((1..=KILLS).contains(&swapped_before), "{swapped_before} of all had swapped when they were killed");
    for name in pods {
        let log = eventually("its log can be read", || async { Ok(Some(corner.log(&name).await?)) }).await?;
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.first().is_some_and(|line| line.contains("workloads=1")), "{name}: {log}");
        let expected = if name.starts_with("late") { 1 } else { 4 };
        assert_eq!(lines.len(), expected, "{name}: {log}");
        assert_eq!(corner.pods().get(&name).await?.status.and_then(|status| status.phase).as_deref(), Some("Running"));
    }
    Ok(())
}

/// In the host's log when a swap is done.
const TOOK_OVER: &str = "took over from";

/// Has a call under way, exchanges the file and asks for a swap at once.
async fn begin_swap(corner: &Corner<'_>, build: &[u8], late: &str) -> Result<Instant> {
    let uid = corner.create(corner.pod(late, json!({"create-fault": LATE}))).await?.uid().context("no UID")?;
    // What the host writes down when it calls.
    let creates = corner.host.config().state_dir.join("creates");
    let began = Instant::now();
    while !fs::read_to_string(&creates)?.contains(&uid) {
        ensure!(began.elapsed() < PATIENCE, "{late} is not made");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    put(build, &corner.host.config().plugin)?;
    corner.host.signal(Signal::SIGHUP)?;
    Ok(Instant::now())
}

/// Waits until the host says so, after the first `from` bytes of its log.
async fn swapped(corner: &Corner<'_>, from: usize) -> Result<()> {
    let began = Instant::now();
    while !corner.host.log()?.get(from..).is_some_and(|log| log.contains(TOOK_OVER)) {
        ensure!(began.elapsed() < PATIENCE, "not swapped:\n{}", corner.host.log()?);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// What the dead host has left on disk: the store with all of these pods, each once, and the copies from before swaps, each whole.
async fn whole_store(corner: &Corner<'_>, pods: &[String]) -> Result<()> {
    let directory = corner.host.config().state_dir.join("store");
    let kept = records(&directory.join("mock.redb"))?;
    for name in pods {
        let pod = corner.pods().get(name).await?;
        let key = format!("pods/{}/{name}/{}", corner.namespace, pod.uid().context("no UID")?);
        ensure!(kept.contains(&key), "{key} is not kept: {kept:?}");
    }
    // And the one whose call was under way.
    ensure!((pods.len()..=pods.len() + 2).contains(&kept.len()), "{} pods, {kept:?}", pods.len());
    for version in [1, 2] {
        let before = directory.join(format!("mock.state-{version}.redb"));
        if before.exists() {
            let before = records(&before)?;
            ensure!(before.is_subset(&kept), "{before:?} before, {kept:?}");
        }
    }
    Ok(())
}

/// The pods in a copy of this store, whose process is dead.
fn records(store: &Path) -> Result<BTreeSet<String>> {
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("copy.redb");
    fs::copy(store, &copy)?;
    let store = Store::open(&copy, Bounds::default())?;
    let pods = store.scan("pods/", None);
    pods.into_iter()
        .map(|(key, entry)| {
            serde_json::from_slice::<serde_json::Value>(&entry.value)
                .with_context(|| format!("the record of {key}"))?;
            Ok(key.to_string())
        })
        .collect()
}

#[tokio::test]
async fn a_build_that_traps_is_taken_back_and_the_node_says_so() -> Result<()> {
    let corner = corner("swap-trap").await?;
    let file = corner.host.config().plugin.clone();
    corner.create(corner.pod("old", json!({}))).await?;
    let before = corner.running("old").await?;
    // Everything about the node goes well, and its state has another version.
    let pods =
        ["create-pod", "get-pod", "get-pods"].map(|function| format!("virtual-kubelet:provider/pods@0.1.0#{function}"));
    let changes = "virtual-kubelet:provider/changes@0.1.0#next".to_owned();
    put(&trapping(&fs::read(plugin("mock-next")?)?, &[pods.as_slice(), &[changes]].concat())?, &file)?;
    event(&corner.client, "default", corner.host.node(), "PluginReplaced").await?;
    corner.create(corner.pod("meanwhile", json!({}))).await?;
    let told = event(&corner.client, "default", corner.host.node(), "PluginRolledBack").await?;
    let message = told.message.context("no message")?;
    assert!(message.contains("0.1.0-next") && message.contains("serves again"), "{message}");
    assert_eq!(told.type_.as_deref(), Some("Warning"));
    corner.running("meanwhile").await?;
    assert!(!runtime(&corner).await?.ends_with("-next"));
    for name in ["old", "meanwhile"] {
        let log = corner.log(name).await?;
        assert!(log.contains("workloads=1"), "{name}: {log}");
    }
    let old = corner.pods().get("old").await?;
    assert_eq!(old.metadata.uid, before.metadata.uid);
    assert_eq!(old.status.and_then(|status| status.phase).as_deref(), Some("Running"));
    // The file still holds it, and is not tried again.
    let metrics = Kubelet::of(&corner).await?.ok("/metrics").await?;
    for (outcome, count) in [("replaced", 1), ("rolled_back", 1), ("refused", 0), ("failing", 0)] {
        let line = format!("vk_plugin_swaps_total{{outcome=\"{outcome}\"}} {count}");
        assert!(metrics.lines().any(|found| found.starts_with(&line)), "no {line} in {metrics}");
    }
    Ok(())
}

/// The same build, these exports of which do nothing but trap.
fn trapping(build: &[u8], exports: &[String]) -> Result<Vec<u8>> {
    let mut changed = build.to_vec();
    let (mut imported, mut functions, mut left) = (0, Vec::new(), exports.len());
    for payload in Parser::new(0).parse_all(build) {
        match payload? {
            // Each module numbers its functions anew.
            Payload::Version { .. } => (imported, functions) = (0, Vec::new()),
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func && exports.iter().any(|name| name == export.name) {
                        functions.push(export.index.checked_sub(imported).context("an import is exported")?);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                left -= functions.iter().filter(|function| **function == 0).count();
                if functions.contains(&0) {
                    let code = body.get_operators_reader()?.original_position()..body.range().end;
                    let code = changed.get_mut(code).context("code beyond the end")?;
                    // unreachable, nop …, end
                    code.fill(0x01);
                    *code.first_mut().context("a function without an end")? = 0x00;
                    *code.last_mut().context("a function without an end")? = 0x0b;
                }
                functions = functions.into_iter().filter_map(|function: u32| function.checked_sub(1)).collect();
            }
            _ => {}
        }
    }
    ensure!(left == 0, "{left} of {exports:?} were not found");
    Ok(changed)
}
