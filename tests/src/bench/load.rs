//! The driver: creates and deletes pods, and stamps when a watch tells that they are Running and gone. The same for all nodes.
//!
//! ```text
//! 16 creators ─┐                        ┌─ sent
//!              ├─▶ marks ─▶ Load.stamps ┤
//! one watch ───┘                        └─ seen
//! ```

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::ResourceExt as _;
use kube::{Api, Client};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::phase;

/// Requests of the driver in flight.
const CREATORS: usize = 16;
/// Between two requests of a paced run.
const PACE: Duration = Duration::from_millis(50);
/// How long nothing may happen to any pod; then the side is taken for stuck. Longer than the pods' grace of 30 s.
const LIMIT: Duration = Duration::from_secs(90);

/// What is in the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// One container, and nothing that a node has to look up
    Minimal,
    /// What users leave to the defaults: the token of the service account, as admission adds it; and in the environment a value
    /// of a ConfigMap and of a Secret that no other pod has
    Default,
}

impl Content {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Default => "default",
        }
    }
}

/// How fast the requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as 16 creators can.
    AtOnce,
    /// 20 a second.
    Steady,
}

impl Pace {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::Steady => "at 20 a second",
        }
    }
}

/// Pods that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Wave {
    /// How many.
    pub pods: usize,
    /// Of which kind.
    pub content: Content,
    /// How fast they come, and go.
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    CreateSent,
    Running,
    DeleteSent,
    Gone,
}

struct Mark {
    pod: usize,
    event: Event,
    at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    create_sent: Option<Instant>,
    running: Option<Instant>,
    delete_sent: Option<Instant>,
    gone: Option<Instant>,
}

/// Makes a pod of this name, the how manieth.
pub type Template = Arc<dyn Fn(&str, usize) -> Result<Pod> + Send + Sync>;

/// Pods of one run.
pub struct Load {
    pods: Api<Pod>,
    prefix: String,
    pace: Pace,
    template: Template,
    stamps: Vec<Stamps>,
    marks: mpsc::UnboundedReceiver<Mark>,
    sender: mpsc::UnboundedSender<Mark>,
    watch: JoinHandle<Result<()>>,
}

/// From each request to what followed.
#[derive(Clone, Debug)]
pub struct Spans(Vec<(Instant, Instant)>);

/// Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99 of 100 are not above.
    pub p99: f64,
}

impl Load {
    /// Starts the watch.
    pub async fn start(
        client: &Client,
        namespace: &str,
        prefix: &str,
        pods: usize,
        pace: Pace,
        template: Template,
    ) -> Result<Self> {
        let stamps = vec![Stamps::default(); pods];
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let (sender, marks) = mpsc::unbounded_channel();
        let (ready, watches) = oneshot::channel();
        let watch = tokio::spawn(watch(pods.clone(), format!("{prefix}-"), ready, sender.clone()));
        watches.await.context("the pods cannot be listed")?;
        Ok(Self { pods, prefix: prefix.to_owned(), pace, template, stamps, marks, sender, watch })
    }

    /// Creates all pods and waits until they are Running.
    pub async fn create(&mut self) -> Result<Spans> {
        let (pods, sender, prefix) = (self.pods.clone(), self.sender.clone(), self.prefix.clone());
        let template = Arc::clone(&self.template);
        let requests = self.each(move |index| {
            let (pods, sender) = (pods.clone(), sender.clone());
            let pod = template(&format!("{prefix}-{index}"), index);
            async move {
                let _ = sender.send(Mark { pod: index, event: Event::CreateSent, at: Instant::now() });
                pods.create(&PostParams::default(), &pod?).await.map(drop).context("create a pod")
            }
        });
        self.until(Event::Running, requests).await?;
        self.spans(|stamps| stamps.create_sent.zip(stamps.running))
    }

    /// Deletes all pods, with their own grace, and waits until they are gone.
    pub async fn delete(&mut self) -> Result<Spans> {
        let (pods, sender, prefix) = (self.pods.clone(), self.sender.clone(), self.prefix.clone());
        let requests = self.each(move |index| {
            let (pods, sender, name) = (pods.clone(), sender.clone(), format!("{prefix}-{index}"));
            async move {
                let _ = sender.send(Mark { pod: index, event: Event::DeleteSent, at: Instant::now() });
                pods.delete(&name, &DeleteParams::default()).await.map(drop).context("delete a pod")
            }
        });
        self.until(Event::Gone, requests).await?;
        self.spans(|stamps| stamps.delete_sent.zip(stamps.gone))
    }

