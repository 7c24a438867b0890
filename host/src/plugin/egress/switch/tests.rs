//! With servers on loopback that speak as they please.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use wasmtime_wasi::p2::{DynOutputStream, StreamError};

use super::*;
use crate::defaults::egress::{LINGER, UNSENT};
use crate::plugin::egress::Limits;
use crate::plugin::egress::testing::{Names, egress, grants};

/// A server, and what may be asked of it by `access`.
async fn server(access: &str, scheme: &str) -> (TcpListener, Egress, String) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("{scheme}://{}", server.local_addr().unwrap());
    let egress = egress_to(access, &origin);
    (server, egress, origin)
}

fn egress_to(access: &str, origin: &str) -> Egress {
    let grants = grants(&[format!("{access}={origin}")]);
    egress(grants, &[format!("{access} {origin}")], &Names::default(), Limits::default())
}

async fn outcome(attempt: &Attempt) -> Ending {
    attempt.ended().ready().await;
    attempt.take().unwrap()
}

fn failure(ending: Ending) -> Failure {
    match ending {
        Err(failure) => failure,
        Ok(_) => panic!("it did not fail"),
    }
}

/// All that comes until the end.
async fn read(input: &mut DynInputStream) -> Result<Vec<u8>, StreamError> {
    let mut all = Vec::new();
    loop {
        match input.blocking_read(1 << 16).await {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => return Ok(all),
            Err(error) => return Err(error),
        }
    }
}

async fn write(output: &mut DynOutputStream, bytes: &'static [u8]) {
    let mut bytes = Bytes::from_static(bytes);
    while !bytes.is_empty() {
        let room = output.write_ready().await.unwrap();
        output.write(bytes.split_to(room.min(bytes.len()))).unwrap();
    }
}

/// What a server reads up to the end of a request's head.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn post(url: &str, body: &'static str) -> Result<Request<Bytes>, Failure> {
    let request = Request::post(url).header("content-type", "application/json");
    Ok(request.body(Bytes::from_static(body.as_bytes())).unwrap())
}

#[tokio::test]
async fn dropping_the_output_ends_sending_and_reading_goes_on() {
    let (server, egress, origin) = server("connect", "tcp").await;
    let attempt = egress.connect(origin);
    let (mut other, _) = server.accept().await.unwrap();
    let Ok(Outcome::Connected(Duplex { mut input, mut output })) = outcome(&attempt).await else { panic!("connected") };
    drop(attempt);
    write(&mut output, b"hello").await;
    drop(output);
    let mut heard = String::new();
    other.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "hello", "and the end");
    other.write_all(b"bye").await.unwrap();
    drop(other);
    assert_eq!(read(&mut input).await.unwrap(), b"bye");
}

#[tokio::test]
async fn what_was_accepted_is_sent_when_the_guest_has_dropped_both_ends() {
    static MUCH: [u8; UNSENT] = [7; UNSENT];
    let (server, egress, origin) = server("connect", "tcp").await;
    let attempt = egress.connect(origin);
    let (mut other, _) = server.accept().await.unwrap();
    let Ok(Outcome::Connected(Duplex { input, mut output })) = outcome(&attempt).await else { panic!("connected") };
    write(&mut output, &MUCH).await;
    drop((input, output, attempt));
    let mut heard = Vec::new();
    other.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), UNSENT);
}

