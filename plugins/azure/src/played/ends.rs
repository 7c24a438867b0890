//! Pods end: their groups are stopped where they would cost or run again, and the end that was seen stays.

use vk_provider::ContainerLogs as _;
use vk_provider::container_logs::Options;

use super::arm::refused;
use super::*;

fn never() -> DesiredPod {
    pod_of("u1", r#","restartPolicy":"Never""#)
}

#[test]
fn a_group_that_came_to_nothing_is_removed_and_its_pod_stays_as_it_was() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.fail("u1");
    let status = last(&follow(&mut cursor, 12));
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("FailedMount")));
    let end = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(137), &json!("ContainerStatusUnknown")));
    assert_eq!((arm.count("DELETE"), arm.count("POST")), (1, 0), "others have its place in the quota");
    assert!(events().iter().any(|event| event.starts_with("ContainerGroupRemoved")), "{:?}", events());
    arm.gone("u1");
    arm.0.borrow_mut().operations[1] = json!({"status": "Succeeded"});
    follow(&mut cursor, 600);
    arm.asked();
    assert!(follow(&mut cursor, 1800).is_empty(), "what has ended has ended, though the group is gone");
    let looks = arm.count("GET /");
    assert!(looks <= 8, "{looks} looks in half an hour");
    let (sink, _) = testing::pipe(1);
    testing::new_call();
    let error = Azure::get_container_logs(id("u1"), "web".to_owned(), Options::default(), sink).unwrap_err();
    assert_eq!(error.reason, "ContainerNotAvailable", "{}", error.message);
    let kept = get("u1").unwrap().unwrap();
    assert_eq!(self::status(&kept), status);
    testing::new_call();
    assert_eq!(Azure::get_pods(None).unwrap().items, [kept], "nobody takes it for lost");
    assert_eq!(self::status(&create(pod("u1")).unwrap()), status, "nor makes it anew");
    assert_eq!(arm.0.borrow().put.len(), 1);
    assert_eq!((delete("u1").unwrap(), get("u1").unwrap()), (Deletion::Gone, None));
}

#[test]
fn a_removal_that_is_refused_is_asked_for_again_and_one_whose_answer_is_lost_loses_no_pod() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.fail("u1");
    for _ in 0..2 {
        arm.instead(
            "DELETE",
            refused(409, "ContainerGroupTransitioning", "The container group is still transitioning."),
        );
    }
    arm.lose("DELETE");
    arm.0.borrow_mut().quick = true;
    assert_eq!(phases(&follow(&mut cursor, 120)), ["u1 Pending", "u1 Failed"]);
    assert_eq!(arm.count("DELETE"), 3);
    assert!(arm.0.borrow().groups.is_empty());
    assert_eq!(status(&get("u1").unwrap().unwrap())["reason"], "FailedMount");
}

#[test]
fn a_group_that_came_to_nothing_with_a_log_is_stopped_once_and_stays_readable() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    arm.provision("u1", "Canceled");
    for _ in 0..2 {
        arm.instead("POST", refused(409, "ContainerGroupTransitioning", "The container group is still transitioning."));
    }
    assert_eq!(last(&follow(&mut cursor, 60))["reason"], "ContainerGroupCanceled");
    assert_eq!((arm.count("POST"), arm.count("DELETE")), (3, 0));
    assert!(follow(&mut cursor, 1800).is_empty(), "what has ended has ended, though the group is stopped now");
    assert_eq!((arm.count("POST"), arm.count("DELETE")), (3, 0));
    assert!(events().iter().any(|event| event.starts_with("ContainerGroupStopped")));
}

