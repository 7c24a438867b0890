//! What the host has around it: name resolution and proxies.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::sync::Semaphore;

use super::address::{Reach, reach};
use super::origin::{Host, Origin, Scheme};

/// Turns names into addresses.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of a host's name, in the order of preference.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Look-ups of names at once. One whose server does not answer has a thread for half a minute, whether somebody waits for it or not,
/// and the host reads files with the same threads.
const LOOKUPS: usize = 32;

/// The system's own resolver: hosts file, DNS, or whatever else it is set up with.
#[derive(Debug)]
struct System {
    lookups: Arc<Semaphore>,
}

impl System {
    fn new() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }

    /// Does what blocks, when it is its turn.
    async fn block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let turn = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            // Not before: whoever waited may have gone long ago.
            drop(turn);
            done
        });
        working.await.map_err(io::Error::other)
    }
}

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let name = name.to_owned();
        let found = self.block(move || (name, 0).to_socket_addrs()).await??;
        Ok(found.map(|address| address.ip()).collect())
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
        Self::new(Arc::new(System::new()), Matcher::from_env())
    }

    /// Others, such as a test's own.
    pub fn new(resolver: Arc<dyn Resolve>, proxies: Matcher) -> Self {
        Self { resolver, proxies: Arc::new(proxies) }
    }

    /// The proxy on the way to an origin. Bytes without TLS have none, and neither have addresses that each machine has for itself: a
    /// proxy would ask its own machine for this one's credentials, and hear the answer.
    pub(super) fn proxy(&self, origin: &Origin) -> Option<Intercept> {
        if is_of_each_machine(&origin.host) {
            return None;
        }
        let scheme = match origin.scheme {
            Scheme::Http => Scheme::Http,
            Scheme::Https | Scheme::Tls => Scheme::Https,
            Scheme::Tcp => return None,
        };
        let uri = Origin { scheme, ..origin.clone() }.to_string().parse().ok()?;
        self.proxies.intercept(&uri)
    }
}

/// Whether it is an address that means another server on another machine.
fn is_of_each_machine(host: &Host) -> bool {
    let Host::Ip(ip) = host else { return false };
    matches!(reach(*ip), Reach::Loopback | Reach::LinkLocal | Reach::Metadata)
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
        let surroundings = Surroundings::new(Arc::new(System::new()), proxies);
        for (origin, proxy) in [
            ("http://a.example:80", Some("plain.example")),
            ("https://a.example:443", Some("secure.example")),
            ("tls://a.example:443", Some("secure.example")),
            ("tcp://a.example:443", None),
            ("https://a.corp.example:443", None),
            ("https://10.0.0.7:443", None),
            ("https://192.168.0.7:443", Some("secure.example")),
            ("http://127.0.0.1:80", None),
            ("http://169.254.169.254:80", None),
            ("http://[fe80::1]:80", None),
            ("http://168.63.129.16:80", None),
        ] {
            let found = surroundings.proxy(&Origin::parse(origin).unwrap());
            assert_eq!(found.as_ref().and_then(|found| found.uri().host()), proxy, "{origin}");
        }
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_this_machine() {
        let addresses = System::new().resolve("localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }

    /// Names whose servers do not answer, which nobody waits for any more.
    #[tokio::test]
    async fn look_ups_that_were_given_up_count_until_their_threads_are_free() {
        let system = System::new();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let ends = Arc::new(std::sync::Mutex::new(ends));
        for _ in 0..LOOKUPS {
            let ends = ends.clone();
            let hangs = system.block(move || ends.lock().unwrap().recv());
            assert!(futures::poll!(std::pin::pin!(hangs)).is_pending());
        }
        let mut next = std::pin::pin!(system.block(|| ()));
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(system.lookups.available_permits(), 0);
        end.send(()).unwrap();
        next.await.unwrap();
        drop(end);
    }
}
