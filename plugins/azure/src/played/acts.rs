//! What is done with groups whose pods have ended: one after the other, without keeping news waiting, until it is done.

use vk_provider::testing::Answer;

use super::*;

fn never(uid: &str) -> DesiredPod {
    pod_of(uid, r#","restartPolicy":"Never""#)
}

fn fails() -> Value {
    json!({"status": "Failed", "error": {"code": "InternalServerError", "message": "Sorry."}})
}

#[test]
fn groups_that_cannot_be_stopped_keep_no_news_waiting() {
    let arm = azure();
    let mut cursor = listed();
    let failing: Vec<String> = (0..10).map(|number| format!("f{number}")).collect();
    for uid in &failing {
        create(never(uid)).unwrap();
    }
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    for uid in &failing {
        arm.run(uid, "Failed", &ended(3));
    }
    for _ in 0..100 {
        arm.instead("POST", Answer::hangs());
    }
    let told = phases(&follow(&mut cursor, 12));
    assert_eq!(told.iter().filter(|told| told.ends_with("Failed")).count(), 10, "all at once, and first: {told:?}");
    for _ in 0..3 {
        arm.run("u1", "Running", &running());
        assert_eq!(phases(&follow(&mut cursor, 60)), ["u1 Running"]);
        arm.run("u1", "Running", &ended(3));
        assert_eq!(phases(&follow(&mut cursor, 60)), ["u1 Running"], "one hangs for 30 s, and the next waits");
    }
    let tried: std::collections::BTreeSet<String> =
        arm.asked().into_iter().filter(|asked| asked.starts_with("POST")).collect();
    assert!(tried.len() >= 5, "not the same each time: {tried:?}");
    arm.0.borrow_mut().instead.clear();
    follow(&mut cursor, 120);
    let stopped = events().iter().filter(|event| event.starts_with("ContainerGroupStopped")).count();
    assert_eq!(stopped, 10);
}

#[test]
fn news_that_keep_coming_keep_no_group_from_being_stopped() {
    let arm = azure();
    let mut cursor = listed();
    create(never("u0")).unwrap();
    arm.run("u0", "Failed", &ended(3));
    for number in 1..20 {
        create(pod(&format!("u{number}"))).unwrap();
        testing::advance(Duration::from_secs(1));
        cursor = next(&cursor, 30).unwrap().cursor;
    }
    assert_eq!(arm.count("POST"), 1);
}

#[test]
fn removals_that_nobody_waits_for_leave_half_of_the_deletes_to_others() {
    let arm = azure_with("[budgets]\ndeletes = [\"4/1h\"]");
    arm.0.borrow_mut().quick = true;
    let mut cursor = listed();
    for uid in ["u1", "u2", "u3"] {
        create(pod(uid)).unwrap();
        arm.fail(uid);
    }
    follow(&mut cursor, 60);
    assert_eq!((arm.count("DELETE"), arm.count("POST")), (1, 2), "the others cost nothing either");
    let groups = || arm.0.borrow().groups.len();
    arm.asked();
    follow(&mut cursor, 3000);
    let looks = arm.count("GET /");
    assert!(looks <= 80, "{looks} looks at three in fifty minutes");
    assert_eq!((groups(), arm.count("DELETE"), arm.count("POST")), (2, 0, 0));
    follow(&mut cursor, 1200);
    assert_eq!(groups(), 1, "once there is room they are removed too");
    assert_eq!(delete("u1").unwrap(), Deletion::Gone);
    follow(&mut cursor, 4800);
    assert_eq!((groups(), arm.count("POST")), (0, 0));
    for uid in ["u2", "u3"] {
        assert_eq!(status(&get(uid).unwrap().unwrap())["reason"], "FailedMount");
    }
}

#[test]
fn a_removal_that_comes_to_nothing_is_asked_for_again() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.fail("u1");
    follow(&mut cursor, 12);
    assert_eq!(arm.count("DELETE"), 1);
    arm.0.borrow_mut().operations[1] = fails();
    arm.provision("u1", "Failed");
    follow(&mut cursor, 90);
    assert_eq!(arm.count("DELETE"), 2, "within a minute");
    assert!(events().iter().any(|event| event.starts_with("!ContainerGroupNotStopped")), "{:?}", events());
    arm.gone("u1");
    arm.0.borrow_mut().operations[2] = json!({"status": "Succeeded"});
    assert!(follow(&mut cursor, 1800).is_empty());
    assert_eq!(arm.count("DELETE"), 2);
}

#[test]
fn a_stop_that_comes_to_nothing_is_asked_for_again() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    follow(&mut cursor, 12);
    arm.provision("u1", "Canceled");
    let goes_on = arm.0.borrow_mut().begin(Answer::status(202));
    arm.instead("POST", goes_on);
    follow(&mut cursor, 300);
    assert_eq!(arm.count("POST"), 1, "it goes on");
    arm.0.borrow_mut().operations[1] = fails();
    follow(&mut cursor, 90);
    assert_eq!(arm.count("POST"), 2);
    follow(&mut cursor, 1800);
    assert_eq!((arm.count("POST"), arm.count("DELETE")), (2, 0), "that one was done");
}

#[test]
fn a_pod_that_is_deleted_while_its_group_is_removed_goes_with_it() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.fail("u1");
    follow(&mut cursor, 12);
    assert_eq!((arm.count("DELETE"), delete("u1").unwrap()), (1, Deletion::Stopping));
    assert!(follow(&mut cursor, 12).is_empty());
    arm.gone("u1");
    assert_eq!(phases(&follow(&mut cursor, 12)), ["u1 -"]);
    assert_eq!((arm.count("DELETE"), get("u1").unwrap()), (1, None));
}

#[test]
fn a_pod_that_is_deleted_goes_though_the_removal_of_its_group_comes_to_nothing_at_first() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.fail("u1");
    follow(&mut cursor, 12);
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    arm.provision("u1", "Failed");
    // Longer than it is waited for: it is asked for again before the host asks.
    follow(&mut cursor, 700);
    assert_eq!(arm.count("DELETE"), 2);
    arm.gone("u1");
    assert_eq!(phases(&follow(&mut cursor, 60)), ["u1 -"]);
}
