//! A test's corner with a node whose pods are container groups, a fake of its own, and what that has of them.

use std::fs;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use vk_fake_aci::config::RunsOn;
use vk_fake_aci::{Config, Fake, LABEL};
use vk_tests::cluster::{Corner, eventually, unique};
use vk_tests::control_plane::ControlPlane;
use vk_tests::engine::{self, Engine, tagged};
use vk_tests::host::{HostConfig, plugin};

/// The resource group of all tests.
const RESOURCE_GROUP: &str = "pods";

/// The control plane of all tests in the namespace.
fn control_plane() -> Result<&'static ControlPlane> {
    static SHARED: OnceLock<Result<ControlPlane>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| ControlPlane::start(&engine::folder()?.join("control-plane")));
    shared.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// A node, and the cloud behind it.
pub(crate) struct Ground {
    pub(crate) corner: Corner<'static>,
    pub(crate) fake: Fake,
}

impl Ground {
    /// A node with a fake that runs groups on the engine of all tests.
    pub(crate) async fn new(name: &str) -> Result<Self> {
        let engine = Engine::shared().await?;
        let folder = engine::folder()?.join(unique(&format!("{name}-azure")));
        let runs_on = RunsOn::Docker { socket: engine.socket(), pause: tagged(1) };
        let fake = Fake::start(Config::new(&folder, runs_on))?;
        fake.behave(|behaviour| behaviour.back_off = std::time::Duration::from_millis(300));
        let credentials = folder.join("credentials.json");
        fs::write(&credentials, fake.auth_file().to_string())?;
        let config = folder.join("host.toml");
        let [own, authority, file] =
            [fake.url(), fake.authority().display().to_string(), credentials.display().to_string()];
        let text = format!(
            "[grants]\nhttp = [{own:?}]\nenvironment = [\"AZURE_AUTH_LOCATION\"]\nfile = [{file:?}]\naddresses = [\"127.0.0.0/8\", \"::1/128\"]\n[tls]\ncertificate-authorities = [{authority:?}]\n"
        );
        fs::write(&config, text)?;
        let provider = format!("Region = \"westeurope\"\nResourceGroup = \"{RESOURCE_GROUP}\"\npoll-period = \"1s\"\n");
        let plugin = plugin("azure")?;
        let configure = |host: HostConfig| {
            HostConfig { plugin, provider_config: Some(provider), ..host }
                .flag("--config")
                .flag(config.display().to_string())
                .variable("AZURE_AUTH_LOCATION", &file)
        };
        let corner = Corner::on(control_plane()?, name, configure).await?;
        Ok(Self { corner, fake })
    }

    /// A pod bound to the node, whatever the scheduler thinks, with one container that is never started again.
    pub(crate) fn pod(&self, name: &str, container: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.corner.namespace},
            "spec": {
                "nodeName": self.corner.host.node(), "tolerations": [{"operator": "Exists"}],
                "automountServiceAccountToken": false, "enableServiceLinks": false, "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1, "containers": [container],
            },
        })
    }

    pub(crate) async fn secret(&self, name: &str, data: Value) -> Result<()> {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data}))?;
        let secrets: Api<Secret> = Api::namespaced(self.corner.client.clone(), &self.corner.namespace);
        secrets.create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    pub(crate) async fn config_map(&self, name: &str, data: Value) -> Result<()> {
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}))?;
        let maps: Api<ConfigMap> = Api::namespaced(self.corner.client.clone(), &self.corner.namespace);
        maps.create(&PostParams::default(), &map).await?;
        Ok(())
    }

    /// The group of a pod, as Azure shows it.
    pub(crate) fn group(&self, pod: &str) -> Result<Value> {
        let is =
            |group: &Value| group["tags"]["PodName"] == pod && group["tags"]["Namespace"] == *self.corner.namespace;
        let mut groups = self.fake.groups().into_iter().map(|(group, _)| group);
        groups.find(is).with_context(|| format!("{pod} has no group"))
    }

    /// Waits until Azure has no groups any more, and the engine nothing of them.
    pub(crate) async fn nothing_left(&self) -> Result<()> {
        let api = Engine::shared().await?.api();
        let path = "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22vk-fake-aci%22%5D%7D";
        let own = json!(self.fake.folder());
        eventually("no group is left", || async {
            let groups = self.fake.groups();
            let containers = api.get(path).await?;
            let left = containers
                .as_array()
                .into_iter()
                .flatten()
                .filter(|container| container["Labels"][LABEL] == own)
                .count();
            ensure!(groups.is_empty() && left == 0, "{groups:?}, {left} containers");
            Ok(Some(()))
        })
        .await
    }

    /// What holds at the end of every test: what was sent keeps to Microsoft's schema, and no pod has two groups.
    pub(crate) fn keeps_to_the_rules(&self) -> Result<()> {
        let violations = self.fake.violations();
        ensure!(violations.is_empty(), "{violations:?}");
        let made = self.fake.made();
        ensure!(made.values().all(|count| *count == 1), "{made:?}");
        Ok(())
    }
}

/// A container of the image of all tests that runs a script.
pub(crate) fn container(script: &str) -> Value {
    json!({"name": "main", "image": tagged(1), "command": ["sh", "-c", script]})
}

/// The status of the pod's container.
pub(crate) fn status(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}
