//! Whose a container group is. What is not surely this pod's is not touched, whatever it is called.
//!
//! | tags | |
//! | --- | --- |
//! | all, and as they should be | the pod's |
//! | one says something else: another cluster, node, pod or uid | somebody else's: as if it were not there, and never touched |
//! | one is missing, and none says something else | nobody can tell: told, and never touched |
//! | all, but the group's name is another | somebody else's copy: told, and never touched |
//!
//! Groups of this node and cluster whose pod is gone are listed like all others: the host removes what nobody wants.

use vk_aci::Summary;
use vk_aci::group::Tags;
use vk_provider::config::NodeInfo;
use vk_provider::{Error, PodRef, Result, log};

use crate::ledger;
use crate::names::{self, Mark};

/// Whose a group of a pod's name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The pod's, made from this revision.
    Ours(Option<String>),
    /// Somebody else's: what says so.
    Foreign(String),
    /// Tags are missing: which.
    Unclear(String),
}

/// Whose a group is that is called as the pod's would be.
pub(crate) fn whose(node: &NodeInfo, id: &PodRef, tags: &Tags) -> Whose {
    let expected = Mark { id: id.clone(), revision: None }.tags(node, None);
    let there = |name: &str| tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let mut missing = Vec::new();
    for (name, value) in &expected {
        match there(name) {
            Some(other) if other != value => return Whose::Foreign(format!("its tag {name} is {other:?}")),
            Some(_) => {}
            None => missing.push(name.as_str()),
        }
    }
    match Mark::of(node, tags) {
        Some(mark) if missing.is_empty() => Whose::Ours(mark.revision),
        _ => Whose::Unclear(missing.join(", ")),
    }
}

/// The reason of an error of one group alone.
pub(crate) const TAGS_MISSING: &str = "GroupTagsMissing";

/// What keeps a call from going on with a group that has lost tags.
pub(crate) fn unclear(id: &PodRef, group: &str, missing: &str) -> Error {
    Error::failed_precondition(
        TAGS_MISSING,
        format!(
            "the container group {group} is called as that of pod {} would be, but lacks the tags {missing}: nobody can tell whose it \
             is, so it is left alone; give it its tags again, or remove it",
            id.name
        ),
    )
}

/// What this node owns of a list, and what each group's provisioning state is.
///
/// # Errors
/// The store does not answer.
pub(crate) fn ours(node: &NodeInfo, groups: Vec<Summary>) -> Result<Vec<(Mark, String)>> {
    let mut ours = Vec::new();
    for group in groups {
        let name = group.name.unwrap_or_default();
        let left_alone = match Mark::of(node, &group.tags) {
            Some(mark) if !names::group(node, &mark.id).eq_ignore_ascii_case(&name) => {
                format!("has the tags of pod {}, whose group is called otherwise", mark.id.name)
            }
            Some(mark) => {
                let state = group.properties.provisioning_state;
                ours.push((mark, state.map(|state| state.to_string()).unwrap_or_default()));
                continue;
            }
            None if Mark::is_partly_of(node, &group.tags) => {
                "is this node's, but its tags do not say whose pod it is".to_owned()
            }
            None => continue,
        };
        if ledger::is_to_tell(&name)? {
            log!("the container group {name:?} {left_alone}: it is left alone");
        }
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::{config, testing};

    fn id() -> PodRef {
        PodRef { namespace: "shop".to_owned(), name: "web-0".to_owned(), uid: "u-1".to_owned() }
    }

    fn tags() -> Tags {
        Mark { id: id(), revision: Some("1-x".to_owned()) }.tags(&config::node(), None)
    }

    #[test]
    fn a_group_is_the_pods_if_all_tags_say_so() {
        testing::reset();
        let node = config::node();
        assert_eq!(whose(&node, &id(), &tags()), Whose::Ours(Some("1-x".to_owned())));
        let mut others = tags();
        others.remove("Revision");
        assert_eq!(whose(&node, &id(), &others), Whose::Ours(None), "the host leaves such a pod as it is");
        for name in ["NodeName", "ClusterID", "UID", "PodName", "Namespace"] {
            let mut others = tags();
            others.insert(name.to_owned(), "other".to_owned());
            assert!(matches!(whose(&node, &id(), &others), Whose::Foreign(why) if why.contains(name)), "{name}");
            others.remove(name);
            assert_eq!(whose(&node, &id(), &others), Whose::Unclear(name.to_owned()));
        }
        assert!(matches!(whose(&node, &id(), &Tags::new()), Whose::Unclear(_)));
    }

    #[test]
    fn a_list_has_what_is_surely_ours_and_tells_the_rest_once() {
        testing::reset();
        let node = config::node();
        let own = names::group(&node, &id());
        let group = |name: &str, change: &dyn Fn(&mut Tags)| {
            let mut tags = tags();
            change(&mut tags);
            Summary { name: Some(name.to_owned()), tags, ..Summary::default() }
        };
        let groups = vec![
            // Azure tells names apart without case.
            group(&own.to_uppercase(), &|_| {}),
            group("copy", &|_| {}),
            group(&own, &|tags| drop(tags.insert("ClusterID".to_owned(), "other".to_owned()))),
            group("unclear", &|tags| drop(tags.remove("UID"))),
            group("none", &Tags::clear),
        ];
        let ours = ours(&node, groups).unwrap();
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].0.id, id());
        for (name, told) in [("copy", true), ("unclear", true), ("none", false), (&own, false)] {
            assert_eq!(!ledger::is_to_tell(name).unwrap(), told, "{name}");
        }
    }
}
