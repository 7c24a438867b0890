//! The steps of the demo. Each runs what a user would run, shows it, and asks the API server whether it came true; where pods are
//! containers of an engine, it is asked too.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, PodSpec};
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::scene::{NODE, Scene};
use super::screen::{Screen, short};
use crate::cluster::{self, condition, create_namespace, event, phase, pod_condition, within};
use crate::engine::Container;

/// What may take long: a first compilation of the plugin, a roll-out, both on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The same for kubectl.
const LIMIT_FLAG: &str = "--timeout=120s";
/// No command of the demo takes longer unless it hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(150);
/// Lines of `kubectl logs --follow` to wait for; the pods write one a second.
const FOLLOWED_LINES: usize = 3;
/// The exit code of what SIGKILL has ended.
const KILLED: i32 = 137;

/// Tells it, up to the end or, if the scene is to be kept, up to where it is still full.
pub async fn tell(screen: &mut Screen, scene: &mut Scene) -> Result<()> {
    let mut story = Story::begin(screen, scene).await?;
    story.engine().await?;
    story.node().await?;
    story.roll_out().await?;
    story.containers().await?;
    story.logs().await?;
    story.scale(5).await?;
    story.scale(2).await?;
    story.update().await?;
    story.crash().await?;
    story.events().await?;
    story.describe().await?;
    if story.scene.keep {
        return Ok(());
    }
    story.delete().await?;
    story.end().await
}

struct Story<'a> {
    screen: &'a mut Screen,
    scene: &'a mut Scene,
    client: Client,
    namespace: String,
    /// The image of the manifest, and the one that it is updated to.
    images: [&'static str; 2],
}

impl<'a> Story<'a> {
    /// A cluster and a namespace in it.
    async fn begin(screen: &'a mut Screen, scene: &'a mut Scene) -> Result<Self> {
        if scene.starts_cluster() {
            screen.step("A Kubernetes control plane, on 127.0.0.1")?;
        } else {
            screen.step("A cluster that is there already")?;
        }
        let cluster = scene.start_cluster().await?;
        screen.verified(&format!("Kubernetes {} answers at {}", cluster.version, cluster.server))?;
        let client = cluster::client(&cluster.kubeconfig).await?;
        let namespace = scene.namespace.clone();
        scene.namespace_made = true;
        create_namespace(&client, &namespace).await?;
        let images = scene.workload().images;
        Ok(Self { screen, scene, client, namespace, images })
    }

    /// An engine, with the images that there is no registry for.
    async fn engine(&mut self) -> Result<()> {
        if !self.scene.has_engine() {
            return Ok(());
        }
        if self.scene.has_users_engine() {
            self.screen.step("A container engine that is there already")?;
        } else {
            self.screen.step("A container engine, in the same namespace")?;
        }
        self.scene.start_engine(&self.client).await?;
        let engine = self.scene.engine()?;
        self.screen.verified(&format!("{} answers at {}", engine.title(), engine.address()))?;
        self.scene.make_images().await?;
        Ok(self.screen.verified(&format!("it has {}, made for the demo", self.images.join(" and ")))?)
    }

