//! What Azure tells of a group and its containers, as events of the pod: each once, and again when it has happened more often.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use vk_aci::Group;
use vk_aci::group::Event;
pub(crate) use vk_aci::scrubbed;
use vk_provider::{PodRef, cluster};

/// Letters of a digest: 60 bits, of a few hundred events.
const DIGEST: usize = 12;
/// Events of one group that are told, the newest: a crash loop of years must not fill the ledger.
const MOST: usize = 300;

/// Tells what was not told yet, and returns what is told now. A group that does not say how it runs, as while it is changed, has
/// not forgotten what has happened: it says all of that again with its next view.
pub(crate) fn tell(id: &PodRef, group: &Group, told: &BTreeMap<String, i32>) -> BTreeMap<String, i32> {
    let properties = &group.properties;
    if properties.instance_view.is_none() && properties.views().all(|(_, view)| view.is_none()) {
        return told.clone();
    }
    let mut all = all(group);
    all.sort_by_key(|(_, event)| event.last_timestamp);
    let excess = all.len().saturating_sub(MOST);
    let mut now = BTreeMap::new();
    for (container, event) in all.into_iter().skip(excess) {
        let key = key(container, event);
        let count = event.count.max(1);
        if told.get(&key).is_none_or(|before| *before < count) {
            let said = scrubbed(&event.message);
            let message = container.map_or_else(|| said.clone(), |name| format!("{name}: {said}"));
            cluster::event(id, is_warning(event), &reason(&event.name), &message);
        }
        now.insert(key, count);
    }
    now
}

/// All that is told, of the group and of its containers.
fn all(group: &Group) -> Vec<(Option<&str>, &Event)> {
    let properties = &group.properties;
    let of_group = properties.instance_view.iter().flat_map(|view| &view.events).map(|event| (None, event));
    let of_containers = properties
        .views()
        .flat_map(|(name, view)| view.into_iter().flat_map(|view| &view.events).map(move |event| (Some(name), event)));
    of_group.chain(of_containers).filter(|(_, event)| !event.name.is_empty()).collect()
}

fn key(container: Option<&str>, event: &Event) -> String {
    let text = [container.unwrap_or_default(), &event.name, &event.message].join("\0");
    let mut key = BASE32_NOPAD.encode(&Sha256::digest(text)).to_ascii_lowercase();
    key.truncate(DIGEST);
    key
}

/// Whether it is a reason to worry. Azure says `Normal` of mounts that failed: the name counts too.
pub(crate) fn is_warning(event: &Event) -> bool {
    event.r#type.eq_ignore_ascii_case("Warning")
        || event.name.starts_with("Failed")
        || matches!(event.name.as_str(), "BackOff" | "Unhealthy")
}

/// An event's name as a reason: letters and digits, the first one large.
pub(crate) fn reason(name: &str) -> String {
    let mut word: String = name.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if word.is_empty() { "AzureEvent".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::testing;

    fn group(events: &str, of_container: &str) -> Group {
        let text = format!(
            r#"{{"properties":{{"instanceView":{{"events":{events}}},"containers":[{{"name":"web","properties":
            {{"instanceView":{{"events":{of_container}}}}}}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn told() -> Vec<String> {
        let events = testing::events();
        let one = |event: &testing::Event| {
            format!("{} {}: {}", if event.warning { "W" } else { "N" }, event.reason, event.message)
        };
        events.iter().map(one).collect()
    }

    #[test]
    fn each_event_is_told_once_and_again_when_it_happens_more_often() {
        testing::reset();
        let id = PodRef { namespace: "a".to_owned(), name: "b".to_owned(), uid: "c".to_owned() };
        let mount = r#"[{"name":"FailedMount","type":"Normal","count":1,"message":"mount error(2)"}]"#;
        let pulled = r#"[{"name":"Pulled","type":"Normal","count":1,"message":"done"},{"name":"","message":"x"}]"#;
        let first = tell(&id, &group(mount, pulled), &BTreeMap::new());
        assert_eq!(told(), ["W FailedMount: mount error(2)", "N Pulled: web: done"]);
        let second = tell(&id, &group(mount, pulled), &first);
        assert_eq!((told().len(), &second), (2, &first));
        let again = mount.replace("\"count\":1", "\"count\":4");
        let third = tell(&id, &group(&again, "[]"), &second);
        assert_eq!(told().len(), 3);
        assert_eq!(third.len(), 1, "what Azure has forgotten is forgotten");
        assert!(tell(&id, &group(&again, "[]"), &third).len() == 1 && told().len() == 3);
        let silent = r#"{"properties":{"provisioningState":"Pending","containers":[{"name":"web"}]}}"#;
        let fourth = tell(&id, &serde_json::from_str(silent).unwrap(), &third);
        assert_eq!(fourth, third, "what it does not say now");
        assert!(tell(&id, &group(&again, "[]"), &fourth).len() == 1 && told().len() == 3);
    }

    #[test]
    fn what_is_bad_is_a_warning_whatever_its_type_says() {
        for (name, kind, expected) in [
            ("Started", "Normal", false),
            ("Killing", "Normal", false),
            ("Killing", "warning", true),
            ("FailedMount", "Normal", true),
            ("BackOff", "", true),
        ] {
            let event = Event { name: name.to_owned(), r#type: kind.to_owned(), ..Event::default() };
            assert_eq!(is_warning(&event), expected, "{name} {kind}");
        }
        assert_eq!((reason("pull-image."), reason("é")), ("Pullimage".to_owned(), "AzureEvent".to_owned()));
    }
}
