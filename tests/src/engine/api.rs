//! An engine as somebody else sees it: its own API, spoken without any code of the provider's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

/// Old enough for both engines, and new enough for what is asked here.
const VERSION: &str = "v1.41";

/// Labels that the provider puts on all that it makes.
const NODE: &str = "io.virtual-kubelet.node";
const KIND: &str = "io.virtual-kubelet.kind";
const ATTEMPT: &str = "io.virtual-kubelet.attempt";
const UID: &str = "io.kubernetes.pod.uid";
const NAME: &str = "io.kubernetes.container.name";

/// An engine's API.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    socket: PathBuf,
}

/// A container in the engine's list.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// The engine's.
    pub id: String,
    /// `created`, `running`, `exited` …
    pub state: String,
    /// What the provider wrote on it.
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Container {
    /// It is an attempt at a container of a pod, and no sandbox.
    pub fn is_attempt(&self) -> bool {
        self.label(KIND) == "container"
    }

    /// Of which pod, with which name, the how manieth.
    pub fn identity(&self) -> (String, String, String) {
        let label = |name| self.label(name).to_owned();
        (label(UID), if self.is_attempt() { label(NAME) } else { "(sandbox)".to_owned() }, label(ATTEMPT))
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Api {
    /// The API on a unix socket.
    ///
    /// # Errors
    ///
    /// No client can be made.
    pub fn on(socket: &Path) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Each test has a runtime of its own, and a connection does not outlive its runtime.
        let client = reqwest::Client::builder().unix_socket(socket).pool_max_idle_per_host(0).build()?;
        Ok(Self { client, socket: socket.to_owned() })
    }

    /// Sends a request and returns the answer's body. A path begins with `/` and has no version.
    ///
    /// # Errors
    ///
    /// The engine does not answer, or refuses.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<String> {
        let what = format!("{method} {path} at {}", self.socket.display());
        let mut request = self.client.request(method, format!("http://engine/{VERSION}{path}")).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.with_context(|| what.clone())?;
        let (status, text) = (answer.status(), answer.text().await.with_context(|| what.clone())?);
        // Podman tells what went wrong after it has said that all is well.
        ensure!(status.is_success() && !text.contains("\"error\""), "{what}: {status} {text}");
        Ok(text)
    }

    /// Reads something.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.send(Method::GET, path, &[], Vec::new()).await?)?)
    }

    /// All containers of a node, whatever their state.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn containers(&self, node: &str) -> Result<Vec<Container>> {
        let list = self.get(&format!("/containers/json?all=1&filters={}", filter(node)?)).await?;
        Ok(serde_json::from_value(list)?)
    }

    /// Names of a node's volumes.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn volumes(&self, node: &str) -> Result<Vec<String>> {
        let list = self.get(&format!("/volumes?filters={}", filter(node)?)).await?;
        let volumes = list.get("Volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(volumes.iter().filter_map(|volume| Some(volume.get("Name")?.as_str()?.to_owned())).collect())
    }
}

/// The objects of one node.
fn filter(node: &str) -> Result<String> {
    let filter = serde_json::json!({"label": [format!("{NODE}={node}")]}).to_string();
    let query = reqwest::Url::parse_with_params("http://engine", [("f", filter)])?;
    Ok(query.query().and_then(|query| query.strip_prefix("f=")).context("no query")?.to_owned())
}
