//! `GET /stats/summary`: stats/v1alpha1 Summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1). What the provider does not tell is left out.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::{Figure, Figures, PodFigures, gather, refuse, timestamp};
use crate::kubelet::{Api, refusal};

/// What cAdvisor calls the one interface of a pod; providers tell no name.
const INTERFACE: &str = "eth0";

#[derive(Serialize)]
struct Summary {
    node: NodeStats,
    pods: Vec<PodStats>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStats {
    node_name: String,
    start_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<CpuStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryStats>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodReference,
    start_time: Time,
    containers: Vec<ContainerStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<CpuStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<NetworkStats>,
    #[serde(rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    ephemeral_storage: Option<FsStats>,
}

#[derive(Serialize)]
struct PodReference {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStats {
    name: String,
    start_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<CpuStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<MemoryStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rootfs: Option<FsStats>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuStats {
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_nano_cores: Option<u64>,
    usage_core_nano_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryStats {
    time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_set_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_bytes: Option<u64>,
}

/// The one interface, and the list of all: the same.
#[derive(Serialize)]
struct NetworkStats {
    time: Time,
    #[serde(flatten)]
    interface: InterfaceStats,
    interfaces: [InterfaceStats; 1],
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct InterfaceStats {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FsStats {
    time: Time,
    used_bytes: u64,
}

/// With `only_cpu_and_memory=true` the rest is left out, as the kubelet does it.
pub(in crate::kubelet) async fn serve(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    if let Some(refused) = refuse(&api) {
        return refused;
    }
    let only = query.is_some_and(|query| query.split('&').any(|part| part == "only_cpu_and_memory=true"));
    match gather(&api).await {
        Ok(figures) => Json(Summary::new(&api.node, api.about.started, figures, !only)).into_response(),
        Err(error) => refusal::answer(&error),
    }
}

impl Summary {
    fn new(node_name: &str, started: Timestamp, Figures { node, pods }: Figures, all: bool) -> Self {
        let started = node.usage.started_ms.map_or(started, timestamp);
        Self {
            node: NodeStats {
                node_name: node_name.to_string(),
                start_time: Time(started),
                cpu: cpu(&node),
                memory: memory(&node),
            },
            pods: pods.into_iter().map(|pod| PodStats::new(pod, all)).collect(),
        }
    }
}

impl PodStats {
    fn new(PodFigures { id, started, whole, containers }: PodFigures, all: bool) -> Self {
        let container = |(name, figure): (String, Figure)| ContainerStats {
            name,
            start_time: Time(figure.usage.started_ms.map_or(started, timestamp)),
            cpu: cpu(&figure),
            memory: memory(&figure),
            rootfs: if all { filesystem(&figure) } else { None },
        };
        Self {
            pod_ref: PodReference { name: id.name, namespace: id.namespace, uid: id.uid },
            start_time: Time(started),
            containers: containers.into_iter().map(container).collect(),
            cpu: cpu(&whole),
            memory: memory(&whole),
            network: if all { network(&whole) } else { None },
            ephemeral_storage: if all { filesystem(&whole) } else { None },
        }
    }
}

fn time(figure: &Figure) -> Time {
    Time(timestamp(figure.usage.time_ms))
}

fn cpu(figure: &Figure) -> Option<CpuStats> {
    figure.usage.cpu_nanoseconds.map(|usage_core_nano_seconds| CpuStats {
        time: time(figure),
        usage_nano_cores: figure.nano_cores,
        usage_core_nano_seconds,
    })
}

fn memory(figure: &Figure) -> Option<MemoryStats> {
    let (working_set_bytes, rss_bytes) = (figure.usage.memory_working_set_bytes, figure.usage.memory_rss_bytes);
    let told = working_set_bytes.is_some() || rss_bytes.is_some();
    told.then(|| MemoryStats { time: time(figure), working_set_bytes, rss_bytes })
}

fn network(figure: &Figure) -> Option<NetworkStats> {
    let (rx_bytes, tx_bytes) = (figure.usage.network_received_bytes, figure.usage.network_sent_bytes);
    let interface = InterfaceStats { name: INTERFACE, rx_bytes, tx_bytes };
    let told = rx_bytes.is_some() || tx_bytes.is_some();
    told.then(|| NetworkStats { time: time(figure), interfaces: [interface.clone()], interface })
}

fn filesystem(figure: &Figure) -> Option<FsStats> {
    figure.usage.filesystem_used_bytes.map(|used_bytes| FsStats { time: time(figure), used_bytes })
}
