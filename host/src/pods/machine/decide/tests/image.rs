use serde_json::json;

use crate::pods::machine::fixture::{containers, stage};
use crate::provider::{Code, Error};

fn pod(policy: &str, image: &str) -> serde_json::Value {
    json!({"containers": containers(&[("a", json!({"imagePullPolicy": policy, "image": image}))])})
}

fn not_found() -> Error {
    Error::new(Code::NotFound, "ManifestUnknown", "no such image")
}

#[test]
fn an_image_is_pulled_by_its_policy() {
    let here = |policy| {
        let mut stage = stage(pod(policy, "i:1"));
        (stage.run().did()[1..].join(", "), stage.reasons().remove(0))
    };
    assert_eq!(here("IfNotPresent"), ("check a, start a 0".into(), "Pulled".into()));
    assert_eq!(here("Never"), ("check a, start a 0".into(), "Pulled".into()));
    assert_eq!(here("Always"), ("pull a, start a 0".into(), "Pulling".into()));
    let mut absent = stage(pod("IfNotPresent", "i:1"));
    absent.faults = vec![("check".into(), not_found())];
    assert_eq!(absent.run().did()[1..], ["check a", "pull a", "start a 0"]);
    assert_eq!(absent.reasons(), ["Pulling", "Pulled", "Created", "Started"]);
}

#[test]
fn a_pull_that_fails_is_told_and_then_waited_for_ever_longer() {
    let mut stage = stage(pod("Always", "i:1"));
    stage.faults = vec![("pull".into(), not_found())];
    stage.run();
    assert_eq!(stage.told(), ["a 0 waiting ErrImagePull"]);
    assert_eq!(stage.reasons(), ["Pulling", "Failed", "Failed"]);
    stage.after(5);
    assert_eq!(stage.told(), ["a 0 waiting ImagePullBackOff"]);
    assert_eq!(stage.reasons(), ["BackOff", "Failed"]);
    let message = stage.status().container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap().message;
    assert_eq!(message.as_deref(), Some("Back-off pulling image \"i:1\": ErrImagePull: no such image"));
    stage.did();
    let mut waits = vec![stage.waits().unwrap() + 5];
    for _ in 0..6 {
        let due = stage.waits().unwrap();
        assert_eq!(stage.after(due).did(), ["pull a"]);
        stage.after(5);
        waits.push(stage.waits().unwrap() + 5);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(stage.phase(), "Pending", "it is never the end of the pod");
    stage.faults.clear();
    assert_eq!(stage.after(300).did(), ["pull a", "start a 0"]);
}

#[test]
fn what_passes_by_itself_is_pulled_again_soon() {
    let mut stage = stage(pod("Always", "i:1"));
    stage.faults = vec![("pull".into(), Error::new(Code::Unavailable, "Unreachable", "connection refused"))];
    stage.run();
    assert_eq!((stage.told(), stage.waits()), (vec!["a 0 waiting ErrImagePull".to_string()], Some(1)));
}

#[test]
fn an_image_that_must_not_be_pulled_is_waited_for() {
    let mut stage = stage(pod("Never", "i:1"));
    stage.faults = vec![("check".into(), not_found())];
    stage.run();
    assert_eq!(stage.told(), ["a 0 waiting ErrImageNeverPull"]);
    assert_eq!((stage.reasons(), stage.waits()), (vec!["ErrImageNeverPull".to_string(), "Failed".into()], Some(10)));
    stage.faults.clear();
    stage.did();
    assert_eq!(stage.after(10).did(), ["check a", "start a 0"]);
}

#[test]
fn a_name_that_no_registry_has_is_not_asked_for() {
    let mut stage = stage(pod("Always", "Not/A Name"));
    assert_eq!(stage.run().did(), ["ensure sandbox"]);
    assert_eq!(stage.told(), ["a 0 waiting InvalidImageName"]);
    assert_eq!(stage.reasons(), ["InspectFailed", "Failed"]);
    assert_eq!(stage.waits(), None, "only another spec changes that");
}

#[test]
fn credentials_that_are_wrong_are_no_reason_to_give_up() {
    for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unknown, Code::InvalidArgument] {
        let mut stage = stage(pod("Always", "i:1"));
        stage.faults = vec![("pull".into(), Error::new(code, "R", "no basic auth credentials"))];
        stage.run();
        let reason = if code == Code::InvalidArgument { "InvalidImageName" } else { "ErrImagePull" };
        assert_eq!(
            (stage.told()[0].as_str(), stage.phase()),
            (format!("a 0 waiting {reason}").as_str(), "Pending".into())
        );
    }
}
