//! One connection of the kubelet API, from handshake to end.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::access::Peer;
use super::reviews;
use super::tls::Tls;

/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent client is asked for a sign of life, so that one that vanished does not keep a session for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A handshake that takes longer is given up, so that silent clients hold nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client without certificate may stay before a request of it is let through: time for one, and for its two reviews.
const STRANGER_TIMEOUT: Duration = HEAD_TIMEOUT.saturating_add(reviews::TIMEOUT).saturating_add(reviews::TIMEOUT);

/// Serves it. What the certificates are is decided at its start: it goes on when they change.
pub(super) async fn serve(tls: Arc<Tls>, stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // A line of a log that is followed shall not wait for the next one.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let peer = Peer::new(stream.get_ref().1.peer_certificates());
    let router = router.layer(Extension(peer.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = overstayed(&peer) => return tracing::debug!("a client whom nobody knows stayed too long"),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection of the kubelet API ended badly");
    }
}

/// Waits until a stranger has stayed too long; for ever if it is none.
async fn overstayed(peer: &Peer) {
    if peer.is_named() || tokio::time::timeout(STRANGER_TIMEOUT, peer.admitted()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}
