//! What users of the Go Virtual Kubelet and azure-aci bring along, and what operators read: flags, and the log.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::core::ResourceExt as _;
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, PATIENCE, eventually, shared_control_plane, unique};
use vk_tests::host::{self, HostConfig};

/// Flags of theirs that have no effect here, a row of the table each.
const WITHOUT_EFFECT: [&[&str]; 5] = [
    &["--pod-sync-workers", "50"],
    &["--full-resync-period=1m"],
    &["--enable-node-lease"],
    &["--trace-tag", "a=b", "--trace-sample-rate", "100"],
    &["--klog.v=4"],
];

#[tokio::test]
async fn flags_of_the_go_virtual_kubelet_are_taken_and_say_what_they_do() -> Result<()> {
    let control_plane = shared_control_plane()?;
    let corner = Corner::with("cli", |config| {
        let authority = control_plane.ca_file().display().to_string();
        let meant = ["--client-verify-ca".to_string(), authority, "--startup-timeout=60s".to_string()];
        let flags = WITHOUT_EFFECT.iter().copied().flatten().map(ToString::to_string).chain(meant);
        flags.fold(config, |config, flag| config.flag(flag))
    })
    .await?;
    let log = corner.host.log()?;
    for flags in WITHOUT_EFFECT {
        let name = flags.first().and_then(|flag| flag.split('=').next()).context("a name")?;
        let told = |line: &&str| line.contains("WARN") && line.contains(name) && line.contains("has no effect: ");
        assert_eq!(log.lines().filter(told).count(), 1, "{name}: {log}");
    }
    assert_eq!(log.matches("has no effect: ").count(), WITHOUT_EFFECT.len(), "{log}");
    // The API server's certificate is of the authority that --client-verify-ca names.
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    eventually("its log can be read", || async { Ok(Some(corner.log("web").await?)) }).await?;
    Ok(())
}

#[test]
fn flags_that_would_be_counted_on_in_vain_are_refused_by_name() -> Result<()> {
    for (flag, instead) in [("--trace-exporter=jaeger", "--log-format"), ("--no-verify-clients", "--client-ca-file")] {
        let config = HostConfig::mock(shared_control_plane()?, &unique("cli-refused"))?.flag(flag);
        let (status, said) = config.run(PATIENCE)?;
        assert_eq!((status.code(), said.lines().count()), (Some(64), 1), "{said}");
        let name = flag.split('=').next().unwrap_or(flag);
        assert!(said.starts_with("vk-host: ") && said.contains(name) && said.contains(instead), "{said}");
    }
    Ok(())
}

/// With `--take-over` a host waits for another one's lease to end, which takes forty seconds.
#[tokio::test]
async fn a_start_that_takes_too_long_is_given_up() -> Result<()> {
    let corner = Corner::new("cli-startup").await?;
    // The node is Ready a moment before its lease is taken.
    eventually("the host has its lease", || async {
        Ok(corner.host.log()?.contains("vk_host::host: running").then_some(()))
    })
    .await?;
    let state_dir = corner.host.config().state_dir.with_extension("second");
    fs::create_dir_all(&state_dir)?;
    let second = HostConfig { state_dir, ..corner.host.config().clone() };
    let began = Instant::now();
    let (status, said) = second.flag("--take-over").flag("--startup-timeout=2s").run(PATIENCE)?;
    let line = said.lines().last().context("it says nothing")?;
    assert!(status.code() == Some(1) && line.starts_with("vk-host: ") && line.contains("--startup-timeout"), "{said}");
    assert!(began.elapsed() > Duration::from_secs(2), "it did not wait: {said}");
    Ok(())
}

