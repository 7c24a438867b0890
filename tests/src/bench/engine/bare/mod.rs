//! The client of an engine that makes the calls of `vk-host` and its provider, in their order and with as much at once, and is
//! neither.
//!
//! ```text
//! a pod:  sandbox: list, volumes, create, start, inspect, unpack ▸ look ▸ image ▸ container: list, volume, create, start ▸ look
//! beside: events ▸ the pods that they are about look once more
//! ```

mod client;
mod news;
mod pod;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use vk_host::defaults::call::{CREATE_PERMITS, DELETE_PERMITS, POLL_PERMITS};

use super::super::load::Spans;
use super::Content;
use crate::engine::tagged;
use client::Client;
use news::Hints;
use pod::{MARKER, Pod, ROOT};

/// How the provider names the image of its sandboxes, with a digest behind.
const PAUSE: &str = "localhost/vk-pause-";

/// Pods of one run.
pub(super) struct Bare {
    shared: Arc<Shared>,
    pods: Vec<Arc<Pod>>,
    /// The pods' own tasks, and who listens to the engine.
    tasks: JoinSet<Result<()>>,
}

struct Shared {
    client: Client,
    hints: Hints,
    /// The image of sandboxes.
    pause: String,
    /// Places for calls that make something, that end something, and that look, as the host has them.
    create: Semaphore,
    delete: Semaphore,
    poll: Semaphore,
}

/// A container of a pod, as a list shows it.
#[derive(Clone, Debug)]
struct Seen {
    id: String,
    is_sandbox: bool,
}

impl Bare {
    /// Pods of a node of this name, of which nothing is there yet. The sandboxes' image must be.
    pub(super) async fn new(socket: &Path, node: &str, pods: usize, content: Content) -> Result<Self> {
        let client = Client::on(socket)?;
        let images = client.get("/images/json", &[]).await?;
        let tags =
            images.as_array().into_iter().flatten().filter_map(|image| image.get("RepoTags")?.as_array()).flatten();
        let pause = tags.filter_map(Value::as_str).find(|tag| tag.starts_with(PAUSE));
        let pause = pause.context("the engine has no image of sandboxes yet")?.to_owned();
        let pods: Vec<Arc<Pod>> = (0..pods).map(|index| Arc::new(Pod::new(node, index, content))).collect();
        let shared = Shared {
            client,
            hints: Hints::of(&pods),
            pause,
            create: Semaphore::new(CREATE_PERMITS),
            delete: Semaphore::new(DELETE_PERMITS),
            poll: Semaphore::new(POLL_PERMITS),
        };
        Ok(Self { shared: Arc::new(shared), pods, tasks: JoinSet::new() })
    }

    /// Makes all pods, and waits until each is seen running.
    pub(super) async fn create(&mut self) -> Result<Spans> {
        let (told, mut running) = mpsc::unbounded_channel();
        let listener = self.shared.clone();
        self.tasks.spawn(async move { listener.hints.listen(&listener.client).await });
        for (index, pod) in self.pods.iter().cloned().enumerate() {
            let (shared, told) = (self.shared.clone(), told.clone());
            self.tasks.spawn(async move {
                let began = Instant::now();
                shared.start(index, &pod).await.with_context(|| format!("pod {index}"))?;
                // Who waits for it may have gone.
                let _ = told.send((began, Instant::now()));
                loop {
                    shared.hints.wait(index).await;
                    shared.look(index, &pod).await?;
                }
            });
        }
        let mut spans = Vec::new();
        while spans.len() < self.pods.len() {
            tokio::select! {
                Some(span) = running.recv() => spans.push(span),
                Some(ended) = self.tasks.join_next() => ended??,
            }
        }
        Ok(Spans::of(spans))
    }

