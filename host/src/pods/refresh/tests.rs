//! What is read, watched and told, and when. Both ends are played, and the time too.

use serde_json::{Value, json};

use super::*;
use crate::defaults::pods::REREAD_PERIOD;
use crate::pods::played::{Played, Taker};

fn of_cm() -> Value {
    json!({"configMap": {"name": "cm"}})
}

async fn a_while() {
    tokio::time::sleep(Duration::from_secs(600)).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_a_source_is_one_update() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    a_while().await;
    assert_eq!(played.taker.updates(), 0, "nothing has changed");
    let began = Instant::now();
    played.config_map("two");
    played.until("the provider has it", |played| played.taker.text("key").as_deref() == Some("two")).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Of no interest to the files.
    played.server.put("configmaps", "cm", json!({"data": {"key": "two"}, "kind": "ConfigMap"}));
    a_while().await;
    assert_eq!(played.taker.updates(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_watch_serves_all_pods_and_ends_with_the_last() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pods = ["a", "b", "c"].map(|name| played.pod(name, of_cm()));
    for pod in &pods {
        played.taker.take(&pod.id(), "files").await.unwrap();
        played.until("it is watched", |played| played.server.watched() == ["configmaps/cm"]).await;
    }
    assert_eq!(played.server.asked(), ["get configmaps/cm", "list configmaps/cm", "watch configmaps/cm"]);
    played.config_map("two");
    played.until("all are told", |played| played.taker.updates() == 3).await;
    assert!(played.server.asked().is_empty(), "the watch has told what is new");
    let [a, b, c] = pods;
    for pod in [&a, &b] {
        played.refresh.forget(pod.uid());
    }
    a_while().await;
    assert_eq!(played.server.watched(), ["configmaps/cm"]);
    played.refresh.forget(c.uid());
    played.until("the watch ends", |played| played.server.watched().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_immutable_is_read_once_and_never_watched() {
    let played = Played::new(Taker::default());
    let pods = ["a", "b"].map(|name| played.pod(name, of_cm()));
    played.server.put("configmaps", "cm", json!({"immutable": true, "data": {"key": "one"}}));
    for pod in &pods {
        played.taker.take(&pod.id(), "files").await.unwrap();
    }
    a_while().await;
    assert_eq!(played.server.asked(), ["get configmaps/cm"]);
    // Once nobody uses it, it is read again.
    pods.iter().for_each(|pod| played.refresh.forget(pod.uid()));
    a_while().await;
    let next = played.pod("c", of_cm());
    played.taker.take(&next.id(), "files").await.unwrap();
    assert_eq!(played.server.asked(), ["get configmaps/cm"]);
}

#[tokio::test(start_paused = true)]
async fn what_becomes_immutable_is_not_watched_any_more() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.until("it is watched", |played| !played.server.watched().is_empty()).await;
    played.server.put("configmaps", "cm", json!({"immutable": true, "data": {"key": "last"}}));
    played.until("the provider has it", |played| played.taker.text("key").as_deref() == Some("last")).await;
    played.until("the watch ends", |played| played.server.watched().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_asks_for_nothing_costs_no_request() {
    let played = Played::new(Taker::careless());
    let pod = played.pod("web", of_cm());
    played.refresh.adopt(&pod);
    played.told("web", of_cm(), &json!({"team": "red"}), "Running");
    a_while().await;
    assert!(played.server.asked().is_empty());
    assert_eq!(played.taker.updates(), 1, "it was asked once whether it has the volume");
}

#[tokio::test(start_paused = true)]
async fn a_provider_without_volumes_has_files_and_no_watch() {
    let played = Played::new(Taker::plain());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.refresh.adopt(&pod);
    played.taker.take(&pod.id(), "files").await.unwrap();
    a_while().await;
    assert_eq!(played.server.asked(), ["get configmaps/cm"]);
    played.config_map("two");
    played.taker.take(&pod.id(), "files").await.unwrap();
    assert_eq!(played.taker.text("key").as_deref(), Some("two"), "each time as it is");
    assert_eq!(played.taker.updates(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_opens_a_volume_is_read_when_it_is_asked_for_and_never_told_as_news() {
    let played = Played::new(Taker::default());
    let key = |text: &str| json!({"data": {"key": data_encoding::BASE64.encode(text.as_bytes())}});
    played.server.put("secrets", "s", key("one"));
    let pod = played.pod("web", json!({"azureFile": {"secretName": "s", "shareName": "data"}}));
    played.refresh.adopt(&pod);
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.server.put("secrets", "s", key("two"));
    played.told("web", json!({"azureFile": {"secretName": "s", "shareName": "other"}}), &json!({}), "Running");
    a_while().await;
    assert_eq!((played.taker.updates(), played.taker.text("key").as_deref()), (0, Some("one")));
    assert_eq!(played.server.asked(), ["get secrets/s"]);
    played.taker.take(&pod.id(), "files").await.unwrap();
    assert_eq!(played.taker.text("key").as_deref(), Some("two"), "each time as it is");
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_is_tried_until_it_works_and_one_that_cannot_be_is_not() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    // A pod in the making is not there yet.
    played.taker.answer(Code::NotFound, 1);
    played.taker.answer(Code::Unavailable, 3);
    played.config_map("two");
    played.until("it has worked", |played| played.taker.updates() == 5).await;
    a_while().await;
    assert_eq!((played.taker.updates(), played.taker.text("key").as_deref()), (5, Some("two")));
    played.taker.answer(Code::Unimplemented, 1);
    played.config_map("three");
    a_while().await;
    played.config_map("four");
    a_while().await;
    assert_eq!(played.taker.updates(), 6);
    assert!(played.server.watched().is_empty(), "nobody would be told");
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_does_not_care_for_is_told_once() {
    let played = Played::new(Taker::careless());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.config_map("two");
    played.until("it is told", |played| played.taker.updates() == 1).await;
    played.told("web", of_cm(), &json!({"team": "red"}), "Running");
    a_while().await;
    assert_eq!(played.taker.updates(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_was_called_off_is_repeated_without_a_word() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.taker.answer(Code::Cancelled, 1);
    played.config_map("two");
    played.until("it has worked", |played| played.taker.updates() == 2).await;
    a_while().await;
    assert!(played.server.events().is_empty(), "the host or its next build wished it");
    played.taker.answer(Code::Internal, 1);
    played.config_map("three");
    played.until("a failure is told", |played| !played.server.events().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    let played = Played::new(Taker::default());
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 600}});
    let pod = played.pod("web", json!({"projected": {"sources": [source]}}));
    played.taker.take(&pod.id(), "files").await.unwrap();
    assert_eq!(played.taker.text("token").as_deref(), Some("token 1"));
    assert_eq!(played.server.asked(), ["token u-web"]);
    tokio::time::sleep(Duration::from_secs(469)).await;
    assert_eq!(played.taker.updates(), 0);
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(played.taker.text("token").as_deref(), Some("token 2"));
    assert_eq!((played.server.asked().len(), played.taker.updates()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_label_that_changes_is_a_new_file_and_a_status_is_not() {
    let played = Played::new(Taker::default());
    let item = json!({"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}});
    let volume = json!({"downwardAPI": {"items": [item]}});
    let pod = played.pod("web", volume.clone());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.told("web", volume.clone(), &json!({"team": "red"}), "Running");
    played.until("the provider has it", |played| played.taker.text("labels").as_deref() == Some("team=\"red\"")).await;
    played.told("web", volume, &json!({"team": "red"}), "Running");
    a_while().await;
    assert_eq!(played.taker.updates(), 1);
    assert!(played.server.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_optional_object_that_appears_is_a_new_file_and_goes_again() {
    let played = Played::new(Taker::default());
    let pod = played.pod("web", json!({"configMap": {"name": "cm", "optional": true}}));
    played.taker.take(&pod.id(), "files").await.unwrap();
    assert_eq!(played.taker.text("key"), None);
    played.until("it is watched for", |played| !played.server.watched().is_empty()).await;
    played.config_map("one");
    played.until("the provider has it", |played| played.taker.text("key").as_deref() == Some("one")).await;
    played.server.remove("configmaps", "cm");
    played.until("the provider has it no more", |played| played.taker.text("key").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_mandatory_object_that_goes_leaves_the_files_as_they_are() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.until("it is watched", |played| !played.server.watched().is_empty()).await;
    played.server.remove("configmaps", "cm");
    a_while().await;
    assert_eq!(played.taker.updates(), 0);
    played.config_map("two");
    played.until("the provider has it", |played| played.taker.text("key").as_deref() == Some("two")).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_watch_is_made_up_for_by_reading() {
    let played = Played::new(Taker::default());
    played.server.refuse_watches();
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.until("a watch is asked for", |played| played.server.asked().contains(&"watch configmaps/cm".into())).await;
    played.config_map("two");
    // Who asks meanwhile is given what is there.
    let other = played.pod("other", of_cm());
    played.taker.take(&other.id(), "files").await.unwrap();
    assert_eq!(played.taker.text("key").as_deref(), Some("two"));
    played.refresh.forget(other.uid());
    tokio::time::sleep(REREAD_PERIOD * 2).await;
    assert_eq!(played.taker.updates(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_known_until_it_is_asked_for_again() {
    let played = Played::new(Taker::default());
    let pod = played.pod("web", of_cm());
    let error = played.taker.take(&pod.id(), "files").await.unwrap_err();
    assert_eq!((error.code, error.field), (Code::FailedPrecondition, None));
    let missing = "MountVolume.SetUp failed for volume \"files\" : configmap \"cm\" not found";
    assert_eq!(played.refresh.missing(pod.uid()).as_deref(), Some(missing));
    played.refresh.begin(pod.uid());
    assert_eq!(played.refresh.missing(pod.uid()), None);
    assert!(played.taker.take(&pod.id(), "files").await.is_err());
    assert!(played.server.watched().is_empty(), "a pod that is not made has nothing to keep up to date");
    played.config_map("one");
    played.taker.take(&pod.id(), "files").await.unwrap();
    assert_eq!(played.refresh.missing(pod.uid()), None);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_pod_is_kept_up_to_date_if_the_provider_has_its_volume() {
    let played = Played::new(Taker::default());
    played.config_map("changed while the host was away");
    let pod = played.pod("web", of_cm());
    played.taker.answer(Code::Unavailable, 1);
    played.refresh.adopt(&pod);
    played.until("the provider has it", |played| played.taker.text("key").is_some()).await;
    played.until("it is watched", |played| !played.server.watched().is_empty()).await;
    assert_eq!(played.taker.updates(), 2);
    played.config_map("two");
    played.until("the provider has it", |played| played.taker.text("key").as_deref() == Some("two")).await;
    let other = played.pod("other", of_cm());
    played.taker.answer(Code::NotFound, 1);
    played.refresh.adopt(&other);
    a_while().await;
    assert_eq!(played.taker.updates(), 4, "what it does not have is left alone");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_or_somebody_else_s_is_nobody_s_business() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    played.taker.take(&pod.id(), "files").await.unwrap();
    played.until("it is watched", |played| !played.server.watched().is_empty()).await;
    played.told("web", of_cm(), &json!({}), "Succeeded");
    played.until("the watch ends", |played| played.server.watched().is_empty()).await;
    let namesake = PodRef { uid: "another".into(), ..pod.id() };
    for (id, volume, code) in [
        (&namesake, "files", Code::NotFound),
        (&PodRef { name: "none".into(), ..pod.id() }, "files", Code::NotFound),
        (&pod.id(), "none", Code::NotFound),
    ] {
        assert_eq!(played.taker.take(id, volume).await.unwrap_err().code, code, "{id} {volume}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_pod_that_goes_while_it_is_asked_about_nothing_is_kept() {
    let played = Played::new(Taker::default());
    played.config_map("one");
    let pod = played.pod("web", of_cm());
    // The question began before the pod went, and is answered after.
    played.index.remove(&pod);
    played.refresh.forget(pod.uid());
    assert!(played.refresh.volume(&pod, "files").await.is_ok());
    a_while().await;
    assert!(played.refresh.pods().is_empty() && played.server.watched().is_empty());
}
