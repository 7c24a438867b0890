//! The kubelet API as the API server, metrics-server and Prometheus read it: each path with the API server's own client
//! certificate.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, eventually};
use vk_tests::control_plane::ControlPlane;

/// A client of a node's kubelet API.
pub(crate) struct Kubelet {
    client: reqwest::Client,
    base: String,
}

impl Kubelet {
    pub(crate) async fn of(corner: &Corner<'_>) -> Result<Self> {
        let node = corner.node_ready().await?;
        let endpoint = node.status.and_then(|s| s.daemon_endpoints).and_then(|d| d.kubelet_endpoint);
        let port = endpoint.context("no kubelet endpoint")?.port;
        let credentials = corner.control_plane.issue(&ControlPlane::kubelet_client())?;
        let pem = [std::fs::read(credentials.certificate)?, std::fs::read(credentials.key)?].concat();
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true);
        let client = client.identity(reqwest::Identity::from_pem(&pem)?).build()?;
        Ok(Self { client, base: format!("https://127.0.0.1:{port}") })
    }

    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    pub(crate) async fn ok(&self, path: &str) -> Result<String> {
        let (status, text) = self.get(path).await?;
        anyhow::ensure!(status == 200, "{path}: {status} {text}");
        Ok(text)
    }

    pub(crate) async fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.ok(path).await?)?)
    }

    async fn samples(&self, path: &str) -> Result<Vec<Sample>> {
        self.ok(path).await?.lines().filter(|line| !line.starts_with('#')).map(Sample::parse).collect()
    }
}

/// A line of Prometheus' text formats.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
    time_ms: Option<i64>,
}

impl Sample {
    /// Labels in any order, as metrics-server takes them.
    fn parse(line: &str) -> Result<Self> {
        let series_end = line.rfind('}').map_or_else(|| line.find(' '), |at| Some(at + 1));
        let (series, rest) = line.split_at(series_end.with_context(|| format!("no sample: {line}"))?);
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
        let label = |text: &str| {
            let (name, value) = text.split_once("=\"").with_context(|| format!("no label: {text} of {line}"))?;
            Ok((name.to_string(), value.trim_end_matches('"').to_string()))
        };
        let mut rest = rest.split_whitespace();
        let value = rest.next().with_context(|| format!("no value: {line}"))?.parse()?;
        let labels = labels.map(label).collect::<Result<_>>()?;
        Ok(Self { name: name.into(), labels, value, time_ms: rest.next().map(str::parse).transpose()? })
    }

    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name
            && labels.iter().all(|(label, value)| self.labels.get(*label).is_some_and(|found| found == value))
    }
}

/// The one sample of this name with these labels among others.
fn find<'a>(samples: &'a [Sample], name: &str, labels: &[(&str, &str)]) -> Result<&'a Sample> {
    let mut found = samples.iter().filter(|sample| sample.is(name, labels));
    let first = found.next().with_context(|| format!("no {name} {labels:?} among {samples:?}"))?;
    anyhow::ensure!(found.next().is_none(), "more than one {name} {labels:?}");
    Ok(first)
}

fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.iter().filter(|sample| sample.is(name, labels)).map(|sample| sample.value).sum()
}

/// A pod of one container, which the mock lets use half of its request: a tenth of a core, 32 MiB.
pub(crate) fn measured(corner: &Corner<'_>, name: &str) -> Value {
    let mut pod = corner.pod(name, json!({}));
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "200m", "memory": "64Mi"}});
    pod
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|pod| pod["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn pods_are_listed_as_the_api_server_has_them() -> Result<()> {
    let corner = Corner::new("endpoints-pods").await?;
    let kubelet = Kubelet::of(&corner).await?;
    assert_eq!(kubelet.json("/pods").await?["items"], json!([]), "an empty node has a list, and nothing in it");
    corner.create(corner.pod("b", json!({}))).await?;
    corner.create(corner.pod("a", json!({"start-after": "10m"}))).await?;
    corner.running("b").await?;
    let url = format!("/api/v1/namespaces/{}/pods", corner.namespace);
    // Parsed by nothing that could drop a field.
    let expected = || async {
        let mut list: Value = corner.client.request(http::Request::get(&url).body(Vec::new())?).await?;
        let items = list["items"].as_array_mut().context("no items")?;
        for pod in &mut *items {
            pod["kind"] = json!("Pod");
            pod["apiVersion"] = json!("v1");
            pod["metadata"].as_object_mut().context("no metadata")?.remove("managedFields");
        }
        anyhow::Ok(std::mem::take(items))
    };
    let list = eventually("the list is the API server's", || async {
        let list = kubelet.json("/pods").await?;
        Ok((list["items"].as_array() == Some(&expected().await?)).then_some(list))
    })
    .await?;
    assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("PodList"), Some("v1")));
    assert_eq!(names(&list), ["a", "b"]);
    for path in ["/runningpods/", "/runningpods"] {
        let running = kubelet.json(path).await?;
        assert_eq!(names(&running), ["b"], "a waits for its backend: {running}");
        let typed: Vec<Pod> = serde_json::from_value(running["items"].clone())?;
        assert_eq!(typed.len(), 1);
    }
    corner.delete("b", Some(0)).await?;
    corner.gone("b").await?;
    eventually("the list is without the pod that is gone", || async {
        Ok((names(&kubelet.json("/pods").await?) == ["a"]).then_some(()))
    })
    .await
}

