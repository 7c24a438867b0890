//! The engine's events, one stream after the other, as the provider listens to them and the host has it do so: a stream ends soon
//! after its first news, and the next one begins a little later where it ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use vk_host::defaults::pods::CHANGES_FLOOR;

use super::client::Client;
use super::pod::Pod;

/// How long the provider waits for what comes with the first news.
const GATHER: Duration = Duration::from_millis(10);

/// Which pods something has happened to.
pub(super) struct Hints {
    pods: Vec<Hint>,
    by_uid: HashMap<String, usize>,
}

#[derive(Default)]
struct Hint {
    given: AtomicBool,
    bell: Notify,
}

/// What events are about.
struct News {
    /// Of the last one that was heard, in nanoseconds since 1970.
    until: u64,
    touched: Vec<usize>,
}

impl Hints {
    pub(super) fn of(pods: &[Arc<Pod>]) -> Self {
        let by_uid = pods.iter().enumerate().map(|(index, pod)| (pod.uid.clone(), index)).collect();
        Self { pods: pods.iter().map(|_| Hint::default()).collect(), by_uid }
    }

    /// Tells whether something has happened to a pod since this was asked last.
    pub(super) fn take(&self, pod: usize) -> bool {
        self.pods.get(pod).is_some_and(|hint| hint.given.swap(false, Ordering::Relaxed))
    }

    /// Waits until something has happened to a pod.
    pub(super) async fn wait(&self, pod: usize) {
        let Some(hint) = self.pods.get(pod) else { return };
        while !hint.given.load(Ordering::Relaxed) {
            hint.bell.notified().await;
        }
    }

    fn give(&self, pod: usize) {
        if let Some(hint) = self.pods.get(pod) {
            hint.given.store(true, Ordering::Relaxed);
            hint.bell.notify_one();
        }
    }

    /// Hears what happens, until it is dropped.
    pub(super) async fn listen(&self, client: &Client) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut news = News { until: u64::try_from(now)?, touched: Vec::new() };
        loop {
            self.follow(client, &mut news).await?;
            news.touched.drain(..).for_each(|pod| self.give(pod));
            sleep(CHANGES_FLOOR).await;
        }
    }

    /// One stream.
    async fn follow(&self, client: &Client, news: &mut News) -> Result<()> {
        let mut answer = client.events(news.until).await?;
        let (mut text, mut until) = (Vec::new(), None);
        loop {
            let chunk = match until {
                None => answer.chunk().await?,
                Some(until) => match timeout_at(until, answer.chunk()).await {
                    Ok(chunk) => chunk?,
                    Err(_) => return Ok(()),
                },
            };
            let Some(chunk) = chunk else { bail!("the engine has ended its events") };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                self.hear(&serde_json::from_slice(&line).context("an event cannot be read")?, news);
            }
            if !news.touched.is_empty() {
                until.get_or_insert_with(|| Instant::now() + GATHER);
            }
        }
    }

    fn hear(&self, event: &Value, news: &mut News) {
        let at = event.get("timeNano").and_then(Value::as_u64).unwrap_or_default();
        // The last one that was heard comes again.
        if at <= news.until {
            return;
        }
        news.until = at;
        let of = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if of("/Type") == "container" && matches!(of("/Action"), "start" | "die" | "destroy") {
            let pod = self.by_uid.get(of("/Actor/Attributes/io.kubernetes.pod.uid")).copied();
            news.touched.extend(pod.filter(|pod| !news.touched.contains(pod)));
        }
    }
}
