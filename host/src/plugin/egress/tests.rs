//! Requests of a short call, to servers on loopback: `host/tests/egress.rs` asks the same of a guest.

mod certificates;
mod cut;
mod multiplexed;
mod servers;

use std::pin::Pin;

use super::testing::{Names, egress, grants};
use super::*;
use servers::Server;

fn get(uri: &str) -> Request<WasiBody> {
    let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
    // As wasmtime does it, from the authority's own text.
    let host = uri.split('/').nth(2).unwrap();
    Request::get(uri).header("host", host).body(body).unwrap()
}

/// Status and body, or the failure.
async fn ask(egress: &Egress, uri: &str) -> Result<(u16, Bytes), Failure> {
    let answer = egress.clone().exchange(get(uri), None).await?;
    let status = answer.status().as_u16();
    Ok((status, answer.into_body().collect().await?.to_bytes()))
}

async fn reason(egress: &Egress, uri: &str) -> &'static str {
    ask(egress, uri).await.map_or_else(|failure| failure.reason(), |_| "Answered")
}

/// Of a plugin that wants what it is granted of `http`.
fn http(names: &Names, granted: &[String], limits: Limits) -> Egress {
    let wants: Vec<String> =
        granted.iter().filter_map(|text| text.strip_prefix("http=")).map(|target| format!("http {target}")).collect();
    egress(grants(granted), &wants, names, limits)
}

/// `a.example` is this server.
fn named(server: &Server) -> (Names, Egress) {
    let names = Names::default();
    names.set("a.example", &["127.0.0.1"]);
    let granted = [format!("http=http://a.example:{}", server.port), "addresses=127.0.0.1".into()];
    let egress = http(&names, &granted, Limits::default());
    (names, egress)
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made() {
    let server = Server::new().await;
    let (_, egress) = named(&server);
    let authority = format!("A.Example.:{}", server.port);
    assert_eq!(ask(&egress, &format!("http://{authority}/a%20b?c=%2F")).await, Ok((200, Bytes::from_static(b"hello"))));
    let asked = server.asked.lock().unwrap();
    let (version, uri, headers) = &asked[0];
    assert_eq!((*version, uri.as_str()), (http::Version::HTTP_11, "/a%20b?c=%2F"));
    assert_eq!(headers.len(), 1, "{headers:?}");
    assert_eq!(headers["host"], authority);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_however_it_is_written() {
    let server = Server::new().await;
    let (names, egress) = named(&server);
    names.set("b.example", &["127.0.0.1"]);
    let port = server.port;
    for (uri, expected) in [
        (format!("http://b.example:{port}/"), "NotGranted"),
        (format!("http://a.example.b.example:{port}/"), "NotGranted"),
        (format!("http://a.example:{}/", port ^ 1), "NotGranted"),
        (format!("https://a.example:{port}/"), "NotGranted"),
        (format!("http://127.0.0.1:{port}/"), "NotGranted"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "NotGranted"),
        (format!("http://[::1]:{port}/"), "NotGranted"),
        (format!("http://0.0.0.0:{port}/"), "NotGranted"),
        (format!("http://2130706433:{port}/"), "TargetInvalid"),
        (format!("http://0x7f.1:{port}/"), "TargetInvalid"),
        (format!("http://0177.0.0.1:{port}/"), "TargetInvalid"),
        (format!("http://a.example@127.0.0.1:{port}/"), "TargetInvalid"),
        ("http://169.254.169.254/latest/meta-data/".into(), "NotGranted"),
        ("http://engine.endpoint.internal/".into(), "NotGranted"),
        ("http://ENGINE.endpoint.internal.:80/".into(), "NotGranted"),
    ] {
        assert_eq!(reason(&egress, &uri).await, expected, "{uri}");
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(reason(&egress, &format!("http://a.example:{port}/")).await, "Answered");
}

#[tokio::test]
async fn a_tunnel_is_no_request() {
    let server = Server::new().await;
    let (_, egress) = named(&server);
    let mut request = get(&format!("http://a.example:{}/", server.port));
    *request.method_mut() = Method::CONNECT;
    let failure = egress.exchange(request, None).await.err().unwrap();
    assert!(matches!(failure, Failure::Request(_)), "{failure}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let server = Server::new().await;
    let (_, egress) = named(&server);
    let (status, _) = ask(&egress, &format!("http://a.example:{}/redirect", server.port)).await.unwrap();
    assert_eq!((status, server.asked.lock().unwrap().len()), (302, 1));
}

#[tokio::test]
async fn a_name_that_changes_its_address_does_not_lead_anywhere_else() {
    let (granted, forbidden) = loop {
        let granted = Server::new().await;
        // Somebody else may have the port there.
        if let Ok(free) = tokio::net::TcpListener::bind(("127.0.0.2", granted.port)).await {
            drop(free);
            let forbidden = Server::at(&format!("127.0.0.2:{}", granted.port), None).await;
            break (granted, forbidden);
        }
    };
    let uri = format!("http://a.example:{}/", granted.port);
    let (names, egress) = named(&granted);
    assert_eq!(reason(&egress, &uri).await, "Answered");
    names.set("a.example", &["127.0.0.2"]);
    assert_eq!(reason(&egress, &uri).await, "Answered", "by the connection that was vetted");
    assert_eq!(granted.connections(), 1);
    // The same where no connection is kept.
    let (names, egress) = named(&granted);
    names.set("a.example", &["127.0.0.2"]);
    assert_eq!(reason(&egress, &uri).await, "AddressForbidden");
    assert_eq!(forbidden.connections(), 0);
}

#[tokio::test]
async fn no_destination_has_the_connection_of_another() {
    let (one, two) = (Server::new().await, Server::new().await);
    let granted = [format!("engine=http://127.0.0.1:{}", one.port), format!("other=http://127.0.0.1:{}", two.port)];
    let egress = egress(grants(&granted), &[], &Names::default(), Limits::default());
    for _ in 0..2 {
        for name in ["engine", "other"] {
            assert_eq!(reason(&egress, &format!("http://{name}.endpoint.internal/{name}")).await, "Answered");
        }
    }
    for (server, path) in [(&one, "/engine"), (&two, "/other")] {
        let asked = server.asked.lock().unwrap();
        assert!(asked.len() == 2 && asked.iter().all(|(_, uri, _)| uri == path), "{asked:?}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn what_comes_of_a_request_is_counted() {
    let server = Server::new().await;
    let (_, mut egress) = named(&server);
    for uri in [format!("http://a.example:{}/", server.port), "http://b.example/".into()] {
        let sent = egress.send_request(get(&uri), None, Box::new(ready(Ok(()))));
        assert_eq!(Pin::from(sent).await.is_ok(), uri.contains("a.example"), "{uri}");
    }
    let counted: Vec<_> = egress.services.denied.read().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("Answered", 1), ("NotGranted", 1)]);
}
