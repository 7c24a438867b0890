//! The hosts file of a pod with a network of its own, as the kubelet writes it.
//!
//! Podman knows no domain of a container, and puts the names of its machine and of its containers into the file. There we write
//! it, into the pod's own volume, and bind it in each container. Docker's own has what belongs there.

use vk_engine::dialect::Dialect;
use vk_provider::pod::Network;

use crate::manifest::{Container, Spec};
use crate::sandbox::hostname;
use crate::volumes::plain_path;

/// In the pod's own volume.
pub(crate) const FILE: &str = "hosts";
/// In a container.
pub(crate) const TARGET: &str = "/etc/hosts";

const BEGINNING: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
const ALIASES: &str = "\n# Entries added by HostAliases.\n";

/// The pod has a file of ours, and not the engine's.
pub(crate) const fn is_ours(dialect: Dialect, spec: &Spec) -> bool {
    dialect.podman && !spec.host_network
}

/// The container mounts something of its own there.
pub(crate) fn is_mounted(container: &Container) -> bool {
    container.volume_mounts.iter().any(|mount| plain_path(&mount.mount_path) == plain_path(TARGET))
}

/// The file of a pod with these addresses.
pub(crate) fn file(network: &Network, addresses: &[String]) -> String {
    let names = names(network);
    let own: String = addresses.iter().map(|address| format!("{address}\t{names}\n")).collect();
    let aliases = network.hosts.iter().map(|(address, names)| format!("{address}\t{}\n", names.join("\t")));
    let aliases: String = aliases.collect();
    let title = if aliases.is_empty() { "" } else { ALIASES };
    format!("{BEGINNING}{own}{title}{aliases}")
}

/// The whole name first: it is what a resolver calls the pod.
fn names(network: &Network) -> String {
    let (name, domain) = (network.hostname.as_str(), network.domain.as_str());
    if domain.is_empty() {
        return hostname(name).to_owned();
    }
    let short = name.strip_suffix(domain).and_then(|name| name.strip_suffix('.')).unwrap_or_else(|| hostname(name));
    format!("{short}.{domain}\t{short}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn network(hostname: &str, domain: &str) -> Network {
        let mut network = vk_provider::testing::desired("{}").network;
        (network.hostname, network.domain) = (hostname.to_owned(), domain.to_owned());
        network
    }

    #[test]
    fn a_pod_is_called_by_its_whole_name_first() {
        for (hostname, domain, line) in [
            ("web-0", "", "10.0.0.7\tweb-0\n"),
            ("web-0", "web.ns.svc.cluster.local", "10.0.0.7\tweb-0.web.ns.svc.cluster.local\tweb-0\n"),
            (
                "web-0.web.ns.svc.cluster.local",
                "web.ns.svc.cluster.local",
                "10.0.0.7\tweb-0.web.ns.svc.cluster.local\tweb-0\n",
            ),
        ] {
            let file = file(&network(hostname, domain), &["10.0.0.7".to_owned()]);
            assert_eq!(file.strip_prefix(BEGINNING), Some(line), "{hostname} {domain}");
        }
    }

    #[test]
    fn each_address_has_a_line_and_aliases_come_last() {
        let mut network = network("web", "");
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        network.hosts = vec![("10.0.0.1".to_owned(), names(&["a", "b"])), ("fd00::1".to_owned(), names(&["c"]))];
        let file = file(&network, &["10.0.0.7".to_owned(), "fd00::7".to_owned()]);
        let expected = format!("10.0.0.7\tweb\nfd00::7\tweb\n{ALIASES}10.0.0.1\ta\tb\nfd00::1\tc\n");
        assert_eq!(file.strip_prefix(BEGINNING), Some(expected.as_str()));
    }

    #[test]
    fn what_a_container_mounts_there_itself_counts() {
        let container = |path: &str| {
            let text =
                format!(r#"{{"containers":[{{"name":"c","volumeMounts":[{{"name":"v","mountPath":"{path}"}}]}}]}}"#);
            parse(&text).containers.remove(0)
        };
        assert!(is_mounted(&container("/etc//hosts")) && !is_mounted(&container("/etc")));
    }
}
