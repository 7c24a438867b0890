//! Pods end: their groups are stopped where they would cost or run again, and the end that was seen stays.

use super::arm::refused;
use super::*;

fn never() -> DesiredPod {
    pod_of("u1", r#","restartPolicy":"Never""#)
}

fn last(told: &[Told]) -> Value {
    match told.last() {
        Some(Told::Status(_, status)) => status.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_that_came_to_nothing_is_stopped_once_and_stays_readable() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.provision("u1", "Failed");
    arm.change("u1", |group| {
        group.view = Some(json!({"state": "Pending", "events": [{"name": "FailedMount", "type": "Normal", "count": 1,
            "lastTimestamp": "2026-11-24T10:00:00Z", "message": "Output: mount error(2): Permission denied"}]}));
    });
    let told = follow(&mut cursor, 12);
    let status = last(&told);
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("FailedMount")));
    let end = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(137), &json!("ContainerStatusUnknown")));
    assert!(follow(&mut cursor, 1800).is_empty(), "what has ended has ended, though the group is stopped now");
    assert_eq!(arm.count("POST"), 1);
    assert!(
        arm.0.borrow().groups.len() == 1 && events().iter().any(|event| event.starts_with("ContainerGroupStopped"))
    );
}

#[test]
fn a_stop_that_azure_refuses_is_tried_again() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.provision("u1", "Canceled");
    for _ in 0..2 {
        arm.instead("POST", refused(409, "ContainerGroupTransitioning", "The container group is still transitioning."));
    }
    let told = follow(&mut cursor, 60);
    assert_eq!(last(&told)["reason"], "ContainerGroupCanceled");
    assert_eq!(arm.count("POST"), 3);
}

#[test]
fn a_pod_that_failed_and_is_not_to_run_again_is_kept_from_it() {
    let arm = azure();
    let mut cursor = listed();
    create(never()).unwrap();
    arm.run("u1", "Failed", &ended(3));
    let told = follow(&mut cursor, 12);
    let status = last(&told);
    assert_eq!(
        (&status["phase"], &status["containerStatuses"][0]["state"]["terminated"]["exitCode"]),
        (&json!("Failed"), &json!(3))
    );
    assert_eq!(arm.count("POST"), 1);
    arm.run("u1", "Running", &running());
    assert!(follow(&mut cursor, 1800).is_empty(), "it does not go back");
    assert_eq!(arm.count("POST"), 2, "Azure started it all the same");
}

#[test]
fn a_pod_that_succeeded_is_left_alone() {
    let arm = azure();
    let mut cursor = listed();
    create(never()).unwrap();
    arm.run("u1", "Succeeded", &ended(0));
    assert_eq!(last(&follow(&mut cursor, 12))["phase"], "Succeeded");
    follow(&mut cursor, 600);
    assert_eq!(arm.count("POST"), 0);
}

#[test]
fn a_group_that_somebody_stopped_is_a_pod_that_failed() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    follow(&mut cursor, 12);
    arm.run("u1", "Stopped", &running());
    let status = last(&follow(&mut cursor, 30));
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("ContainerGroupStopped")));
    assert_eq!(arm.count("POST"), 0, "it is stopped");
}

#[test]
fn a_group_that_says_nothing_is_as_it_was() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    follow(&mut cursor, 12);
    arm.change("u1", |group| (group.view, group.views) = (None, Default::default()));
    assert!(follow(&mut cursor, 600).is_empty());
}

#[test]
fn an_operation_that_came_to_nothing_before_there_was_a_group_is_told() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    arm.gone("u1");
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": {"code": "InaccessibleImage", "message": "https://me:s3cret@x cannot be reached"}});
    assert_eq!(phases(&follow(&mut cursor, 12)), ["u1 -"]);
    let told = events();
    assert!(told[0].contains("InaccessibleImage") && !told[0].contains("s3cret"), "{told:?}");
}