#[tokio::test]
async fn every_line_about_a_pod_says_which_and_of_which_call() -> Result<()> {
    let corner = Corner::with("cli-log", |config| config.flag("--log-format=json")).await?;
    // The second create is made by a call of its own.
    let pod = corner.create(corner.pod("web", json!({"create-fault": "trap times=1"}))).await?;
    corner.running("web").await?;
    corner.delete("web", Some(1)).await?;
    corner.gone("web").await?;
    let uid = pod.uid().context("no UID")?;
    let lines = eventually("the log tells that the workload is removed", || async {
        // The last line may be half written.
        let log = corner.host.log()?;
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let removed = lines.iter().any(|line| message(line).starts_with("workload removed"));
        Ok(removed.then_some(lines))
    })
    .await?;
    let about: Vec<&Value> = lines.iter().filter(|line| line.to_string().contains(&uid)).collect();
    for line in &about {
        assert_eq!((&line["uid"], &line["pod"]), (&json!(uid), &json!(format!("{}/web", corner.namespace))), "{line}");
    }
    let of_calls: Vec<&&Value> = about.iter().filter(|line| line["target"] == "plugin").collect();
    assert!(!of_calls.is_empty(), "the mock says when it makes and removes a workload");
    for line in of_calls {
        assert_eq!(line["generation"], 1, "{line}");
        assert!(line["call"].is_u64() && line["operation"].is_string() && line["plugin"] == "mock", "{line}");
    }
    let trapped =
        about.iter().find(|line| message(line) == "a call did not end by itself").context("the trap is told")?;
    assert_eq!((&trapped["operation"], &trapped["reason"]), (&json!("create-pod"), &json!("PluginTrapped")));
    Ok(())
}

fn message(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}

#[test]
fn manual_completions_and_compatibility_are_printed() -> Result<()> {
    let table: [(&[&str], &str); 3] = [
        (&["man"], ".TH vk-host 8"),
        (&["completions", "bash"], "complete -F"),
        (&["compatibility"], "--pod-sync-workers"),
    ];
    for (words, says) in table {
        let output = words_alone(words)?.output()?;
        let text = String::from_utf8(output.stdout)?;
        assert!(output.status.success() && text.contains(says), "{words:?}: {text}");
        // As `| head` leaves it.
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = words_alone(words)?.stdout(writer).output()?;
        let text = String::from_utf8(output.stderr)?;
        assert!(output.status.code() == Some(1) && text.starts_with("vk-host: "), "{words:?}: {text}");
    }
    Ok(())
}

/// The program with these words and nothing of the developer's own environment.
fn words_alone(words: &[&str]) -> Result<Command> {
    let mut command = Command::new(host::program()?);
    command.args(words);
    host::isolate(&mut command);
    Ok(command)
}

/// Kubernetes sets KUBELET_PORT like this beside a Service of the name `kubelet`.
#[test]
fn a_variable_is_named_where_it_is_wrong_and_nothing_elsewhere() -> Result<()> {
    let port = ("KUBELET_PORT", "tcp://1.2.3.4:10250");
    let output = words_alone(&["version"])?.env(port.0, port.1).output()?;
    assert!(output.status.success() && output.stdout.starts_with(b"vk-host "), "{output:?}");
    let output = words_alone(&["--plugin", "x"])?.env(port.0, port.1).output()?;
    let text = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(["--port", "$KUBELET_PORT", port.1].iter().all(|part| text.contains(part)), "{text}");
    // What is empty is not set: the first thing that is wrong is the plugin, or before it the kubeconfig.
    let empty = ["VKUBELET_POD_IP", "KUBELET_PORT", "APISERVER_CERT_LOCATION", "DEFAULT_NODE_NAME", "KUBE_DNS_IP"];
    let kubeconfig = ["--plugin", "x", "--kubeconfig", "/nowhere/kubeconfig", "--state-dir"];
    let state = shared_control_plane()?.dir().join("cli-empty");
    let output = words_alone(&kubeconfig)?.arg(state).envs(empty.map(|name| (name, ""))).output()?;
    let text = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(1) && text.contains("/nowhere/kubeconfig"), "{text}");
    Ok(())
}
