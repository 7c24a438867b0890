//! The kubelet API: HTTPS on the node's port, for the API server.
//!
//! Every request is authenticated ([`authentication`]) and authorized by the API server ([`authorization`]) before it is looked at
//! ([`access`]). Certificates come and go while connections stay ([`serving`]); connections of whom nobody knows are few and short
//! ([`strangers`]).

pub mod access;
pub mod authentication;
pub mod authorization;
mod configz;
mod connection;
mod csr;
mod healthz;
mod logs;
mod metrics;
mod pods;
mod refusal;
mod reviews;
mod router;
pub mod serving;
mod stats;
mod strangers;
pub mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use kube::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::metrics::Metrics;
use crate::node::lease::Heartbeat;
use crate::pods::events::Events;
use crate::pods::index::Index;
use crate::pods::resolve;
use crate::provider::Provider;
use connection::Server;
use csr::Requester;
use serving::{Serving, Sources, Watched};
use tls::Tls;

/// Why there is no kubelet API.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or may not be taken.
    #[error("cannot listen on {address}: {source}; give another --port or --address")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// What the kubelet API needs.
#[derive(Debug)]
pub struct Config {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// The node's name.
    pub node: String,
    /// The address that the API server dials, as far as it is known before the provider is asked.
    pub internal_ip: IpAddr,
    /// What is known of the node later on.
    pub told: Arc<ArcSwap<resolve::Node>>,
    /// Whom it lets in.
    pub access: access::Config,
    /// Where its own certificate comes from.
    pub serving: Serving,
    /// Where a certificate of the cluster is kept.
    pub state_dir: PathBuf,
    /// PEM file of those whose clients are known; none: the cluster's own authorities.
    pub client_ca: Option<PathBuf>,
    /// DER certificates of the cluster's own authorities.
    pub cluster_ca: Vec<Vec<u8>>,
    /// Where events go.
    pub events: Events,
}

/// The kubelet API, listening and not answering yet.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
    tls: Arc<Tls>,
    files: Vec<Watched>,
}

/// What is told of the host itself.
pub struct About {
    /// When it started.
    pub started: Timestamp,
    /// What it counts.
    pub metrics: Metrics,
    /// Whether its node is kept alive.
    pub heartbeat: Heartbeat,
    /// The configuration that is in force, as `/configz` shows it.
    pub configuration: serde_json::Value,
}

/// What handlers share.
#[derive(Clone)]
struct Api {
    node: Arc<str>,
    provider: Arc<dyn Provider>,
    pods: Arc<Index>,
    about: Arc<About>,
    meter: Arc<stats::Meter>,
    shutdown: CancellationToken,
}

impl Config {
    /// Reads the certificates and takes the port.
    pub async fn bind(self) -> Result<Listening, Error> {
        let sources = Sources {
            serving: &self.serving,
            state_dir: &self.state_dir,
            names: (&self.node, self.internal_ip),
            client_ca: self.client_ca.as_deref(),
            cluster_ca: &self.cluster_ca,
        };
        let (tls, files) = sources.read()?;
        let failed = |source| Error::Bind { address: self.listen, source };
        let listener = TcpListener::bind(self.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Listening { listener, address, config: self, tls: Arc::new(tls), files })
    }
}

impl Config {
    /// Keeps the certificates up to date, for as long as what is returned lives.
    fn keep_certificates(
        &self,
        tls: &Arc<Tls>,
        files: Vec<Watched>,
        client: &Client,
        shutdown: &CancellationToken,
    ) -> [Option<AbortOnDropHandle<()>>; 2] {
        let watch = (!files.is_empty())
            .then(|| tokio::spawn(serving::watch(files, tls.clone(), self.events.clone(), shutdown.clone())));
        let request = matches!(self.serving, Serving::Requested).then(|| {
            let requester = Requester {
                client: client.clone(),
                node: self.node.clone(),
                state_dir: self.state_dir.clone(),
                told: self.told.clone(),
                events: self.events.clone(),
                tls: tls.clone(),
            };
            tokio::spawn(requester.run(shutdown.clone()))
        });
        [watch, request].map(|task| task.map(AbortOnDropHandle::new))
    }
}

impl Listening {
    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers until shutdown, then lets what runs end, for a moment.
    pub async fn run(
        self,
        provider: Arc<dyn Provider>,
        pods: Arc<Index>,
        about: About,
        client: Client,
        shutdown: CancellationToken,
    ) {
        let Self { listener, address, config, tls, files } = self;
        let _certificates = config.keep_certificates(&tls, files, &client, &shutdown);
        let access = Arc::new(config.access.build(tls.clone(), client, &config.node));
        let api = Api {
            node: config.node.into(),
            provider,
            pods,
            about: Arc::new(about),
            meter: Arc::default(),
            shutdown: shutdown.clone(),
        };
        let router = router::new().layer(axum::middleware::from_fn_with_state(access, access::admit)).with_state(api);
        tracing::info!(%address, "kubelet API listens");
        let connections = TaskTracker::new();
        let server = Arc::new(Server::new(tls, router, shutdown.clone()));
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(server.clone().serve(stream))),
                    Err(error) => {
                        // Out of file descriptors, most likely: they come back.
                        tracing::warn!(%error, "connection not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                () = shutdown.cancelled() => break,
            }
        }
        drop(listener);
        connections.close();
        if tokio::time::timeout(logs::DRAIN, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections of the kubelet API are cut");
            server.cut();
            connections.wait().await;
        }
    }
}