    /// Makes one request a pod, at the run's pace, in a task of its own.
    fn each<F>(&self, request: impl Fn(usize) -> F + Send + Sync + 'static) -> JoinHandle<Result<()>>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (count, pace) = (self.stamps.len(), self.pace);
        tokio::spawn(async move {
            let (width, mut ticks) = match pace {
                Pace::AtOnce => (CREATORS, None),
                // All in flight that come: a slow answer must not slow the pace.
                Pace::Steady => (count, Some(interval(PACE))),
            };
            if let Some(ticks) = &mut ticks {
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
            let paced = stream::unfold((0, ticks), |(index, mut ticks)| async move {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                Some((index, (index + 1, ticks)))
            });
            let tasks = paced.take(count).map(|index| tokio::spawn(request(index)));
            tasks.buffer_unordered(width).map(|done| done?).try_collect::<()>().await
        })
    }

    /// Takes marks until every pod has this one.
    async fn until(&mut self, event: Event, requests: JoinHandle<Result<()>>) -> Result<()> {
        let mut requests = std::pin::pin!(requests);
        let mut sending = true;
        let mut missing = self.stamps.iter().filter(|stamps| stamps.at(event).is_none()).count();
        while missing > 0 {
            tokio::select! {
                mark = timeout(LIMIT, self.marks.recv()) => match mark {
                    Ok(mark) => {
                        let mark = mark.context("nobody marks any more")?;
                        if self.stamp(&mark) && mark.event == event {
                            missing -= 1;
                        }
                    }
                    Err(_) => return Err(self.stuck(event).await),
                },
                done = &mut requests, if sending => { done??; sending = false; }
                ended = &mut self.watch => bail!("the watch ended: {:?}", ended?),
            }
        }
        if sending { requests.await? } else { Ok(()) }
    }

    /// What the pods look like that nothing happens to.
    async fn stuck(&self, event: Event) -> anyhow::Error {
        let missing = self.stamps.iter().enumerate().filter(|(_, stamps)| stamps.at(event).is_none());
        let missing: Vec<String> = missing.map(|(index, _)| format!("{}-{index}", self.prefix)).collect();
        let mut text = format!("nothing happened for {LIMIT:?}, {} pods are not {event:?}", missing.len());
        for name in missing.iter().take(5) {
            let now = match self.pods.get_opt(name).await {
                Ok(Some(pod)) => {
                    format!("{}, to be deleted: {}", phase(&pod), pod.metadata.deletion_timestamp.is_some())
                }
                Ok(None) => "not there".to_owned(),
                Err(error) => error.to_string(),
            };
            text.push_str(&format!("; {name} is {now}"));
        }
        anyhow::Error::msg(text)
    }

    /// Tells whether the pod had no such mark before.
    fn stamp(&mut self, mark: &Mark) -> bool {
        let Some(slot) = self.stamps.get_mut(mark.pod).map(|stamps| stamps.slot(mark.event)) else { return false };
        let first = slot.is_none();
        slot.get_or_insert(mark.at);
        first
    }

    fn spans(&self, pick: impl Fn(&Stamps) -> Option<(Instant, Instant)>) -> Result<Spans> {
        self.stamps
            .iter()
            .map(pick)
            .collect::<Option<Vec<_>>>()
            .map(Spans)
            .context("a pod was seen before it was asked for")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Stamps {
    fn slot(&mut self, event: Event) -> &mut Option<Instant> {
        match event {
            Event::CreateSent => &mut self.create_sent,
            Event::Running => &mut self.running,
            Event::DeleteSent => &mut self.delete_sent,
            Event::Gone => &mut self.gone,
        }
    }

    fn at(&self, event: Event) -> Option<Instant> {
        self.clone().slot(event).to_owned()
    }
}

impl Spans {
    /// What else was measured so.
    pub fn of(spans: Vec<(Instant, Instant)>) -> Self {
        Self(spans)
    }

    /// Pods a second, from the first request to the last result.
    pub fn per_second(&self) -> f64 {
        self.0.len() as f64 / self.whole().as_secs_f64().max(f64::EPSILON)
    }

    /// From the first request to the last result.
    pub fn whole(&self) -> Duration {
        let first = self.0.iter().map(|(from, _)| *from).min();
        let last = self.0.iter().map(|(_, to)| *to).max();
        first.zip(last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first))
    }

    /// Of the single pods.
    pub fn latency(&self) -> Latency {
        let mut seconds: Vec<f64> =
            self.0.iter().map(|(from, to)| to.saturating_duration_since(*from).as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (seconds.len() * percent).div_ceil(100).saturating_sub(1);
            seconds.get(rank).copied().unwrap_or_default()
        };
        Latency { p50: at(50), p99: at(99) }
    }
}

/// Pods for the mock, bound to the node, so that the scheduler is not measured.
pub fn template(namespace: &str, node: &str, content: Content) -> Template {
    let (namespace, node) = (namespace.to_owned(), node.to_owned());
    Arc::new(move |name, index| {
        let (token, env) = match content {
            Content::Minimal => (Some(false), json!([])),
            Content::Default => {
                let of = json!({"name": object(index), "key": "value"});
                let env = json!([
                    {"name": "CONFIG", "valueFrom": {"configMapKeyRef": of}},
                    {"name": "SECRET", "valueFrom": {"secretKeyRef": of}},
                ]);
                (None, env)
            }
        };
        Ok(serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": token,
                "containers": [{"name": "main", "image": "nginx", "env": env}],
                "tolerations": [{"operator": "Exists"}],
            },
        }))?)
    })
}

