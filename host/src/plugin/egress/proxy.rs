//! The way through a proxy: a tunnel, or a proxy that reads the requests and passes them on.

use std::fmt;
use std::future::{Ready, ready};
use std::io;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::{SocksV4, SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tower::Service as _;

use super::failure::Failure;
use super::origin::{Host, Origin, Scheme};
use super::stream::Io;

/// Of SOCKS, and of every proxy whose URL has no port (curl(1), `--proxy`).
const PORT: u16 = 1080;
/// Of a proxy that is spoken to with TLS.
const TLS_PORT: u16 = 443;

/// Whether the proxy reads requests to the origin and passes them on (RFC 9110, 7.1: absolute form).
pub(super) fn passes_on(proxy: &Intercept, origin: &Origin) -> bool {
    origin.scheme == Scheme::Http && matches!(proxy.uri().scheme_str(), Some("http" | "https"))
}

/// Where the proxy itself is, and whether TLS is spoken with it; none: its URL has no host that there is.
pub(super) fn server(proxy: &Intercept) -> Option<(Host, u16, bool)> {
    let uri = proxy.uri();
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().and_then(Host::parse)?;
    Some((host, uri.port_u16().unwrap_or(if secure { TLS_PORT } else { PORT }), secure))
}

/// Asks the proxy at the other end of `io` for a tunnel to the origin, whose name it resolves itself.
pub(super) async fn tunnel(proxy: &Intercept, origin: &Origin, io: Box<dyn Io>) -> Result<Box<dyn Io>, Failure> {
    let failed = |error: &dyn fmt::Display| Failure::Unreachable {
        target: origin.to_string(),
        message: format!("the proxy {}: {error}", proxy.uri()),
    };
    let uri: Uri = origin.to_string().parse().map_err(|error: http::uri::InvalidUri| failed(&error))?;
    let (at, there) = (proxy.uri().clone(), tower::service_fn(opened(io)));
    let tunnelled = match (proxy.uri().scheme_str(), proxy.raw_auth(), proxy.basic_auth()) {
        (Some("socks5" | "socks5h"), Some((user, password)), _) => {
            let mut socks = SocksV5::new(at, there).with_auth(user.to_owned(), password.to_owned());
            socks.call(uri).await.map_err(|error| failed(&error))
        }
        (Some("socks5" | "socks5h"), None, _) => {
            SocksV5::new(at, there).call(uri).await.map_err(|error| failed(&error))
        }
        (Some("socks4" | "socks4a"), ..) => SocksV4::new(at, there).call(uri).await.map_err(|error| failed(&error)),
        (.., Some(authorization)) => {
            let mut tunnel = Tunnel::new(at, there).with_auth(authorization.clone());
            tunnel.call(uri).await.map_err(|error| failed(&error))
        }
        _ => Tunnel::new(at, there).call(uri).await.map_err(|error| failed(&error)),
    };
    Ok(tunnelled?.into_inner())
}

/// The library would open the connection to the proxy by itself; it gets the one that there is.
fn opened(io: Box<dyn Io>) -> impl FnMut(Uri) -> Ready<io::Result<TokioIo<Box<dyn Io>>>> {
    let mut io = Some(TokioIo::new(io));
    move |_| ready(io.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
}

#[cfg(test)]
mod tests {
    use hyper_util::client::proxy::matcher::Matcher;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn through(proxy: &str, origin: &str) -> (Intercept, Origin) {
        let origin = Origin::parse(origin).unwrap();
        let uri = Origin { scheme: Scheme::Https, ..origin.clone() }.to_string().parse().unwrap();
        (Matcher::builder().all(proxy).build().intercept(&uri).unwrap(), origin)
    }

    #[test]
    fn only_http_without_tls_is_passed_on() {
        for (proxy, origin, passed) in [
            ("http://proxy.example:3128", "http://a.example:80", true),
            ("https://proxy.example:3128", "http://a.example:80", true),
            ("http://proxy.example:3128", "https://a.example:443", false),
            ("http://proxy.example:3128", "tls://a.example:443", false),
            ("socks5h://proxy.example:1080", "http://a.example:80", false),
        ] {
            let (intercept, origin) = through(proxy, origin);
            assert_eq!(passes_on(&intercept, &origin), passed, "{proxy} {origin}");
        }
    }

    #[test]
    fn a_proxy_without_a_port_has_curls() {
        for (proxy, expected) in [
            ("http://proxy.example:3128", ("proxy.example", 3128, false)),
            ("proxy.example", ("proxy.example", 1080, false)),
            ("https://proxy.example", ("proxy.example", 443, true)),
            ("socks5h://10.0.0.1", ("10.0.0.1", 1080, false)),
        ] {
            let (host, port, secure) = server(&through(proxy, "https://a.example").0).unwrap();
            assert_eq!((host.to_string().as_str(), port, secure), expected);
        }
    }

    /// What the proxy reads, when it answers so.
    async fn asked(proxy: &str, answer: &'static [u8]) -> (String, Result<(), Failure>) {
        let (intercept, origin) = through(proxy, "tls://a.example:8443");
        let (near, mut far) = duplex(1 << 10);
        let proxy = async {
            let mut read = vec![0; 1 << 10];
            let length = far.read(&mut read).await.unwrap();
            far.write_all(answer).await.unwrap();
            read.truncate(length);
            String::from_utf8_lossy(&read).into_owned()
        };
        let (asked, tunnelled) = tokio::join!(proxy, tunnel(&intercept, &origin, Box::new(near)));
        (asked, tunnelled.map(drop))
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_by_name_and_with_the_proxys_credentials() {
        let (asked, tunnelled) = asked("http://me:secret@proxy.example:3128", b"HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(asked.starts_with("CONNECT a.example:8443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{asked}");
        assert_eq!(tunnelled, Ok(()));
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_is_told_without_its_credentials() {
        let (_, refused) = asked("http://me:secret@proxy.example:3128", b"HTTP/1.1 403 No\r\n\r\n").await;
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("proxy.example:3128") && !text.contains("secret"), "{text}");
    }
}