#[tokio::test]
async fn the_summary_tells_what_pods_use() -> Result<()> {
    let corner = Corner::new("endpoints-summary").await?;
    let kubelet = Kubelet::of(&corner).await?;
    corner.create(measured(&corner, "web")).await?;
    let pod = corner.running("web").await?;
    let gather = || async {
        let summary = kubelet.json("/stats/summary").await?;
        let cpu = summary["pods"][0]["cpu"]["usageNanoCores"].as_u64();
        Ok(cpu.is_some_and(|cpu| cpu > 0).then_some(summary))
    };
    let summary = eventually("a second look tells a rate", gather).await?;
    let node = &summary["node"];
    assert_eq!(node["nodeName"].as_str(), Some(corner.host.node()));
    for (section, field) in [("cpu", "usageCoreNanoSeconds"), ("memory", "workingSetBytes"), ("memory", "rssBytes")] {
        assert!(node[section][field].as_u64().is_some_and(|value| value > 0), "{section}.{field}: {node}");
    }
    assert!(node["memory"]["workingSetBytes"].as_u64() > Some(32 << 20), "the pod and the host itself: {node}");
    let [stats] = summary["pods"].as_array().context("no pods")?.as_slice() else { panic!("{summary}") };
    let uid = pod.metadata.uid.context("no uid")?;
    assert_eq!(stats["podRef"], json!({"name": "web", "namespace": corner.namespace, "uid": uid}));
    let container = &stats["containers"][0];
    assert_eq!(container["name"], "main");
    let status = pod.status.and_then(|status| status.container_statuses).and_then(|list| list.into_iter().next());
    let started = status.and_then(|status| status.state).and_then(|state| state.running).and_then(|it| it.started_at);
    assert_eq!(container["startTime"], serde_json::to_value(started.context("not started")?)?);
    assert_eq!(container["memory"]["workingSetBytes"], json!(32 << 20));
    // The mock's clock has milliseconds, so that the rate is not exactly a tenth of a core.
    let rate = container["cpu"]["usageNanoCores"].as_u64().context("no rate")?;
    assert!((80_000_000..=120_000_000).contains(&rate), "{container}");
    for field in ["rxBytes", "txBytes", "name", "interfaces", "time"] {
        assert!(!stats["network"][field].is_null(), "{field}: {stats}");
    }
    let small = kubelet.json("/stats/summary?only_cpu_and_memory=true").await?;
    let stats = small["pods"][0].as_object().context("no pod")?;
    assert!(stats.contains_key("cpu") && stats.contains_key("memory") && !stats.contains_key("network"), "{small}");
    Ok(())
}

#[tokio::test]
async fn metrics_server_gets_what_it_needs() -> Result<()> {
    let corner = Corner::new("endpoints-resource").await?;
    let kubelet = Kubelet::of(&corner).await?;
    let idle = kubelet.samples("/metrics/resource").await?;
    for name in ["node_cpu_usage_seconds_total", "node_memory_working_set_bytes"] {
        assert!(find(&idle, name, &[])?.value > 0.0, "a node of 0 is dropped, also if it has no pods");
    }
    corner.create(measured(&corner, "web")).await?;
    let pod = corner.running("web").await?;
    let of_container = [("container", "main"), ("pod", "web"), ("namespace", corner.namespace.as_str())];
    let scrape = || async {
        let samples = kubelet.samples("/metrics/resource").await?;
        let cpu = find(&samples, "container_cpu_usage_seconds_total", &of_container)?;
        let (value, time_ms) = (cpu.value, cpu.time_ms.context("a sample without time")?);
        anyhow::Ok((samples, value, time_ms))
    };
    let (first, first_cpu, first_time) = eventually("the container is there", || async {
        let scraped = scrape().await?;
        Ok((scraped.1 > 0.0).then_some(scraped))
    })
    .await?;
    let (second, second_cpu, second_time) = eventually("a second has gone by", || async {
        let scraped = scrape().await?;
        Ok((scraped.2 >= first_time + 1000).then_some(scraped))
    })
    .await?;
    let rate = (second_cpu - first_cpu) / (second_time - first_time) as f64 * 1000.0;
    assert!((0.09..=0.11).contains(&rate), "half of the request is a tenth of a core: {rate}");
    let node_cpu = |samples: &[Sample]| anyhow::Ok(find(samples, "node_cpu_usage_seconds_total", &[])?.value);
    assert!(node_cpu(&second)? > node_cpu(&first)?);
    assert_eq!(find(&second, "container_memory_working_set_bytes", &of_container)?.value, f64::from(32 << 20));
    let start = find(&second, "container_start_time_seconds", &of_container)?.value;
    let created = pod.metadata.creation_timestamp.context("no creation time")?.0.as_second() as f64;
    assert!((created..created + 120.0).contains(&start), "{start} {created}");
    let of_pod = [("pod", "web"), ("namespace", corner.namespace.as_str())];
    for name in ["pod_cpu_usage_seconds_total", "pod_memory_working_set_bytes"] {
        assert!(find(&second, name, &of_pod)?.value > 0.0, "{name}");
    }
    for name in ["resource_scrape_error", "scrape_error"] {
        assert_eq!(find(&second, name, &[])?.value, 0.0, "{name}");
    }
    // What the pod has used was used: a counter does not fall with it.
    corner.delete("web", Some(0)).await?;
    corner.gone("web").await?;
    let after = eventually("the pod's series are gone", || async {
        let samples = kubelet.samples("/metrics/resource").await?;
        Ok((!samples.iter().any(|sample| sample.labels.contains_key("pod"))).then_some(samples))
    })
    .await?;
    assert!(node_cpu(&after)? >= node_cpu(&second)?);
    Ok(())
}

