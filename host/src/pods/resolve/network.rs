//! What a pod's resolv.conf and hosts file say, DNS policy worked out.
//! (<https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>)

use k8s_openapi::api::core::v1::PodSpec;

use super::Node;
use crate::pods::object::PodObject;
use crate::provider::Network;

/// A pod name can be 253 characters, a host name 63.
const HOSTNAME: usize = 63;

/// The network settings of a pod.
pub fn network(pod: &PodObject, node: &Node) -> Network {
    let spec = &pod.spec;
    let id = pod.id();
    let wanted = spec.hostname.clone().filter(|name| !name.is_empty()).unwrap_or(id.name);
    let hostname = wanted.get(..HOSTNAME).unwrap_or(&wanted).trim_end_matches(['-', '.']).to_string();
    let domain = spec.subdomain.as_deref().filter(|name| !name.is_empty());
    let mut network = Network {
        hostname,
        domain: domain.map(|sub| format!("{sub}.{}.svc.{}", id.namespace, node.cluster_domain)).unwrap_or_default(),
        hosts: hosts(spec),
        ..Network::default()
    };
    let host_network = spec.host_network.unwrap_or(false);
    match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" | "Default" => {}
        // On the host's network ClusterFirst means Default.
        "ClusterFirst" if host_network => {}
        _ if node.cluster_dns.is_empty() => {}
        _ => {
            network.nameservers = node.cluster_dns.clone();
            let domain = &node.cluster_domain;
            network.searches = vec![format!("{}.svc.{domain}", id.namespace), format!("svc.{domain}"), domain.clone()];
            network.options = vec!["ndots:5".into()];
        }
    }
    add_dns_config(&mut network, spec);
    network
}

fn hosts(spec: &PodSpec) -> Vec<(String, Vec<String>)> {
    let aliases = spec.host_aliases.iter().flatten();
    aliases.map(|alias| (alias.ip.clone(), alias.hostnames.clone().unwrap_or_default())).collect()
}

/// `dnsConfig` is appended to what the policy gives; a later option of the same name replaces the earlier one.
fn add_dns_config(network: &mut Network, spec: &PodSpec) {
    let Some(config) = &spec.dns_config else { return };
    for (to, from) in [(&mut network.nameservers, &config.nameservers), (&mut network.searches, &config.searches)] {
        for entry in from.iter().flatten() {
            if !to.contains(entry) {
                to.push(entry.clone());
            }
        }
    }
    for option in config.options.iter().flatten() {
        let Some(name) = &option.name else { continue };
        network.options.retain(|existing| existing.split(':').next() != Some(name.as_str()));
        network.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::object::tests::pod;
    use serde_json::json;

    fn of(spec: serde_json::Value) -> Network {
        let node =
            Node { cluster_dns: vec!["10.96.0.10".into()], cluster_domain: "cluster.local".into(), ..Node::default() };
        network(&pod(json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec})), &node)
    }

    #[test]
    fn cluster_first_asks_the_cluster() {
        let network = of(json!({"subdomain": "web"}));
        assert_eq!(network.hostname, "web-0");
        assert_eq!(network.domain, "web.shop.svc.cluster.local");
        assert_eq!(network.nameservers, ["10.96.0.10"]);
        assert_eq!(network.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!(network.options, ["ndots:5"]);
    }

    #[test]
    fn none_takes_the_config_alone_and_others_append_it() {
        let config = json!({"nameservers": ["1.1.1.1"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        let none = of(json!({"dnsPolicy": "None", "dnsConfig": config}));
        assert_eq!(
            (none.nameservers.as_slice(), none.options.as_slice()),
            (["1.1.1.1".to_string()].as_slice(), ["ndots:2".to_string(), "edns0".into()].as_slice())
        );
        let first = of(json!({"dnsConfig": config}));
        assert_eq!(first.nameservers, ["10.96.0.10", "1.1.1.1"]);
        assert_eq!(first.options, ["ndots:2", "edns0"]);
    }

    #[test]
    fn default_and_host_network_leave_it_to_the_backend() {
        assert!(of(json!({"dnsPolicy": "Default"})).nameservers.is_empty());
        assert!(of(json!({"hostNetwork": true})).nameservers.is_empty());
        assert_eq!(
            of(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})).nameservers,
            ["10.96.0.10"]
        );
    }
}
