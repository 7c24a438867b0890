//! News: from a list on, over lost answers and failures, with one call that looks.

use vk_provider::call::Why;
use vk_provider::changes::Scope;
use vk_provider::store::{self, Expect};
use vk_provider::{Code, Deletion};

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
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
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
    assert_eq!((first.changed.len(), &status(&first.changed[0])["phase"]), (1, &json!("Pending")));
    let again = next(&cursor, 10).unwrap();
    assert_eq!(status(&again.changed[0])["phase"], "Running", "what it is now, of all that happened");
    assert_eq!(next(&cursor, 10).unwrap(), again);
    assert_eq!(next(&first.cursor, 10).unwrap().changed, again.changed);
}

#[test]
fn news_that_keep_coming_keep_nobody_from_looking() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u0")).unwrap();
    arm.run("u0", "Running", &running());
    let mut told = Vec::new();
    for number in 1..10 {
        create(pod(&format!("u{number}"))).unwrap();
        testing::advance(Duration::from_secs(1));
        let batch = next(&cursor, 30).unwrap();
        told.extend(batch.changed.iter().map(|pod| (pod.id.uid.clone(), status(pod)["phase"].clone())));
        cursor = batch.cursor;
    }
    assert!(told.contains(&("u0".to_owned(), json!("Running"))), "{told:?}");
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
    arm.run("u1", "Running", &running());
    assert_eq!(last(&follow(&mut cursor, 6))["containerStatuses"][0]["ready"], true);
    arm.provision("u1", "NotAccessible");
    arm.change("u1", |group| {
        group.view = None;
        group.views.clear();
    });
    let status = last(&follow(&mut cursor, 6));
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Running"), &json!("NotAccessible")));
    assert_eq!(
        status["containerStatuses"][0]["ready"], false,
        "of one that is not to be reached nothing else is known"
    );
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
    assert_eq!(arm.count("DELETE"), 1, "Azure would keep trying");
}

#[test]
fn what_does_not_change_is_no_news_and_is_written_once() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    create(pod_of("u2", r#","restartPolicy":"Never""#)).unwrap();
    arm.run("u1", "Running", &again(3));
    arm.run("u2", "Succeeded", &ended(0));
    for operation in &mut arm.0.borrow_mut().operations {
        *operation = json!({"status": "Succeeded"});
    }
    assert_eq!(phases(&follow(&mut cursor, 30)).len(), 4);
    let written = || {
        let kept = ["pods/", "work/"].map(|prefix| store::scan(prefix, None).unwrap());
        kept.concat().into_iter().map(|(key, entry)| (key, entry.revision)).collect::<Vec<_>>()
    };
    let before = written();
    assert!(follow(&mut cursor, 600).is_empty());
    assert_eq!(written(), before);
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
    let view = arm.0.borrow().groups[&arm.name("u1")].view.clone();
    let mut changed = pod("u1");
    changed.revision = "1-new".to_owned();
    testing::new_call();
    Azure::update_pod(changed).unwrap();
    follow(&mut cursor, 12);
    arm.run("u1", "Running", &running());
    arm.change("u1", |group| group.view = view);
    follow(&mut cursor, 60);
    assert_eq!(events().len(), 2, "it kept them over the update, and did not show them meanwhile");
}
