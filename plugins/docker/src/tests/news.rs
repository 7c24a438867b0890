//! News: from a list on, over lost calls, and not beyond what the engine remembers.

use std::time::Duration;

use vk_provider::call::Why;
use vk_provider::changes::{Batch, Scope};
use vk_provider::testing::{self, Answer, Feed};
use vk_provider::{Changes as _, Code, Effect};

use super::engine::Engine;
use super::{plain, sandboxed};
use crate::Docker;

/// An event of the pod's container, so many milliseconds after the start of all tests.
fn event(engine: &Engine, action: &str, millis: u64) -> String {
    let mut attributes = engine.containers("k8s_POD")[0].spec["Labels"].clone();
    attributes["name"] = "k8s_c".into();
    let nanos = (1_795_514_400_000 + millis) * 1_000_000;
    serde_json::json!({"Type": "container", "Action": action, "Actor": {"ID": "id2", "Attributes": attributes}, "timeNano": nanos}).to_string()
}

fn next(cursor: Option<String>, seconds: u64) -> vk_provider::Result<Batch> {
    Docker::next(cursor, Duration::from_secs(seconds))
}

fn told(batch: &Batch) -> Vec<&str> {
    batch.touched.iter().map(|id| id.uid.as_str()).collect()
}

/// An engine with one pod, and a cursor from a list.
fn listed() -> (Engine, Option<String>) {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let first = event(&engine, "start", 1);
    engine.0.borrow_mut().remembered = vec![first];
    let batch = next(None, 0).unwrap();
    assert_eq!((batch.scope, told(&batch)), (Scope::Listed, vec!["u"]));
    engine.asked();
    (engine, batch.cursor)
}

/// Who sends the engine's events from now on.
fn feed(engine: &Engine) -> Feed {
    let (_, feed) = testing::input();
    for line in &engine.0.borrow().remembered {
        feed.send(format!("{line}\n"));
    }
    engine.0.borrow_mut().events = Some(feed.clone());
    feed
}

#[test]
fn a_list_is_all_pods_and_where_to_go_on() {
    let (engine, cursor) = listed();
    let batch = next(cursor.clone(), 1).unwrap();
    assert_eq!((batch.scope, told(&batch)), (Scope::Delta, vec![]));
    assert_eq!(batch.cursor, cursor, "nothing was heard");
    assert_eq!(engine.asked(), ["GET /volumes", "GET /events"]);
}

#[test]
fn what_happens_is_told_at_once_and_together() {
    let (engine, cursor) = listed();
    let feed = feed(&engine);
    feed.send_after(Duration::from_secs(2), event(&engine, "die", 2000) + "\n");
    feed.send_after(Duration::from_millis(2005), event(&engine, "destroy", 2005) + "\n");
    let start = testing::now();
    let batch = next(cursor, 30).unwrap();
    assert_eq!(told(&batch), ["u"]);
    assert!(testing::now().since(start) < Duration::from_millis(2100));
    let remembered = [event(&engine, "start", 1), event(&engine, "die", 2000), event(&engine, "destroy", 2005)];
    engine.0.borrow_mut().remembered = remembered.to_vec();
    engine.0.borrow_mut().events = None;
    assert!(told(&next(batch.cursor, 1).unwrap()).is_empty(), "both were told");
}

#[test]
fn a_cursor_that_was_not_answered_gets_the_same_news() {
    let (engine, cursor) = listed();
    let remembered = [event(&engine, "start", 1), event(&engine, "die", 2000)];
    engine.0.borrow_mut().remembered = remembered.to_vec();
    let first = next(cursor.clone(), 1).unwrap();
    assert_eq!(told(&first), ["u"]);
    assert_eq!(next(cursor, 1).unwrap(), first);
}

#[test]
fn events_that_are_out_of_order_are_neither_lost_nor_told_twice() {
    let (engine, cursor) = listed();
    let (die, destroy) = (event(&engine, "die", 2000), event(&engine, "destroy", 2005));
    let remember = |events: &[&String]| {
        let first = event(&engine, "start", 1);
        engine.0.borrow_mut().remembered = std::iter::once(first).chain(events.iter().copied().cloned()).collect();
    };
    remember(&[&destroy]);
    let batch = next(cursor, 1).unwrap();
    assert_eq!(told(&batch), ["u"]);
    for events in [[&destroy, &die], [&die, &destroy]] {
        remember(&events);
        let later = next(batch.cursor.clone(), 1).unwrap();
        assert_eq!(told(&later), ["u"], "dated before what was told, and put behind or before it");
        let quiet = next(later.cursor.clone(), 1).unwrap();
        assert!(told(&quiet).is_empty(), "{later:?}");
        assert_eq!(quiet.cursor, later.cursor);
    }
}

