//! A test's corner with a node whose pods are container groups, a fake of its own, and what that has of them.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod, Secret};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use vk_fake_aci::config::RunsOn;
use vk_fake_aci::{Config, Fake, LABEL};
use vk_tests::cluster::{Corner, eventually, phase, unique};
use vk_tests::control_plane::ControlPlane;
use vk_tests::engine::{self, Engine, tagged};
use vk_tests::host::{HostConfig, plugin, target};

use crate::cloud::{self, Access, Cloud, SignIn};
use crate::real;

/// The control plane of all tests.
fn control_plane() -> Result<&'static ControlPlane> {
    if real::is_meant() {
        return ControlPlane::shared(&target().join("azure"));
    }
    static SHARED: OnceLock<Result<ControlPlane>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| ControlPlane::start(&engine::folder()?.join("control-plane")));
    shared.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// A node, and the cloud behind it.
pub(crate) struct Ground {
    pub(crate) corner: Corner<'static>,
    cloud: Cloud,
    may_change: bool,
}

/// What a ground is made of; a test may change it.
pub(crate) struct Setup {
    /// The fake, and how it behaves. Azure itself behaves as it does.
    pub(crate) fake: Config,
    /// Text of `--provider-config`, to which lines may be added.
    pub(crate) provider: String,
    /// Flags of the host, its log level among them.
    pub(crate) flags: Vec<String>,
    /// The provider.
    pub(crate) plugin: PathBuf,
    /// How it signs in to the fake.
    pub(crate) sign_in: SignIn,
    /// The test changes pods that have a group, which is put again then.
    pub(crate) may_change: bool,
}

impl Setup {
    /// Groups run on the engine of all tests.
    async fn new(name: &str) -> Result<Self> {
        let provider = format!("{}poll-period = \"1s\"\n", cloud::place()?);
        let flags = ["--log-level", "info,vk_host=debug"].map(str::to_owned).into();
        let plugin = plugin("azure")?;
        if real::is_meant() {
            let fake = Config::new("", RunsOn::Nothing);
            return Ok(Self { fake, provider, flags, plugin, sign_in: SignIn::Secret, may_change: false });
        }
        let runs_on = RunsOn::Docker { socket: Engine::shared().await?.socket(), pause: tagged(1) };
        let mut fake = Config::new(engine::folder()?.join(unique(&format!("{name}-azure"))), runs_on);
        fake.behaviour.back_off = Duration::from_millis(300);
        Ok(Self { fake, provider, flags, plugin, sign_in: SignIn::Secret, may_change: false })
    }

    /// Containers are played: for tests with more of them than a machine runs.
    pub(crate) fn played(&mut self) {
        self.fake.runs_on = RunsOn::Nothing;
    }
}

impl Ground {
    /// A node with a fake that runs groups on the engine of all tests.
    pub(crate) async fn new(name: &str) -> Result<Self> {
        Self::with(name, |_| ()).await
    }

    /// The same with another setup.
    pub(crate) async fn with(name: &str, change: impl FnOnce(&mut Setup)) -> Result<Self> {
        let mut setup = Setup::new(name).await?;
        change(&mut setup);
        let Setup { fake, provider, flags, plugin, sign_in, may_change } = setup;
        let folder = fake.folder.clone();
        let cloud = Cloud::start(fake)?;
        let Access { flags: reaching, variables } = cloud.access(&folder, sign_in)?;
        let configure = |host: HostConfig| {
            let flags = reaching.into_iter().chain(flags).collect();
            HostConfig { plugin, provider_config: Some(provider), variables, flags, ..host }
        };
        let corner = Corner::on(control_plane()?, name, configure).await?;
        Ok(Self { corner, cloud, may_change })
    }

    /// The fake, for what only that can do. Tests that ask for it are none that `real` runs.
    pub(crate) fn fake(&self) -> &Fake {
        match &self.cloud {
            Cloud::Fake(fake) => fake,
            Cloud::Azure(_) => unreachable!("this test needs a fake: it must not be among those of real::ABLE"),
        }
    }

