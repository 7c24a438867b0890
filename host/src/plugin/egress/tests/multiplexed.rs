//! Connections of HTTP/2, which many requests share.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::certificates::{Authority, Files, trusting};
use super::servers::LARGE;
use super::*;

/// A way to a port. Connections that are open when it is cut stay so, and nothing goes over them any more.
async fn way(to: u16) -> (u16, watch::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cut = watch::Sender::new(());
    let cuts = cut.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let mut cut = cuts.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = cut.changed() => std::future::pending().await,
                }
            });
        }
    });
    (port, cut)
}

#[tokio::test]
async fn a_connection_that_is_cut_without_a_word_costs_its_own_requests_and_no_later_ones() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = Server::with_tls(authority.server("a.example", None)).await;
    let (port, cut) = way(server.port).await;
    let (egress, origin) = trusting(port, vec![files.write("ca.pem", &authority.0.pem())]);
    let uri = format!("{origin}/");
    assert_eq!(reason(&egress, &uri).await, "Answered");
    cut.send(()).unwrap();
    tokio::time::pause();
    assert_eq!(reason(&egress, &uri).await, "ConnectionTerminated", "before the request's own time is up");
    tokio::time::resume();
    assert_eq!(reason(&egress, &uri).await, "Answered");
    assert_eq!(server.connections(), 2);
}

/// Whoever pages through a log reads none of it for as long as they like.
#[tokio::test]
async fn answers_that_are_not_read_keep_no_short_call_waiting() {
    let (files, authority) = (Files::new(), Authority::new("one"));
    let server = Server::with_tls(authority.server("a.example", None)).await;
    let (short, origin) = trusting(server.port, vec![files.write("ca.pem", &authority.0.pem())]);
    let long = |patience| Egress { bounds: Bounds::new(patience, &Limits::default()), ..short.clone() };
    let (session, streaming) = (long(Patience::Session), long(Patience::Streaming));
    let mut unread = Vec::new();
    for egress in [&session, &session, &streaming] {
        unread.push(egress.clone().exchange(get(&format!("{origin}/large")), None).await.unwrap());
    }
    assert_eq!(server.connections(), 3, "each has its own");
    for _ in 0..2 {
        assert_eq!(reason(&short, &format!("{origin}/")).await, "Answered");
    }
    assert_eq!(server.connections(), 4);
    let versions: Vec<http::Version> = server.asked.lock().unwrap().iter().map(|(version, ..)| *version).collect();
    let (one, two) = (http::Version::HTTP_11, http::Version::HTTP_2);
    assert_eq!(versions, [one, one, one, two, two]);
    // What was read leaves its connection to the next of them.
    assert_eq!(unread.remove(0).into_body().collect().await.unwrap().to_bytes().len(), LARGE);
    assert_eq!(reason(&session, &format!("{origin}/")).await, "Answered");
    assert_eq!(server.connections(), 4);
}
