//! Containers: their lives, and what is known of them.

mod spec;
mod state;

use serde::Deserialize;

use crate::client::{Engine, of};
use crate::failure::{Result, absent};

pub use spec::{Bind, ContainerSpec, Empty, HealthCheck, HostConfig, LogConfig, PortBinding, RestartPolicy};
pub use state::{Config, Details, Joined, Network, NetworkSettings, State, Summary};

/// A container that was made.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What of it the engine's machine cannot do and was left out; none: nothing.
    pub warnings: Option<Vec<String>>,
}

/// The value of `filters` that asks for all of these labels.
pub(crate) fn by_labels(labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    serde_json::json!({ "label": labels }).to_string()
}

impl Engine {
    /// Makes a container, which does not run yet.
    ///
    /// # Errors
    /// The name is taken (conflict), the image is missing (not found), there was no answer, or the engine said no.
    pub fn create_container(&self, name: &str, spec: &ContainerSpec) -> Result<Created> {
        self.read(&self.post("/containers/create").query("name", name).json(spec))
    }

    /// Starts a container. One that runs already is success.
    ///
    /// # Errors
    /// It cannot be started: the engine says why. Or there was no answer.
    pub fn start_container(&self, id: &str) -> Result<()> {
        self.send(&self.post(&of("containers", id, "/start"))).map(drop)
    }

    /// Sends a signal, such as `SIGTERM`, and does not wait for what comes of it.
    ///
    /// # Errors
    /// It does not run (conflict), there was no answer, or the engine said no.
    pub fn kill_container(&self, id: &str, signal: &str) -> Result<()> {
        self.send(&self.post(&of("containers", id, "/kill")).query("signal", signal)).map(drop)
    }

    /// Removes a container and the volumes without a name that came with its image. `force`: also one that runs. false:
    /// it was not there.
    ///
    /// # Errors
    /// It runs (conflict), there was no answer, or the engine said no.
    pub fn remove_container(&self, id: &str, force: bool) -> Result<bool> {
        let force = if force { "1" } else { "0" };
        let request = self.delete(&of("containers", id, "")).query("v", "1").query("force", force);
        Ok(absent(self.send(&request))?.is_some())
    }

    /// All about one container, by id or name; none: it is not there.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn container(&self, id: &str) -> Result<Option<Details>> {
        absent(self.read(&self.get(&of("containers", id, "/json"))))
    }

    /// Containers that have all of these labels, whether they run or not.
    ///
    /// # Errors
    /// There was no answer, or the engine said no.
    pub fn containers(&self, labels: &[(&str, &str)]) -> Result<Vec<Summary>> {
        self.read(&self.get("/containers/json").query("all", "1").query("filters", by_labels(labels)))
    }

    /// Tells the size of a container's terminal, in characters.
    ///
    /// # Errors
    /// It does not run, there was no answer, or the engine said no.
    pub fn resize_container(&self, id: &str, columns: u16, rows: u16) -> Result<()> {
        let request = self.post(&of("containers", id, "/resize"));
        self.send(&request.query("h", rows.to_string()).query("w", columns.to_string())).map(drop)
    }
}
