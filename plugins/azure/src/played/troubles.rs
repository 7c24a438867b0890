//! Azure refuses, hangs or talks nonsense when it is asked for news: whom that keeps waiting, and whom not.

use vk_provider::Code;
use vk_provider::call::Why;
use vk_provider::changes::Scope;
use vk_provider::testing::Answer;

use super::arm::refused;
use super::*;

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
fn one_group_that_cannot_be_asked_keeps_no_list_from_its_end() {
    let arm = azure();
    let all = ["u1", "u2", "u3", "u4"];
    for uid in all {
        create(pod(uid)).unwrap();
        arm.run(uid, "Running", &running());
        get(uid).unwrap();
    }
    testing::advance(Duration::from_secs(61));
    let names = all.map(|uid| arm.name(uid));
    arm.0.borrow_mut().hidden = names[1..].iter().cloned().collect();
    // Somebody has given it tags, and with them taken away those that it had.
    arm.change("u1", |group| group.body["tags"] = json!({"team": "a"}));
    for _ in 0..100 {
        arm.instead(&format!("GET /{}", names[1]), refused(403, "AuthorizationFailed", "no"));
        arm.instead(&format!("GET /{}", names[2]), Answer::fails(vk_provider::http::ErrorCode::ConnectionRefused));
    }
    let expected = all.map(|uid| format!("{uid} Running"));
    let told = |pods: &[ObservedPod]| -> Vec<String> {
        pods.iter().map(|pod| format!("{} {}", pod.id.uid, status(pod)["phase"].as_str().unwrap())).collect()
    };
    let batch = next(&None, 0).unwrap();
    assert_eq!((batch.scope, told(&batch.changed)), (Scope::Listed, expected.to_vec()), "as they were seen last");
    testing::new_call();
    assert_eq!(told(&Azure::get_pods(None).unwrap().items), expected);
    let events = events();
    for reason in ["!GroupTagsMissing", "!AuthorizationFailed"] {
        assert!(events.iter().any(|event| event.starts_with(reason)), "{events:?}");
    }
    arm.instead(&format!("GET /{}", names[3]), refused(429, "TooManyRequests", "wait"));
    assert_eq!(next(&None, 0).unwrap_err().code, Code::ResourceExhausted, "nothing is to be asked");
}

#[test]
fn lists_that_are_refused_keep_no_pod_from_being_looked_at() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    arm.0.borrow_mut().no_lists = true;
    follow(&mut cursor, 120);
    for web in [running(), ended(3), running()] {
        arm.run("u1", "Running", &web);
        assert_eq!(phases(&follow(&mut cursor, 60)), ["u1 Running"]);
    }
    arm.asked();
    follow(&mut cursor, 600);
    let lists = arm.asked().iter().filter(|asked| *asked == "GET").count();
    assert!((8..=12).contains(&lists), "{lists} in ten minutes");
    arm.0.borrow_mut().no_lists = false;
    follow(&mut cursor, 70);
    arm.asked();
    follow(&mut cursor, 60);
    let lists = arm.asked().iter().filter(|asked| *asked == "GET").count();
    assert!((11..=13).contains(&lists), "{lists} in a minute");
}

#[test]
fn an_azure_that_is_out_of_order_is_not_asked_about_each_pod() {
    for hint in [None, Some("0"), Some("1")] {
        let arm = azure();
        let mut cursor = listed();
        for number in 0..20 {
            create(pod(&format!("u{number}"))).unwrap();
        }
        follow(&mut cursor, 1);
        for _ in 0..1000 {
            let answer = refused(503, "ServiceUnavailable", "Sorry.");
            let answer = match hint {
                Some(seconds) => answer.header("retry-after", seconds),
                None => answer,
            };
            arm.instead("GET", answer);
        }
        arm.asked();
        follow(&mut cursor, 300);
        let asked = arm.asked().len();
        assert!(asked <= 60, "{hint:?}: {asked} requests in five minutes, three for each question");
        assert!(events().iter().all(|event| !event.starts_with('!')), "it is nothing of the pods: {:?}", events());
    }
}

