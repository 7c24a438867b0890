//! A subnet, `dnsPolicy`, `dnsConfig`: a fake has no networks, and takes any. What names are resolved with is real.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::subnet_path;
use crate::corner::{Ground, container};

const SUBNET: &str = "microsoft.containerinstance.virtualnode.subnets.primary";
const DNS: &str = "microsoft.containerinstance.virtualnode.injectdns";

/// A pod that shows whom it asks for names.
fn pod(ground: &Ground, name: &str, annotations: Value, spec: Value) -> Value {
    let mut pod = ground.pod(name, container("cat /etc/resolv.conf"));
    pod["metadata"]["annotations"] = annotations;
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

/// Lines of `resolv.conf` with this word in front.
fn said(log: &str, word: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_in_a_subnet_asks_the_clusters_name_servers_or_its_own() -> Result<()> {
    let ground = Ground::with("subnet", |setup| {
        setup.provider.push_str(&format!("subnet = {:?}\n", subnet_path("aci")));
        setup.flags.extend(["--cluster-dns".to_owned(), "10.0.0.10".to_owned()]);
    })
    .await?;
    let corner = &ground.corner;
    let own = json!({"nameservers": ["10.9.9.9"], "searches": ["example.test"], "options": [{"name": "ndots", "value": "2"}]});
    let mut ports = pod(&ground, "cluster", json!({}), json!({}));
    ports["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    for pod in [
        ports,
        pod(&ground, "own", json!({}), json!({"dnsPolicy": "None", "dnsConfig": own})),
        pod(&ground, "azures", json!({DNS: "false", SUBNET: subnet_path("other")}), json!({})),
    ] {
        corner.create(pod).await?;
    }
    let space = &corner.namespace;
    let cluster = ground.last_words("cluster").await?;
    ensure!(said(&cluster, "nameserver") == ["10.0.0.10"], "{cluster}");
    let searches = said(&cluster, "search").join(" ");
    ensure!(searches.starts_with(&format!("{space}.svc.cluster.local svc.cluster.local cluster.local")), "{cluster}");
    ensure!(said(&cluster, "options").iter().any(|options| options.contains("ndots:5")), "{cluster}");
    let own = ground.last_words("own").await?;
    let lines = [said(&own, "nameserver"), said(&own, "search"), said(&own, "options")].concat();
    ensure!(lines == ["10.9.9.9", "example.test", "ndots:2"], "{own}");
    ground.last_words("azures").await?;
    for (pod, expected, has_dns) in [("cluster", "aci", true), ("own", "aci", true), ("azures", "other", false)] {
        let group = ground.group(pod).await?;
        let of = &group["properties"];
        ensure!(of["subnetIds"] == json!([{"id": subnet_path(expected)}]), "{pod}: {}", of["subnetIds"]);
        ensure!(of["ipAddress"]["type"] == "Private", "{pod}: {}", of["ipAddress"]);
        ensure!(of["dnsConfig"].is_object() == has_dns, "{pod}: {}", of["dnsConfig"]);
    }
    ground.over(&["cluster", "own", "azures"]).await
}
