//! The connections of the kubelet API, each from handshake to end.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Peer;
use super::reviews;
use super::strangers::{Place, Strangers};
use super::tls::Tls;

/// Connections at once of which a request was let through. Far more than an API server opens, far fewer than there are file
/// descriptors.
const CONNECTIONS: usize = 512;
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent client is asked for a sign of life, so that one that vanished does not keep a session for ever: by HTTP/2 where
/// it speaks that, and by TCP.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A handshake that takes longer is given up, so that silent clients hold nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may stay before a request of it is let through: time for one, and for up to three reviews of it: of its token, of
/// the finer right and of the coarser one.
const STRANGER_TIMEOUT: Duration = HEAD_TIMEOUT.saturating_add(reviews::TIMEOUT.saturating_mul(3));

/// What all connections share.
pub(super) struct Server {
    tls: Arc<Tls>,
    router: Router,
    strangers: Arc<Strangers>,
    admitted: Semaphore,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    /// One whose connections begin to end at `shutdown`.
    pub(super) fn new(tls: Arc<Tls>, router: Router, shutdown: CancellationToken) -> Self {
        let admitted = Semaphore::new(CONNECTIONS);
        Self { tls, router, strangers: Arc::default(), admitted, shutdown, cut: CancellationToken::new() }
    }

    /// Ends all connections as they are.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream) {
        tokio::select! {
            () = self.talk(stream) => {}
            () = self.cut.cancelled() => {}
        }
    }

    /// What the certificates are is decided at its start: it goes on when they change.
    async fn talk(&self, stream: TcpStream) {
        let place = self.strangers.enter();
        // A line of a log that is followed shall not wait for the next one.
        let _ = stream.set_nodelay(true);
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
        if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keep_alive) {
            tracing::debug!(%error, "a connection has no keep-alive");
        }
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.tls.acceptor().accept(stream));
        let stream = tokio::select! {
            handshake = handshake => match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
                Err(_) => return tracing::debug!("TLS handshake took too long"),
            },
            () = place.lost() => return tracing::debug!("a TLS handshake gave way to newer ones"),
            () = self.shutdown.cancelled() => return,
        };
        let peer = Peer::new(stream.get_ref().1.peer_certificates());
        let router = self.router.clone().layer(Extension(peer.clone()));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = &mut connection => result,
            reason = self.unwanted(&peer, place) => return tracing::debug!(reason, "a connection was closed"),
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection of the kubelet API ended badly");
        }
    }

    /// Waits until the peer has to go, and says why; for ever if it may stay.
    async fn unwanted(&self, peer: &Peer, place: Place) -> &'static str {
        tokio::select! {
            () = peer.admitted() => {}
            () = place.lost() => return "nobody vouched for it before newer ones came",
            () = tokio::time::sleep(STRANGER_TIMEOUT) => return "nobody vouched for it in time",
        }
        drop(place);
        match self.admitted.try_acquire() {
            Ok(_place) => std::future::pending().await,
            Err(_) => "there are too many already",
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use rustls::RootCertStore;
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;
    use crate::kubelet::tls;

    /// A server that lets in whoever asks for something, and never answers.
    struct Scene {
        server: Arc<Server>,
        shutdown: CancellationToken,
        address: std::net::SocketAddr,
        listener: TcpListener,
        own: CertificateDer<'static>,
    }

    impl Scene {
        async fn new() -> Self {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let own = tls::self_signed(["localhost".to_string()]).unwrap();
            let certificate = own.cert[0].clone();
            let clients = tls::clients("the test", [certificate.clone()]).unwrap();
            let admit = async |Extension(peer): Extension<Peer>, request: Request, next: Next| {
                peer.admit();
                next.run(request).await
            };
            let router = Router::new().route("/", get(std::future::pending::<()>)).layer(from_fn(admit));
            let shutdown = CancellationToken::new();
            let server = Server::new(Arc::new(Tls::new(own, clients)), router, shutdown.clone());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            Self { server: Arc::new(server), shutdown, address, listener, own: certificate }
        }

        /// A connection without a handshake, and the task that serves it.
        async fn dial(&self) -> (TcpStream, tokio::task::JoinHandle<()>) {
            let client = TcpStream::connect(self.address).await.unwrap();
            let (stream, _) = self.listener.accept().await.unwrap();
            (client, tokio::spawn(self.server.clone().serve(stream)))
        }

        async fn somebody_is_admitted(&self) {
            while self.server.admitted.available_permits() == CONNECTIONS {
                tokio::task::yield_now().await;
            }
        }

        async fn connect(&self) -> (TlsStream<TcpStream>, tokio::task::JoinHandle<()>) {
            let (client, task) = self.dial().await;
            let mut roots = RootCertStore::empty();
            roots.add(self.own.clone()).unwrap();
            let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            (TlsConnector::from(Arc::new(config)).connect(name, client).await.unwrap(), task)
        }
    }

    async fn ask(client: &mut TlsStream<TcpStream>) {
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    }

    #[tokio::test]
    async fn who_is_not_let_in_has_to_go_and_who_is_stays() {
        let scene = Scene::new().await;
        let (_silent, silent) = scene.connect().await;
        let (mut known, task) = scene.connect().await;
        ask(&mut known).await;
        scene.somebody_is_admitted().await;
        tokio::time::pause();
        silent.await.unwrap();
        tokio::time::sleep(STRANGER_TIMEOUT).await;
        assert!(!task.is_finished());
        drop(known);
        task.await.unwrap();
        assert_eq!(scene.server.admitted.available_permits(), CONNECTIONS);
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_handshakes_and_sessions_are_cut() {
        let scene = Scene::new().await;
        let (_silent, handshake) = scene.dial().await;
        let (mut client, session) = scene.connect().await;
        ask(&mut client).await;
        scene.somebody_is_admitted().await;
        scene.shutdown.cancel();
        handshake.await.unwrap();
        tokio::task::yield_now().await;
        assert!(!session.is_finished(), "it may end by itself");
        scene.server.cut();
        session.await.unwrap();
    }
}