#[tokio::test]
async fn an_upgrade_has_the_guests_head_and_the_hosts_connection() {
    let (server, egress, origin) = server("upgrade", "http").await;
    let attempt = egress.open(post(&format!("{origin}/exec/1/start?x=y"), "{}"), "tcp".into());
    let (mut other, _) = server.accept().await.unwrap();
    let asked = head(&mut other).await;
    assert!(asked.starts_with("POST /exec/1/start?x=y HTTP/1.1\r\n"), "{asked}");
    let host = origin.trim_start_matches("http://");
    for header in ["connection: Upgrade", "upgrade: tcp", &format!("host: {host}"), "content-type: application/json"] {
        assert!(asked.lines().any(|line| line == header), "{header} is not in\n{asked}");
    }
    let mut body = [0; 2];
    other.read_exact(&mut body).await.unwrap();
    // The first bytes come with the head, as they may.
    other.write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nwelcome ").await.unwrap();
    let Ok(Outcome::Switched(head, Duplex { mut input, mut output })) = outcome(&attempt).await else {
        panic!("switched")
    };
    assert_eq!((head.status.as_u16(), &head.headers["upgrade"]), (101, &HeaderValue::from_static("tcp")));
    write(&mut output, b"ls\n").await;
    drop(output);
    let mut heard = String::new();
    other.read_to_string(&mut heard).await.unwrap();
    other.write_all(format!("you said {heard}").as_bytes()).await.unwrap();
    drop(other);
    assert_eq!(read(&mut input).await.unwrap(), b"welcome you said ls\n");
}

#[tokio::test]
async fn a_server_that_does_not_upgrade_is_heard() {
    let (server, egress, origin) = server("upgrade", "http").await;
    let attempt = egress.open(post(&format!("{origin}/exec/1/start"), ""), "tcp".into());
    let (mut other, _) = server.accept().await.unwrap();
    head(&mut other).await;
    other.write_all(b"HTTP/1.1 409 Conflict\r\nContent-Length: 11\r\n\r\nnot running").await.unwrap();
    let Ok(Outcome::Refused(head, mut body)) = outcome(&attempt).await else { panic!("refused") };
    drop(attempt);
    assert_eq!(head.status.as_u16(), 409);
    assert_eq!(read(&mut body).await.unwrap(), b"not running");
}

#[tokio::test]
async fn what_was_not_granted_is_not_opened() {
    let (server, egress, origin) = server("connect", "tcp").await;
    for (attempt, reason) in [
        (egress.connect("tcp://127.0.0.1:1".into()), "NotGranted"),
        (egress.connect(origin.replace("tcp", "tls")), "NotGranted"),
        (egress.connect(origin.replace("tcp", "http")), "RequestInvalid"),
        (egress.connect("tcp://2130706433:80".into()), "TargetInvalid"),
        (egress.connect("tcp://engine.endpoint.internal".into()), "NotGranted"),
        (egress.connect("tcp://a b\n.endpoint.internal".into()), "TargetInvalid"),
        (egress.open(post(&origin.replace("tcp", "http"), ""), "tcp".into()), "NotGranted"),
        (egress.open(post(&origin, ""), "tcp".into()), "RequestInvalid"),
    ] {
        let failure = failure(outcome(&attempt).await);
        assert!(failure.reason() == reason && !failure.to_string().contains('\n'), "{failure}");
    }
    drop(egress);
    let mut sent = std::pin::pin!(server.accept());
    assert!(futures::poll!(&mut sent).is_pending());
}

