//! Turns in paused time.

use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::join_all;
use tokio::time::sleep;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn declared(origin: &str, requests: u32, window_ms: u64, burst: Option<u32>) -> wit::Budget {
    wit::Budget { origin: origin.into(), methods: vec![], paths: vec![], requests, window_ms, burst }
}

fn budgets(declared: &[wit::Budget]) -> Budgets {
    Budgets::none().successor(declared).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn to(uri: &str) -> Parts {
    http::Request::builder().uri(uri).body(()).unwrap().into_parts().0
}

fn answer(status: u16, retry_after: &str) -> http::response::Parts {
    http::Response::builder().status(status).header("retry-after", retry_after).body(()).unwrap().into_parts().0
}

/// When each of so many requests that come at once had its turn, in milliseconds.
async fn turns(budgets: &Budgets, uri: &str, requests: usize) -> Vec<u128> {
    let began = Instant::now();
    let turn = async |_| {
        drop(budgets.turn(&to(uri), None).await.unwrap());
        began.elapsed().as_millis()
    };
    join_all((0..requests).map(turn)).await
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_room_in_the_order_of_their_coming() {
    let budgets = budgets(&[declared("https://a.example", 2, 1000, None)]);
    assert_eq!(turns(&budgets, "https://a.example/", 5).await, [0, 0, 1000, 1000, 2000]);
    assert_eq!(turns(&budgets, "https://b.example/", 5).await, [0; 5], "none counts them");
}

/// A server counts when a request arrives, which is at its end at the latest.
#[tokio::test(start_paused = true)]
async fn a_window_begins_when_its_requests_have_ended() {
    let budgets = budgets(&[declared("https://a.example", 2, 1000, None)]);
    let began = Instant::now();
    let takes = async |time| {
        let ticket = budgets.turn(&to("https://a.example/"), None).await.unwrap();
        let at = began.elapsed().as_millis();
        sleep(ms(time)).await;
        drop(ticket);
        at
    };
    // The fourth has no answer for longer than a window, and counts all the time.
    let turns = tokio::join!(takes(100), takes(400), takes(50), takes(2500), takes(50), takes(50));
    assert_eq!(turns, (0, 0, 1100, 1400, 2150, 3200));
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_spread_and_comes_back_after_a_rest() {
    let budgets = budgets(&[declared("https://a.example", 10, 1000, Some(2))]);
    assert_eq!(turns(&budgets, "https://a.example/", 4).await, [0, 0, 100, 200]);
    sleep(ms(1000)).await;
    assert_eq!(turns(&budgets, "https://a.example/", 3).await, [0, 0, 100]);
}

#[tokio::test(start_paused = true)]
async fn a_request_takes_from_every_budget_that_it_matches() {
    let mut reads = declared("https://a.example", 1, 500, None);
    reads.paths = vec!["/reads/**".into()];
    let budgets = budgets(&[declared("https://a.example", 3, 1000, None), reads]);
    assert_eq!(turns(&budgets, "https://a.example/reads/1", 3).await, [0, 500, 1000]);
    // All three count there: of the first, at 0, nothing is left.
    assert_eq!(turns(&budgets, "https://a.example/writes/1", 2).await, [0, 500]);
}

/// Who waits for another budget is not waited for.
#[tokio::test(start_paused = true)]
async fn only_those_in_front_for_the_same_budget_are_waited_for() {
    let budgets =
        budgets(&[declared("https://a.example", 1, 1000, None), declared("https://b.example", 1, 1000, None)]);
    let (a, b) = tokio::join!(turns(&budgets, "https://a.example/", 3), turns(&budgets, "https://b.example/", 2));
    assert_eq!((a, b), (vec![0, 1000, 2000], vec![0, 1000]));
}

#[tokio::test(start_paused = true)]
async fn a_turn_after_the_deadline_is_none_at_once() {
    let budgets = budgets(&[declared("https://a.example", 1, 1000, None)]);
    let request = to("https://a.example/");
    let began = Instant::now();
    let until = Some(began + ms(1500));
    let turn = async || budgets.turn(&request, until).await.map(|_| began.elapsed().as_millis());
    let (one, two, three, four) = tokio::join!(turn(), turn(), turn(), turn());
    assert_eq!((one, two), (Ok(0), Ok(1000)));
    // The two that went away do not make each other wait.
    let none = Err(NoTurn { wait: ms(2000) });
    assert_eq!((three, four), (none, none));
}

/// Else it would be cut, and nobody would know what came of it.
#[tokio::test(start_paused = true)]
async fn a_turn_leaves_time_for_the_request() {
    let budgets = budgets(&[declared("https://a.example", 1, 1000, None)]);
    assert_eq!(turns(&budgets, "https://a.example/", 1).await, [0]);
    let request = to("https://a.example/");
    let turn = async |end| budgets.turn(&request, Some(Instant::now() + ms(end))).await.map(drop);
    assert_eq!(turn(1300).await, Err(NoTurn { wait: ms(1000) }));
    assert_eq!(turn(1400).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_makes_room_for_those_behind() {
    let budgets = budgets(&[declared("https://a.example", 1, 1000, None)]);
    let request = to("https://a.example/");
    let began = Instant::now();
    let first = async {
        drop(budgets.turn(&request, None).await.unwrap());
    };
    let impatient = async {
        assert!(tokio::time::timeout(ms(100), budgets.turn(&request, None)).await.is_err());
    };
    let last = async {
        drop(budgets.turn(&request, None).await.unwrap());
        began.elapsed().as_millis()
    };
    let ((), (), last) = tokio::join!(first, impatient, last);
    assert_eq!(last, 1000);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_back_is_left_alone_until_then() {
    let budgets =
        budgets(&[declared("https://a.example", 100, 1000, None), declared("https://b.example", 100, 1000, None)]);
    let ticket = budgets.turn(&to("https://a.example/"), None).await.unwrap();
    ticket.heed(&answer(200, "7"));
    assert_eq!(turns(&budgets, "https://a.example/", 1).await, [0]);
    ticket.heed(&answer(429, "7"));
    // A shorter one does not end a longer one.
    ticket.heed(&answer(503, "2"));
    let (a, b) = tokio::join!(turns(&budgets, "https://a.example/", 2), turns(&budgets, "https://b.example/", 1));
    assert_eq!((a, b), (vec![7000, 7000], vec![0]));
}

#[tokio::test(start_paused = true)]
async fn a_pause_reaches_those_who_wait_already() {
    let budgets = budgets(&[declared("https://a.example", 1, 1000, None)]);
    let request = to("https://a.example/");
    let began = Instant::now();
    let ticket = budgets.turn(&request, None).await.unwrap();
    let waiting = budgets.turn(&request, None);
    let hopeless = budgets.turn(&request, Some(began + ms(5000)));
    let pause = async move {
        sleep(ms(500)).await;
        ticket.heed(&answer(429, "60"));
    };
    let told = async { (hopeless.await.is_err(), began.elapsed().as_millis()) };
    let waited = async {
        drop(waiting.await.unwrap());
        began.elapsed().as_millis()
    };
    let ((), told, waited) = tokio::join!(pause, told, waited);
    assert_eq!((told, waited), ((true, 500), 60_500));
}

#[tokio::test(start_paused = true)]
async fn a_later_build_goes_on_counting_where_its_budgets_are_equal() {
    let (same, other) = (declared("https://a.example", 1, 1000, None), declared("https://b.example", 1, 1000, None));
    let before = budgets(&[same.clone(), other.clone()]);
    for uri in ["https://a.example/", "https://b.example/"] {
        assert_eq!(turns(&before, uri, 1).await, [0]);
    }
    let faster = wit::Budget { requests: 2, ..other };
    let after = before.successor(&[same, faster]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    // Calls of both run for a while.
    let (old, new) = tokio::join!(turns(&before, "https://a.example/", 1), turns(&after, "https://a.example/", 1));
    assert_eq!((old, new), (vec![1000], vec![2000]));
    assert_eq!(turns(&after, "https://b.example/", 1).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn every_mistake_is_told() {
    let wrong = [declared("https://*.io", 0, 1000, None), declared("https://a.example", 1, 0, None)];
    let mistakes = Budgets::none().successor(&wrong).err().unwrap();
    let fields: Vec<_> = mistakes.into_iter().filter_map(|mistake| mistake.field).collect();
    assert_eq!(fields, ["budgets[0].origin", "budgets[0].requests", "budgets[1].window-ms"]);
}

#[test]
fn retry_after_is_seconds_or_a_date_and_an_hour_at_most() {
    let now: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
    for (said, seconds) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("99999999999999999999999", Some(3600)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", None),
        ("Sat, 06 Nov 2094 08:49:37 GMT", Some(3600)),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ] {
        assert_eq!(retry_after(said, now).map(|pause| pause.as_secs()), seconds, "{said}");
    }
}

/// Never more than its requests in any window, whoever comes and leaves when.
#[tokio::test(start_paused = true)]
async fn no_window_has_more_than_it_may() {
    let budgets = budgets(&[declared("https://a.example", 5, 1000, Some(3))]);
    let request = to("https://a.example/");
    let began = Instant::now();
    let number = AtomicU64::new(7);
    // A small generator of its own (Knuth's MMIX), so that a failure can be seen again.
    let chance = || {
        let next = number
            .load(Ordering::Relaxed)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        number.store(next, Ordering::Relaxed);
        next >> 33
    };
    let one = async |_| {
        sleep(ms(chance() % 5000)).await;
        let patience = ms(chance() % 3000);
        let turn = tokio::time::timeout(patience, budgets.turn(&request, None)).await;
        turn.is_ok().then(|| began.elapsed().as_millis())
    };
    let mut sent: Vec<u128> = join_all((0..200).map(one)).await.into_iter().flatten().collect();
    sent.sort_unstable();
    assert!(sent.len() > 20, "{sent:?}");
    assert!(sent.windows(6).all(|six| six[5] - six[0] >= 1000), "{sent:?}");
}
