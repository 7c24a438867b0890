//! `kubectl top`, by way of the real metrics-server, on a control plane of the test's own: a metrics-server reads every node.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, eventually, own_control_plane};
use vk_tests::control_plane::succeed;
use vk_tests::metrics_server::MetricsServer;

use crate::auth::open_request;
use crate::endpoints::{Kubelet, measured};

/// Thousandths of a core by which a figure may be off: the mock's clock has milliseconds, and kubectl rounds up.
const ROUNDING: u64 = 2;
/// What the host itself may use at most while it has nothing to do, in thousandths of a core.
const IDLE: u64 = 200;

/// The lines that `kubectl top` prints, as words.
fn top(corner: &Corner<'_>, arguments: &[&str]) -> Result<Vec<Vec<String>>> {
    let arguments = [&["top"], arguments, &["--no-headers"]].concat();
    let said = String::from_utf8(succeed(&mut corner.control_plane.kubectl(&arguments))?.stdout)?;
    Ok(said.lines().map(|line| line.split_whitespace().map(str::to_string).collect()).collect())
}

/// Such as 102 of `102m` or `102Mi`.
fn number(text: &str, unit: &str) -> Result<u64> {
    let digits = text.strip_suffix(unit).with_context(|| format!("{text} is not in {unit}"))?;
    Ok(digits.parse()?)
}

#[tokio::test]
async fn kubectl_top_shows_what_pods_and_node_use() -> Result<()> {
    let control_plane = own_control_plane("metrics-server", &[MetricsServer::NEEDS])?;
    let corner = Corner::on(&control_plane, "top", |config| config.flag("--rotate-server-certificates")).await?;
    // metrics-server trusts the cluster's authority and nobody else.
    let request = open_request(&corner).await?;
    succeed(&mut control_plane.kubectl(&["certificate", "approve", &request]))?;

    // Each container uses half of what it requests.
    corner.create(measured(&corner, "one")).await?;
    let mut two = measured(&corner, "two");
    let requests = json!({"requests": {"cpu": "400m", "memory": "128Mi"}});
    let second = json!({"name": "second", "image": "mock", "resources": requests});
    two["spec"]["containers"].as_array_mut().context("no containers")?.push(second);
    corner.create(two).await?;
    corner.running("one").await?;
    corner.running("two").await?;

    let server = MetricsServer::start(&control_plane)?;
    let all_there = eventually("metrics-server has figures of both pods and of the node", || async {
        for (path, count) in [("pods", 2), ("nodes", 1)] {
            let get = http::Request::get(format!("/apis/metrics.k8s.io/v1beta1/{path}")).body(Vec::new())?;
            let list: Value = corner.client.request(get).await?;
            let found = list["items"].as_array().map_or(0, Vec::len);
            ensure!(found == count, "{found} of {count} {path}");
        }
        Ok(Some(()))
    });
    all_there.await.with_context(|| server.log().unwrap_or_default())?;

    let mut found = BTreeMap::new();
    for line in top(&corner, &["pod", "-n", &corner.namespace, "--containers"])? {
        let [pod, container, cpu, memory] = line.as_slice() else { anyhow::bail!("{line:?}") };
        found.insert(format!("{pod}/{container}"), (number(cpu, "m")?, number(memory, "Mi")?));
    }
    let expected = [("one/main", 100, 32), ("two/main", 100, 32), ("two/second", 200, 64)];
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.map(|(name, _, _)| name));
    for (name, cpu, memory) in expected {
        let (found_cpu, found_memory) = found[name];
        assert!(found_cpu.abs_diff(cpu) <= ROUNDING && found_memory == memory, "{name}: {found:?}");
    }
    // The pod as a whole, which is the sum of its containers to metrics-server.
    let whole = top(&corner, &["pod", "two", "-n", &corner.namespace])?;
    let [line] = whole.as_slice() else { anyhow::bail!("{whole:?}") };
    assert!(number(&line[1], "m")?.abs_diff(300) <= ROUNDING && line[2] == "96Mi", "{line:?}");

    // The node: its pods and the host itself.
    let nodes = top(&corner, &["node", corner.host.node()])?;
    let [line] = nodes.as_slice() else { anyhow::bail!("{nodes:?}") };
    let cpu = number(&line[1], "m")?;
    assert!((400 - ROUNDING..=400 + IDLE).contains(&cpu), "{line:?}");
    let summary = Kubelet::of(&corner).await?.json("/stats/summary").await?;
    let told = summary["node"]["memory"]["workingSetBytes"].as_u64().context("no memory")? >> 20;
    let memory = number(&line[3], "Mi")?;
    // The host's own memory breathes, that of the pods does not.
    assert!(memory > 128 && memory.abs_diff(told) < 32, "{line:?}, the host says {told}Mi");
    Ok(())
}
