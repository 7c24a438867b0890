//! Variables that tell a container where services are (`REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP` …).
//!
//! Same-namespace services where `enableServiceLinks` says so, `kubernetes` of `default` always, headless and
//! external ones never. (kubernetes/pkg/kubelet/envvars)

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::runtime::reflector::Store;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client};

/// The namespace and name of the service that every container is told of.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The variables of a container, by name.
type Variables = BTreeMap<String, String>;

/// The services of the cluster, and the variables that follow from them: a thousand pods of one namespace have the same.
pub(super) struct Services {
    store: Store<Service>,
    /// Raised with each change, after the store has it.
    version: Arc<AtomicU64>,
    cached: Mutex<Cached>,
}

/// What follows from one version of the services.
#[derive(Default)]
struct Cached {
    version: u64,
    /// By namespace; none: without service links.
    variables: HashMap<Option<String>, Arc<Variables>>,
}

impl Services {
    /// Starts the task that keeps them up to date for as long as the process lives.
    pub(super) fn start(client: Client) -> Self {
        let (store, writer) = reflector::store();
        let watch = watcher(Api::all(client), watcher::Config::default()).default_backoff();
        let version = Arc::new(AtomicU64::new(0));
        let raised = version.clone();
        tokio::spawn(reflector::reflector(writer, watch).for_each(move |event| {
            match event {
                Ok(_) => {
                    raised.fetch_add(1, Ordering::Release);
                }
                Err(error) => tracing::debug!(%error, "watch of services interrupted"),
            }
            futures::future::ready(())
        }));
        Self { store, version, cached: Mutex::default() }
    }

    /// Whether they have been listed, now or within this time.
    pub(super) async fn ready_within(&self, limit: Duration) -> bool {
        matches!(tokio::time::timeout(limit, self.store.wait_until_ready()).await, Ok(Ok(())))
    }

    /// The variables of a container in this namespace.
    pub(super) fn variables(&self, namespace: &str, links: bool) -> Arc<Variables> {
        // Read before the services are: what changes meanwhile raises it again.
        let version = self.version.load(Ordering::Acquire);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.version != version {
            *cached = Cached { version, variables: HashMap::new() };
        }
        let key = links.then(|| namespace.to_string());
        let made = || {
            let services = self.store.state();
            Arc::new(variables(services.iter().map(AsRef::as_ref), namespace, links))
        };
        cached.variables.entry(key).or_insert_with(made).clone()
    }
}

fn variables<'a>(services: impl IntoIterator<Item = &'a Service>, namespace: &str, links: bool) -> Variables {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services.into_iter().filter(|service| cluster_ip(service).is_some()) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let home = service.metadata.namespace.as_deref().unwrap_or_default();
        if home == namespace && links {
            chosen.insert(name, service);
        } else if (home, name) == MASTER {
            // A namesake in the pod's own namespace wins, whichever comes first.
            chosen.entry(name).or_insert(service);
        }
    }
    chosen.values().flat_map(|service| of_service(service)).collect()
}

fn cluster_ip(service: &Service) -> Option<&str> {
    let ip = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!ip.is_empty() && ip != "None").then_some(ip)
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let (Some(ip), Some(spec)) = (cluster_ip(service), service.spec.as_ref()) else { return Vec::new() };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let prefix = variable_name(service.metadata.name.as_deref().unwrap_or_default());
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_string()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            out.push((format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), port.port.to_string()));
        }
    }
    // What Docker's links looked like.
    out.push((format!("{prefix}_PORT"), url(ip, first)));
    for port in ports {
        let (number, protocol) = (port.port, protocol(port).to_ascii_uppercase());
        let link = format!("{prefix}_PORT_{number}_{protocol}");
        out.push((link.clone(), url(ip, port)));
        out.push((format!("{link}_PROTO"), protocol.to_ascii_lowercase()));
        out.push((format!("{link}_PORT"), number.to_string()));
        out.push((format!("{link}_ADDR"), ip.to_string()));
    }
    out
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn url(ip: &str, port: &ServicePort) -> String {
    // An IPv6 address is bracketed, as net.JoinHostPort does.
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_string() };
    format!("{}://{host}:{}", protocol(port).to_ascii_lowercase(), port.port)
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(namespace: &str, name: &str, ip: &str, ports: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": ip, "ports": ports}
        }))
        .unwrap()
    }

    #[test]
    fn all_variables_of_one_service() {
        let services = [service(
            "a",
            "my-db",
            "10.0.0.7",
            json!([{"name": "sql-x", "port": 5432}, {"port": 53, "protocol": "UDP"}]),
        )];
        let got = variables(&services, "a", true);
        let expected = [
            ("MY_DB_PORT", "tcp://10.0.0.7:5432"),
            ("MY_DB_PORT_53_UDP", "udp://10.0.0.7:53"),
            ("MY_DB_PORT_53_UDP_ADDR", "10.0.0.7"),
            ("MY_DB_PORT_53_UDP_PORT", "53"),
            ("MY_DB_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_5432_TCP", "tcp://10.0.0.7:5432"),
            ("MY_DB_PORT_5432_TCP_ADDR", "10.0.0.7"),
            ("MY_DB_PORT_5432_TCP_PORT", "5432"),
            ("MY_DB_PORT_5432_TCP_PROTO", "tcp"),
            ("MY_DB_SERVICE_HOST", "10.0.0.7"),
            ("MY_DB_SERVICE_PORT", "5432"),
            ("MY_DB_SERVICE_PORT_SQL_X", "5432"),
        ];
        assert_eq!(got, expected.map(|(k, v)| (k.to_string(), v.to_string())).into());
    }

    #[test]
    fn headless_and_foreign_ones_are_left_out_and_kubernetes_is_not() {
        let port = json!([{"port": 443}]);
        let services = [
            service("a", "headless", "None", port.clone()),
            service("a", "own", "10.0.0.1", port.clone()),
            service("b", "foreign", "10.0.0.2", port.clone()),
            service("default", "kubernetes", "10.0.0.3", port.clone()),
            service("default", "other", "10.0.0.4", port),
        ];
        let hosts = |links| {
            let all = variables(&services, "a", links);
            all.into_keys().filter(|name| name.ends_with("_SERVICE_HOST")).collect::<Vec<_>>()
        };
        assert_eq!(hosts(true), ["KUBERNETES_SERVICE_HOST", "OWN_SERVICE_HOST"]);
        assert_eq!(hosts(false), ["KUBERNETES_SERVICE_HOST"]);
    }
}