    /// The same ground, its ended host started anew.
    pub(crate) fn restarted(self) -> Result<Self> {
        Ok(Self { corner: self.corner.restarted()?, ..self })
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
    pub(crate) async fn group(&self, pod: &str) -> Result<Value> {
        let is =
            |group: &Value| group["tags"]["PodName"] == pod && group["tags"]["Namespace"] == *self.corner.namespace;
        let mut groups = self.cloud.groups(self.corner.host.node()).await?.into_iter();
        groups.find(is).with_context(|| format!("{pod} has no group"))
    }

    /// The log of a pod that ends well.
    pub(crate) async fn last_words(&self, pod: &str) -> Result<String> {
        let ended = self.corner.until(pod, "has ended", |pod| ["Succeeded", "Failed"].contains(&phase(pod))).await?;
        ensure!(phase(&ended) == "Succeeded", "{pod} has failed: {:?}", ended.status);
        self.corner.log(pod).await
    }

    /// The end of a test: its pods are deleted, nothing of them is left, and all went by the rules.
    pub(crate) async fn over(&self, pods: &[&str]) -> Result<()> {
        for pod in pods {
            self.corner.delete(pod, None).await?;
        }
        for pod in pods {
            self.corner.gone(pod).await?;
        }
        self.nothing_left().await?;
        self.keeps_to_the_rules()
    }

    /// Waits until Azure has no groups of the node any more, and the engine of a fake nothing of them.
    pub(crate) async fn nothing_left(&self) -> Result<()> {
        eventually("no group is left", || async {
            let groups = self.cloud.groups(self.corner.host.node()).await?;
            let (containers, volumes) = match &self.cloud {
                Cloud::Fake(fake) => (containers(fake).await?, volumes(fake).await?),
                Cloud::Azure(_) => (0, 0),
            };
            let is_nothing = groups.is_empty() && containers == 0 && volumes == 0;
            ensure!(is_nothing, "{groups:?}, {containers} containers, {volumes} volumes");
            Ok(Some(()))
        })
        .await
    }

    /// What holds at the end of every test: what was sent keeps to Microsoft's schema, and of each pod one group was made, and asked
    /// for no more once it was there. A group is called after its pod's uid: who makes one twice does not make two, but starts the
    /// containers of the first anew, or is told of a conflict. Azure itself refuses what breaks the schema, and nobody counts there.
    pub(crate) fn keeps_to_the_rules(&self) -> Result<()> {
        let Cloud::Fake(fake) = &self.cloud else { return Ok(()) };
        let violations = fake.violations();
        ensure!(violations.is_empty(), "{violations:?}");
        let made = fake.made();
        ensure!(made.values().all(|count| *count == 1), "{made:?}");
        let (changed, conflicts) = (fake.changed(), fake.conflicts());
        let is_once = changed.is_empty() && conflicts.is_empty();
        ensure!(self.may_change || is_once, "put again though they were there: {changed:?}, in vain: {conflicts:?}");
        Ok(())
    }
}

/// How many containers the engine of all tests has of a fake.
async fn containers(fake: &Fake) -> Result<usize> {
    let path = "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22vk-fake-aci%22%5D%7D";
    let all = Engine::shared().await?.api().get(path).await?;
    Ok(owned(fake, &all))
}

/// How many volumes it has of a fake, files of secrets among them.
async fn volumes(fake: &Fake) -> Result<usize> {
    let path = "/volumes?filters=%7B%22label%22%3A%5B%22vk-fake-aci%22%5D%7D";
    let all = Engine::shared().await?.api().get(path).await?;
    Ok(owned(fake, &all["Volumes"]))
}

/// How many of a list have a fake's label.
fn owned(fake: &Fake, all: &Value) -> usize {
    let own = json!(fake.folder());
    all.as_array().into_iter().flatten().filter(|one| one["Labels"][LABEL] == own).count()
}

/// A container that runs a script.
pub(crate) fn container(script: &str) -> Value {
    json!({"name": "main", "image": cloud::image(), "command": ["sh", "-c", script]})
}

/// The status of the pod's container.
pub(crate) fn status(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}
