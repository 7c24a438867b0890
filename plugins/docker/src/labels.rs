//! Labels: what the engine remembers for us. All that is ours is found by them, and by nothing else, so that nothing is
//! lost when host, plugin or store are.

use std::collections::BTreeMap;

use vk_provider::PodRef;
use vk_provider::config::NodeInfo;

/// The pod's, in the words that the kubelet's Docker shim used and that tools know.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAME: &str = "io.kubernetes.pod.name";
const UID: &str = "io.kubernetes.pod.uid";
const CONTAINER: &str = "io.kubernetes.container.name";
/// Whose it is: of several nodes, and of several clusters, that share an engine.
const NODE: &str = "io.virtual-kubelet.node";
const CLUSTER: &str = "io.virtual-kubelet.cluster";
/// `sandbox`, `container` or `volume`.
const KIND: &str = "io.virtual-kubelet.kind";
/// Counts from 0.
const ATTEMPT: &str = "io.virtual-kubelet.attempt";
/// Digest of what it was made from.
const REVISION: &str = "io.virtual-kubelet.revision";
/// The image as the pod's spec names it, and what it was found to be.
const IMAGE: &str = "io.virtual-kubelet.image";
const IMAGE_ID: &str = "io.virtual-kubelet.image-id";
/// The id of the sandbox that a container joined.
const SANDBOX: &str = "io.virtual-kubelet.sandbox";
/// What of the pod a volume is, and how many bytes may be in it.
const VOLUME: &str = "io.virtual-kubelet.volume";
const LIMIT: &str = "io.virtual-kubelet.size-limit";

/// Labels as an engine has them.
pub(crate) type Labels = BTreeMap<String, String>;

/// What a labelled object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The sandbox.
    Sandbox { attempt: u32 },
    /// An attempt of a container.
    Container { name: String, attempt: u32 },
    /// A volume.
    Volume,
}

/// What the labels of one of our objects say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) pod: PodRef,
    pub(crate) kind: Kind,
    pub(crate) revision: Option<String>,
    pub(crate) image: String,
    pub(crate) image_id: Option<String>,
    pub(crate) sandbox: Option<String>,
    pub(crate) limit: Option<u64>,
    pub(crate) volume: Option<String>,
}

/// All labels of objects of one node; a filter.
pub(crate) fn of_node(node: &NodeInfo) -> [(&str, &str); 2] {
    [(NODE, &node.name), (CLUSTER, &node.cluster_id)]
}

/// All labels of objects of one pod; a filter.
pub(crate) fn of_pod<'a>(node: &'a NodeInfo, id: &'a PodRef) -> [(&'a str, &'a str); 3] {
    let [name, cluster] = of_node(node);
    [name, cluster, (UID, &id.uid)]
}

/// Of a sandbox to be made.
pub(crate) fn sandbox(node: &NodeInfo, id: &PodRef, attempt: u32, revision: &str) -> Labels {
    let own = [(ATTEMPT, attempt.to_string()), (REVISION, revision.to_owned())];
    labels(node, id, "sandbox", own)
}

/// A container to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: u32,
    pub(crate) revision: &'a str,
    pub(crate) image: &'a str,
    pub(crate) image_id: &'a str,
    /// The id of the sandbox that it joins.
    pub(crate) sandbox: &'a str,
}

/// Of a container to be made.
pub(crate) fn container(node: &NodeInfo, id: &PodRef, attempt: Attempt<'_>) -> Labels {
    let own = [
        (CONTAINER, attempt.name.to_owned()),
        (ATTEMPT, attempt.number.to_string()),
        (REVISION, attempt.revision.to_owned()),
        (IMAGE, attempt.image.to_owned()),
        (IMAGE_ID, attempt.image_id.to_owned()),
        (SANDBOX, attempt.sandbox.to_owned()),
    ];
    labels(node, id, "container", own)
}

/// Of a volume to be made.
pub(crate) fn volume(node: &NodeInfo, id: &PodRef, volume: &str, limit: Option<u64>) -> Labels {
    let limit = limit.map(|limit| (LIMIT, limit.to_string()));
    labels(node, id, "volume", [(VOLUME, volume.to_owned())].into_iter().chain(limit))
}

