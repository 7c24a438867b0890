//! What the host has around it: name resolution and proxies.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::origin::{Origin, Scheme};

/// Turns names into addresses.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a host's name, in the order of preference.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's own resolver: hosts file, DNS, or whatever else it is set up with.
#[derive(Debug)]
struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub(super) resolver: Arc<dyn Resolve>,
    proxies: Arc<Matcher>,
}

impl Surroundings {
    /// Those of this process: the system's resolver, and the proxies that the usual variables name (`HTTPS_PROXY`, `HTTP_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY`, as curl reads them).
    pub fn of_process() -> Self {
        Self::new(Arc::new(System), Matcher::from_env())
    }

    /// Others, such as a test's own.
    pub fn new(resolver: Arc<dyn Resolve>, proxies: Matcher) -> Self {
        Self { resolver, proxies: Arc::new(proxies) }
    }

    /// The proxy on the way to an origin. Bytes without TLS have none.
    pub(super) fn proxy(&self, origin: &Origin) -> Option<Intercept> {
        let scheme = match origin.scheme {
            Scheme::Http => Scheme::Http,
            Scheme::Https | Scheme::Tls => Scheme::Https,
            Scheme::Tcp => return None,
        };
        let uri = Origin { scheme, ..origin.clone() }.to_string().parse().ok()?;
        self.proxies.intercept(&uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scheme_has_the_proxy_of_its_variable() {
        let proxies = Matcher::builder()
            .http("http://plain.example:3128")
            .https("https://secure.example:3129")
            .no("corp.example,10.0.0.0/8")
            .build();
        let surroundings = Surroundings::new(Arc::new(System), proxies);
        for (origin, proxy) in [
            ("http://a.example:80", Some("plain.example")),
            ("https://a.example:443", Some("secure.example")),
            ("tls://a.example:443", Some("secure.example")),
            ("tcp://a.example:443", None),
            ("https://a.corp.example:443", None),
            ("https://10.0.0.7:443", None),
        ] {
            let found = surroundings.proxy(&Origin::parse(origin).unwrap());
            assert_eq!(found.as_ref().and_then(|found| found.uri().host()), proxy, "{origin}");
        }
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_this_machine() {
        let addresses = System.resolve("localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }
}
