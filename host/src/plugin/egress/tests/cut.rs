//! Answers that do not end, or do not begin, or are too much.

use std::time::Duration;

use http_body_util::Full;

use super::servers::{Say, says};
use super::*;

/// As short as a test waits for.
const MOMENT: Duration = Duration::from_millis(200);

fn limits() -> Limits {
    Limits { response_body: 1 << 20, ..Limits::default() }
}

async fn outcome(script: &'static [Say], limits: Limits) -> &'static str {
    let origin = says(script).await;
    let egress = http(&Names::default(), &[format!("http={origin}")], limits);
    reason(&egress, &format!("{origin}/")).await
}

#[tokio::test]
async fn an_answer_that_does_not_come_or_go_on_is_given_up() {
    const HEAD: Say = Say::This("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    let beginning = Limits { first_byte: MOMENT, ..limits() };
    let going_on = Limits { between_bytes: MOMENT, ..limits() };
    assert_eq!(outcome(&[Say::Silence], beginning).await, "ResponseTimeout");
    assert_eq!(outcome(&[Say::This("HTTP/1.1 200 OK\r\nA: b"), Say::Silence], beginning).await, "ResponseTimeout");
    assert_eq!(outcome(&[HEAD, Say::Silence], going_on).await, "ResponseStalled");
    assert_eq!(outcome(&[HEAD], limits()).await, "ConnectionTerminated");
    assert_eq!(outcome(&[], limits()).await, "ConnectionTerminated");
}

#[tokio::test]
async fn a_flood_of_headers_is_cut() {
    const START: Say = Say::This("HTTP/1.1 200 OK\r\n");
    const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123";
    assert_eq!(outcome(&[START, Say::This("A: "), Say::Again(LONG, 2 << 10)], limits()).await, "ResponseHeadTooLarge");
    assert_eq!(
        outcome(&[START, Say::Again("A: b\r\n", 257), Say::This("\r\n")], limits()).await,
        "ResponseHeadTooLarge"
    );
    assert_eq!(outcome(&[START, Say::Again("A: b\r\n", 1 << 20)], limits()).await, "ResponseHeadTooLarge");
    let most = &[START, Say::Again("A: b\r\n", 254), Say::This("Content-Length: 0\r\n\r\n")];
    assert_eq!(outcome(most, limits()).await, "Answered");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_cut() {
    const PIECE: &str = "0123456789012345678901234567890123456789012345678901234567890123";
    const WITHOUT_LENGTH: Say = Say::This("HTTP/1.1 200 OK\r\n\r\n");
    let gigabyte = &[Say::This("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"), Say::Silence];
    assert_eq!(outcome(gigabyte, limits()).await, "ResponseTooLarge", "before any of it came");
    assert_eq!(outcome(&[WITHOUT_LENGTH, Say::Again(PIECE, 1 << 24)], limits()).await, "ResponseTooLarge");
    assert_eq!(outcome(&[WITHOUT_LENGTH, Say::Again(PIECE, 1 << 14)], limits()).await, "Answered");
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    assert_eq!(outcome(&[Say::This("SSH-2.0-OpenSSH_9.2\r\n")], limits()).await, "ProtocolError");
}

#[tokio::test]
async fn a_request_that_is_too_large_is_cut() {
    let origin = says(&[Say::Silence]).await;
    let limits = Limits { request_body: 1 << 10, ..limits() };
    let egress = http(&Names::default(), &[format!("http={origin}")], limits);
    let body = Full::new(Bytes::from(vec![7; 1 << 20])).map_err(|never| match never {}).boxed_unsync();
    let failure = egress.exchange(Request::post(&origin).body(body).unwrap(), None).await.err().unwrap();
    assert_eq!(failure, Failure::RequestSize(1 << 10));
}

/// A guest that goes away takes its request with it.
#[tokio::test]
async fn a_request_that_nobody_waits_for_is_given_up() {
    use tokio::io::AsyncReadExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let egress = http(&Names::default(), &[format!("http={origin}")], limits());
    let asking = tokio::spawn(egress.exchange(get(&format!("{origin}/")), None));
    let (mut stream, _) = listener.accept().await.unwrap();
    assert!(stream.read(&mut [0; 1 << 10]).await.unwrap() > 0);
    asking.abort();
    assert_eq!(stream.read(&mut [0; 1 << 10]).await.unwrap(), 0);
}