#[test]
fn a_cause_of_long_ago_says_nothing_of_a_group_that_runs_all_the_same() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 2);
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": {"code": "X", "message": "no"}});
    arm.run("u1", "Running", &running());
    assert_eq!(last(&follow(&mut cursor, 30))["phase"], "Running");
    assert!(events().iter().any(|event| event.starts_with("!ContainerGroupFailed")), "it was asked: {:?}", events());
    // Out of order, it is told with that as its reason, and once without it when it is in order again.
    for (state, reason) in [
        ("Repairing", Some(json!("Repairing"))),
        ("Unhealthy", Some(json!("Unhealthy"))),
        ("NotAccessible", Some(json!("NotAccessible"))),
        ("Updating", Some(Value::Null)),
        ("Succeeded", None),
        ("Deleting", None),
    ] {
        arm.provision("u1", state);
        let told = follow(&mut cursor, 60);
        let expected: Vec<&str> = reason.iter().map(|_| "u1 Running").collect();
        assert_eq!(phases(&told), expected, "{state}");
        assert!(reason.is_none_or(|reason| last(&told)["reason"] == reason), "{state}: {told:?}");
    }
    assert_eq!((arm.count("POST"), arm.count("DELETE")), (0, 0));
}

#[test]
fn an_operation_that_somebody_else_s_has_overtaken_is_no_failure() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    let cause =
        json!({"code": "OperationPreempted", "message": "The operation has been preempted by a more recent one."});
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": cause});
    // Somebody has restarted it, and it is being started.
    assert_eq!(phases(&follow(&mut cursor, 60)), ["u1 Pending"]);
    arm.run("u1", "Running", &running());
    assert_eq!(phases(&follow(&mut cursor, 60)), ["u1 Running"]);
    assert_eq!((arm.count("POST"), arm.count("DELETE")), (0, 0));
}

#[test]
fn a_pod_that_azure_starts_again_before_a_look_has_ended_as_it_ended_first() {
    for web in [again(3), {
        // The second attempt is over too, and better.
        let mut view = again(3);
        view["currentState"] = ended(0)["currentState"].clone();
        view
    }] {
        let arm = azure();
        let mut cursor = listed();
        create(never()).unwrap();
        arm.run("u1", "Running", &web);
        let status = last(&follow(&mut cursor, 30));
        let container = &status["containerStatuses"][0];
        assert_eq!(
            (&status["phase"], &container["state"]["terminated"]["exitCode"], &container["restartCount"]),
            (&json!("Failed"), &json!(3), &json!(1))
        );
        assert_eq!(arm.count("POST"), 1, "it is kept from running");
    }
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
    let told = follow(&mut cursor, 12);
    assert_eq!(phases(&told), ["u1 Failed"]);
    let status = last(&told);
    let end = &status["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&status["reason"], &end["exitCode"]), (&json!("InaccessibleImage"), &json!(137)));
    assert_eq!(status["message"], "https://[redacted]@x cannot be reached");
    let events = events();
    assert!(events[0].contains("InaccessibleImage") && !events[0].contains("s3cret"), "{events:?}");
    assert!(follow(&mut cursor, 1800).is_empty(), "it stays so");
    let kept = get("u1").unwrap().unwrap();
    assert_eq!((self::status(&kept), create(pod("u1")).unwrap()), (status, kept));
    assert_eq!(arm.0.borrow().put.len(), 1, "it is not made anew");
    assert_eq!((delete("u1").unwrap(), get("u1").unwrap()), (Deletion::Gone, None));
}

#[test]
fn why_there_is_no_group_is_asked_before_a_pod_is_given_up() {
    let arm = azure();
    arm.0.borrow_mut().retry_after = Some(600);
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 12);
    arm.gone("u1");
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": {"code": "QuotaExceeded", "message": "no"}});
    assert_eq!(last(&follow(&mut cursor, 90))["reason"], "QuotaExceeded", "though Azure was to be asked much later");
}

#[test]
fn a_group_that_is_deleted_while_it_is_made_is_gone() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    arm.gone("u1");
    let cause = json!({"code": "OperationCanceled", "message": "It was removed."});
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": cause});
    assert_eq!(phases(&follow(&mut cursor, 30)), ["u1 -"], "nobody waits for its pod any more");
}
