//! What is tried again, when, and how often.

use super::*;
use crate::call::Why;

/// Status or failure, and how often it was sent.
fn tried(answers: Vec<fn() -> Answer>, request: &Request) -> (String, usize) {
    let count = serve(answers);
    let outcome = Retry::default().send(request);
    (outcome.map_or_else(|failure| failure.name().to_owned(), |response| response.status.to_string()), count.get())
}

#[test]
fn what_may_be_repeated_is_tried_until_it_goes_well() {
    let (get, post) = (Request::get(URL), Request::post(URL));
    for (answers, request, outcome, count) in [
        (vec![BUSY, LOST, REFUSED, FINE], &get, "200", 4),
        (vec![THROTTLED, REFUSED, FINE], &post, "200", 3),
        (vec![BUSY, FINE], &post, "503", 1),
        (vec![LOST, FINE], &post, "connection-terminated", 1),
        (vec![LOST, BUSY, FINE], &post.clone().idempotent(), "200", 3),
        (vec![DENIED, FINE], &get, "HTTP-request-denied", 1),
        (vec![MISSING, FINE], &get, "404", 1),
        (vec![BUSY], &get, "503", 5),
    ] {
        assert_eq!(tried(answers, request), (outcome.to_owned(), count), "{request:?} {outcome}");
    }
}

#[test]
fn the_servers_time_is_kept_and_no_pause_is_the_same() {
    tried(vec![THROTTLED, FINE], &Request::get(URL));
    assert!(passed() >= seconds(3) && passed() < seconds(4), "{:?}", passed());
    let retry = Retry { tries: 9, first: seconds(1), longest: seconds(5) };
    serve(vec![BUSY]);
    retry.send(&Request::get(URL)).unwrap();
    // 1, 2, 4 and five times 5 seconds, each of them at least half as long.
    assert!(passed() > seconds(16) && passed() < seconds(32), "{:?}", passed());
    assert_ne!(passed().subsec_millis(), 0, "there is some chance in it");
}

#[test]
fn no_pause_reaches_beyond_the_call() {
    let count = serve(vec![THROTTLED]);
    testing::deadline(seconds(9));
    assert_eq!(Retry::default().send(&Request::get(URL)).unwrap().status, 429);
    assert_eq!(count.get(), 3, "a fourth one would come after 9 s");
    assert!(passed() < seconds(7));
}

#[test]
fn a_pause_ends_with_the_call() {
    let count = serve(vec![THROTTLED]);
    testing::cancel_after(seconds(1), Why::Shutdown);
    assert_eq!(Retry::default().send(&Request::get(URL)).unwrap().status, 429);
    assert_eq!((count.get(), passed()), (1, seconds(1)));
}
