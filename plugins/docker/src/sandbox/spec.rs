//! A pod as its sandbox's container.

use std::collections::BTreeMap;

use vk_engine::container::{ContainerSpec, Empty, HealthCheck, HostConfig, PortBinding};
use vk_provider::pod::Network;

use crate::context::Context;
use crate::labels::Labels;
use crate::manifest::{Port, Spec};
use crate::{pause, sysctls};

/// What the kernel takes, and engines with it.
const HOSTNAME: usize = 64;
/// The program's own: it has to put volumes in order that are root's.
const ROOT: &str = "0:0";
/// What a resolver does without any option. Without one an engine takes those of its machine.
const NO_OPTION: &str = "ndots:1";
/// No search domain. Without one an engine takes those of its machine.
const NO_SEARCH: &str = ".";

/// The container that holds a pod together.
pub(super) fn of(
    context: &Context,
    spec: &Spec,
    network: &Network,
    binds: Vec<String>,
    labels: Labels,
) -> ContainerSpec {
    let (exposed_ports, port_bindings) = ports(spec);
    let own_network = !spec.host_network;
    let name = |text: &str| Some(text.to_owned()).filter(|text| own_network && !text.is_empty());
    ContainerSpec {
        image: pause::image(context),
        entrypoint: Some(vec![pause::command()]),
        user: Some(ROOT.to_owned()),
        labels,
        // On the machine's own network the name is the machine's.
        hostname: name(hostname(&network.hostname)),
        domainname: name(domain(network)),
        exposed_ports,
        healthcheck: Some(HealthCheck::none()),
        host_config: HostConfig {
            network_mode: if own_network { context.config.network.clone() } else { "host".to_owned() },
            ipc_mode: Some("shareable".to_owned()),
            binds,
            port_bindings,
            dns: network.nameservers.clone(),
            dns_search: or(NO_SEARCH, &network.searches, network),
            dns_options: or(NO_OPTION, &network.options, network),
            extra_hosts: extra_hosts(network),
            sysctls: sysctls::of(spec),
            security_opt: vec!["no-new-privileges".to_owned()],
            ..HostConfig::default()
        },
        ..ContainerSpec::default()
    }
}

/// Cut as the kubelet cuts it.
pub(crate) fn hostname(name: &str) -> &str {
    name.get(..name.floor_char_boundary(HOSTNAME)).unwrap_or(name).trim_end_matches(['-', '.'])
}

/// An engine puts it behind the name. A name that has it already (setHostnameAsFQDN) needs no other.
fn domain(network: &Network) -> &str {
    let domain = network.domain.as_str();
    let has = network.hostname.strip_suffix(domain).is_some_and(|name| name.ends_with('.'));
    if has { "" } else { domain }
}

/// What the pod says. If it says which servers to ask and nothing here, then nothing of the machine's counts either.
fn or(nothing: &str, said: &[String], network: &Network) -> Vec<String> {
    if said.is_empty() && !network.nameservers.is_empty() { vec![nothing.to_owned()] } else { said.to_vec() }
}

/// `NAME:ADDRESS` for each name of an address.
fn extra_hosts(network: &Network) -> Vec<String> {
    let each = |(address, names): &(String, Vec<String>)| -> Vec<String> {
        names.iter().map(|name| format!("{name}:{address}")).collect()
    };
    network.hosts.iter().flat_map(each).collect()
}

type Ports = (BTreeMap<String, Empty>, BTreeMap<String, Vec<PortBinding>>);

/// Ports of all containers. On the machine's own network there is nothing to publish.
fn ports(spec: &Spec) -> Ports {
    let (mut exposed, mut bindings) = Ports::default();
    if spec.host_network {
        return (exposed, bindings);
    }
    for port in spec.all().flat_map(|placed| &placed.container.ports) {
        let name = port_name(port);
        exposed.insert(name.clone(), Empty {});
        if port.host_port != 0 {
            let binding = PortBinding { host_ip: port.host_ip.clone(), host_port: port.host_port.to_string() };
            let there: &mut Vec<PortBinding> = bindings.entry(name).or_default();
            if !there.contains(&binding) {
                there.push(binding);
            }
        }
    }
    (exposed, bindings)
}

