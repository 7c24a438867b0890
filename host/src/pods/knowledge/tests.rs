use serde_json::{Value, json};

use super::*;
use crate::pods::object::tests::pod;
use crate::pods::object::version;

fn told(at: u32, deleting: bool, status: Value) -> Arc<PodObject> {
    let deletion = if deleting { json!("2026-01-02T03:04:05Z") } else { Value::Null };
    Arc::new(pod(json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": at.to_string(),
            "deletionTimestamp": deletion,
        },
        "spec": {"containers": [{"name": "a", "image": "i"}]},
        "status": status,
    })))
}

fn observed() -> Arc<ObservedPod> {
    let status = json!({"phase": "Running", "podIP": "10.0.0.1"}).to_string();
    let id = crate::provider::PodRef { namespace: "shop".into(), name: "web".into(), uid: "u".into() };
    Arc::new(ObservedPod { id, revision: None, status })
}

/// A pod that runs, and its first status, which is not written yet.
fn running() -> (Knowledge, PodStatus) {
    let mut known = Knowledge::new(Workload::None, None);
    known.see(told(10, false, json!({"phase": "Pending", "qosClass": "BestEffort"})));
    known.found(observed());
    let (_, status) = known.status_to_write("10.9.9.9").unwrap();
    known.news = false;
    (known, status)
}

#[test]
fn an_own_write_does_not_take_back_a_delete_that_came_meanwhile() {
    for delete_first in [true, false] {
        let (mut known, status) = running();
        let delete = told(11, true, json!({"phase": "Pending", "qosClass": "BestEffort"}));
        let written = Written { status, version: version("12") };
        if delete_first {
            known.see(delete);
            known.wrote(written);
        } else {
            known.wrote(written);
            known.see(delete);
        }
        assert_eq!(known.wanted(), Wanted::Delete, "the delete came first: {delete_first}");
        let object = known.object.unwrap();
        assert_eq!((object.status.phase.as_deref(), object.version), (Some("Running"), Some(12)));
        assert_eq!(object.status.qos_class.as_deref(), Some("BestEffort"));
    }
}

#[test]
fn the_echo_of_an_own_write_is_no_news_and_what_somebody_else_wrote_is() {
    let (mut known, status) = running();
    known.wrote(Written { status, version: version("11") });
    // As the API server has it: in another order, with what Go leaves behind.
    let mut echo = serde_json::to_value(&known.object.as_ref().unwrap().status).unwrap();
    echo["conditions"].as_array_mut().unwrap().reverse();
    echo["message"] = json!("");
    known.see(told(11, false, echo.clone()));
    known.see(told(12, false, echo.clone()));
    assert!(!known.news);
    assert_eq!(known.object.as_ref().unwrap().version, Some(12));
    echo["conditions"][0]["status"] = json!("Unknown");
    known.see(told(13, false, echo));
    assert!(known.news);
}

#[tokio::test]
async fn what_turns_up_while_its_removal_waits_is_removed_at_once() {
    let later = Instant::now() + Duration::from_secs(60);
    let mut known = Knowledge::new(Workload::Unclear { made: false }, Some(later));
    known.see(told(10, true, json!({})));
    assert!(!known.absent() && known.not_before == Some(later));
    known.found(observed());
    assert_eq!((known.not_before, known.next(true)), (None, Step::Remove));
}
