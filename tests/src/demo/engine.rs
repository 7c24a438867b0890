//! The container engine: what the demo makes there, what it has of the demo's pods, and that nothing of it stays.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use serde::{Deserialize, Serialize};

use super::image;
use super::scene::NODE;
use crate::cluster::within;
use crate::engine::{self, About, Address, Api, Container};

/// How long an engine may take to remove some pods' containers.
const REMOVAL_LIMIT: Duration = Duration::from_secs(60);

/// An engine that is to be used.
pub struct Planned {
    /// The web server, built for the engine's machine.
    program: PathBuf,
    /// None: one is started.
    users: Option<(Api, About)>,
}

/// An engine that is used.
pub struct Engine {
    api: Api,
    about: About,
    /// The demo's own, which ends with this.
    own: Option<engine::Engine>,
    traces: Traces,
}

/// What the demo leaves at an engine as long as it is not removed, and how it is told from what others have there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Traces {
    address: Address,
    /// The UID of the cluster's Service `kubernetes`, by which the provider calls the cluster.
    cluster: String,
}

impl Planned {
    /// Builds what runs in containers, for the user's engine or one that is to be started.
    pub fn new(folder: &Path, users: Option<(Api, About)>) -> Result<Self> {
        let program = image::build(folder, users.as_ref().map(|(_, about)| about.arch.as_str()))?;
        Ok(Self { program, users })
    }

    /// It is there already, and will be when the demo has ended.
    pub fn is_users(&self) -> bool {
        self.users.is_some()
    }

    /// Starts the engine, if it does not run, and looks at what is there. Nothing is made yet.
    pub async fn begin(&self, client: &Client) -> Result<Engine> {
        let (own, api, about) = match &self.users {
            Some((api, about)) => (None, api.clone(), about.clone()),
            None => {
                let own = engine::Engine::bare("engine").await?;
                let (api, about) = Api::reach(Address::Socket(own.socket())).await?;
                (Some(own), api, about)
            }
        };
        let services: kube::Api<Service> = kube::Api::namespaced(client.clone(), "default");
        let cluster = services.get("kubernetes").await?.metadata.uid.context("Service kubernetes has no UID")?;
        let traces = Traces { address: api.address().clone(), cluster };
        Ok(Engine { api, about, own, traces })
    }

    /// Makes the images.
    pub fn make_images(&self, engine: &Engine) -> impl Future<Output = Result<()>> + Send + use<> {
        let (api, program) = (engine.api.clone(), self.program.clone());
        async move {
            // Another demo, which was killed, may have left its own.
            for name in image::names(&api).await? {
                let removed = api.remove(&format!("/images/{name}")).await?;
                ensure!(removed, "another demo uses {name} at {}", api.address());
            }
            image::make(&api, &program).await.context("make the images of the demo")
        }
    }
}

impl Engine {
    /// What it is.
    pub fn title(&self) -> String {
        format!("{} {}", if self.about.is_podman() { "Podman" } else { "Docker" }, self.about.version)
    }

    /// Where it listens, as `--endpoint` takes it.
    pub fn address(&self) -> &Address {
        self.api.address()
    }

    /// It is the user's, and stays when the demo has ended.
    pub fn is_users(&self) -> bool {
        self.own.is_none()
    }

    /// What is to be removed from it.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// All containers of the demo's pods, each pod's together.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let mut containers = self.api.containers_in(&self.traces.cluster, NODE).await?;
        containers.sort_by_key(Container::identity);
        Ok(containers)
    }

    /// Nothing of the demo's pods is there.
    pub async fn has_no_pods(&self) -> Result<bool> {
        let volumes = self.api.volumes_in(&self.traces.cluster, NODE).await?;
        Ok(volumes.is_empty() && self.containers().await?.is_empty())
    }

    /// What the provider is told: sandboxes are of the demo's image too, so that there is no other to remove.
    pub fn provider_config(&self) -> String {
        format!("pause-image = \"{}\"\n", image::sandbox())
    }

    /// The arguments of the host's command that grant it.
    pub fn flags(&self) -> [String; 2] {
        ["--endpoint".to_owned(), format!("engine={}", self.address())]
    }

    /// Kills a container, and returns how the engine was asked to.
    pub async fn kill(&self, container: &Container) -> Result<String> {
        let path = format!("/containers/{}/kill", container.name());
        self.api.send(Method::POST, &path, &[], Vec::new()).await?;
        Ok(format!("POST {path}"))
    }

    /// The command of the user's that lists its containers.
    pub fn list_command(&self) -> String {
        let client = if self.about.is_podman() { "podman" } else { "docker" };
        format!("{client} ps -a --filter label=io.virtual-kubelet.node={NODE}")
    }
}

impl Traces {
    /// Where they are.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Removes them, and looks until none is there.
    pub async fn remove(&self) -> Result<()> {
        let (api, _) = Api::reach(self.address.clone()).await?;
        within(REMOVAL_LIMIT, &format!("nothing of the demo is left at {}", self.address), || async {
            let mut containers = api.containers_in(&self.cluster, NODE).await?;
            // Podman removes no container that others have joined.
            containers.sort_by_key(|container| !container.is_attempt());
            for container in &containers {
                api.remove(&format!("/containers/{}?force=1&v=1", container.id)).await?;
            }
            let volumes = api.volumes_in(&self.cluster, NODE).await?;
            for volume in &volumes {
                api.remove(&format!("/volumes/{volume}")).await?;
            }
            let images = image::names(&api).await?;
            for image in &images {
                api.remove(&format!("/images/{image}")).await?;
            }
            Ok((containers.is_empty() && volumes.is_empty() && images.is_empty()).then_some(()))
        })
        .await
    }
}