fn port_name(port: &Port) -> String {
    let protocol = if port.protocol.is_empty() { "tcp".to_owned() } else { port.protocol.to_ascii_lowercase() };
    format!("{}/{protocol}", port.container_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    #[test]
    fn ports_are_exposed_and_those_of_the_machine_are_published() {
        let spec = parse(
            r#"{"initContainers":[{"name":"i","ports":[{"containerPort":53,"hostPort":53,"protocol":"UDP","hostIP":"10.0.0.7"}]}],
            "containers":[{"name":"a","ports":[{"containerPort":80},{"containerPort":443,"hostPort":8443}]},
            {"name":"b","ports":[{"containerPort":443,"hostPort":8443,"protocol":"TCP"},{"containerPort":443,"hostPort":9443}]}]}"#,
        );
        let (exposed, bindings) = ports(&spec);
        assert_eq!(exposed.into_keys().collect::<Vec<_>>(), ["443/tcp", "53/udp", "80/tcp"]);
        let told: Vec<String> = bindings
            .into_iter()
            .flat_map(|(port, bindings)| {
                bindings.into_iter().map(move |binding| format!("{port} at {}:{}", binding.host_ip, binding.host_port))
            })
            .collect();
        assert_eq!(told, ["443/tcp at :8443", "443/tcp at :9443", "53/udp at 10.0.0.7:53"]);
    }

    #[test]
    fn nothing_is_published_on_the_machines_own_network() {
        let spec =
            parse(r#"{"hostNetwork":true,"containers":[{"name":"a","ports":[{"containerPort":80,"hostPort":80}]}]}"#);
        assert_eq!(ports(&spec), Ports::default());
    }

    #[test]
    fn a_name_is_cut_as_the_kubelet_cuts_it() {
        assert_eq!(hostname("web-0"), "web-0");
        let long = format!("{}-{}", "a".repeat(63), "b".repeat(20));
        assert_eq!(hostname(&long), "a".repeat(63), "it does not end with a hyphen");
        assert_eq!(hostname(&"a".repeat(64)).len(), 64, "a name with its domain may be as long");
        assert_eq!(hostname(&"a".repeat(80)).len(), 64);
    }

    #[test]
    fn a_name_has_its_domain_once() {
        for (hostname, of_pod, sent) in [
            ("web-0", "web.ns.svc.cluster.local", "web.ns.svc.cluster.local"),
            ("web-0.web.ns.svc.cluster.local", "web.ns.svc.cluster.local", ""),
            ("xweb.ns", "web.ns", "web.ns"),
            ("web-0", "", ""),
        ] {
            let mut network = vk_provider::testing::desired("{}").network;
            (network.hostname, network.domain) = (hostname.to_owned(), of_pod.to_owned());
            assert_eq!(domain(&network), sent, "{hostname}");
        }
    }

    #[test]
    fn nothing_of_the_machines_resolver_counts_where_the_pod_names_its_servers() {
        let mut network = vk_provider::testing::desired("{}").network;
        assert!(or(NO_SEARCH, &[], &network).is_empty(), "the machine's is meant");
        network.nameservers = vec!["1.1.1.1".to_owned()];
        assert_eq!(or(NO_SEARCH, &[], &network), ["."]);
        assert_eq!(or(NO_OPTION, &["ndots:5".to_owned()], &network), ["ndots:5"]);
    }

    #[test]
    fn aliases_of_hosts_are_one_entry_a_name() {
        let mut network = vk_provider::testing::desired("{}").network;
        network.hosts = vec![
            ("10.0.0.1".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
            ("fd00::1".to_owned(), vec!["c".to_owned()]),
        ];
        assert_eq!(extra_hosts(&network), ["a:10.0.0.1", "b:10.0.0.1", "c:fd00::1"]);
    }
}
