//! What a pod's resolv.conf and hosts file say, and what it is called, DNS policy worked out.
//! (<https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>, kubernetes/pkg/kubelet/network/dns/dns.go)
//!
//! Where the kubelet would take over the machine's own resolv.conf the lists stay empty: what the backend has is meant.

use k8s_openapi::api::core::v1::PodSpec;

use super::{Node, Notice, Problem};
use crate::pods::object::PodObject;
use crate::provider::Network;

/// A pod name can be 253 characters, a host name 63.
const HOSTNAME: usize = 63;
/// What the kernel takes of a host name with its domain.
const FQDN: usize = 64;
/// What resolvers take (KEP-2595).
const NAMESERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_LINE: usize = 2048;
const SEARCH: usize = 253;

/// The network settings of a pod, and what was left out of them.
pub(super) fn network(pod: &PodObject, node: &Node) -> Result<(Network, Vec<Notice>), Problem> {
    let (hostname, domain) = names(pod, node)?;
    let mut network = Network { hostname, domain, hosts: hosts(&pod.spec), ..Network::default() };
    follow_policy(&mut network, pod, node);
    add_dns_config(&mut network, &pod.spec);
    let left_out = fit(&mut network);
    Ok((network, left_out))
}

/// The pod's host name and its own domain. (kubelet_pods.go, GeneratePodHostNameAndDomain)
fn names(pod: &PodObject, node: &Node) -> Result<(String, String), Problem> {
    let (spec, id) = (&pod.spec, pod.id());
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    if is_on_the_hosts_network(spec) {
        return Ok((String::new(), String::new()));
    }
    if let Some(name) = given(&spec.hostname_override) {
        return Ok((short(&name), String::new()));
    }
    let hostname = short(&given(&spec.hostname).unwrap_or(id.name));
    let Some(subdomain) = given(&spec.subdomain) else { return Ok((hostname, String::new())) };
    let domain = format!("{subdomain}.{}.svc.{}", id.namespace, node.cluster_domain);
    if !spec.set_hostname_as_fqdn.unwrap_or(false) {
        return Ok((hostname, domain));
    }
    let whole = format!("{hostname}.{domain}");
    if whole.len() > FQDN {
        let message = format!("{whole:?} is longer than the {FQDN} characters that a host name can have");
        return Err(Problem::Refused { field: "spec.setHostnameAsFQDN".into(), message });
    }
    Ok((whole, domain))
}

/// As much of a name as a host name can have.
fn short(name: &str) -> String {
    name.get(..HOSTNAME).map_or(name, |start| start.trim_end_matches(['-', '.'])).to_string()
}

fn is_on_the_hosts_network(spec: &PodSpec) -> bool {
    spec.host_network.unwrap_or(false)
}

fn hosts(spec: &PodSpec) -> Vec<(String, Vec<String>)> {
    let aliases = spec.host_aliases.iter().flatten();
    aliases.map(|alias| (alias.ip.clone(), alias.hostnames.clone().unwrap_or_default())).collect()
}

fn follow_policy(network: &mut Network, pod: &PodObject, node: &Node) {
    let asks_the_cluster = match pod.spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" | "Default" => false,
        // On the host's network it means Default.
        "ClusterFirst" => !is_on_the_hosts_network(&pod.spec),
        _ => true,
    };
    if !asks_the_cluster || node.cluster_dns.is_empty() {
        return;
    }
    network.nameservers.clone_from(&node.cluster_dns);
    network.options = vec!["ndots:5".into()];
    let domain = &node.cluster_domain;
    if !domain.is_empty() {
        let namespace = pod.id().namespace;
        network.searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    }
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
        network.options.push(match option.value.as_deref().filter(|value| !value.is_empty()) {
            Some(value) => format!("{name}:{value}"),
            None => name.clone(),
        });
    }
}

