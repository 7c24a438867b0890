//! Everything that the kubelet resolves, resolved once, in the host: a provider gets a pod that it can run without a
//! Kubernetes client.
//!
//! Objects are read by name, one at a time and only those that the pod names, so that the Node authorizer takes the host for
//! an ordinary node. Services are the exception: a node may watch them all. What a provider asks for later, of volumes and
//! registries, is not read before it asks.

mod env;
pub(crate) mod expand;
mod field;
mod network;
mod objects;
pub(crate) mod quantity;
mod reads;
mod registry;
mod services;
mod token;
pub(super) mod volumes;
mod watches;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Container;
use kube::Client;

use self::objects::{Key, Kind, Lookup, Objects, READ_TIMEOUT};
use self::registry::Keyring;
use self::services::Services;
pub(super) use self::token::Tokens;
use self::volumes::Rendered;
pub(super) use self::watches::Followed;
use super::object::PodObject;
use crate::provider::{Address, Credential, DesiredPod, Provider, ResolvedContainer};

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
    /// Not yet: an object is missing.
    #[error("{message}")]
    Missing {
        /// The event's reason.
        reason: &'static str,
        /// What is missing.
        message: String,
    },
    /// Not now: an object could not be read, which says nothing of what it holds.
    #[error("{message}")]
    Unread {
        /// The event's reason.
        reason: &'static str,
        /// What could not be read.
        message: String,
    },
}

/// The objects that something names, as they were read.
type Sources = HashMap<(Kind, String), Arc<Lookup>>;

/// Resolves pods of this node.
pub struct Resolver {
    client: Client,
    objects: Arc<Objects>,
    services: Services,
    node: Arc<ArcSwap<Node>>,
    provider: Arc<dyn Provider>,
}

impl Resolver {
    /// A resolver, and the task that keeps its services up to date for as long as the process lives.
    pub fn start(client: Client, node: Arc<ArcSwap<Node>>, provider: Arc<dyn Provider>) -> Self {
        let (services, objects) = (Services::start(client.clone()), Arc::new(Objects::new(client.clone())));
        Self { client, objects, services, node, provider }
    }

    /// The pod as a provider can run it, and what is worth an event. Whoever follows its pods asks for each container's values when
    /// it starts it, so that they are not worked out here: one that waits for a Secret holds up no other.
    pub async fn resolve(&self, pod: &PodObject) -> (Result<DesiredPod, Problem>, Vec<Notice>) {
        let mut notices = Vec::new();
        let result = self.resolve_all(pod, &mut notices).await;
        (result, notices)
    }

    async fn resolve_all(&self, pod: &PodObject, notices: &mut Vec<Notice>) -> Result<DesiredPod, Problem> {
        let (network, left_out) = network::network(pod, &self.node.load())?;
        notices.extend(left_out);
        let places = containers(pod);
        if self.provider.capabilities().follows {
            // What can never be served is refused before anything is made.
            return match refusal(pod, &self.node.load(), &places) {
                Some(problem) => Err(problem),
                None => Ok(DesiredPod { network, ..self.unresolved(pod) }),
            };
        }
        let sources = self.sources_of(pod, &places).await?;
        let mut containers = Vec::with_capacity(places.len());
        for place in &places {
            let container = self.assemble(pod, &places, place, &[], &sources, notices)?;
            if container.late && !self.provider.capabilities().resolves_late {
                return Err(too_early(place));
            }
            containers.push(container);
        }
        Ok(DesiredPod { containers, network, ..self.unresolved(pod) })
    }

    /// One container, now that the pod's IPs are known; none: the pod has none of this name. Its sources are read anew: it is
    /// a new attempt, and the kubelet does so.
    pub(super) async fn container(
        &self,
        pod: &PodObject,
        name: &str,
        ips: &[String],
        notices: &mut Vec<Notice>,
    ) -> Option<Result<ResolvedContainer, Problem>> {
        let places = containers(pod);
        let place = places.iter().find(|place| place.container.name == name)?;
        Some(match self.sources_of(pod, std::slice::from_ref(place)).await {
            Ok(sources) => self.assemble(pod, &places, place, ips, &sources, notices),
            Err(problem) => Err(problem),
        })
    }

