//! With servers on loopback, which stands for what is granted and what is not.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};

use super::*;
use crate::plugin::egress::surroundings::Resolve;
use crate::plugin::egress::testing::{Names, grants};

fn dialler(texts: &[&str], surroundings: Surroundings, limits: Limits) -> Dialler {
    let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
    Dialler::new(&grants(&texts), surroundings, limits)
}

fn to(origin: &str, port: u16) -> Destination {
    Destination::Origin { origin: Origin::parse(&format!("{origin}:{port}")).unwrap(), literal: false }
}

async fn dial(dialler: &Dialler, to: &Destination) -> Result<Stream, Failure> {
    dialler.dial(to, None, Purpose::Bytes).await
}

/// The same port at two addresses of this machine.
async fn two_servers() -> (TcpListener, TcpListener, u16) {
    loop {
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = one.local_addr().unwrap().port();
        if let Ok(other) = TcpListener::bind(("127.0.0.2", port)).await {
            return (one, other, port);
        }
    }
}

#[tokio::test]
async fn a_name_leads_to_vetted_addresses_only() {
    let (granted, forbidden, port) = two_servers().await;
    let names = Names::default();
    let dialler = dialler(&["addresses=127.0.0.1"], names.surroundings(), Limits::default());
    names.set("a.example", &["127.0.0.2", "::ffff:127.0.0.2", "127.0.0.1"]);
    let to = to("tcp://a.example", port);
    dial(&dialler, &to).await.map(drop).unwrap();
    granted.accept().await.unwrap();
    for addresses in
        [&["127.0.0.2"][..], &["::ffff:127.0.0.2"], &["169.254.169.254", "10.0.0.7"], &["::1"], &["0.0.0.0"]]
    {
        names.set("a.example", addresses);
        let failure = dial(&dialler, &to).await.map(drop).unwrap_err();
        assert!(matches!(failure, Failure::Address { .. }), "{addresses:?}: {failure}");
    }
    assert!(forbidden.accept().now_or_never().is_none() && granted.accept().now_or_never().is_none());
}

#[tokio::test]
async fn a_refusal_names_the_address_and_what_it_is() {
    let names = Names::default();
    names.set("a.example", &["::ffff:169.254.169.254"]);
    let dialler = dialler(&[], names.surroundings(), Limits::default());
    let text = dial(&dialler, &to("tcp://a.example", 80)).await.map(drop).unwrap_err().to_string();
    assert!(text.contains("tcp://a.example:80 is at 169.254.169.254, where a cloud gives"), "{text}");
    assert!(text.contains("--grant addresses=169.254.169.254"), "{text}");
}

#[tokio::test]
async fn a_name_that_stands_for_nothing_is_no_name() {
    let names = Names::default();
    names.set("empty.example", &[]);
    let dialler = dialler(&[], names.surroundings(), Limits::default());
    for name in ["tcp://empty.example", "tcp://none.example"] {
        let failure = dial(&dialler, &to(name, 80)).await.map(drop).unwrap_err();
        assert!(matches!(failure, Failure::Name { .. }), "{failure}");
    }
}

#[tokio::test]
async fn an_address_is_reached_where_it_itself_was_granted() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let dialler = dialler(&[], Names::default().surroundings(), Limits::default());
    let vetted = to("tcp://127.0.0.1", port);
    assert!(matches!(dial(&dialler, &vetted).await.map(drop), Err(Failure::Address { .. })));
    let Destination::Origin { origin, .. } = vetted else { panic!("an origin") };
    assert!(dial(&dialler, &Destination::Origin { origin, literal: true }).await.is_ok());
}

#[tokio::test]
async fn who_does_not_listen_refuses() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    drop(server);
    let dialler = dialler(&["addresses=127.0.0.1"], Names::default().surroundings(), Limits::default());
    let failure = dial(&dialler, &to("tcp://127.0.0.1", port)).await.map(drop).unwrap_err();
    assert!(matches!(failure, Failure::Refused(_)), "{failure}");
}

#[tokio::test]
async fn an_endpoint_is_wherever_its_operator_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let names = Names::default();
    names.set("engine.corp.example", &["127.0.0.1"]);
    let port = server.local_addr().unwrap().port();
    let (one, two) = (format!("socket=unix://{}", path.display()), format!("tcp=http://engine.corp.example:{port}"));
    let dialler = dialler(&[&one, &two], names.surroundings(), Limits::default());
    for name in ["socket", "tcp"] {
        let mut stream =
            dial(&dialler, &Destination::Endpoint(name.into())).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        stream.write_all(b"hello").await.unwrap();
    }
    let (mut of_socket, mut of_tcp) = (String::new(), String::new());
    socket.accept().await.unwrap().0.read_to_string(&mut of_socket).await.unwrap();
    server.accept().await.unwrap().0.read_to_string(&mut of_tcp).await.unwrap();
    assert_eq!((of_socket.as_str(), of_tcp.as_str()), ("hello", "hello"));
    let failure = dial(&dialler, &Destination::Endpoint("other".into())).await.map(drop).unwrap_err();
    assert!(matches!(failure, Failure::EndpointNotGranted(_)));
}

#[derive(Debug)]
struct Silent;

