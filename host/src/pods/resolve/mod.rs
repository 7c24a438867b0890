//! Everything that the kubelet resolves, resolved once, in the host: a provider gets a pod that it can run without a
//! Kubernetes client.
//!
//! Objects are read by name, one at a time and only those that the pod names, so that the Node authorizer takes the host for
//! an ordinary node. Services are the exception: a node may watch them all.

mod env;
mod expand;
mod field;
mod network;
pub(crate) mod quantity;
mod reads;
mod services;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Secret};
use kube::{Api, Client};

use self::env::Kind;
use self::reads::Reads;
use self::services::Services;
use super::object::PodObject;
use crate::apiserver::timed;
use crate::provider::{Address, DesiredPod, Provider, ResolvedContainer};

/// What resolution needs to know of the node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// The node's InternalIP.
    pub internal_ip: String,
    /// All addresses of the node; empty: the provider was not asked yet.
    pub addresses: Vec<Address>,
    /// Allocatable amounts by resource.
    pub allocatable: Vec<(String, String)>,
    /// Such as `cluster.local`.
    pub cluster_domain: String,
    /// Addresses of the cluster's name servers.
    pub cluster_dns: Vec<String>,
}

impl Node {
    fn allocatable(&self, resource: &str) -> Option<String> {
        self.allocatable.iter().find(|(name, _)| name == resource).map(|(_, amount)| amount.clone())
    }
}

/// Something to tell in an event though the pod goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event's reason.
    pub reason: &'static str,
    /// The event's text.
    pub message: String,
}

/// Why a pod cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Never: the pod says what this node cannot do.
    #[error("{field}: {message}")]
    Refused {
        /// Where in the pod.
        field: String,
        /// What would be right.
        message: String,
    },
    /// Not yet: an object is missing or could not be read.
    #[error("{message}")]
    Missing {
        /// The event's reason.
        reason: &'static str,
        /// What is missing.
        message: String,
    },
}

/// What became of one object. No `Debug`: it may hold secrets.
enum Lookup {
    Found(Data),
    Absent,
    Failed(String),
}

/// What an object holds.
#[derive(Default)]
struct Data {
    texts: BTreeMap<String, String>,
    /// Keys whose values are no UTF-8, which an environment cannot hold.
    binary: BTreeSet<String>,
}

/// The objects that a pod's environment names.
#[derive(Default)]
struct Sources {
    config_maps: HashMap<String, Arc<Lookup>>,
    secrets: HashMap<String, Arc<Lookup>>,
}

/// One request for a ConfigMap or Secret.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses before a refused read is tried again; most often the first is enough.
const AUTHORIZER_LAG: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(40),
    Duration::from_millis(80),
    Duration::from_millis(160),
    Duration::from_millis(320),
];

/// Resolves pods of this node.
pub struct Resolver {
    client: Client,
    /// By kind, namespace and name.
    reads: Reads<(Kind, String, String), Lookup>,
    services: Services,
    node: Arc<ArcSwap<Node>>,
    provider: Arc<dyn Provider>,
}

impl Resolver {
    /// A resolver, and the task that keeps its services up to date for as long as the process lives.
    pub fn start(client: Client, node: Arc<ArcSwap<Node>>, provider: Arc<dyn Provider>) -> Self {
        let services = Services::start(client.clone());
        Self { client, reads: Reads::default(), services, node, provider }
    }

    /// The pod as a provider can run it, and what is worth an event.
    pub async fn resolve(&self, pod: &PodObject) -> (Result<DesiredPod, Problem>, Vec<Notice>) {
        let mut notices = Vec::new();
        let containers = containers(pod);
        let sources = self.read(pod, &containers).await;
        // Variables of services are a snapshot: without the first list they would silently be none.
        if !self.services.ready_within(READ_TIMEOUT).await {
            let message = "the services of the cluster could not be listed yet; the host's identity must be allowed to"
                .to_string();
            return (Err(Problem::Missing { reason: "FailedToReadServices", message }), notices);
        }
        let result = self.assemble(pod, &containers, &sources, &mut notices);
        (result, notices)
    }

    /// The pod for a call that ends it: nothing is read and no container is resolved for a pod that goes.
    pub fn unresolved(&self, pod: &PodObject) -> DesiredPod {
        DesiredPod {
            id: pod.id(),
            revision: pod.revision.to_string(),
            manifest: pod.manifest().into(),
            containers: Vec::new(),
            network: network::network(pod, &self.node.load()),
        }
    }