    /// The pod for a call that needs no container: nothing is read, as of a pod that goes or runs already.
    pub fn unresolved(&self, pod: &PodObject) -> DesiredPod {
        // One whose network cannot be had was refused.
        let network = network::network(pod, &self.node.load()).map(|(network, _)| network).unwrap_or_default();
        DesiredPod {
            id: pod.id(),
            revision: pod.revision.to_string(),
            manifest: pod.manifest().into(),
            containers: Vec::new(),
            network,
        }
    }

    /// A volume's files. Tokens are kept in `tokens`, which are this pod's.
    pub(super) async fn volume(
        &self,
        pod: &PodObject,
        tokens: &Tokens,
        name: &str,
    ) -> Result<Rendered, volumes::Error> {
        let plan = volumes::Plan::of(pod, name)?;
        let needs = plan.needs();
        let namespace = pod.id().namespace;
        let objects = needs.objects.into_iter().map(|(kind, name)| {
            let key = Key { kind, namespace: namespace.clone(), name };
            async move { (self.objects.get(&key).await, key) }
        });
        let wanted = needs.tokens.into_iter();
        let wanted = wanted.map(|wanted| async move { (tokens.get(&self.client, pod, &wanted).await, wanted) });
        let (objects, tokens) =
            futures::future::join(futures::future::join_all(objects), futures::future::join_all(wanted)).await;
        let found = volumes::Found {
            objects: objects.iter().map(|(found, key)| ((key.kind, key.name.clone()), found.clone())).collect(),
            tokens: tokens.into_iter().map(|(token, wanted)| (wanted, token)).collect(),
        };
        let (node, containers) = (self.node.load(), containers(pod));
        let (files, renew_at) =
            plan.render(&volumes::Context { pod, node: &node, containers: &containers, found: &found })?;
        let used = objects.into_iter().map(|(found, key)| (key, found)).collect();
        Ok(Rendered { files, renew_at, is_live: plan.is_live, used })
    }

    /// Follows what a volume was rendered from, for as long as the answer is kept.
    pub(super) fn follow(&self, rendered: &Rendered) -> Vec<Followed> {
        let used = rendered.used.iter();
        used.map(|(key, found)| self.objects.follow(key.clone(), found.clone())).collect()
    }

    /// Credentials for an image out of the pod's imagePullSecrets, and what is worth an event. Into those admission has copied
    /// the service account's. An error: a Secret could not be read.
    pub(super) async fn credentials(
        &self,
        pod: &PodObject,
        image: &str,
        notices: &mut Vec<Notice>,
    ) -> Result<Vec<Credential>, String> {
        let namespace = pod.id().namespace;
        let references = pod.spec.image_pull_secrets.iter().flatten().filter(|secret| !secret.name.is_empty());
        let reads = references.map(|reference| {
            let key = Key { kind: Kind::Secret, namespace: namespace.clone(), name: reference.name.clone() };
            async move { (self.objects.read(&key).await, key.name) }
        });
        let secrets = futures::future::join_all(reads).await;
        let mut keyring = Keyring::default();
        for (secret, name) in secrets {
            let useless = match &*secret {
                Lookup::Found(secret) => keyring.add(secret).err().map(|error| error.to_string()),
                Lookup::Absent => Some("it does not exist".into()),
                Lookup::Failed(cause) => return Err(format!("cannot read Secret {name:?}: {cause}")),
            };
            // The kubelet's reason; it pulls all the same.
            notices.extend(useless.map(|why| Notice {
                reason: "FailedToRetrieveImagePullSecret",
                message: format!("imagePullSecret {name:?} is of no use: {why}; the pull may fail for want of it"),
            }));
        }
        Ok(keyring.lookup(image))
    }