#[test]
fn a_pod_whose_looks_hang_does_not_keep_the_others_waiting() {
    let arm = azure();
    let mut cursor = listed();
    for uid in ["u1", "u2"] {
        create(pod(uid)).unwrap();
    }
    follow(&mut cursor, 1);
    let look = format!("GET /{}", arm.name("u1"));
    for _ in 0..100 {
        arm.instead(&look, Answer::hangs());
    }
    arm.run("u2", "Running", &running());
    assert_eq!(phases(&follow(&mut cursor, 60)), ["u2 Running"]);
    arm.asked();
    arm.run("u2", "Running", &ended(3));
    assert_eq!(phases(&follow(&mut cursor, 200)), ["u2 Running"]);
    arm.asked();
    follow(&mut cursor, 600);
    let looks = arm.count(&look);
    assert!((3..=5).contains(&looks), "{looks} looks of 20 s in 600 s: a seventh of the time is enough");
}

#[test]
fn what_nobody_may_ask_of_an_operation_the_group_itself_tells() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    for _ in 0..100 {
        arm.instead("GET op", refused(403, "AuthorizationFailed", "no"));
    }
    follow(&mut cursor, 1);
    arm.run("u1", "Running", &running());
    assert_eq!(phases(&follow(&mut cursor, 12)), ["u1 Running"]);
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    assert_eq!(arm.count("DELETE"), 1, "the group says that it is going");
    arm.provision("u1", "Succeeded");
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    assert_eq!(arm.count("DELETE"), 2, "and that it is not");
    arm.gone("u1");
    assert_eq!(delete("u1").unwrap(), Deletion::Gone);
}

#[test]
fn an_operation_that_answers_nonsense_keeps_no_pod_pending() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    arm.0.borrow_mut().operations[0] = json!("?");
    follow(&mut cursor, 1);
    arm.run("u1", "Running", &running());
    assert_eq!(phases(&follow(&mut cursor, 12)), ["u1 Running"]);
    assert_eq!(arm.count("GET op"), 1, "it is not asked at each look");
}

#[test]
fn pods_whose_looks_are_refused_keep_no_other_waiting() {
    let arm = azure();
    let mut cursor = listed();
    let broken: Vec<String> = (0..10).map(|number| format!("b{number}")).collect();
    for uid in &broken {
        create(pod(uid)).unwrap();
    }
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    for uid in &broken {
        let look = format!("GET /{}", arm.name(uid));
        for _ in 0..100 {
            arm.instead(&look, refused(403, "AuthorizationFailed", "no"));
        }
    }
    arm.run("u1", "Running", &running());
    assert_eq!(phases(&follow(&mut cursor, 10)), ["u1 Running"]);
    arm.run("u1", "Running", &ended(3));
    assert_eq!(phases(&follow(&mut cursor, 10)), ["u1 Running"], "each has a pause of its own");
    assert!(events().iter().any(|event| event.starts_with("!AuthorizationFailed")), "{:?}", events());
}

#[test]
fn a_look_that_azure_has_no_room_for_is_a_pause_for_all() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    create(pod("u2")).unwrap();
    follow(&mut cursor, 1);
    arm.asked();
    arm.instead("GET /", refused(429, "TooManyRequests", "wait").header("retry-after", "30"));
    follow(&mut cursor, 30);
    let asked = arm.asked();
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("GET /")).count(), 1, "{asked:?}");
    assert!(asked.last().unwrap().starts_with("GET /"), "nothing is asked after it: {asked:?}");
}

#[test]
fn a_list_that_is_cut_short_is_no_failure() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    testing::advance(Duration::from_secs(10));
    arm.instead("GET", Answer::status(200).body("{}").after(Duration::from_secs(8)));
    testing::cancel_after(Duration::from_secs(1), Why::Replaced);
    next(&cursor, 30).unwrap();
    testing::go_on();
    arm.asked();
    next(&cursor, 1).unwrap();
    assert_eq!(arm.asked().first().map(String::as_str), Some("GET"), "the next call lists at once");
}

#[test]
fn why_a_group_came_to_nothing_is_asked_before_it_is_told() {
    let arm = azure();
    let mut cursor = listed();
    arm.0.borrow_mut().retry_after = Some(600);
    create(pod("u1")).unwrap();
    follow(&mut cursor, 12);
    arm.0.borrow_mut().operations[0] = json!({"status": "Failed", "error": {"code": "QuotaExceeded", "message": "no"}});
    arm.provision("u1", "Failed");
    arm.instead("GET op", Answer::fails(vk_provider::http::ErrorCode::HttpResponseTimeout));
    let told = follow(&mut cursor, 30);
    assert_eq!(phases(&told), ["u1 Failed"]);
    let Told::Status(_, status) = &told[0] else { panic!() };
    assert_eq!(status["reason"], "QuotaExceeded");
}