    /// Ends and removes all pods.
    pub(super) async fn delete(&mut self) -> Result<()> {
        self.tasks.shutdown().await;
        for pod in self.pods.clone() {
            let shared = self.shared.clone();
            self.tasks.spawn(async move { shared.remove(&pod).await });
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl Shared {
    /// From the first call to the answer that shows the pod's container running.
    async fn start(&self, index: usize, pod: &Pod) -> Result<()> {
        let sandbox = {
            let _place = self.create.acquire().await?;
            self.make_sandbox(pod).await?
        };
        self.look(index, pod).await?;
        while self.hints.take(index) {
            self.look(index, pod).await?;
        }
        let image_id = {
            let _place = self.poll.acquire().await?;
            let image = self.client.get(&format!("/images/{}/json", tagged(1).replace('/', "%2F")), &[]).await?;
            text(&image, "/Id")?
        };
        while self.hints.take(index) {
            self.look(index, pod).await?;
        }
        {
            let _place = self.create.acquire().await?;
            self.make_container(pod, &sandbox, &image_id).await?;
        }
        ensure!(self.look(index, pod).await?, "the container does not run");
        Ok(())
    }

    async fn make_sandbox(&self, pod: &Pod) -> Result<String> {
        let client = &self.client;
        ensure!(self.list(pod).await?.is_empty(), "there is something of it");
        for volume in pod.volumes() {
            client.make("/volumes/create", &[], &volume.spec).await?;
        }
        let made =
            client.make("/containers/create", &[("name", &pod.sandbox_name())], &pod.sandbox(&self.pause)).await?;
        let id = text(&made, "/Id")?;
        client.act(Method::POST, &format!("/containers/{id}/start"), &[]).await?;
        ensure!(self.runs(&id).await?, "the sandbox does not run");
        client.unpack(&id, ROOT, pod.archive()?).await?;
        Ok(id)
    }

    async fn make_container(&self, pod: &Pod, sandbox: &str, image_id: &str) -> Result<()> {
        let client = &self.client;
        ensure!(self.list(pod).await?.len() == 1, "the sandbox is not there");
        let own = text(&client.get(&format!("/volumes/{}", pod.own_volume()), &[]).await?, "/Mountpoint")?;
        let spec = pod.main(&tagged(1), image_id, sandbox, &own);
        let made = client.make("/containers/create", &[("name", &pod.main_name())], &spec).await?;
        client.act(Method::POST, &format!("/containers/{}/start", text(&made, "/Id")?), &[]).await
    }

    /// Looks at all of a pod. Tells whether its container runs.
    async fn look(&self, index: usize, pod: &Pod) -> Result<bool> {
        self.hints.take(index);
        let _place = self.poll.acquire().await?;
        let seen = self.list(pod).await?;
        let mut running = false;
        for Seen { id, is_sandbox } in &seen {
            running |= self.runs(id).await? && !is_sandbox;
        }
        if let [Seen { id, is_sandbox: true }] = seen.as_slice() {
            let path = format!("{ROOT}/{MARKER}");
            self.client.act(Method::HEAD, &format!("/containers/{id}/archive"), &[("path", &path)]).await?;
        }
        Ok(running)
    }

    async fn runs(&self, id: &str) -> Result<bool> {
        let details = self.client.get(&format!("/containers/{id}/json"), &[]).await?;
        Ok(details.pointer("/State/Running") == Some(&json!(true)))
    }

    async fn list(&self, pod: &Pod) -> Result<Vec<Seen>> {
        let list = self.client.get("/containers/json", &[("all", "1"), ("filters", &pod.filter())]).await?;
        let seen = |container: &Value| {
            let is_sandbox = container.pointer("/Labels/io.virtual-kubelet.kind") == Some(&json!("sandbox"));
            Ok(Seen { id: text(container, "/Id")?, is_sandbox })
        };
        list.as_array().into_iter().flatten().map(seen).collect()
    }

    async fn remove(&self, pod: &Pod) -> Result<()> {
        let _place = self.delete.acquire().await?;
        let mut seen = self.list(pod).await?;
        // Containers first.
        seen.sort_by_key(|seen| seen.is_sandbox);
        for Seen { id, .. } in seen {
            let how = [("v", "1"), ("force", "1")];
            self.client.act(Method::DELETE, &format!("/containers/{id}"), &how).await?;
        }
        for volume in pod.volumes() {
            self.client.act(Method::DELETE, &format!("/volumes/{}", text(&volume.spec, "/Name")?), &[]).await?;
        }
        Ok(())
    }
}

fn text(value: &Value, pointer: &str) -> Result<String> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}
