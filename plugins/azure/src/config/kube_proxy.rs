//! What kube-proxy beside a group's containers signs in with: a file, or, as with azure-aci, the host's own service
//! account where the API server is named (`MASTER_URI`).

use data_encoding::BASE64;
use serde_json::json;
use vk_aci::Redacted;

use super::file::KubeProxyTable;
use super::merge::Said;
use super::values::{Cidr, FilePath, Server};
use super::{KubeProxy, Reading};

/// azure-aci's default: what AKS gave to nodes.
const CLUSTER_CIDR: &str = "10.240.0.0/16";
/// Where a pod has its service account.
pub(super) const AUTHORITY: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
pub(super) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// How the parts of the kubeconfig are called, which nobody sees.
const NAME: &str = "virtual-kubelet";

const FIELD: &str = "kube-proxy.kubeconfig";
const SERVER: &str = "kube-proxy.server";
const WHY: &str = "kube-proxy beside a pod signs in with it; it goes to Azure";

/// What is said of it, by variables but for the table.
pub(super) struct Parts {
    pub(super) table: Option<KubeProxyTable>,
    pub(super) master: Option<Server>,
    pub(super) cluster_cidr: Option<Cidr>,
}

impl Parts {
    /// none: there is none beside pods, or it cannot be told as yet.
    pub(super) fn read(self, in_subnet: bool, reading: &mut Reading) -> Option<KubeProxy> {
        // A pod may name a subnet where there is none for all: then the table says that kube-proxy is meant.
        let has_table = self.table.is_some();
        let KubeProxyTable { kubeconfig, server, cluster_cidr } = self.table.unwrap_or_default();
        let plain = |server: Option<Server>| server.map(|Server(url)| url);
        let names = ("MASTER_URI", SERVER);
        let server = Said { names, variable: plain(self.master), account: None, file: plain(server) };
        let plain = |cidr: Option<Cidr>| cidr.map(|Cidr(range)| range);
        let names = ("CLUSTER_CIDR", "kube-proxy.cluster-cidr");
        let range = Said { names, variable: plain(self.cluster_cidr), account: None, file: plain(cluster_cidr) };
        if !(in_subnet || has_table) {
            let why = "kube-proxy is for pods in a subnet; there is none, and no table [kube-proxy]";
            [server, range].into_iter().for_each(|said| said.idle(why, reading));
            return None;
        }
        let kubeconfig = if let Some(FilePath(path)) = kubeconfig {
            server.idle("the file of kube-proxy.kubeconfig says it", reading);
            text(&path, FIELD, reading)?
        } else if let Some(server) = server.counts(reading) {
            of_service_account(&server, reading)?
        } else {
            if has_table {
                let why =
                    "it is missing; write it like kubeconfig = \"/etc/azure/kube-proxy.kubeconfig\", or name a server";
                reading.miss(FIELD, why);
            } else {
                range.idle("without kube-proxy.kubeconfig and MASTER_URI there is no kube-proxy", reading);
            }
            return None;
        };
        let cluster_cidr = range.counts(reading).unwrap_or_else(|| CLUSTER_CIDR.to_owned());
        Some(KubeProxy { kubeconfig: Redacted::from(kubeconfig), cluster_cidr })
    }
}

fn of_service_account(server: &str, reading: &mut Reading) -> Option<String> {
    // Both are asked for in the same round.
    let (authority, token) = (text(AUTHORITY, SERVER, reading), text(TOKEN, SERVER, reading));
    let (authority, token) = (BASE64.encode(authority?.as_bytes()), token?);
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": NAME, "user": {"token": token.trim()}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    });
    Some(kubeconfig.to_string())
}

fn text(path: &str, field: &str, reading: &mut Reading) -> Option<String> {
    let content = reading.read_file(path, field, WHY)?;
    let text = String::from_utf8(content).ok().filter(|text| !text.trim().is_empty());
    if text.is_none() {
        reading.mistake(field, format!("{path} is empty, or no text"));
    }
    text
}