fn labels(node: &NodeInfo, id: &PodRef, kind: &str, own: impl IntoIterator<Item = (&'static str, String)>) -> Labels {
    let of_pod = [(NAMESPACE, &id.namespace), (NAME, &id.name), (UID, &id.uid)];
    let of_node = [(NODE, &node.name), (CLUSTER, &node.cluster_id)];
    let common = of_pod.into_iter().chain(of_node).map(|(key, value)| (key, value.clone()));
    common.chain([(KIND, kind.to_owned())]).chain(own).map(|(key, value)| (key.to_owned(), value)).collect()
}

impl Mark {
    /// What the labels of an object say; none: it is not this node's, or not one of ours.
    pub(crate) fn read(node: &NodeInfo, labels: &Labels) -> Option<Self> {
        let text = |key: &str| labels.get(key).cloned();
        if !of_node(node).iter().all(|(key, value)| labels.get(*key).is_some_and(|there| there == value)) {
            return None;
        }
        let attempt = || labels.get(ATTEMPT)?.parse().ok();
        let kind = match labels.get(KIND)?.as_str() {
            "sandbox" => Kind::Sandbox { attempt: attempt()? },
            "container" => Kind::Container { name: text(CONTAINER)?, attempt: attempt()? },
            "volume" => Kind::Volume,
            _ => return None,
        };
        Some(Self {
            pod: PodRef { namespace: text(NAMESPACE)?, name: text(NAME)?, uid: text(UID)? },
            kind,
            revision: text(REVISION),
            image: text(IMAGE).unwrap_or_default(),
            image_id: text(IMAGE_ID),
            sandbox: text(SANDBOX),
            limit: labels.get(LIMIT).and_then(|limit| limit.parse().ok()),
            volume: text(VOLUME),
        })
    }

    /// It is an attempt of this container.
    pub(crate) fn is_of(&self, container: &str) -> bool {
        matches!(&self.kind, Kind::Container { name, .. } if name == container)
    }

    /// It is this attempt of a container.
    pub(crate) fn is_attempt(&self, container: &str, number: u32) -> bool {
        matches!(&self.kind, Kind::Container { name, attempt } if name == container && *attempt == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeInfo {
        vk_provider::testing::reset();
        vk_provider::config::node()
    }

    fn id() -> PodRef {
        PodRef { namespace: "default".to_owned(), name: "web".to_owned(), uid: "1f".to_owned() }
    }

    #[test]
    fn what_is_written_is_read() {
        let attempt = Attempt {
            name: "nginx",
            number: 2,
            revision: "1-c",
            image: "nginx:1",
            image_id: "nginx@sha256:1",
            sandbox: "4f",
        };
        let mark = Mark::read(&node(), &container(&node(), &id(), attempt)).unwrap();
        assert!(mark.is_attempt("nginx", 2) && !mark.is_attempt("nginx", 1));
        assert_eq!((mark.pod, mark.revision.as_deref(), mark.sandbox.as_deref()), (id(), Some("1-c"), Some("4f")));
        assert_eq!((mark.image.as_str(), mark.image_id.as_deref()), ("nginx:1", Some("nginx@sha256:1")));
        let mark = Mark::read(&node(), &sandbox(&node(), &id(), 1, "1-p")).unwrap();
        assert_eq!((mark.kind, mark.revision.as_deref()), (Kind::Sandbox { attempt: 1 }, Some("1-p")));
        let mark = Mark::read(&node(), &volume(&node(), &id(), "data", Some(7))).unwrap();
        assert_eq!((mark.kind, mark.volume.as_deref(), mark.limit), (Kind::Volume, Some("data"), Some(7)));
    }

    #[test]
    fn objects_of_others_are_not_ours() {
        let labels = sandbox(&node(), &id(), 0, "1-p");
        let with = |key: &str, value: Option<&str>| {
            let mut labels = labels.clone();
            match value {
                Some(value) => labels.insert(key.to_owned(), value.to_owned()),
                None => labels.remove(key),
            };
            Mark::read(&node(), &labels)
        };
        assert!(with("com.example", Some("x")).is_some());
        for (key, value) in [
            (NODE, Some("other")),
            (CLUSTER, Some("other")),
            (NODE, None),
            (KIND, None),
            (KIND, Some("x")),
            (UID, None),
            (ATTEMPT, Some("x")),
        ] {
            assert_eq!(with(key, value), None, "{key}={value:?}");
        }
        assert_eq!(Mark::read(&node(), &Labels::new()), None);
    }
}
