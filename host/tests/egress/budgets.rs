//! Rates that a plugin declares, kept over all its calls.

use std::time::{Duration, Instant};

use vk_host::provider::Code;

use crate::place::{Place, Setting};
use crate::servers::Web;

async fn place(web: &Web, requests: u32, window: &str) -> (Place, String) {
    let origin = format!("http://127.0.0.1:{}", web.port);
    let config = format!("budgets = [{{ origin = {origin:?}, requests = {requests}, window = {window:?} }}]\n");
    (Setting { config, ..Setting::default() }.grant("http", &origin).load().await, origin)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_calls_share_a_budget() {
    let web = Web::new().await;
    let (place, origin) = place(&web, 2, "400ms").await;
    let command = format!("GET {origin}/");
    let began = Instant::now();
    let commands = [command.as_str(); 3];
    let (one, two) = tokio::join!(place.fetch(&commands[1..]), place.fetch(&commands));
    assert!(one.iter().chain(&two).all(|outcome| outcome == "200, 5 bytes"), "{one:?} {two:?}");
    // Five, two in each window: the last one waits for two of them.
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_would_come_too_late_is_none() {
    let web = Web::new().await;
    let (place, origin) = place(&web, 1, "1h").await;
    let command = format!("GET {origin}/");
    assert_eq!(place.fetch(&[&command, &command]).await, ["200, 5 bytes", "error connection-limit-reached"]);
    assert_eq!((web.connections(), place.counted("BudgetSpent")), (1, 1));
    // It knows no better than to try again when there is room.
    let refused = place.required(&command).await.unwrap_err();
    let wait = refused.retry_after.unwrap();
    assert_eq!(refused.code, Code::ResourceExhausted);
    assert!(wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600), "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_pause_gets_it() {
    let web = Web::new().await;
    let (place, origin) = place(&web, 100, "1s").await;
    let began = Instant::now();
    let outcomes = place.fetch(&[&format!("GET {origin}/busy"), &format!("GET {origin}/")]).await;
    assert_eq!(outcomes, ["429, 4 bytes", "200, 5 bytes"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}