    fn assemble(
        &self,
        pod: &PodObject,
        containers: &[Place<'_>],
        sources: &Sources,
        notices: &mut Vec<Notice>,
    ) -> Result<DesiredPod, Problem> {
        let node = self.node.load();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let services = self.services.variables(namespace, pod.spec.enable_service_links.unwrap_or(true));
        let context = env::Context { pod, containers, node: &node, sources, services: &services };
        let mut resolved = Vec::with_capacity(containers.len());
        for Place { path, container } in containers {
            let env::Environment { env, late, command, args, secret_args } =
                env::environment(&context, container, path, notices)?;
            if late && !self.provider.capabilities().resolves_late {
                let message = "status.podIP and status.podIPs are not known before the pod runs, and this provider does not fill them in";
                return Err(Problem::Refused { field: format!("{path}.env"), message: message.into() });
            }
            let revision =
                serde_json::to_value(container).map(|value| super::revision::of_container(&value)).unwrap_or_default();
            let name = container.name.clone();
            resolved.push(ResolvedContainer { name, command, args, env, secret_args, revision, late });
        }
        Ok(DesiredPod { containers: resolved, ..self.unresolved(pod) })
    }

    async fn read(&self, pod: &PodObject, containers: &[Place<'_>]) -> Sources {
        let (config_maps, secrets) = names(containers);
        if config_maps.is_empty() && secrets.is_empty() {
            return Sources::default();
        }
        let namespace = &pod.id().namespace;
        let maps: &Api<ConfigMap> = &Api::namespaced(self.client.clone(), namespace);
        let secret: &Api<Secret> = &Api::namespaced(self.client.clone(), namespace);
        let config_maps = config_maps.into_iter().map(|name| async {
            let key = (Kind::ConfigMap, namespace.clone(), name.clone());
            let read = || async { lookup(patient(|| maps.get_opt(&name)).await, texts_of_config_map) };
            let found = self.reads.get(key, read).await;
            (name, found)
        });
        let secrets = secrets.into_iter().map(|name| async {
            let key = (Kind::Secret, namespace.clone(), name.clone());
            let read = || async { lookup(patient(|| secret.get_opt(&name)).await, texts_of_secret) };
            let found = self.reads.get(key, read).await;
            (name, found)
        });
        let (config_maps, secrets) =
            futures::future::join(futures::future::join_all(config_maps), futures::future::join_all(secrets)).await;
        Sources { config_maps: config_maps.into_iter().collect(), secrets: secrets.into_iter().collect() }
    }
}

/// A read that is refused is tried again for a moment: the Node authorizer learns from a watch that a pod was bound to this node,
/// so that what the pod names is forbidden for as long as that lags behind (403).
async fn patient<T, F: Future<Output = kube::Result<T>>>(read: impl Fn() -> F) -> kube::Result<T> {
    for pause in AUTHORIZER_LAG {
        match timed(READ_TIMEOUT, read()).await {
            Err(kube::Error::Api(status)) if status.code == 403 => tokio::time::sleep(pause).await,
            other => return other,
        }
    }
    timed(READ_TIMEOUT, read()).await
}

fn lookup<T>(read: kube::Result<Option<T>>, data: impl Fn(T) -> Data) -> Lookup {
    match read {
        Ok(Some(object)) => Lookup::Found(data(object)),
        Ok(None) => Lookup::Absent,
        Err(error) => Lookup::Failed(error.to_string()),
    }
}

/// What of a ConfigMap can be in an environment: not its `binaryData`, as with the kubelet.
fn texts_of_config_map(map: ConfigMap) -> Data {
    Data { texts: map.data.unwrap_or_default(), binary: BTreeSet::new() }
}

fn texts_of_secret(secret: Secret) -> Data {
    let mut data = Data::default();
    for (key, value) in secret.data.unwrap_or_default() {
        match String::from_utf8(value.0) {
            Ok(text) => {
                data.texts.insert(key, text);
            }
            Err(_) => {
                data.binary.insert(key);
            }
        }
    }
    data
}

/// A container and its place in the pod, such as `spec.containers[0]`.
struct Place<'a> {
    path: String,
    container: Cow<'a, Container>,
}

/// Init, ordinary and ephemeral containers in spec order.
fn containers(pod: &PodObject) -> Vec<Place<'_>> {
    let place = |list: &str, index: usize, container| Place { path: format!("spec.{list}[{index}]"), container };
    let init = pod.spec.init_containers.iter().flatten().enumerate();
    let init = init.map(|(index, container)| place("initContainers", index, Cow::Borrowed(container)));
    let ordinary = pod.spec.containers.iter().enumerate();
    let ordinary = ordinary.map(|(index, container)| place("containers", index, Cow::Borrowed(container)));
    let ephemeral = pod.spec.ephemeral_containers.iter().flatten().enumerate().filter_map(|(index, container)| {
        // An ephemeral container has a container's fields and two more.
        let container = serde_json::to_value(container).and_then(serde_json::from_value).ok()?;
        Some(place("ephemeralContainers", index, Cow::Owned(container)))
    });
    init.chain(ordinary).chain(ephemeral).collect()
}

/// Names of the ConfigMaps and Secrets that the environments of these containers refer to.
fn names(containers: &[Place<'_>]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut config_maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for Place { container, .. } in containers {
        for from in container.env_from.iter().flatten() {
            config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
            secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
            secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
        }
    }
    (config_maps, secrets)
}
