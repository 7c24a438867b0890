//! The Engine API on a unix socket, by a client that is as thin as can be. Of an answer it reads what is asked for.

use std::path::Path;

use anyhow::{Result, ensure};
use http::Method;
use http::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// Docker's since 20.10, which the provider agrees upon with it.
const VERSION: &str = "v1.41";
/// As many as the host keeps to one endpoint.
const IDLE: usize = 32;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// The API on this socket.
    pub(super) fn on(socket: &Path) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self(reqwest::Client::builder().no_proxy().unix_socket(socket).pool_max_idle_per_host(IDLE).build()?))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.0.request(method, format!("http://engine/{VERSION}{path}"))
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let answer = answered(self.request(Method::GET, path).query(query)).await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Makes something, and returns what is told of it.
    pub(super) async fn make(&self, path: &str, query: &[(&str, &str)], body: &Value) -> Result<Value> {
        let request = self.request(Method::POST, path).query(query);
        let answer = answered(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Has something done.
    pub(super) async fn act(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<()> {
        answered(self.request(method, path).query(query)).await?.bytes().await?;
        Ok(())
    }

    /// Unpacks an archive in a container.
    pub(super) async fn unpack(&self, container: &str, path: &str, archive: Vec<u8>) -> Result<()> {
        let request = self.request(Method::PUT, &format!("/containers/{container}/archive")).query(&[("path", path)]);
        answered(request.header(CONTENT_TYPE, "application/x-tar").body(archive)).await?.bytes().await?;
        Ok(())
    }

    /// Events from a moment on, in nanoseconds since 1970.
    pub(super) async fn events(&self, since: u64) -> Result<Response> {
        let since = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
        answered(self.request(Method::GET, "/events").query(&[("since", since)])).await
    }
}

async fn answered(request: RequestBuilder) -> Result<Response> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    ensure!(status.is_success(), "{url}: {status} {}", answer.text().await.unwrap_or_default());
    Ok(answer)
}