#[tokio::test]
async fn the_host_s_own_metrics_count_what_happens() -> Result<()> {
    let corner = Corner::new("endpoints-metrics").await?;
    let kubelet = Kubelet::of(&corner).await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.create(corner.pod("waits", json!({"start-after": "10m"}))).await?;
    corner.create(corner.pod("traps", json!({"create-fault": "trap times=1"}))).await?;
    corner.running("web").await?;
    corner.running("traps").await?;
    let writes = [("method", "PATCH"), ("resource", "pods"), ("subresource", "status"), ("code", "200")];
    let of_method = [("method", "create_pod")];
    // Each is counted when it is over, and not all at once.
    let samples = eventually("all is counted", || async {
        let samples = kubelet.samples("/metrics").await?;
        let count = |name, labels: &[(&str, &str)]| sum(&samples, name, labels);
        let creates = |code| count("vk_provider_calls_total", &[("method", "create_pod"), ("code", code)]);
        let all = count("vk_pods", &[("phase", "Running")]) == 2.0
            && count("vk_pods", &[("phase", "Pending")]) == 1.0
            && count("kubelet_pod_start_duration_seconds_count", &[]) == 2.0
            && creates("OK") >= 3.0
            && creates("Internal") >= 1.0
            && count("vk_provider_call_duration_seconds_count", &of_method) >= 4.0
            && count("vk_provider_calls_in_flight", &of_method) == 0.0
            && count("vk_plugin_calls_cut_total", &[("reason", "PluginTrapped")]) >= 1.0
            && count("rest_client_requests_total", &writes) >= 2.0;
        Ok(all.then_some(samples))
    })
    .await?;
    assert_eq!(find(&samples, "vk_pods", &[("phase", "Failed")])?.value, 0.0);
    assert_eq!(find(&samples, "vk_provider_calls_in_flight", &of_method)?.value, 0.0);
    assert!(find(&samples, "vk_lease_renewal_age_seconds", &[])?.value < 40.0);
    assert_eq!(find(&samples, "vk_build_info", &[("provider", "mock")])?.value, 1.0);
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"] {
        assert!(find(&samples, name, &[])?.value > 0.0, "{name}");
    }
    let text = kubelet.ok("/metrics").await?;
    assert!(text.ends_with("# EOF\n") && !text.contains("waits"), "whole, and without the names of pods");
    // With a grace: without one the API server removes the pod by itself.
    corner.delete("web", None).await?;
    corner.gone("web").await?;
    let deletes = [("method", "DELETE"), ("resource", "pods")];
    eventually("the delete is counted", || async {
        Ok((sum(&kubelet.samples("/metrics").await?, "rest_client_requests_total", &deletes) >= 1.0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn health_and_configuration_are_told() -> Result<()> {
    let corner = Corner::with("endpoints-about", |config| config.flag("--not-ready-after").flag("90s")).await?;
    let kubelet = Kubelet::of(&corner).await?;
    assert_eq!(kubelet.ok("/healthz").await?, "ok");
    assert_eq!(kubelet.ok("/healthz/lease").await?, "ok");
    let verbose = kubelet.ok("/healthz?verbose").await?;
    assert!(verbose.contains("[+]lease ok\n") && verbose.ends_with("healthz check passed\n"), "{verbose}");
    let (status, text) = kubelet.get("/healthz/none").await?;
    assert!(status == 404 && text.contains("lease"), "{status} {text}");
    let configuration = kubelet.json("/configz").await?;
    let kubelet_part = &configuration["kubeletconfig"];
    assert!(kubelet.base.ends_with(&format!(":{}", kubelet_part["port"])), "the port that was taken: {kubelet_part}");
    assert_eq!(kubelet_part["clusterDomain"], "cluster.local");
    assert_eq!(kubelet_part["registerWithTaints"][0]["value"], "mock");
    let own_part = &configuration["vk-host"];
    assert_eq!(own_part["nodename"].as_str(), Some(corner.host.node()));
    assert_eq!(own_part["not-ready-after"], "90s");
    let key = std::fs::read_to_string(&corner.host.config().kubeconfig)?;
    let secret = key.lines().find_map(|line| line.trim().strip_prefix("client-key-data: ")).context("no key")?;
    assert!(!configuration.to_string().contains(secret));
    assert_eq!(own_part["provider"]["name"], "mock");
    Ok(())
}

#[tokio::test]
async fn what_is_not_served_says_so() -> Result<()> {
    let corner = Corner::new("endpoints-unserved").await?;
    corner.create(corner.pod("web", json!({}))).await?;
    corner.running("web").await?;
    let kubelet = Kubelet::of(&corner).await?;
    for (path, name) in [
        ("exec/NS/web/main?command=ls", "exec"),
        ("exec/NS/web/UID/main", "exec"),
        ("attach/NS/web/main", "attach"),
        ("portForward/NS/web", "port-forward"),
        ("run/NS/web/main", "run"),
        ("checkpoint/NS/web/main", "checkpoint"),
    ] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let request = kubelet.client.request(method.clone(), format!("{}/{path}", kubelet.base));
            let answer = request.send().await?;
            let (status, text) = (answer.status().as_u16(), answer.text().await?);
            assert!(status == 501 && text.starts_with(name) && text.contains("not served"), "{method} {path}: {text}");
        }
    }
    let exec = ["-n", &corner.namespace, "exec", "web", "--", "true"];
    let output = corner.control_plane.kubectl(&exec).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("exec is not served by this version"), "{text}");
    assert_eq!(kubelet.get("/nothing").await?.0, 404);
    Ok(())
}

#[tokio::test]
async fn log_options_are_checked_as_the_kubelet_does() -> Result<()> {
    let corner = Corner::new("endpoints-logs").await?;
    corner.create(corner.pod("web", json!({"log-lines": "5"}))).await?;
    corner.create(corner.pod("waits", json!({"start-after": "10m"}))).await?;
    corner.running("web").await?;
    corner.event("waits", "Created").await?;
    let kubelet = Kubelet::of(&corner).await?;
    let logs = |pod: &str, query: &str| format!("/containerLogs/{}/{pod}/main?{query}", corner.namespace);
    for (query, status, says) in [
        ("tailLines=-1", 422, "tailLines is -1"),
        ("tailLines=many", 400, "whole number"),
        ("limitBytes=0", 422, "at least 1"),
        ("sinceSeconds=0", 422, "sinceSeconds"),
        ("sinceTime=yesterday", 400, "RFC 3339"),
        ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", 422, "exclude"),
        ("stream=stdout", 422, "All, Stdout or Stderr"),
        ("stream=Stdout&tailLines=1", 422, "exclude"),
        ("previous=true", 400, "previous terminated container"),
    ] {
        let (found, text) = kubelet.get(&logs("web", query)).await?;
        assert!(found == status && text.contains(says), "{query}: {found} {text}");
    }
    let all = kubelet.ok(&logs("web", "")).await?;
    assert_eq!(all.lines().count(), 6, "{all}");
    assert_eq!(kubelet.ok(&logs("web", "tailLines=0")).await?, "");
    let last = all.lines().skip(4).map(|line| format!("{line}\n")).collect::<String>();
    for query in ["tailLines=2", "tail=2", "tailLines=2&follow=false&previous=0", "stream=All&tailLines=2"] {
        assert_eq!(kubelet.ok(&logs("web", query)).await?, last, "{query}");
    }
    assert_eq!(kubelet.ok(&logs("web", "tail=all&tailLines=1")).await?, all);
    // The mock writes to stdout alone.
    assert_eq!(kubelet.ok(&logs("web", "stream=Stdout")).await?, all);
    assert_eq!(kubelet.ok(&logs("web", "stream=Stderr")).await?, "");
    let (status, text) = kubelet.get(&logs("waits", "")).await?;
    assert!(status == 400 && text.contains("is waiting to start"), "{status} {text}");
    let (status, text) = kubelet.get(&logs("nobody", "")).await?;
    assert!(status == 404 && text.contains("nobody"), "{status} {text}");
    Ok(())
}