/// Leaves out what resolvers would not take, and says so.
fn fit(network: &mut Network) -> Vec<Notice> {
    let mut left_out = Vec::new();
    let mut notice = |message: String| left_out.push(Notice { reason: "DNSConfigForming", message });
    let Network { nameservers, searches, .. } = network;
    if nameservers.len() > NAMESERVERS {
        nameservers.truncate(NAMESERVERS);
        notice(format!("at most {NAMESERVERS} name servers are used; these are: {}", nameservers.join(" ")));
    }
    let wanted = searches.len();
    searches.truncate(SEARCHES);
    searches.retain(|search| search.len() <= SEARCH);
    while searches.join(" ").len() > SEARCH_LINE {
        searches.pop();
    }
    if searches.len() < wanted {
        notice(format!("not all search domains can be used; those that are: {}", searches.join(" ")));
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::object::tests::pod;
    use serde_json::{Value, json};

    fn resolved(name: &str, spec: Value) -> Result<(Network, Vec<Notice>), Problem> {
        let node =
            Node { cluster_dns: vec!["10.96.0.10".into()], cluster_domain: "cluster.local".into(), ..Node::default() };
        network(&pod(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})), &node)
    }

    fn of(spec: Value) -> Network {
        let (network, left_out) = resolved("web-0", spec).unwrap();
        assert!(left_out.is_empty(), "{left_out:?}");
        network
    }

    #[test]
    fn cluster_first_asks_the_cluster() {
        let network = of(json!({"subdomain": "web"}));
        assert_eq!(network.nameservers, ["10.96.0.10"]);
        assert_eq!(network.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!(network.options, ["ndots:5"]);
    }

    #[test]
    fn none_takes_the_config_alone_and_others_append_it() {
        let options = json!([{"name": "ndots", "value": "2"}, {"name": "edns0"}, {"name": "rotate", "value": ""}]);
        let config = json!({"nameservers": ["1.1.1.1"], "searches": ["x"], "options": options});
        let none = of(json!({"dnsPolicy": "None", "dnsConfig": config}));
        assert_eq!(none.nameservers, ["1.1.1.1"]);
        assert_eq!(none.options, ["ndots:2", "edns0", "rotate"]);
        let first = of(json!({"dnsConfig": config}));
        assert_eq!(first.nameservers, ["10.96.0.10", "1.1.1.1"]);
        assert_eq!(first.options, ["ndots:2", "edns0", "rotate"]);
    }

    #[test]
    fn default_and_host_network_leave_it_to_the_backend() {
        assert!(of(json!({"dnsPolicy": "Default"})).nameservers.is_empty());
        let on_host = of(json!({"hostNetwork": true, "hostname": "own", "subdomain": "web"}));
        assert!(on_host.nameservers.is_empty());
        assert_eq!((on_host.hostname.as_str(), on_host.domain.as_str()), ("", ""));
        assert_eq!(
            of(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})).nameservers,
            ["10.96.0.10"]
        );
    }

    #[test]
    fn a_pod_is_called_as_its_spec_says() {
        let (long, cut) = ("a".repeat(62) + "-b", "a".repeat(62));
        let table = [
            ("web-0", json!({}), "web-0", ""),
            ("web-0", json!({"hostname": "own"}), "own", ""),
            ("web-0", json!({"subdomain": "web"}), "web-0", "web.shop.svc.cluster.local"),
            ("web-0", json!({"hostname": "own", "setHostnameAsFQDN": true}), "own", ""),
            (
                "web-0",
                json!({"subdomain": "web", "setHostnameAsFQDN": true}),
                "web-0.web.shop.svc.cluster.local",
                "web.shop.svc.cluster.local",
            ),
            ("web-0", json!({"hostnameOverride": "other.example", "subdomain": "web"}), "other.example", ""),
            (long.as_str(), json!({}), cut.as_str(), ""),
        ];
        for (name, spec, hostname, domain) in table {
            let (network, _) = resolved(name, spec.clone()).unwrap();
            assert_eq!((network.hostname.as_str(), network.domain.as_str()), (hostname, domain), "{spec}");
        }
        let problem = resolved(&"a".repeat(40), json!({"subdomain": "web", "setHostnameAsFQDN": true})).err().unwrap();
        assert!(matches!(&problem, Problem::Refused { field, .. } if field == "spec.setHostnameAsFQDN"), "{problem}");
    }

    #[test]
    fn what_no_resolver_takes_is_left_out_and_told() {
        let config = |nameservers: Vec<String>, searches: Vec<String>| {
            let config = json!({"nameservers": nameservers, "searches": searches});
            resolved("web-0", json!({"dnsPolicy": "None", "dnsConfig": config})).unwrap()
        };
        let numbered = |count: usize, width: usize| (0..count).map(|number| format!("{number:0width$}")).collect();
        let (network, left_out) = config(numbered(4, 1), Vec::new());
        assert_eq!(network.nameservers, ["0", "1", "2"]);
        assert_eq!(left_out.iter().map(|notice| notice.reason).collect::<Vec<_>>(), ["DNSConfigForming"]);
        let table: [(Vec<String>, usize); 5] = [
            (numbered(32, 3), 32),
            (numbered(33, 3), 32),
            (numbered(8, 253), 8),
            (numbered(9, 253), 8),
            (vec!["a".repeat(254), "b".into()], 1),
        ];
        for (searches, kept) in table {
            let wanted = searches.len();
            let (network, left_out) = config(Vec::new(), searches);
            assert_eq!((network.searches.len(), left_out.len()), (kept, usize::from(kept < wanted)), "{wanted}");
        }
    }

    #[test]
    fn host_aliases_are_lines_of_the_hosts_file() {
        let aliases = json!([{"ip": "10.1.1.1", "hostnames": ["a", "b"]}, {"ip": "10.1.1.2"}]);
        let expected = [("10.1.1.1".to_string(), vec!["a".to_string(), "b".into()]), ("10.1.1.2".into(), vec![])];
        assert_eq!(of(json!({"hostAliases": aliases})).hosts, expected);
    }
}
