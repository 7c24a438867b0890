//! The way to the API server: where the kubeconfig comes from, who the host is there, and one HTTP/2 connection a purpose.
//!
//! kube's stock client speaks HTTP/1.1 only: a TLS connection a watch and a write in flight, which a thousand pods turn into
//! a thousand handshakes. Here each purpose has a client of its own, so that a burst of pod writes never queues a lease
//! renewal behind it (R30), and the watches of a client have connections apart (`spread`).

mod spread;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use spread::Spread;
use tower::ServiceExt as _;

use crate::metrics::requests::Requests;

/// How long a TCP connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is asked for a sign of life this often, so that a lost API server is noticed while watches are idle.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How long the sign of life may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig could not be used.
    #[error("cannot use the kubeconfig {}: {message}; give a valid one with --kubeconfig or KUBECONFIG", path.display())]
    Kubeconfig {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it; one line.
        message: String,
    },
    /// Nothing tells where the cluster is.
    #[error(
        "no kubeconfig: --kubeconfig and KUBECONFIG are not given, ~/.kube/config does not exist and this is no pod ({0})"
    )]
    NoConfig(Box<dyn std::error::Error + Send + Sync>),
    /// A certificate, key or proxy of the configuration cannot be used.
    #[error("cannot connect as the kubeconfig says: {0}")]
    Client(Box<kube::Error>),
    /// It answers, and does not take the credentials.
    #[error(
        "the API server at {url} does not accept the kubeconfig's credentials: {message}; check that they belong to it and have not expired"
    )]
    Credentials {
        /// Its address.
        url: String,
        /// What it said.
        message: String,
    },
    /// Nobody answers, or not as an API server does.
    #[error("cannot reach the API server at {url}: {message}; check the address in the kubeconfig and that it runs")]
    Unreachable {
        /// Its address.
        url: String,
        /// The innermost cause.
        message: String,
    },
}

/// How to reach the API server and as whom; clients are made of it.
#[derive(Clone)]
pub struct ApiServer {
    config: kube::Config,
    user_agent: HeaderValue,
    requests: Requests,
}

impl ApiServer {
    /// Finds the configuration: the given file, $KUBECONFIG, `~/.kube/config`, then the pod's own service account.
    pub async fn find(kubeconfig: Option<&Path>, node_name: &str) -> Result<Self, Error> {
        let config = match kubeconfig.map(Path::to_path_buf).or_else(default_kubeconfig) {
            Some(path) => from_file(&path).await?,
            None => kube::Config::incluster().map_err(|error| Error::NoConfig(Box::new(error)))?,
        };
        let user_agent = format!("vk-host/{} (node {node_name})", env!("CARGO_PKG_VERSION"));
        let user_agent = HeaderValue::from_str(&user_agent).unwrap_or(HeaderValue::from_static("vk-host"));
        Ok(Self { config, user_agent, requests: Requests::default() })
    }

    /// Its address, for messages.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// The certificates that the cluster is trusted by, DER encoded; what clients of the node are trusted by unless told otherwise.
    pub fn certificate_authorities(&self) -> Vec<Vec<u8>> {
        self.config.root_cert.clone().unwrap_or_default()
    }

    /// The requests of all clients.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Result<Client, Error> {
        let error = |error| Error::Client(Box::new(error));
        if self.config.proxy_url.is_some() {
            // A proxy's tunnel is kube's business. It costs HTTP/2, the signs of life of its connections and the user agent.
            let builder = ClientBuilder::try_from(self.config.clone()).map_err(error)?;
            return Ok(builder.with_layer(&self.requests).build());
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEP_ALIVE_INTERVAL));
        let tls = self.config.rustls_client_config().map_err(error)?;
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let builder = match &self.config.tls_server_name {
            Some(name) => {
                let name = rustls::pki_types::ServerName::try_from(name.clone())
                    .map_err(|e| Error::Client(Box::new(kube::Error::Service(Box::new(e)))))?;
                builder.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name))
            }
            None => builder,
        };
        let https = builder.enable_http1().enable_http2().wrap_connector(tcp);
        let http = Spread::new(move || {
            hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .http2_adaptive_window(true)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .http2_keep_alive_while_idle(true)
                .build::<_, Body>(https.clone())
        });
        let user_agent = self.user_agent.clone();
        let service = tower::ServiceBuilder::new()
            .layer(self.requests.clone())
            .layer(self.config.base_uri_layer())
            .option_layer(self.config.auth_layer().map_err(error)?)
            .layer(self.config.extra_headers_layer().map_err(error)?)
            .map_request(move |mut request: http::Request<Body>| {
                request.headers_mut().insert(http::header::USER_AGENT, user_agent.clone());
                request
            })
            .service(http.map_err(|error| Box::new(error) as tower::BoxError));
        Ok(Client::new(service, self.config.default_namespace.clone()))
    }

    /// Makes sure that an API server answers and takes this identity, within [`CONNECT_TIMEOUT`].
    pub async fn check(&self, client: &Client) -> Result<(), Error> {
        let unreachable = |message: String| Error::Unreachable { url: self.url(), message };
        match tokio::time::timeout(CONNECT_TIMEOUT, client.apiserver_version()).await {
            Ok(Ok(version)) => {
                tracing::info!(server = %self.url(), version = %version.git_version, "API server answers");
                Ok(())
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
                Err(Error::Credentials { url: self.url(), message: status.message })
            }
            Ok(Err(error)) => Err(unreachable(innermost(&error))),
            Err(_) => Err(unreachable(format!("no answer within {CONNECT_TIMEOUT:?}"))),
        }
    }
}

async fn from_file(path: &Path) -> Result<kube::Config, Error> {
    let failed = |error: kube::config::KubeconfigError| {
        // A YAML error goes on with a picture of the place.
        let message = error.to_string().lines().next().unwrap_or_default().to_string();
        Error::Kubeconfig { path: path.to_path_buf(), message }
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)
}

/// $KUBECONFIG (its first file, as the host writes none), else `~/.kube/config` where it exists.
fn default_kubeconfig() -> Option<PathBuf> {
    let from_env = std::env::var_os("KUBECONFIG")
        .and_then(|value| std::env::split_paths(&value).find(|p| !p.as_os_str().is_empty()));
    from_env.or_else(|| std::env::home_dir().map(|home| home.join(".kube/config")).filter(|path| path.exists()))
}

/// A request that is given up after a while: an API server that hangs is one that does not answer.
pub async fn timed<T>(limit: Duration, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(limit, request).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service(format!("no answer within {limit:?}").into())),
    }
}

/// The last error of the chain: `connection refused` rather than `client error (Connect)`.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