#[test]
fn what_is_about_others_moves_the_cursor_alone() {
    let (engine, cursor) = listed();
    let foreign = r#"{"Type":"container","Action":"die","Actor":{"ID":"x","Attributes":{"image":"y"}},"timeNano":1795514401000000000}"#;
    let probe = event(&engine, "exec_start: /bin/true", 1500);
    let volume = r#"{"Type":"volume","Action":"mount","Actor":{"ID":"v"},"timeNano":1795514402000000000}"#;
    let remembered = [event(&engine, "start", 1), foreign.to_owned(), probe, volume.to_owned()];
    engine.0.borrow_mut().remembered = remembered.to_vec();
    let batch = next(cursor.clone(), 1).unwrap();
    assert!(told(&batch).is_empty());
    assert_ne!(batch.cursor, cursor);
    assert!(batch.cursor.unwrap().contains("\"actor\":\"v\""));
}

#[test]
fn an_engine_that_has_forgotten_makes_the_cursor_outworn() {
    let (engine, cursor) = listed();
    engine.0.borrow_mut().remembered = vec![event(&engine, "die", 2000)];
    let error = next(cursor.clone(), 30).unwrap_err();
    assert_eq!(
        (error.code, error.effect),
        (Code::OutOfRange, Effect::None),
        "later events come, and not the one that is known"
    );
    engine.0.borrow_mut().remembered.clear();
    let start = testing::now();
    assert_eq!(next(cursor.clone(), 1).unwrap_err().code, Code::OutOfRange, "it has started anew and says nothing");
    assert!(testing::now().since(start) <= Duration::from_secs(5));
    assert_eq!(next(Some("{}".to_owned()), 1).unwrap_err().code, Code::OutOfRange);
    assert_eq!(next(None, 0).unwrap().scope, Scope::Listed);
}

#[test]
fn without_any_event_the_engines_clock_is_where_to_go_on() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let cursor = next(None, 0).unwrap().cursor;
    assert!(!cursor.as_ref().unwrap().contains("heard"));
    let feed = feed(&engine);
    feed.send_after(Duration::from_secs(1), event(&engine, "die", 2000) + "\n");
    assert_eq!(told(&next(cursor, 30).unwrap()), ["u"]);
}

#[test]
fn an_engine_that_ends_is_told_after_what_it_said() {
    let (engine, cursor) = listed();
    let ending = feed(&engine);
    ending.send_after(Duration::from_secs(1), event(&engine, "die", 2000) + "\n").end();
    assert_eq!(told(&next(cursor.clone(), 30).unwrap()), ["u"]);
    feed(&engine).end();
    let error = next(cursor.clone(), 30).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Unavailable, Effect::None));
    engine.instead("GET /events", Answer::fails(vk_provider::http::ErrorCode::ConnectionRefused));
    assert_eq!(next(cursor, 30).unwrap_err().code, Code::Unavailable);
}

#[test]
fn a_call_that_is_to_end_answers_with_what_it_has() {
    let (_engine, cursor) = listed();
    testing::cancel_after(Duration::from_secs(1), Why::Replaced);
    let batch = next(cursor.clone(), 30).unwrap();
    assert!(told(&batch).is_empty());
    assert_eq!(batch.cursor, cursor);
}

#[test]
fn a_long_list_comes_in_pages() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let labels = engine.containers("k8s_POD")[0].spec["Labels"].clone();
    for number in 0..600 {
        let mut labels = labels.clone();
        labels["io.kubernetes.pod.uid"] = format!("v{number:03}").into();
        let volume = serde_json::json!({"Name": format!("v{number}"), "Labels": labels, "Mountpoint": "/"});
        let mut volume = volume;
        volume["Labels"]["io.virtual-kubelet.kind"] = "volume".into();
        engine.0.borrow_mut().volumes.insert(format!("v{number}"), volume);
    }
    let first = next(None, 0).unwrap();
    assert_eq!((first.scope, first.touched.len()), (Scope::Listing, 500));
    let second = next(first.cursor, 0).unwrap();
    assert_eq!((second.scope, second.touched.len()), (Scope::Listed, 101));
    assert!(!second.cursor.unwrap().contains("listing"));
}