    fn assemble(
        &self,
        pod: &PodObject,
        containers: &[Place<'_>],
        place: &Place<'_>,
        ips: &[String],
        sources: &Sources,
        notices: &mut Vec<Notice>,
    ) -> Result<ResolvedContainer, Problem> {
        let node = self.node.load();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let services = self.services.variables(namespace, pod.spec.enable_service_links.unwrap_or(true));
        let context = env::Context { pod, containers, node: &node, ips, sources, services: &services };
        let Place { path, container } = place;
        let env::Environment { env, late, command, args, secret_args } =
            env::environment(&context, container, path, notices)?;
        let revision =
            serde_json::to_value(container).map(|value| super::revision::of_container(&value)).unwrap_or_default();
        Ok(ResolvedContainer { name: container.name.clone(), command, args, env, secret_args, revision, late })
    }

    /// What the environments of these containers refer to, read anew: they are a snapshot.
    async fn sources_of(&self, pod: &PodObject, containers: &[Place<'_>]) -> Result<Sources, Problem> {
        let namespace = pod.id().namespace;
        let reads = names(containers).into_iter().map(|(kind, name)| {
            let key = Key { kind, namespace: namespace.clone(), name };
            async move {
                let found = self.objects.read(&key).await;
                ((kind, key.name), found)
            }
        });
        let sources = futures::future::join_all(reads).await.into_iter().collect();
        // Variables of services are a snapshot too: without the first list they would silently be none.
        if self.services.ready_within(READ_TIMEOUT).await {
            return Ok(sources);
        }
        let message = "the services of the cluster could not be listed yet; the host's identity must be allowed to";
        Err(Problem::Unread { reason: "FailedToReadServices", message: message.into() })
    }
}

/// What of a pod's environments no object in the cluster could mend: nothing is read for it.
fn refusal(pod: &PodObject, node: &Node, places: &[Place<'_>]) -> Option<Problem> {
    let (sources, services) = (Sources::new(), BTreeMap::new());
    let context = env::Context { pod, containers: places, node, ips: &[], sources: &sources, services: &services };
    places.iter().find_map(|place| {
        let mut notices = Vec::new();
        let mut own = place.container.clone().into_owned();
        own.env_from = None;
        for source in own.env.iter_mut().flatten() {
            // Values of objects are left out where they stand, so that the others keep their places.
            source.value_from.take_if(|from| from.config_map_key_ref.is_some() || from.secret_key_ref.is_some());
        }
        let refused = |problem: &Problem| matches!(problem, Problem::Refused { .. });
        env::environment(&context, &own, &place.path, &mut notices).err().filter(refused)
    })
}

fn too_early(place: &Place<'_>) -> Problem {
    let message =
        "status.podIP and status.podIPs are not known before the pod runs, and this provider does not fill them in";
    Problem::Refused { field: format!("{}.env", place.path), message: message.into() }
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

/// The ConfigMaps and Secrets that the environments of these containers refer to.
fn names(containers: &[Place<'_>]) -> BTreeSet<(Kind, String)> {
    let mut names = BTreeSet::new();
    for Place { container, .. } in containers {
        for from in container.env_from.iter().flatten() {
            names.extend(from.config_map_ref.iter().map(|reference| (Kind::ConfigMap, reference.name.clone())));
            names.extend(from.secret_ref.iter().map(|reference| (Kind::Secret, reference.name.clone())));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            names.extend(source.config_map_key_ref.iter().map(|key| (Kind::ConfigMap, key.name.clone())));
            names.extend(source.secret_key_ref.iter().map(|key| (Kind::Secret, key.name.clone())));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pods::object::tests::pod;

    #[test]
    fn only_what_no_object_could_mend_is_refused_without_reading_any() {
        let refused = |env: serde_json::Value| {
            let container = json!({"name": "c", "envFrom": [{"secretRef": {"name": "x"}}], "env": env});
            let metadata = json!({"name": "n", "namespace": "ns", "uid": "u"});
            let pod = pod(json!({"metadata": metadata, "spec": {"containers": [container]}}));
            refusal(&pod, &Node::default(), &containers(&pod))
        };
        let secret = json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}});
        let ip = json!({"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}});
        assert_eq!(refused(json!([secret, ip, {"name": "B", "value": "$(A)"}])), None);
        let never = json!({"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}});
        let problem = refused(json!([secret, never])).unwrap();
        assert!(
            matches!(&problem, Problem::Refused { field, .. } if field == "spec.containers[0].env[1].valueFrom.fieldRef"),
            "{problem}"
        );
    }
}
