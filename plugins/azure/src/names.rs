//! Names that Azure takes. Those of Kubernetes are longer, and allow hyphens where Azure does not.
//!
//! ```text
//! NAMESPACE-POD-DIGEST     a container group: to be read by people, made unique by the uid in the digest
//! NAME, or NAME-DIGEST     a volume, where its own name will not do
//! ```
//!
//! The names in clear stand in tags, which is where pods are found again.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use vk_aci::group::Tags;
use vk_provider::PodRef;
use vk_provider::config::NodeInfo;

use crate::limits;

/// Of groups, volumes and labels ("Naming rules and restrictions for Azure resources").
const LONGEST: usize = 63;
/// Of volumes.
const SHORTEST: usize = 5;
/// Letters of a digest: 80 bits.
const DIGEST: usize = 16;

/// Tags, as azure-aci names them.
const POD_NAME: &str = "PodName";
const NAMESPACE: &str = "Namespace";
const UID: &str = "UID";
const NODE_NAME: &str = "NodeName";
const CREATED: &str = "CreationTimestamp";
/// Tags of ours.
const CLUSTER_ID: &str = "ClusterID";
const REVISION: &str = "Revision";

/// All names of tags that mean something here. Azure tells them apart without case.
pub(crate) const TAGS: [&str; 7] = [POD_NAME, NAMESPACE, UID, NODE_NAME, CREATED, CLUSTER_ID, REVISION];

/// The name of a pod's container group. The same for the same uid, on whatever node, and another for every other.
pub(crate) fn group(node: &NodeInfo, id: &PodRef) -> String {
    let digest = digest(&[&node.cluster_id, &id.uid]);
    joined(&format!("{}-{}", id.namespace, id.name), &digest)
}

/// The name of a volume: its own if Azure takes it.
pub(crate) fn volume(name: &str) -> String {
    if (SHORTEST..=LONGEST).contains(&name.len()) && plain(name) == name {
        return name.to_owned();
    }
    joined(name, &digest(&["volume", name]))
}

/// Whether it can be the first label of a group's DNS name.
pub(crate) fn is_label(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (SHORTEST..=LONGEST).contains(&text.len())
        && text.bytes().all(letters)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a tag can be added to ours.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_tag(name: &str, value: &str) -> Result<(), String> {
    let (names, values) = (limits::TAG_NAME, limits::TAG_VALUE);
    if TAGS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
        return Err(format!("{name:?} says whose a group is; known so are {}", TAGS.join(", ")));
    }
    if name.is_empty() || name.chars().count() > names {
        return Err(format!("{name:?} is no name of a tag: it has 1 to {names} characters"));
    }
    if let Some(letter) = name.chars().find(|letter| "<>%&\\?/".contains(*letter)) {
        return Err(format!("{name:?} is no name of a tag: {letter:?} is not allowed in it"));
    }
    if value.chars().count() > values {
        return Err(format!("the value of the tag {name:?} is longer than {values} characters"));
    }
    Ok(())
}

/// What is known of a pod by its group's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Whose group it is.
    pub(crate) id: PodRef,
    /// What it was made from; none: the tag is gone.
    pub(crate) revision: Option<String>,
}

impl Mark {
    /// What a group's tags say; none: it is no pod of this node in this cluster.
    pub(crate) fn of(node: &NodeInfo, tags: &Tags) -> Option<Self> {
        let tag = |name: &str| {
            let found = tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let id = PodRef { namespace: tag(NAMESPACE)?, name: tag(POD_NAME)?, uid: tag(UID)? };
        Self::is_partly_of(node, tags).then(|| Self { id, revision: tag(REVISION) })
    }

    /// Whether a group's tags say that it is of this node in this cluster, whatever else is missing in them.
    pub(crate) fn is_partly_of(node: &NodeInfo, tags: &Tags) -> bool {
        let says =
            |name: &str, value: &str| tags.iter().any(|(key, there)| key.eq_ignore_ascii_case(name) && there == value);
        says(NODE_NAME, &node.name) && says(CLUSTER_ID, &node.cluster_id)
    }

    /// The tags that say so.
    pub(crate) fn tags(&self, node: &NodeInfo, created: Option<&str>) -> Tags {
        let Self { id, revision } = self;
        let texts = [
            (POD_NAME, Some(id.name.as_str())),
            (NAMESPACE, Some(&id.namespace)),
            (UID, Some(&id.uid)),
            (NODE_NAME, Some(&node.name)),
            (CREATED, created),
            (CLUSTER_ID, Some(&node.cluster_id)),
            (REVISION, revision.as_deref()),
        ];
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.to_owned()))).collect()
    }
}

/// As much of a name as there is room for, and the digest.
fn joined(name: &str, digest: &str) -> String {
    let room = LONGEST - DIGEST - 1;
    let plain = plain(name);
    match plain.get(..plain.len().min(room)).unwrap_or_default().trim_end_matches('-') {
        "" => digest.to_owned(),
        start => format!("{start}-{digest}"),
    }
}