/// Name of the ConfigMap and of the Secret of a run's pod.
fn object(index: usize) -> String {
    format!("of-pod-{index}")
}

/// Makes ConfigMaps and Secrets for pods of these numbers, which the runs have in turn.
pub async fn make_objects(client: &Client, namespace: &str, of: Range<usize>) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let make = |index: usize| {
        let (maps, secrets) = (maps.clone(), secrets.clone());
        async move {
            let map = json!({"metadata": {"name": object(index)}, "data": {"value": "plain"}});
            let secret = json!({"metadata": {"name": object(index)}, "stringData": {"value": "hidden"}});
            maps.create(&PostParams::default(), &serde_json::from_value(map)?).await.context("create a ConfigMap")?;
            secrets
                .create(&PostParams::default(), &serde_json::from_value(secret)?)
                .await
                .context("create a Secret")?;
            anyhow::Ok(())
        }
    };
    stream::iter(of).map(make).buffer_unordered(CREATORS).try_collect().await
}

/// Tells of this run's pods until it is aborted. A busy API server ends watches, and may have forgotten where one was: then a
/// list tells what was missed.
async fn watch(
    pods: Api<Pod>,
    prefix: String,
    ready: oneshot::Sender<()>,
    marks: mpsc::UnboundedSender<Mark>,
) -> Result<()> {
    let tell = |index: usize, event: Event| {
        let _ = marks.send(Mark { pod: index, event, at: Instant::now() });
    };
    let index =
        |pod: &Pod| pod.metadata.name.as_deref().and_then(|name| name.strip_prefix(&prefix)?.parse::<usize>().ok());
    let mut ready = Some(ready);
    let mut alive = BTreeSet::new();
    loop {
        let list = pods.list(&ListParams::default()).await?;
        let mut version = list.metadata.resource_version.unwrap_or_default();
        let listed: BTreeSet<usize> = list.items.iter().filter_map(index).collect();
        alive.difference(&listed).for_each(|gone| tell(*gone, Event::Gone));
        list.items
            .iter()
            .filter(|pod| phase(pod) == "Running")
            .filter_map(index)
            .for_each(|pod| tell(pod, Event::Running));
        alive = listed;
        if let Some(ready) = ready.take() {
            let _ = ready.send(());
        }
        'watches: loop {
            let Ok(events) = pods.watch(&WatchParams::default(), &version).await else { break };
            let mut events = std::pin::pin!(events);
            loop {
                let pod = match events.try_next().await {
                    Ok(Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => {
                        if let Some(index) = index(&pod) {
                            alive.insert(index);
                            if phase(&pod) == "Running" {
                                tell(index, Event::Running);
                            }
                        }
                        pod
                    }
                    Ok(Some(WatchEvent::Deleted(pod))) => {
                        if let Some(index) = index(&pod).filter(|index| alive.remove(index)) {
                            tell(index, Event::Gone);
                        }
                        pod
                    }
                    Ok(Some(WatchEvent::Bookmark(_))) => continue,
                    Ok(None) => break,
                    Ok(Some(WatchEvent::Error(_))) | Err(_) => break 'watches,
                };
                version = pod.resource_version().unwrap_or(version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_default_pods_have_something_to_look_up() {
        let spec = |content| template("ns", "node", content)("p", 7).unwrap().spec.unwrap();
        let minimal = spec(Content::Minimal);
        assert_eq!(minimal.automount_service_account_token, Some(false));
        assert_eq!(minimal.containers[0].env.as_deref(), Some(&[][..]));
        let default = spec(Content::Default);
        assert_eq!(default.automount_service_account_token, None);
        assert_eq!(serde_json::to_string(&default.containers[0].env).unwrap().matches("of-pod-7").count(), 2);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let start = Instant::now();
        let spans = Spans((1..=200).map(|ms| (start, start + Duration::from_millis(ms))).collect());
        assert_eq!(spans.latency(), Latency { p50: 0.1, p99: 0.198 });
        assert_eq!(spans.whole(), Duration::from_millis(200));
        assert!((spans.per_second() - 1000.0).abs() < 1e-6);
        assert_eq!(Spans(Vec::new()).latency(), Latency::default());
    }
}
