//! An engine as somebody else sees it: its own API, spoken without any code of the provider's.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::Address;

/// Labels that the provider puts on all that it makes.
const NODE: &str = "io.virtual-kubelet.node";
const CLUSTER: &str = "io.virtual-kubelet.cluster";
const KIND: &str = "io.virtual-kubelet.kind";
const ATTEMPT: &str = "io.virtual-kubelet.attempt";
const UID: &str = "io.kubernetes.pod.uid";
const NAME: &str = "io.kubernetes.container.name";
const IMAGE: &str = "io.virtual-kubelet.image";

/// An engine's API.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    address: Address,
}

/// What an engine says of itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct About {
    /// The engine's version.
    pub version: String,
    /// Its machine's architecture, in Go's words.
    pub arch: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
}

impl About {
    /// It is Podman, whose API is compatible with Docker's.
    pub fn is_podman(&self) -> bool {
        self.components.iter().any(|component| component.name.starts_with("Podman"))
    }
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
    names: Vec<String>,
}

impl Container {
    /// Its name at the engine.
    pub fn name(&self) -> &str {
        self.names.first().map_or(&self.id, |name| name.trim_start_matches('/'))
    }

    /// UID of its pod.
    pub fn pod(&self) -> &str {
        self.label(UID)
    }

    /// Its image as the pod's spec names it; none: it is a sandbox.
    pub fn image(&self) -> Option<&str> {
        self.labels.get(IMAGE).map(String::as_str)
    }

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
    /// The API on a unix socket, in the newest version that the engine has: so it takes a path without one. It need not run yet.
    ///
    /// # Errors
    ///
    /// No client can be made.
    pub fn on(socket: &Path) -> Result<Self> {
        Self::at(Address::Socket(socket.to_owned()))
    }

    /// The API of an engine that answers, and what it is.
    ///
    /// # Errors
    ///
    /// None does.
    pub async fn reach(address: Address) -> Result<(Self, About)> {
        let api = Self::at(address)?;
        let about = serde_json::from_value(api.get("/version").await?).context("what answers is no engine")?;
        Ok((api, about))
    }

    fn at(address: Address) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Each test has a runtime of its own, and a connection does not outlive its runtime.
        let mut client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        if let Address::Socket(path) = &address {
            client = client.unix_socket(path.as_path());
        }
        Ok(Self { client: client.build()?, address })
    }

    /// Where the engine listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request and returns the answer's body. A path begins with `/` and has no version.
    ///
    /// # Errors
    ///
    /// The engine does not answer, or refuses.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<String> {
        let what = self.what(&method, path);
        let (status, text) = self.ask(method, path, headers, body).await?;
        // Podman tells what went wrong after it has said that all is well.
        ensure!(status.is_success() && !text.contains("\"error\""), "{what}: {status} {text}");
        Ok(text)
    }

    /// Removes something. Tells whether it is gone; if not, somebody else uses it.
    ///
    /// # Errors
    ///
    /// The engine does not answer, or refuses for another reason.
    pub async fn remove(&self, path: &str) -> Result<bool> {
        let (status, text) = self.ask(Method::DELETE, path, &[], Vec::new()).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            status if status.is_success() => Ok(true),
            status => bail!("{}: {status} {text}", self.what(&Method::DELETE, path)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(StatusCode, String)> {
        let what = self.what(&method, path);
        let url = format!("{}{path}", self.address.base());
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.with_context(|| what.clone())?;
        Ok((answer.status(), answer.text().await.context(what)?))
    }

    fn what(&self, method: &Method, path: &str) -> String {
        format!("{method} {path} at {}", self.address)
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
        self.labelled_containers(&[(NODE, node)]).await
    }

    /// The same, of a node in one cluster alone.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn containers_in(&self, cluster: &str, node: &str) -> Result<Vec<Container>> {
        self.labelled_containers(&[(NODE, node), (CLUSTER, cluster)]).await
    }

    /// Names of a node's volumes.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn volumes(&self, node: &str) -> Result<Vec<String>> {
        self.labelled_volumes(&[(NODE, node)]).await
    }

    /// The same, of a node in one cluster alone.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn volumes_in(&self, cluster: &str, node: &str) -> Result<Vec<String>> {
        self.labelled_volumes(&[(NODE, node), (CLUSTER, cluster)]).await
    }

    /// Names of all images, those without one left out.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub async fn images(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Image {
            repo_tags: Option<Vec<String>>,
        }
        let list: Vec<Image> = serde_json::from_value(self.get("/images/json").await?)?;
        Ok(list.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect())
    }

    async fn labelled_containers(&self, labels: &[(&str, &str)]) -> Result<Vec<Container>> {
        let list = self.get(&format!("/containers/json?all=1&filters={}", filter(labels)?)).await?;
        Ok(serde_json::from_value(list)?)
    }

    async fn labelled_volumes(&self, labels: &[(&str, &str)]) -> Result<Vec<String>> {
        let list = self.get(&format!("/volumes?filters={}", filter(labels)?)).await?;
        let volumes = list.get("Volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(volumes.iter().filter_map(|volume| Some(volume.get("Name")?.as_str()?.to_owned())).collect())
    }
}

/// The objects that have all of these labels.
fn filter(labels: &[(&str, &str)]) -> Result<String> {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let filter = serde_json::json!({"label": labels}).to_string();
    let query = reqwest::Url::parse_with_params("http://engine", [("f", filter)])?;
    Ok(query.query().and_then(|query| query.strip_prefix("f=")).context("no query")?.to_owned())
}