    async fn node(&mut self) -> Result<()> {
        let provider = self.scene.provided.name.clone();
        self.screen.step(&format!("vk-host, with {provider} as its provider, becomes a node"))?;
        let words = self.scene.start_host()?;
        self.screen.command(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        let ready = within(LIMIT, "the node is Ready", || async {
            let node = nodes.get_opt(NODE).await?;
            Ok(node.filter(|node| condition(node, "Ready").as_deref() == Some("True")).map(drop))
        });
        // A host that refuses to start is not worth waiting for.
        let ended = async {
            loop {
                if let Err(error) = self.scene.host_runs() {
                    return error;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            ready = ready => ready?,
            error = ended => return Err(error),
        }
        let listed = self.kubectl(&["get", "nodes", "-o", "wide"]).await?;
        ensure!(listed.contains(NODE), "kubectl does not list {NODE}");
        Ok(self.screen.verified("the node is Ready")?)
    }

    async fn roll_out(&mut self) -> Result<()> {
        self.screen.step("Three pods, by a Deployment that tolerates the node's taint")?;
        let manifest = short(&Path::new(env!("CARGO_MANIFEST_DIR")).join("demo").join(self.scene.workload().manifest));
        self.kubectl(&["apply", "-f", &manifest]).await?;
        self.rolled_out(3, self.images[0]).await
    }

    async fn containers(&mut self) -> Result<()> {
        if !self.scene.has_engine() {
            return Ok(());
        }
        self.screen.step("The same pods at the engine: a container each, and the sandbox that it has joined")?;
        let (containers, pods) = (self.scene.engine()?.containers().await?, self.pods().await?);
        for container in &containers {
            self.screen.output(&format!("{:<8} {}", container.state, container.name()))?;
        }
        let running = containers.iter().filter(|container| container.state == "running").count();
        ensure!(running == 2 * pods.len() && running == containers.len(), "{} pods are {containers:?}", pods.len());
        Ok(self.screen.verified(&format!("{} pods are {running} containers, and all of them run", pods.len()))?)
    }

    async fn logs(&mut self) -> Result<()> {
        let pod = self.first_pod().await?;
        self.screen.step("The log of a pod, through the API server and the node")?;
        if self.scene.provided.is_users_own {
            return self.log_as_it_is(&pod).await;
        }
        let (earlier, _) = self.until_some(&["logs", &pod]).await?;
        self.screen.step("… and as it is written")?;
        let lines = self.follow(&["logs", "--follow", "--tail=1", &pod], FOLLOWED_LINES).await?;
        let known: BTreeSet<&str> = earlier.lines().collect();
        ensure!(lines.last().is_some_and(|line| !known.contains(line.as_str())), "nothing new came: {lines:?}");
        Ok(self.screen.verified(&format!("{FOLLOWED_LINES} lines came, the last ones while we watched"))?)
    }

    /// What a provider keeps of logs is its own affair: whatever comes is shown.
    async fn log_as_it_is(&mut self, pod: &str) -> Result<()> {
        let args = ["logs", pod];
        self.screen.command(&self.shown(&args))?;
        let output = timeout(COMMAND_LIMIT, self.command(&args)?.output()).await.context("kubectl logs hangs")??;
        for said in [output.stdout, output.stderr] {
            self.screen.output(&String::from_utf8_lossy(&said))?;
        }
        Ok(self.screen.output("(shown, and not checked)")?)
    }

    async fn scale(&mut self, replicas: usize) -> Result<()> {
        self.screen.step(&format!("{replicas} pods"))?;
        self.kubectl(&["scale", "deployment/web", &format!("--replicas={replicas}")]).await?;
        self.rolled_out(replicas, self.images[0]).await
    }

    async fn update(&mut self) -> Result<()> {
        let before = self.names().await?;
        self.screen.step("Another image: new pods replace the old ones, one after the other")?;
        let image = self.images[1];
        self.kubectl(&["set", "image", "deployment/web", &format!("web={image}")]).await?;
        self.rolled_out(2, image).await?;
        ensure!(before.is_disjoint(&self.names().await?), "a pod is left of those before the update");
        Ok(())
    }

    /// A container ends badly, and nobody has told the node.
    async fn crash(&mut self) -> Result<()> {
        if !self.scene.has_engine() {
            return Ok(());
        }
        let pod = self.first_pod().await?;
        self.screen.step("A container is killed at the engine, and started again")?;
        let said = self.run(&["logs", &pod]).await?.0;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let uid = pods.get(&pod).await?.metadata.uid;
        let engine = self.scene.engine()?;
        let containers = engine.containers().await?;
        let its = containers.iter().find(|container| container.is_attempt() && Some(container.pod()) == uid.as_deref());
        self.screen.output(&engine.kill(its.context("the pod has no container")?).await?)?;
        within(LIMIT, "the container was started again", || async {
            Ok(is_restarted(&pods.get(&pod).await?).then_some(()))
        })
        .await?;
        self.kubectl(&["get", "pod", &pod]).await?;
        self.kubectl(&["logs", "--previous", "--tail=1", &pod]).await?;
        let last = self.run(&["logs", "--previous", &pod]).await?.0;
        ensure!(last.starts_with(&said), "it had said {said:?}, and its log is {last:?}");
        Ok(self.screen.verified(&format!(
            "it was restarted once, its exit code {KILLED} is told, and what it had said is kept"
        ))?)
    }

    async fn events(&mut self) -> Result<()> {
        let pod = self.first_pod().await?;
        self.screen.step("Events of a pod")?;
        let created = event(&self.client, &self.namespace, &pod, "Created").await?;
        let source = created.source.and_then(|source| source.component).or(created.reporting_component);
        self.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={pod}")]).await?;
        ensure!(source.as_deref() == Some("vk-host"), "the event Created is of {source:?}");
        Ok(self.screen.verified("vk-host told that the provider has created it")?)
    }

    async fn describe(&mut self) -> Result<()> {
        self.screen.step("The node as kubectl describes it (an excerpt)")?;
        let args = ["describe", "node", NODE];
        self.screen.command(&self.shown(&args))?;
        let text = self.run(&args).await?.0;
        self.screen.output(&sections(&text, &["Taints:", "Capacity:", "System Info:", "Non-terminated Pods:"]))?;
        for pod in self.names().await? {
            ensure!(text.contains(&pod), "kubectl does not describe pod {pod} as one of the node");
        }
        Ok(self.screen.verified("it has both pods")?)
    }

    async fn delete(&mut self) -> Result<()> {
        self.screen.step("The Deployment is deleted, and its pods with it")?;
        self.kubectl(&["delete", "deployment", "web", "--cascade=foreground", LIMIT_FLAG]).await?;
        self.kubectl(&["get", "pods"]).await?;
        ensure!(self.pods().await?.is_empty(), "there are still pods: {:?}", self.names().await?);
        self.screen.verified("no pod is left")?;
        if let Ok(engine) = self.scene.engine() {
            let gone = || async { Ok(engine.has_no_pods().await?.then_some(())) };
            within(LIMIT, "the engine has nothing of the pods", gone).await?;
            self.screen.verified("nor is a container or a volume of them at the engine")?;
        }

        self.screen.step("The namespace too")?;
        let namespace = self.namespace.clone();
        self.kubectl(&["delete", "namespace", &namespace, LIMIT_FLAG]).await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        ensure!(namespaces.get_opt(&namespace).await?.is_none(), "the namespace is still there");
        self.scene.namespace_made = false;
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        self.screen.step("vk-host stops, and its node is removed")?;
        let pid = self.scene.host_process()?.pid.to_string();
        self.screen.command(&["kill", &pid])?;
        let status = self.scene.stop_host()?;
        ensure!(status.success(), "vk-host ended badly: {status}");
        self.screen.verified("it ended with exit code 0")?;
        self.kubectl(&["delete", "node", NODE, LIMIT_FLAG]).await?;
        let nodes: Api<Node> = Api::all(self.client.clone());
        ensure!(nodes.get_opt(NODE).await?.is_none(), "the node is still there");
        self.scene.node_removed();
        if let Ok(engine) = self.scene.engine() {
            let address = engine.address().to_string();
            self.screen.step("The engine is left as it was")?;
            self.scene.leave_engine().await?;
            self.screen.verified(&format!("no container, volume or image of the demo is at {address}"))?;
        }
        if self.scene.starts_cluster() {
            self.screen.step("The control plane stops")?;
            let gone = self.scene.stop_cluster()?;
            self.screen.verified(&format!("its {gone} processes are gone"))?;
        }
        Ok(())
    }

    /// Waits for the roll-out, shows the pods, and checks them.
    async fn rolled_out(&mut self, replicas: usize, image: &str) -> Result<()> {
        self.kubectl(&["rollout", "status", "deployment/web", LIMIT_FLAG]).await?;
        // The roll-out is over when the new pods are there; the old ones may still be ending.
        let settled = within(LIMIT, &format!("{replicas} pods are as they should be"), || async {
            let pods = self.pods().await?;
            let needs_address = !self.scene.provided.is_users_own;
            let lacking: Vec<String> =
                pods.iter().flat_map(|pod| lacks(pod, image, needs_address).map(|what| short_of(pod, what))).collect();
            ensure!(pods.len() == replicas && lacking.is_empty(), "{} pods are there; {lacking:?}", pods.len());
            Ok(Some(()))
        })
        .await;
        self.kubectl(&["get", "pods", "-o", "wide"]).await?;
        settled?;
        self.screen
            .verified(&format!("{replicas} pods with {image} are Running and Ready on {NODE}, no other is there"))?;
        if self.scene.has_engine() {
            self.run_at_engine(image).await?;
            self.screen.verified("each is one container of that image at the engine, and no other is there")?;
        }
        Ok(())
    }

    /// Waits until the engine has a container of this image for each pod, and none besides.
    async fn run_at_engine(&self, image: &str) -> Result<()> {
        let engine = self.scene.engine()?;
        let pods = self.pods().await?;
        let wanted: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
        within(LIMIT, "the engine has a container for each pod", || async {
            let mut containers = engine.containers().await?;
            containers.retain(Container::is_attempt);
            let found: BTreeSet<&str> = containers.iter().map(Container::pod).collect();
            let as_wanted = |container: &Container| container.state == "running" && container.image() == Some(image);
            let all = found == wanted && containers.len() == wanted.len() && containers.iter().all(as_wanted);
            if all { Ok(Some(())) } else { bail!("it has {containers:?}") }
        })
        .await
    }

    async fn pods(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(pods.list(&ListParams::default()).await?.items)
    }

    async fn names(&self) -> Result<BTreeSet<String>> {
        Ok(self.pods().await?.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }

    async fn first_pod(&self) -> Result<String> {
        self.names().await?.into_iter().next().context("there is no pod")
    }

    /// Shows and runs kubectl, shows what it says, and wants it to succeed.
    async fn kubectl(&mut self, args: &[&str]) -> Result<String> {
        self.screen.command(&self.shown(args))?;
        let (out, err) = self.run(args).await?;
        self.screen.output(&out)?;
        self.screen.output(&err)?;
        Ok(out)
    }

    /// The same for a command that has nothing to say yet.
    async fn until_some(&mut self, args: &[&str]) -> Result<(String, String)> {
        let said = within(LIMIT, "kubectl says something", || async {
            let said = self.run(args).await?;
            Ok((!said.0.trim().is_empty()).then_some(said))
        })
        .await?;
        self.screen.command(&self.shown(args))?;
        self.screen.output(&said.0)?;
        Ok(said)
    }

    async fn run(&self, args: &[&str]) -> Result<(String, String)> {
        let output = timeout(COMMAND_LIMIT, self.command(args)?.output()).await;
        let output = output.with_context(|| format!("kubectl {args:?} hangs"))?.context("start kubectl")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        ensure!(output.status.success(), "kubectl {args:?} failed ({}): {} {}", output.status, out.trim(), err.trim());
        Ok((out, err))
    }

    /// Runs kubectl until it has said so many lines.
    async fn follow(&mut self, args: &[&str], lines: usize) -> Result<Vec<String>> {
        self.screen.command(&self.shown(args))?;
        let mut child =
            self.command(args)?.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().context("start kubectl")?;
        let mut output = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        let mut read = Vec::new();
        while read.len() < lines {
            let line = timeout(LIMIT, output.next_line()).await.context("no further line came")??;
            let Some(line) = line else { bail!("the log ended after {} lines", read.len()) };
            self.screen.output(&line)?;
            read.push(line);
        }
        child.kill().await?;
        self.screen.output("^C")?;
        Ok(read)
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let words = self.shown(args);
        let mut command = Command::from(self.scene.kubectl(words.get(1..).unwrap_or_default())?);
        command.kill_on_drop(true);
        Ok(command)
    }

    /// As the user would write it: nodes and namespaces have no namespace.
    fn shown<'b>(&'b self, args: &[&'b str]) -> Vec<&'b str> {
        let everywhere = args.iter().any(|arg| ["node", "nodes", "namespace"].contains(arg));
        let namespace: &[&str] = if everywhere { &[] } else { &["-n", &self.namespace] };
        std::iter::once("kubectl").chain(namespace.iter().copied()).chain(args.iter().copied()).collect()
    }
}

/// What a pod lacks of what the Deployment wants: on the node, up to date, alive, reachable.
fn lacks(pod: &Pod, image: &str, needs_address: bool) -> Option<&'static str> {
    let spec = pod.spec.as_ref();
    let has_image = |spec: &PodSpec| spec.containers.iter().all(|c| c.image.as_deref() == Some(image));
    let has_address = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
    [
        (spec.is_some_and(|spec| spec.node_name.as_deref() == Some(NODE)), "is not on the node"),
        (spec.is_some_and(has_image), "has another image"),
        (phase(pod) == "Running", "is not Running"),
        (pod_condition(pod, "Ready").as_deref() == Some("True"), "is not Ready"),
        (has_address || !needs_address, "has no IP"),
    ]
    .into_iter()
    .find_map(|(holds, lack)| (!holds).then_some(lack))
}

fn short_of(pod: &Pod, what: &str) -> String {
    format!("{} {what}", pod.metadata.name.as_deref().unwrap_or_default())
}

/// Its container was killed once, and is Ready again.
fn is_restarted(pod: &Pod) -> bool {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    status.is_some_and(|status| {
        let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        status.ready && status.restart_count == 1 && last.is_some_and(|last| last.exit_code == KILLED)
    })
}

/// The sections of what `kubectl describe` says that begin so.
fn sections(text: &str, headings: &[&str]) -> String {
    let mut within = false;
    let kept = text.lines().filter(|line| {
        if !line.starts_with(' ') {
            within = headings.iter().any(|heading| line.starts_with(heading));
        }
        within
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let text = "Name: n\nTaints: a\n        b\nCapacity:\n  cpu: 1\nEvents:\n  none\n";
        assert_eq!(sections(text, &["Taints:", "Capacity:"]), "Taints: a\n        b\nCapacity:\n  cpu: 1");
    }
}
