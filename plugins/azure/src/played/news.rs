//! News: from a list on, over lost answers and failures, with one call that looks.

use vk_provider::call::Why;
use vk_provider::changes::Scope;
use vk_provider::store::{self, Expect};
use vk_provider::testing::Answer;
use vk_provider::{Code, Deletion};

use super::arm::refused;
use super::*;

#[test]
fn a_pod_is_told_when_it_is_made_when_it_runs_and_when_it_goes() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    assert_eq!(phases(&follow(&mut cursor, 1)), ["u1 Pending"]);
    arm.run("u1", "Running", &running());
    arm.0.borrow_mut().operations[0] = json!({"status": "Succeeded"});
    let start = testing::now();
    assert_eq!(phases(&follow(&mut cursor, 6)), ["u1 Running"]);
    testing::new_call();
    assert_eq!(Azure::delete_pod(id("u1"), None, None).unwrap(), Deletion::Stopping);
    assert!(follow(&mut cursor, 6).is_empty());
    arm.gone("u1");
    assert_eq!(phases(&follow(&mut cursor, 6)), ["u1 -"]);
    assert!(testing::now().since(start) < Duration::from_secs(20));
    let left = store::scan("", None).unwrap();
    assert!(left.iter().all(|(key, _)| !key.contains("u1")), "nothing is left of it: {left:?}");
}

#[test]
fn an_answer_that_is_lost_is_given_again() {
    let arm = azure();
    let cursor = listed();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    let first = next(&cursor, 10).unwrap();
    assert_eq!(first.changed.len(), 1);
    assert_eq!(next(&cursor, 10).unwrap(), first);
    let second = next(&first.cursor, 10).unwrap();
    assert_eq!(status(&second.changed[0])["phase"], "Running");
    let from_start = next(&cursor, 10).unwrap();
    assert_eq!(from_start.changed, second.changed, "what it is now, of all that happened");
}