#[async_trait]
impl Resolve for Silent {
    async fn resolve(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_does_not_answer_costs_the_time_to_connect() {
    let surroundings = Surroundings::new(Arc::new(Silent), Matcher::builder().build());
    let dialler = dialler(&[], surroundings, Limits::default());
    let began = Instant::now();
    let failure = dial(&dialler, &to("tcp://a.example", 80)).await.map(drop).unwrap_err();
    assert_eq!(failure, Failure::NameTimeout("a.example".into()));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn a_plugin_has_only_so_many_connections_at_once() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = to("tcp://127.0.0.1", server.local_addr().unwrap().port());
    let limits = Limits { connections: 1, connect: Duration::from_secs(1), ..Limits::default() };
    let dialler = dialler(&["addresses=127.0.0.1"], Names::default().surroundings(), limits);
    let first = dial(&dialler, &to).await.map_err(|failure| failure.to_string()).unwrap();
    assert_eq!(dial(&dialler, &to).await.map(drop), Err(Failure::Connections(1)));
    drop(first);
    assert!(dial(&dialler, &to).await.is_ok());
}

#[tokio::test]
async fn a_server_that_has_gone_is_noticed_soon() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = connect(vec![server.local_addr().unwrap()], &"it").await.unwrap();
    let socket = socket2::SockRef::from(&stream);
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE);
    let (pause, times) = (socket.tcp_keepalive_interval().unwrap(), socket.tcp_keepalive_retries().unwrap());
    assert_eq!(KEEP_ALIVE + pause * times, Duration::from_secs(30));
}

/// A proxy on loopback that all go through, with this resolver on this side of it.
async fn behind_proxy(granted: &[&str], resolver: Arc<dyn Resolve>) -> (TcpListener, Dialler) {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", proxy.local_addr().unwrap());
    let surroundings = Surroundings::new(resolver, Matcher::builder().all(at).build());
    (proxy, dialler(granted, surroundings, Limits::default()))
}

/// What the host reaches where the proxy opens a tunnel to wherever it is asked for.
async fn tunnelled(
    proxy: &TcpListener,
    dialler: &Dialler,
    origin: &str,
    purpose: Purpose,
) -> (String, Option<Failure>) {
    let to = to(origin, 443);
    let answer = async {
        let (mut stream, _) = proxy.accept().await.unwrap();
        let mut asked = vec![0; 1 << 10];
        let length = stream.read(&mut asked).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        asked.truncate(length);
        String::from_utf8(asked).unwrap()
    };
    let mut dialled = std::pin::pin!(dialler.dial(&to, None, purpose));
    tokio::select! {
        biased;
        asked = answer => (asked, dialled.await.err()),
        // Where it is refused, the proxy hears nothing.
        dialled = &mut dialled => (String::new(), dialled.err()),
    }
}

#[tokio::test]
async fn a_proxy_is_no_way_to_an_address_that_is_forbidden() {
    let (proxy, dialler) = behind_proxy(&["http=http://a.example:80"], Arc::new(Silent)).await;
    for address in ["http://169.254.169.254", "http://10.0.0.7"] {
        let failure = dialler.dial(&to(address, 80), None, Purpose::Requests).await.map(drop).unwrap_err();
        assert!(matches!(failure, Failure::Address { .. }), "{failure}");
    }
    assert!(proxy.accept().now_or_never().is_none());
    let stream = dialler.dial(&to("http://a.example", 80), None, Purpose::Requests).await;
    assert!(
        stream.is_ok_and(|stream| hyper_util::client::legacy::connect::Connection::connected(&stream).is_proxied())
    );
}

/// What an operator has named may be anywhere; all else has to be seen to be public, as without a proxy.
#[tokio::test]
async fn only_an_origin_that_its_operator_has_named_is_left_to_a_proxy_to_resolve() {
    let names = Names::default();
    names.set("vault.corp.example", &["10.1.2.3"]);
    names.set("mixed.example", &["10.1.2.3", "93.184.216.34"]);
    names.set("public.example", &["93.184.216.34"]);
    let granted = ["http=https://*.named.example:443", "upgrade=https://up.example:443", "addresses=10.9.0.0/16"];
    let (proxy, dialler) = behind_proxy(&granted, Arc::new(names.clone())).await;
    names.set("granted.example", &["10.9.0.1"]);
    for (name, purpose, reason) in [
        ("a.named.example", Purpose::Requests, None),
        ("a.named.example", Purpose::LongRequests, None),
        ("up.example", Purpose::Upgrade, None),
        ("up.example", Purpose::Requests, Some("NameUnvetted")),
        ("public.example", Purpose::Requests, None),
        ("mixed.example", Purpose::Requests, None),
        ("granted.example", Purpose::Requests, None),
        ("vault.corp.example", Purpose::Requests, Some("AddressForbidden")),
        ("named.example", Purpose::Requests, Some("NameUnvetted")),
        ("unknown.example", Purpose::Requests, Some("NameUnvetted")),
    ] {
        let (asked, failure) = tunnelled(&proxy, &dialler, &format!("https://{name}"), purpose).await;
        assert_eq!(failure.as_ref().map(Failure::reason), reason, "{name} {purpose:?}");
        let expected = if reason.is_none() { format!("CONNECT {name}:443 ") } else { String::new() };
        assert!(asked.starts_with(&expected) && asked.is_empty() == expected.is_empty(), "{name}: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_network_whose_proxy_alone_resolves_is_told_what_to_grant() {
    let (_proxy, dialler) = behind_proxy(&[], Arc::new(Silent)).await;
    let dialled = dialler.dial(&to("https://a.example", 443), None, Purpose::Upgrade).await;
    let text = dialled.map(drop).unwrap_err().to_string();
    assert!(text.contains("--grant upgrade=https://a.example:443") && text.contains("proxy"), "{text}");
}
