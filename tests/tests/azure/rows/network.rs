//! `ports`: a public address, and its name.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use vk_tests::cluster::eventually;

use super::container as of;
use crate::corner::{Ground, container};

/// Says something to whoever connects, again and again.
const GREET: &str = "while true; do echo hello | nc -l -p 8080; done";

/// A pod with ports and annotations.
fn pod(ground: &Ground, name: &str, ports: Value, annotations: Value) -> Value {
    let mut pod = ground.pod(name, container(GREET));
    pod["metadata"]["annotations"] = annotations;
    pod["spec"]["containers"][0]["ports"] = ports;
    pod
}

/// The address of a pod that runs; none: it has none.
async fn address(ground: &Ground, pod: &str) -> Result<Option<String>> {
    let pod = ground.corner.running(pod).await?;
    Ok(pod.status.and_then(|status| status.pod_ip))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn ports_are_those_of_a_public_address_where_the_pod_is_reached() -> Result<()> {
    let ground = Ground::new("ports").await?;
    let ports = json!([{"containerPort": 8080}, {"name": "other", "containerPort": 8081, "protocol": "TCP"}]);
    ground.corner.create(pod(&ground, "web", ports, json!({}))).await?;
    ground.corner.create(pod(&ground, "names", json!([{"containerPort": 5353, "protocol": "UDP"}]), json!({}))).await?;
    let address = address(&ground, "web").await?.context("no address")?;
    let group = ground.group("web").await?;
    let shown = &group["properties"]["ipAddress"];
    let ports = json!([{"port": 8080, "protocol": "TCP"}, {"port": 8081, "protocol": "TCP"}]);
    ensure!(shown["type"] == "Public" && shown["ports"] == ports && shown["ip"] == address, "{shown}");
    ensure!(of(&group, "main")["ports"] == ports, "{group}");
    let heard = eventually("the pod is reached", || async {
        let mut stream = TcpStream::connect((address.as_str(), 8080))?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
        stream.write_all(b"\n")?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard)?;
        Ok(Some(heard))
    })
    .await?;
    ensure!(&heard == b"hello");
    ground.corner.running("names").await?;
    let shown = ground.group("names").await?["properties"]["ipAddress"]["ports"].clone();
    ensure!(shown == json!([{"port": 5353, "protocol": "UDP"}]), "{shown}");
    ground.over(&["web", "names"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_public_address_has_a_name_if_the_pod_gives_it_one_and_is_left_out_if_it_wants_none() -> Result<()> {
    let ground = Ground::new("label").await?;
    let label = format!("vk-{}-{}", ground.corner.namespace, Timestamp::now().as_millisecond());
    let ports = json!([{"containerPort": 8080}]);
    let named = json!({"virtualkubelet.io/dnsnamelabel": label});
    let closed = json!({"virtual-kubelet.io/public-ip": "false"});
    ground.corner.create(pod(&ground, "named", ports.clone(), named)).await?;
    ground.corner.create(pod(&ground, "closed", ports, closed)).await?;
    ground.corner.create(pod(&ground, "none", json!([]), json!({}))).await?;
    ensure!(address(&ground, "named").await?.is_some());
    let shown = ground.group("named").await?["properties"]["ipAddress"].clone();
    let name = shown["fqdn"].as_str().unwrap_or_default();
    let is_fit = name.starts_with(&format!("{label}.")) && name.ends_with(".azurecontainer.io");
    ensure!(shown["dnsNameLabel"] == label && is_fit, "{shown}");
    for name in ["closed", "none"] {
        ground.corner.running(name).await?;
        let group = ground.group(name).await?;
        ensure!(group["properties"]["ipAddress"].is_null(), "{name}: {group}");
    }
    ensure!(of(&ground.group("closed").await?, "main")["ports"] == json!([{"port": 8080, "protocol": "TCP"}]));
    ground.over(&["named", "closed", "none"]).await
}
