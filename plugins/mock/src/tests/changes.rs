//! News of pods.

use super::*;

#[test]
fn changes_tell_of_writes_while_they_wait() {
    testing::reset();
    let cursor = listed();
    let (first, second) = (pod("first", &[]), pod("second", &[]));
    testing::after(seconds(3), move || drop(create(&first)));
    let batch = next(cursor, 60);
    assert_eq!((told(&batch), testing::now().since(clock_start())), (vec!["first Running".to_owned()], seconds(3)));
    create(&second);
    let batch = next(batch.cursor, 0);
    assert_eq!(told(&batch), ["second Running"]);
    Mock::delete_pod(second.id, None, None).unwrap();
    let batch = next(batch.cursor, 0);
    assert_eq!(told(&batch), ["second touched"]);
    let batch = next(batch.cursor, 7);
    assert!(told(&batch).is_empty());
    assert_eq!((batch.scope, testing::now().since(clock_start())), (Scope::Delta, seconds(10)));
}

#[test]
fn changes_tell_what_time_does_without_a_write() {
    testing::reset();
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "job"}]});
    create(&pod_with("job", &[("start-after", "2s"), ("run-for", "5s")], spec));
    create(&pod("plain", &[]));
    let mut cursor = listed();
    let writes = testing::writes();
    for (at, expected) in [(2, "job Running"), (7, "job Succeeded")] {
        let batch = next(cursor, 60);
        assert_eq!((told(&batch), testing::now().since(clock_start())), (vec![expected.to_owned()], seconds(at)));
        cursor = batch.cursor;
    }
    assert_eq!(testing::writes(), writes);
    assert!(told(&next(cursor, 1)).is_empty());
    assert!(store::keys(TIMED, None).unwrap().is_empty(), "a pod that will not change is not looked at again");
}

#[test]
fn a_dropped_call_loses_nothing() {
    testing::reset();
    create(&pod("job", &[("run-for", "5s"), ("vanish-after", "8s")]));
    let cursor = listed();
    testing::advance(seconds(9));
    assert_eq!(told(&next(cursor.clone(), 0)), ["job touched"]);
    assert_eq!(told(&next(cursor, 0)), ["job touched"]);
}

#[test]
fn a_clock_that_is_set_back_asks_for_a_list() {
    testing::reset();
    create(&pod("job", &[("start-after", "20s")]));
    let cursor = listed();
    let cursor = next(cursor, 10).cursor;
    testing::set_back(seconds(5));
    assert_eq!(Mock::next(cursor, seconds(60)).unwrap_err().code, Code::OutOfRange);
    let cursor = listed();
    assert_eq!(told(&next(cursor, 60)), ["job Running"], "at its time by the clock that counts now");
    assert_eq!(testing::now().since(clock_start()), seconds(20));
}

#[test]
fn a_timing_without_a_record_is_forgotten_after_a_while() {
    testing::reset();
    let pod = pod("crash", &[("run-for", "30s")]);
    create(&pod);
    // As if the host had been killed in the midst of the removal.
    store::remove(&backend::key("pods/", &pod.id), store::Expect::Anything).unwrap();
    let mut cursor = listed();
    for (wait, left) in [(40, 1), (60, 0)] {
        let batch = next(cursor, wait);
        assert!(told(&batch).is_empty());
        assert_eq!(store::keys(TIMED, None).unwrap().len(), left, "after {wait} s more");
        cursor = batch.cursor;
    }
}

#[test]
fn changes_end_when_the_host_wants_it() {
    testing::reset();
    let cursor = listed();
    testing::cancel_after(seconds(2), Why::Replaced);
    let batch = next(cursor, 60);
    assert!(told(&batch).is_empty() && batch.cursor.is_some());
    assert_eq!(testing::now().since(clock_start()), seconds(2));
}

#[test]
fn an_outworn_cursor_is_out_of_range() {
    testing::reset();
    let cursor = listed();
    create(&pod("a", &[]));
    testing::forget_history();
    for bad in [cursor, Some("{}".to_owned())] {
        assert_eq!(Mock::next(bad, seconds(0)).unwrap_err().code, Code::OutOfRange);
    }
    assert_eq!(told(&next(None, 0)), ["a Running"]);
}

#[test]
fn a_store_that_is_down_leaves_the_cursor_good() {
    testing::reset();
    let cursor = listed();
    create(&pod("a", &[]));
    testing::store_down(true);
    assert_eq!(Mock::next(cursor.clone(), seconds(0)).unwrap_err().code, Code::Unavailable);
    testing::store_down(false);
    assert_eq!(told(&next(cursor, 0)), ["a Running"]);
}

#[test]
fn a_full_list_writes_nothing() {
    testing::reset();
    create(&pod("a", &[]));
    let writes = testing::writes();
    next(None, 0);
    assert_eq!(testing::writes(), writes);
}

#[test]
fn a_thousand_pods_come_in_pages_and_their_common_moment_in_batches() {
    testing::reset();
    for number in 0..1200 {
        create(&pod(&format!("p{number:04}"), &[("start-after", "5s")]));
    }
    let (mut cursor, mut seen, mut scopes) = (None, Vec::new(), Vec::new());
    loop {
        let batch = next(cursor, 0);
        seen.extend(told(&batch));
        scopes.push((batch.scope, batch.changed.len() <= 500));
        cursor = batch.cursor;
        if batch.scope == Scope::Listed {
            break;
        }
    }
    assert_eq!(seen.len(), 1200);
    assert!(scopes.len() >= 3 && scopes.iter().all(|(_, fits)| *fits));
    let mut after = Vec::new();
    while after.len() < 1200 {
        let batch = next(cursor, 60);
        assert!(!batch.changed.is_empty() && batch.changed.len() + batch.touched.len() <= 500);
        after.extend(told(&batch));
        cursor = batch.cursor;
    }
    after.sort();
    after.dedup();
    assert_eq!((after.len(), after[0].as_str()), (1200, "p0000 Running"));
    let mut listed = 0;
    let mut next_page = None;
    loop {
        let page = Mock::get_pods(next_page).unwrap();
        listed += page.items.len();
        next_page = page.next;
        if next_page.is_none() {
            break;
        }
    }
    assert_eq!(listed, 1200);
}
