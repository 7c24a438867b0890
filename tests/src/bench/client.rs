//! Clients that share one HTTP/2 connection, as `vk-host`'s do: kube's own opens one for each request in flight, and a
//! benchmark of handshakes is not what is wanted.

use std::path::Path;

use anyhow::{Context as _, Result};
use http::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::ServiceExt as _;

/// Room for all that a watch has to tell in a burst, so that flow control is not what is measured.
const WINDOW: u32 = 16 << 20;

/// A client as the kubeconfig says, which calls itself so.
pub async fn connect(kubeconfig: &Path, user_agent: &'static str) -> Result<Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let https = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_only()
        .enable_http2()
        .wrap_connector(tcp);
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .http2_initial_stream_window_size(WINDOW)
        .http2_initial_connection_window_size(WINDOW)
        .build::<_, Body>(https);
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_request(move |mut request: http::Request<Body>| {
            request.headers_mut().insert(http::header::USER_AGENT, HeaderValue::from_static(user_agent));
            request
        })
        .service(http.map_err(|error| Box::new(error) as tower::BoxError));
    Ok(Client::new(service, config.default_namespace))
}