#[test]
fn a_cursor_of_another_store_is_outworn() {
    azure();
    let error = |cursor: &str| next(&Some(cursor.to_owned()), 1).unwrap_err();
    assert_eq!((error("{}").code, error("x").code), (Code::OutOfRange, Code::OutOfRange));
    assert_eq!(error(r#"{"revision":1000}"#), store::Failure::Outworn.into(), "which the host gets as out-of-range");
}

#[test]
fn a_list_tells_what_came_went_or_changed_though_nothing_was_due() {
    let arm = azure();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    let mut cursor = listed();
    follow(&mut cursor, 1200);
    arm.asked();
    follow(&mut cursor, 60);
    assert!(arm.count(&format!("GET /{}", arm.name("u1"))) <= 1, "it has settled");
    arm.provision("u1", "Repairing");
    let told = follow(&mut cursor, 6);
    assert_eq!(phases(&told), ["u1 Running"]);
    let Told::Status(_, status) = &told[0] else { panic!() };
    assert_eq!((&status["reason"], &status["containerStatuses"][0]["ready"]), (&json!("Repairing"), &json!(false)));
    arm.gone("u1");
    assert_eq!(phases(&follow(&mut cursor, 6)), ["u1 -"]);
}

#[test]
fn a_list_that_lags_behind_is_not_believed() {
    let arm = azure();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    let mut cursor = listed();
    follow(&mut cursor, 600);
    let name = arm.name("u1");
    arm.0.borrow_mut().hidden.insert(name);
    assert!(follow(&mut cursor, 60).is_empty());
    arm.0.borrow_mut().hidden.clear();
    assert!(follow(&mut cursor, 60).is_empty());
}

#[test]
fn operations_are_asked_when_azure_wants_and_their_end_is_why_a_pod_failed() {
    let arm = azure();
    let mut cursor = listed();
    arm.0.borrow_mut().retry_after = Some(20);
    create(pod("u1")).unwrap();
    follow(&mut cursor, 62);
    let asked = arm.count("GET op");
    assert!((3..=4).contains(&asked), "{asked}");
    let cause = json!({"code": "Failed", "message": "The requested resource with '4' CPU and '16' GB memory is not available in the location 'westeurope'"});
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": cause});
    arm.provision("u1", "Failed");
    let told = follow(&mut cursor, 30);
    assert_eq!(phases(&told).last().unwrap(), "u1 Failed");
    let Some(Told::Status(_, status)) = told.last() else { panic!() };
    assert!(status["message"].as_str().unwrap().contains("not available in the location"), "{status}");
    assert_eq!(arm.count("POST"), 1, "Azure would keep trying");
}

#[test]
fn failures_are_waited_out_and_no_news_is_lost() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    arm.run("u1", "Running", &running());
    arm.asked();
    arm.instead("GET", refused(429, "TooManyRequests", "wait").header("retry-after", "30"));
    assert!(follow(&mut cursor, 25).is_empty());
    assert_eq!(arm.asked().len(), 1, "nothing is asked before Azure wants");
    assert_eq!(phases(&follow(&mut cursor, 12)), ["u1 Running"]);
    arm.run("u1", "Running", &ended(3));
    for _ in 0..4 {
        arm.instead("GET", Answer::status(200).body("{"));
    }
    assert_eq!(phases(&follow(&mut cursor, 200)), ["u1 Running"]);
}

#[test]
fn a_pod_whose_looks_fail_does_not_keep_the_others_waiting() {
    let arm = azure();
    let mut cursor = listed();
    for uid in ["u1", "u2"] {
        create(pod(uid)).unwrap();
    }
    follow(&mut cursor, 1);
    arm.run("u2", "Running", &running());
    arm.change("u1", |group| drop(group.body["tags"].as_object_mut().unwrap().remove("UID")));
    let told = follow(&mut cursor, 12);
    assert_eq!(phases(&told), ["u2 Running"]);
    assert!(events().iter().any(|event| event.starts_with("!GroupTagsMissing")), "{:?}", events());
}

#[test]
fn of_two_calls_at_once_one_looks_and_both_tell() {
    let arm = azure();
    create(pod("u1")).unwrap();
    let cursor = listed();
    let other = store::acquire("poll", Duration::from_secs(60));
    arm.asked();
    // The other one's looks.
    testing::after(Duration::from_secs(7), || {
        let seen = json!({"status": {"phase": "Running"}});
        store::put("pods/shop/web-u1/u1", &seen, Expect::Anything, None).unwrap();
    });
    let start = testing::now();
    let batch = next(&cursor, 30).unwrap();
    assert_eq!((batch.changed.len(), testing::now().since(start)), (1, Duration::from_secs(7)));
    assert!(arm.asked().is_empty());
    let end = testing::now() + Duration::from_secs(3);
    testing::after(Duration::from_secs(3), move || drop(other));
    arm.run("u1", "Running", &ended(3));
    let batch = next(&batch.cursor, 30).unwrap();
    assert!(testing::now() >= end && batch.changed.len() == 1, "its turn came");
}

#[test]
fn a_call_that_is_to_end_answers_with_its_cursor() {
    azure();
    let cursor = listed();
    create(pod("u1")).unwrap();
    let batch = next(&cursor, 30).unwrap();
    testing::cancel_after(Duration::from_secs(2), Why::Replaced);
    let quiet = next(&batch.cursor, 30).unwrap();
    assert_eq!((quiet.scope, quiet.changed.len(), quiet.cursor.is_some()), (Scope::Delta, 0, true));
    testing::go_on();
}

#[test]
fn a_long_list_comes_in_pages() {
    let arm = azure();
    for number in 0..501 {
        create(pod(&format!("u{number:03}"))).unwrap();
    }
    arm.0.borrow_mut().page = 100;
    let first = next(&None, 0).unwrap();
    assert_eq!((first.scope, first.changed.len()), (Scope::Listing, 500));
    let second = next(&first.cursor, 0).unwrap();
    assert_eq!((second.scope, second.changed.len()), (Scope::Listed, 1));
    assert!(!second.cursor.unwrap().contains("listing"));
}

#[test]
fn what_happened_is_told_as_events_once() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    let event = |count: u64| {
        json!({"name": "FailedMount", "type": "Normal", "count": count, "message": "mount error(2)",
        "firstTimestamp": "2026-11-24T10:00:00Z", "lastTimestamp": "2026-11-24T10:00:00Z"})
    };
    arm.change("u1", |group| group.view.as_mut().unwrap()["events"] = json!([event(1)]));
    follow(&mut cursor, 30);
    assert_eq!(events(), ["!FailedMount: mount error(2)"]);
    arm.change("u1", |group| group.view.as_mut().unwrap()["events"] = json!([event(3)]));
    follow(&mut cursor, 60);
    assert_eq!(events().len(), 2);
}