/// Lower-case letters and digits, single hyphens between them.
fn plain(name: &str) -> String {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let parts = name.split(|letter| !is_letter(letter)).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// A few letters that stand for some texts. None of them has the byte that stands between them.
fn digest(texts: &[&str]) -> String {
    let mut text = BASE32_NOPAD.encode(&Sha256::digest(texts.join("\0"))).to_ascii_lowercase();
    text.truncate(DIGEST);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use vk_provider::{config, testing};

    fn id(namespace: &str, name: &str, uid: &str) -> PodRef {
        PodRef { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }

    fn fits(name: &str) -> bool {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&name.len())
            && name.bytes().all(letters)
            && !name.contains("--")
            && !name.starts_with('-')
            && !name.ends_with('-')
    }

    #[test]
    fn a_group_is_called_so_that_azure_takes_it() {
        testing::reset();
        let node = config::node();
        let name = group(&node, &id("default", "web-0", "u-1"));
        assert!(name.starts_with("default-web-0-") && name.len() == "default-web-0-".len() + DIGEST, "{name}");
        for (namespace, name) in [
            ("default", "a--b".to_owned()),
            ("kube-system", "a.b-.c".to_owned()),
            ("x", "y".repeat(253)),
            (&"n".repeat(63), "p".repeat(63)),
            (&format!("{}-b", "n".repeat(44)), "p".to_owned()),
            (&format!("{}-b", "n".repeat(45)), "p".to_owned()),
        ] {
            let name = group(&node, &id(namespace, &name, "u"));
            assert!(fits(&name), "{name}");
        }
    }

    #[test]
    fn no_two_pods_share_a_group() {
        testing::reset();
        let node = config::node();
        let one = group(&node, &id("a-b", "c", "1"));
        assert_ne!(one, group(&node, &id("a", "b-c", "2")), "azure-aci's mistake");
        assert_ne!(one, group(&node, &id("a-b", "c", "2")), "a namesake");
        assert_eq!(one, group(&node, &id("a-b", "c", "1")));
        testing::node(|node| node.cluster_id = "other".to_owned());
        assert_ne!(one, group(&config::node(), &id("a-b", "c", "1")), "a copy of the cluster");
    }

    #[test]
    fn a_volume_keeps_its_name_where_it_can() {
        for (name, expected) in [("data0", "data0"), ("kube-api-access-x7k2p", "kube-api-access-x7k2p")] {
            assert_eq!(volume(name), expected);
        }
        assert!(volume("v").starts_with("v-") && volume("data").starts_with("data-"));
        let long = "x".repeat(63);
        let names: BTreeSet<String> = ["v", "data", "a--b-c", "a-b--c", &long].into_iter().map(volume).collect();
        assert!(names.len() == 5 && names.iter().all(|name| fits(name) && name.len() >= 5), "{names:?}");
    }

    #[test]
    fn labels_are_those_of_the_documentation() {
        for (text, fits) in [
            ("front", true),
            ("Front-1", true),
            ("web1", false),
            ("-front", false),
            ("front-", false),
            ("front.end", false),
            (&"a".repeat(63), true),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(is_label(text), fits, "{text}");
        }
    }

    #[test]
    fn a_tag_of_somebody_else_is_none_of_ours() {
        let wrong = |name: &str, value: &str| check_tag(name, value).unwrap_err();
        assert_eq!(check_tag("cost center", "é"), Ok(()));
        assert!(wrong("podname", "x").contains("says whose a group is"));
        assert!(wrong("a/b", "x").contains("'/' is not allowed"));
        assert!(wrong("", "x").contains("1 to 512 characters"));
        assert!(wrong("a", &"v".repeat(257)).contains("longer than 256"));
    }

    #[test]
    fn tags_say_whose_a_group_is() {
        testing::reset();
        let node = config::node();
        let mark = Mark { id: id("default", "web", "u-1"), revision: Some("1-x".to_owned()) };
        let tags = mark.tags(&node, Some("2026-11-24T10:00:00Z"));
        assert_eq!(tags.keys().map(String::as_str).collect::<Vec<_>>(), {
            let mut names = TAGS;
            names.sort_unstable();
            names
        });
        assert_eq!(Mark::of(&node, &tags), Some(mark.clone()));
        let lower: Tags = tags.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        assert_eq!(Mark::of(&node, &lower), Some(mark), "Azure may give them back in another case");
        for name in ["NodeName", "ClusterID", "UID", "PodName", "Namespace"] {
            let mut others = tags.clone();
            others.remove(name);
            assert_eq!(Mark::of(&node, &others), None, "without {name}");
        }
        for name in ["NodeName", "ClusterID"] {
            let mut others = tags.clone();
            others.insert(name.to_owned(), "other".to_owned());
            assert_eq!(Mark::of(&node, &others), None, "of another {name}");
        }
    }
}