#[tokio::test]
async fn headers_of_the_connection_are_none_of_the_guests() {
    let (_server, egress, origin) = server("upgrade", "http").await;
    for name in ["connection", "upgrade", "host", "content-length", "transfer-encoding", "proxy-authorization"] {
        let request = Request::get(&origin).header(name, "x").body(Bytes::new()).unwrap();
        let failure = failure(outcome(&egress.open(Ok(request), "tcp".into())).await);
        assert!(failure.to_string().contains(name), "{failure}");
    }
    for protocol in ["", "a\r\nb: c"] {
        let failure = failure(outcome(&egress.open(post(&origin, ""), protocol.into())).await);
        assert_eq!(failure.reason(), "RequestInvalid");
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_is_given_up() {
    let (server, egress, origin) = server("upgrade", "http").await;
    let attempt = egress.open(post(&origin, ""), "tcp".into());
    let (mut other, _) = server.accept().await.unwrap();
    head(&mut other).await;
    let mut ended = attempt.ended();
    drop(attempt);
    ended.ready().await;
    assert_eq!(other.read(&mut [0]).await.unwrap(), 0, "nobody waits for an answer");
}

/// Both ends of a connection in memory, which paused time cannot hurry.
fn pair(silence: Option<Duration>) -> (DuplexStream, Duplex) {
    let (near, far) = duplex(1 << 10);
    (far, Duplex::new(near, silence))
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_cut_when_nothing_goes_either_way() {
    let second = Duration::from_secs(1);
    let (_far, Duplex { mut input, mut output }) = pair(Some(10 * second));
    let began = Instant::now();
    let (ended, sent) = oneshot::channel();
    tokio::spawn(async move {
        tokio::time::sleep(6 * second).await;
        write(&mut output, b"still here").await;
        let _ = ended.send(output);
    });
    assert!(matches!(read(&mut input).await, Err(StreamError::LastOperationFailed(_))));
    assert_eq!(began.elapsed(), 16 * second);
    drop(sent.await);
}

#[tokio::test(start_paused = true)]
async fn a_guest_may_write_as_much_as_there_is_room_for() {
    let (mut far, Duplex { input: _input, mut output }) = pair(None);
    assert_eq!(output.check_write().unwrap(), UNSENT);
    output.write(Bytes::from_static(&[7; 4 << 10])).unwrap();
    output.flush().unwrap();
    assert_eq!(output.check_write().unwrap(), 0, "not before all of it is sent");
    let mut all = vec![0; 4 << 10];
    far.read_exact(&mut all).await.unwrap();
    assert_eq!(output.write_ready().await.unwrap(), UNSENT);
    assert!(output.write(Bytes::from(vec![7; UNSENT + 1])).is_err());
}

#[tokio::test]
async fn a_failure_is_told_once_and_then_it_is_closed() {
    let (far, Duplex { input: _input, mut output }) = pair(None);
    drop(far);
    output.write(Bytes::from_static(b"hello")).unwrap();
    output.flush().unwrap();
    output.ready().await;
    assert!(matches!(output.check_write(), Err(StreamError::LastOperationFailed(_))));
    assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    assert!(matches!(output.write(Bytes::new()), Err(StreamError::Closed)));
}

/// The other side takes nothing, and the guest has gone.
#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_reads_lingers_for_a_while_only() {
    let (mut far, Duplex { input, mut output }) = pair(None);
    output.write(Bytes::from_static(&[7; 4 << 10])).unwrap();
    drop((input, output));
    tokio::time::sleep(2 * LINGER).await;
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), 1 << 10, "what had room on the way, and the end");
}

/// The other side takes it later, and the guest waits for what it says then.
#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_sent_however_late_while_the_guest_reads() {
    let (mut far, Duplex { mut input, mut output }) = pair(None);
    output.write(Bytes::from_static(&[7; 4 << 10])).unwrap();
    drop(output);
    tokio::time::sleep(100 * LINGER).await;
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), 4 << 10, "and the end");
    far.write_all(b"bye").await.unwrap();
    drop(far);
    assert_eq!(read(&mut input).await.unwrap(), b"bye");
}

#[tokio::test]
async fn a_call_has_only_so_many_connections_in_the_making() {
    let (server, egress, origin) = server("upgrade", "http").await;
    let open = || egress.open(post(&origin, ""), "tcp".into());
    let mut attempts = Vec::new();
    for _ in 0..ATTEMPTS {
        attempts.push(open());
        let (stream, _) = server.accept().await.unwrap();
        tokio::spawn(async move {
            let _silent = stream;
            std::future::pending::<()>().await;
        });
    }
    assert_eq!(failure(outcome(&open()).await), Failure::Attempts(ATTEMPTS));
    let mut ended = attempts.remove(0).ended();
    ended.ready().await;
    let next = open();
    server.accept().await.unwrap();
    drop(next);
}
