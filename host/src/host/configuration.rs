//! The configuration that is in force, for `/configz`: what the kubelet has too under the kubelet's own names, and all of it under
//! those of the flags. Files are told by path, never by what they hold.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Config, TaintConfig};
use crate::defaults::node::{LEASE_DURATION, LEASE_RENEWAL, STATUS_REPORT};
use crate::kubelet::serving::Serving;
use crate::node::taint::Taint;
use crate::plugin::grants::{Endpoint, Grants};
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
            "grants": grants(&config.grants),
            "endpoints": endpoints(&config.grants),
            "tls": {"certificate-authorities": paths(&config.grants.certificate_authorities)},
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

/// As the file of `--config` has them, flags included. Of variables and files there are the names.
fn grants(grants: &Grants) -> Value {
    let Grants { http, upgrade, connect, environment, files, addresses, endpoints: _, certificate_authorities: _ } =
        grants;
    let [http, upgrade, connect] = [http, upgrade, connect].map(|patterns| texts(patterns));
    json!({
        "http": http,
        "upgrade": upgrade,
        "connect": connect,
        "environment": environment,
        "file": paths(files),
        "addresses": texts(addresses),
    })
}

fn endpoints(grants: &Grants) -> Value {
    let show = |Endpoint { url, certificate_authority, client_certificate, client_key }: &Endpoint| {
        json!({
            "url": url.to_string(),
            "certificate-authority": certificate_authority.as_deref().map(path),
            "client-certificate": client_certificate.as_deref().map(path),
            "client-key": client_key.as_deref().map(path),
        })
    };
    grants.endpoints.iter().map(|(name, endpoint)| (name.clone(), show(endpoint))).collect()
}

fn paths(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|file| path(file)).collect()
}

fn texts(items: &[impl ToString]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::grants::{Grant, Named};

    #[test]
    fn grants_are_shown_as_they_are_written() {
        let mut granted = Grants::default();
        for text in ["http=http://10.0.0.7", "environment=ACI_*", "file=/etc/x", "addresses=10.0.0.0/8"] {
            granted.add(text.parse::<Grant>().unwrap());
        }
        let Named { name, url } = "engine=https://engine.corp.example:2376".parse().unwrap();
        let engine = Endpoint { client_key: Some("/etc/vk/key.pem".into()), ..url.into() };
        granted.endpoints.insert(name, engine);
        let shown = grants(&granted);
        assert_eq!(shown["http"], json!(["http://10.0.0.7:80"]));
        assert_eq!(shown["environment"], json!(["ACI_*"]));
        assert_eq!((&shown["file"], &shown["addresses"]), (&json!(["/etc/x"]), &json!(["10.0.0.0/8"])));
        let engine = &endpoints(&granted)["engine"];
        assert_eq!(engine["url"], "https://engine.corp.example:2376");
        assert_eq!((&engine["client-key"], &engine["client-certificate"]), (&json!("/etc/vk/key.pem"), &Value::Null));
    }
}
