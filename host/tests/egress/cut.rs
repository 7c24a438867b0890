//! Servers that misbehave: each is cut with its class, and nothing else suffers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vk_host::plugin::egress::Limits;
use vk_host::provider::{Code, Provider as _};

use crate::common::{create, pod};
use crate::place::{PATIENCE, Setting};
use crate::servers::{Say, says};

const MOMENT: Duration = Duration::from_millis(300);

async fn outcome(script: &'static [Say], limits: Limits) -> String {
    let (origin, _) = says(script).await;
    let place = Setting::default().grant("http", &origin).limits(limits).load().await;
    let [outcome] = <[String; 1]>::try_from(place.fetch(&[&format!("GET {origin}/")]).await).unwrap();
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_or_stops_is_given_up() {
    const BEGUN: Say = Say::This("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    // Each as short as the test waits for, and the other one as it is.
    let beginning = Limits { first_byte: MOMENT, ..Limits::default() };
    let going_on = Limits { between_bytes: MOMENT, ..Limits::default() };
    assert_eq!(outcome(&[Say::Silence], beginning).await, "error HTTP-response-timeout");
    assert_eq!(outcome(&[Say::Slowly("HTTP/1.1 200 OK\r\n", 50)], beginning).await, "error HTTP-response-timeout");
    assert_eq!(outcome(&[BEGUN, Say::Silence], going_on).await, "error connection-read-timeout");
    assert_eq!(outcome(&[BEGUN], Limits::default()).await, "error connection-terminated");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_gigabyte_is_cut() {
    const MIB: &str = match std::str::from_utf8(&[b'x'; 1 << 20]) {
        Ok(text) => text,
        Err(_) => "",
    };
    const LONG: &[Say] =
        &[Say::This("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"), Say::Again(MIB, 1 << 10)];
    const ENDLESS: &[Say] = &[Say::This("HTTP/1.1 200 OK\r\n\r\n"), Say::Again(MIB, 1 << 10)];
    for script in [LONG, ENDLESS] {
        assert_eq!(outcome(script, Limits::default()).await, "error HTTP-response-body-size");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_cut() {
    const FLOOD: &[Say] = &[Say::This("HTTP/1.1 200 OK\r\n"), Say::Again("A: b\r\n", 1 << 20)];
    const LONG: &[Say] = &[Say::This("HTTP/1.1 200 OK\r\nA: "), Say::Again("0123456789abcdef", 1 << 20)];
    for script in [FLOOD, LONG] {
        assert_eq!(outcome(script, Limits::default()).await, "error HTTP-response-header-section-size");
    }
}

/// A byte now and then, so that no pause is too long: the call's own end cuts it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_trickles_ends_with_the_call() {
    let (origin, _) = says(&[Say::This("HTTP/1.1 200 OK\r\n\r\n"), Say::Slowly("x", 50)]).await;
    let mut setting = Setting::default().grant("http", &origin);
    setting.limits.create_deadline = MOMENT;
    let place = setting.load().await;
    let began = Instant::now();
    let error = place.try_fetch(&[&format!("GET {origin}/")]).await.unwrap_err();
    assert_eq!(error.code, Code::DeadlineExceeded, "{error}");
    assert!(began.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_up_its_own_call_alone() {
    let (origin, asked) = says(&[Say::Silence]).await;
    let limits = Limits { first_byte: PATIENCE, ..Limits::default() };
    let place = Arc::new(Setting::default().grant("http", &origin).limits(limits).load().await);
    let hanging = {
        let (place, command) = (Arc::clone(&place), format!("GET {origin}/"));
        tokio::spawn(async move { place.try_fetch(&[&command]).await })
    };
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    place.plugin.ping().await.unwrap();
    create(&place.plugin, "other", &[]).await.unwrap();
    assert!(place.plugin.get_pod(&pod("other", &[]).id).await.unwrap().is_some());
    assert!(!hanging.is_finished());
    place.plugin.begin_shutdown();
    assert_eq!(hanging.await.unwrap().unwrap_err().code, Code::Cancelled);
}
