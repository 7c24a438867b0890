//! The configuration that is in force, for `/configz`: what the kubelet has too under the kubelet's own names, and all of it under
//! those of the flags. Files are told by path, never by what they hold.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Config, TaintConfig};
use crate::defaults::node::{LEASE_DURATION, LEASE_RENEWAL, STATUS_REPORT};
use crate::kubelet::serving::Serving;
use crate::node::taint::Taint;
use crate::provider::Identity;

/// What the flags leave to be found out.
pub(super) struct Found<'a> {
    pub(super) cluster_id: &'a str,
    pub(super) internal_ip: IpAddr,
    /// That the kubelet API listens on.
    pub(super) port: u16,
    pub(super) provider: &'a Identity,
}

/// `kubeletconfig` is a KubeletConfiguration of kubelet.config.k8s.io/v1beta1, as the kubelet's own `/configz` has it.
pub(super) fn show(config: &Config, found: &Found<'_>) -> Value {
    let (certificate, key) = match &config.serving {
        Serving::Files { certificate, key } => (Some(certificate), Some(key)),
        Serving::Requested | Serving::SelfSigned => (None, None),
    };
    let (authentication, authorization) = (&config.access.authentication, &config.access.authorization);
    json!({
        "kubeletconfig": {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "enableServer": true,
            "address": config.listen.ip(),
            "port": found.port,
            "tlsCertFile": certificate,
            "tlsPrivateKeyFile": key,
            "serverTLSBootstrap": matches!(config.serving, Serving::Requested),
            "authentication": {
                "x509": {"clientCAFile": config.client_ca},
                "webhook": {"enabled": authentication.tokens, "cacheTTL": duration(authentication.token_ttl)},
                "anonymous": {"enabled": authentication.anonymous},
            },
            "authorization": {
                "mode": "Webhook",
                "webhook": {
                    "cacheAuthorizedTTL": duration(authorization.allowed_ttl),
                    "cacheUnauthorizedTTL": duration(authorization.denied_ttl),
                },
            },
            "clusterDomain": config.cluster_domain,
            "clusterDNS": config.cluster_dns,
            "nodeStatusReportFrequency": duration(STATUS_REPORT),
            "nodeLeaseDurationSeconds": LEASE_DURATION.as_secs(),
            "registerNode": true,
            "registerWithTaints": taints(&config.taint, &found.provider.name),
        },
        "vk-host": {
            // Filled in when it is shown: a swap changes it.
            "provider": null,
            "plugin": path(&config.plugin),
            "provider-config": config.provider_config,
            "kubeconfig": config.kubeconfig,
            "namespace": config.namespace,
            "cluster-id": found.cluster_id,
            "nodename": config.node_name,
            "os": config.operating_system,
            "internal-ip": found.internal_ip,
            "not-ready-after": config.not_ready_after.map(duration),
            "take-over": config.take_over,
            "startup-timeout": config.startup_timeout.map(duration),
            "state-dir": path(&config.state_dir),
            "cache-dir": path(&config.cache_dir),
            "lease-renewal": duration(LEASE_RENEWAL),
        },
    })
}

fn taints(config: &TaintConfig, provider: &str) -> Vec<Value> {
    let taints = config.clone().of(provider);
    taints
        .iter()
        .map(|Taint { key, value, effect }| json!({"key": key, "value": value, "effect": effect.name()}))
        .collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// As Go writes and reads it (metav1.Duration): whole milliseconds.
fn duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}
