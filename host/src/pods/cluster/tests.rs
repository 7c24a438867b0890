//! What a provider is answered that no volume has to do with; the other end is played.

use serde_json::{Value, json};

use super::*;
use crate::defaults::pods::EVENT_BURST;
use crate::pods::played::{Played, Taker};
use crate::provider::Cluster as _;

fn with(played: &Played, spec: Value) -> Arc<PodObject> {
    played.with("web", spec, &json!({}), "Pending")
}

#[tokio::test(start_paused = true)]
async fn a_container_has_its_late_values_and_its_sources_as_they_are_now() {
    let played = Played::new(Taker::default());
    let ip = json!({"fieldRef": {"fieldPath": "status.podIP"}});
    let key = json!({"configMapKeyRef": {"name": "cm", "key": "key"}});
    let both = json!({"name": "BOTH", "value": "$(KEY)@$(IP)"});
    let env = json!([{"name": "IP", "valueFrom": ip}, {"name": "KEY", "valueFrom": key}, both]);
    let pod =
        with(&played, json!({"containers": [{"name": "other"}, {"name": "main", "env": env, "args": ["$(BOTH)"]}]}));
    let ips = ["10.0.0.7".to_string(), "fd00::7".to_string()];
    let error = played.cluster.resolve_container(&pod.id(), "main", &ips).await.unwrap_err();
    assert_eq!((error.code, &*error.reason), (Code::FailedPrecondition, "MandatoryConfigMapNotFound"));
    for text in ["one", "two"] {
        played.config_map(text);
        let resolved = played.cluster.resolve_container(&pod.id(), "main", &ips).await.unwrap();
        assert_eq!((resolved.late, resolved.args), (false, vec![format!("{text}@10.0.0.7")]));
    }
    for (container, ips, code) in [("none", &ips[..], Code::NotFound), ("main", &ips[..0], Code::InvalidArgument)] {
        let error = played.cluster.resolve_container(&pod.id(), container, ips).await.unwrap_err();
        assert_eq!(error.code, code, "{container}");
    }
    assert!(!played.cluster.resolve_container(&pod.id(), "other", &[]).await.unwrap().late, "it needs no IP");
}

#[tokio::test(start_paused = true)]
async fn pull_secrets_that_are_of_no_use_are_told_and_the_others_count() {
    let played = Played::new(Taker::default());
    let config = r#"{"auths": {"quay.io": {"username": "u", "password": "p"}}}"#;
    let secret = |kind: &str, text: &str| {
        let data = data_encoding::BASE64.encode(text.as_bytes());
        json!({"type": kind, "data": {".dockerconfigjson": data}})
    };
    played.server.put("secrets", "good", secret("kubernetes.io/dockerconfigjson", config));
    played.server.put("secrets", "opaque", secret("Opaque", config));
    let secrets = json!([{"name": "gone"}, {"name": "opaque"}, {"name": "good"}]);
    let pod = with(&played, json!({"containers": [{"name": "main"}], "imagePullSecrets": secrets}));
    let found = played.cluster.registry_credentials(&pod.id(), "quay.io/team/app:1").await.unwrap();
    assert_eq!(found.iter().map(|found| found.username.as_str()).collect::<Vec<_>>(), ["u"]);
    assert!(played.cluster.registry_credentials(&pod.id(), "busybox").await.unwrap().is_empty());
    played.until("both are told", |played| played.server.events().len() >= 2).await;
    let events = played.server.events();
    assert!(events.iter().all(|(reason, _)| reason == "FailedToRetrieveImagePullSecret"), "{events:?}");
    assert!(events[0].1.contains("\"gone\"") && events[1].1.contains("\"opaque\""), "{events:?}");
    assert!(played.server.watched().is_empty());
}

#[tokio::test(start_paused = true)]
async fn events_are_told_of_this_node_s_pods_with_a_proper_reason_and_not_without_end() {
    let played = Played::new(Taker::default());
    let pod = with(&played, json!({"containers": [{"name": "main"}]}));
    let namesake = PodRef { uid: "another".into(), ..pod.id() };
    played.cluster.event(&namesake, true, "Degraded", "of somebody else's");
    played.cluster.event(&pod.id(), true, "Degraded", "first");
    played.cluster.event(&pod.id(), false, "not a reason", "second");
    for number in 0..100 {
        played.cluster.event(&pod.id(), false, "More", &number.to_string());
    }
    let burst = usize::try_from(EVENT_BURST).unwrap();
    played.until("all that go through are told", |played| played.server.events().len() == burst).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let events = played.server.events();
    assert_eq!(events.len(), burst);
    let told = |reason: &str, text: &str| (reason.to_string(), text.to_string());
    assert_eq!(events[..2], [told("Degraded", "first"), told("ProviderEvent", "second")]);
}

#[test]
fn what_could_not_be_read_is_told_apart_from_what_is_missing() {
    let (reason, message) = ("R", String::from("m"));
    let refused = Problem::Refused { field: "spec.x".into(), message: message.clone() };
    for (problem, code) in [
        (Problem::Missing { reason, message: message.clone() }, Code::FailedPrecondition),
        (Problem::Unread { reason, message }, Code::Unavailable),
        (refused, Code::InvalidArgument),
    ] {
        assert_eq!(unresolved(problem).code, code);
    }
}
