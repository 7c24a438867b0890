//! The provider as the host calls it, against an Azure that the test plays.

mod acts;
mod arm;
mod ends;
mod logs;
mod news;
mod places;
mod pods;
mod rates;
mod troubles;
mod updates;

use std::time::Duration;

use serde_json::{Value, json};
use vk_provider::changes::Batch;
use vk_provider::{Changes as _, Deletion, DesiredPod, ObservedPod, PodRef, Pods as _, Result, testing};

use crate::Azure;
use arm::Arm;

/// A node with an empty store, and an Azure that answers it.
fn azure() -> Arm {
    azure_with("")
}

fn azure_with(text: &str) -> Arm {
    testing::reset();
    sign_in(text);
    Arm::serving()
}

/// The same node and Azure after all that the host kept was lost.
fn store_lost(arm: &Arm) {
    testing::reset();
    sign_in("");
    arm.serve();
}

fn sign_in(text: &str) {
    for (name, value) in [
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_SUBSCRIPTION_ID", "s"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_CLIENT_SECRET", "p"),
    ] {
        testing::variable(name, value);
    }
    testing::configure(&format!("Region = \"westeurope\"\nResourceGroup = \"pods\"\n{text}"));
}

/// A pod of one container, `web`, with these fields in its spec.
fn pod_of(uid: &str, fields: &str) -> DesiredPod {
    testing::desired(&format!(
        r#"{{"metadata":{{"namespace":"shop","name":"web-{uid}","uid":"{uid}"}},"spec":{{"containers":[{{"name":"web",
        "image":"nginx:1"}}]{fields}}}}}"#
    ))
}

fn pod(uid: &str) -> DesiredPod {
    pod_of(uid, "")
}

fn id(uid: &str) -> PodRef {
    pod(uid).id
}

fn create(pod: DesiredPod) -> Result<ObservedPod> {
    testing::new_call();
    Azure::create_pod(pod).map(Option::unwrap)
}

fn delete(uid: &str) -> Result<Deletion> {
    testing::new_call();
    Azure::delete_pod(id(uid), None, None)
}

fn get(uid: &str) -> Result<Option<ObservedPod>> {
    testing::new_call();
    Azure::get_pod(id(uid))
}

fn next(cursor: &Option<String>, seconds: u64) -> Result<Batch> {
    testing::new_call();
    Azure::next(cursor.clone(), Duration::from_secs(seconds))
}

/// Follows news for so long, as the host does: each answer's cursor goes into the next call.
fn follow(cursor: &mut Option<String>, seconds: u64) -> Vec<Told> {
    let end = testing::now() + Duration::from_secs(seconds);
    let mut told = Vec::new();
    while testing::now() < end {
        let wait = end.since(testing::now()).min(Duration::from_secs(30));
        testing::new_call();
        let batch = Azure::next(cursor.clone(), wait).unwrap();
        told.extend(batch.changed.iter().map(|pod| Told::Status(pod.id.uid.clone(), status(pod))));
        told.extend(batch.touched.iter().map(|id| Told::Look(id.uid.clone())));
        cursor.clone_from(&batch.cursor);
        testing::advance(batch.again_after.max(Duration::from_millis(20)));
    }
    told
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Status(String, Value),
    Look(String),
}

impl Told {
    /// Uid and phase; `-`: to be looked at.
    fn phase(&self) -> String {
        match self {
            Self::Status(uid, status) => format!("{uid} {}", status["phase"].as_str().unwrap_or("?")),
            Self::Look(uid) => format!("{uid} -"),
        }
    }
}

fn phases(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::phase).collect()
}

fn status(pod: &ObservedPod) -> Value {
    serde_json::from_str(&pod.status).unwrap()
}

/// A cursor from a full list.
fn listed() -> Option<String> {
    next(&None, 0).unwrap().cursor
}

/// What was told of pods: `REASON: message`, warnings with a `!` in front.
fn events() -> Vec<String> {
    let events = testing::events();
    let told = events
        .iter()
        .map(|event| format!("{}{}: {}", if event.warning { "!" } else { "" }, event.reason, event.message));
    told.collect()
}

fn last(told: &[Told]) -> Value {
    match told.last() {
        Some(Told::Status(_, status)) => status.clone(),
        other => panic!("{other:?}"),
    }
}

/// A container that runs since the start of all tests. Azure's times have fractions.
fn running() -> Value {
    json!({"restartCount": 0, "currentState": {"state": "Running", "startTime": "2026-11-24T10:00:00.123Z", "detailStatus": ""}})
}

/// One that has ended.
fn ended(code: i64) -> Value {
    json!({"restartCount": 0, "currentState": {"state": "Terminated", "startTime": "2026-11-24T10:00:00.123+00:00",
        "finishTime": "2026-11-24T10:00:05.456+00:00", "exitCode": code, "detailStatus": if code == 0 { "Completed" } else { "Error" }}})
}

/// One that Azure has started again after it ended so.
fn again(code: i64) -> Value {
    let mut view = running();
    view["restartCount"] = 1.into();
    view["previousState"] = ended(code)["currentState"].clone();
    view
}
