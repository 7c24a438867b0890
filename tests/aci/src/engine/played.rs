//! Containers that are nothing but a state: for tests with more of them than a machine runs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{Attempt, Exit, Login, Place, Sandbox, Tail};
use crate::world::lock;

/// What a container says that was asked to end.
const TERMINATED: i64 = 143;

/// All of them.
#[derive(Default)]
pub(crate) struct Played {
    containers: Mutex<HashMap<String, Container>>,
    next: AtomicU32,
}

struct Container {
    command: Vec<String>,
    log: String,
    since: Timestamp,
    end: watch::Sender<Option<Exit>>,
}

impl Played {
    pub(super) async fn is_accessible(&self, image: &str, _: Option<&Login>) -> bool {
        !image.starts_with("missing")
    }

    pub(super) async fn pull(&self, _: &str, _: Option<&Login>) -> Result<()> {
        Ok(())
    }

    pub(super) async fn place(&self, _: &Sandbox) -> Result<Place> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let [_, a, b, c] = number.to_be_bytes();
        Ok(Place { id: format!("sandbox-{number}"), ip: Some(format!("10.{a}.{b}.{c}")) })
    }

    pub(super) async fn make(&self, _: &Place, attempt: &Attempt) -> Result<String> {
        let id = format!("container-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let now = Timestamp::now();
        let log = format!("{now} {}\n", attempt.command.join(" "));
        let container = Container { command: attempt.command.clone(), log, since: now, end: watch::Sender::new(None) };
        lock(&self.containers).insert(id.clone(), container);
        Ok(id)
    }

    pub(super) async fn start(&self, id: &str) -> Result<()> {
        let mut containers = lock(&self.containers);
        let container = containers.get_mut(id).context("no such container")?;
        container.since = Timestamp::now();
        let number = |text: &String| text.parse::<i64>().ok();
        let (after, code) = match container.command.as_slice() {
            [word, seconds] if word == "sleep" => (number(seconds), 0),
            [word, code] if word == "exit" => (Some(0), number(code).unwrap_or(1)),
            _ => (None, 0),
        };
        if let Some(seconds) = after {
            let (end, since) = (container.end.clone(), container.since);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
                finish(&end, since, code);
            });
        }
        Ok(())
    }

    pub(super) async fn wait(&self, id: &str) -> Result<Exit> {
        let end = lock(&self.containers).get(id).map(|container| container.end.subscribe());
        let mut end = end.context("no such container")?;
        let exit = end.wait_for(Option::is_some).await?.clone();
        exit.context("it has not ended")
    }

    pub(super) async fn stop(&self, id: &str, _: Duration) -> Result<()> {
        if let Some(container) = lock(&self.containers).get(id) {
            finish(&container.end, container.since, TERMINATED);
        }
        Ok(())
    }

    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        lock(&self.containers).remove(id);
        Ok(())
    }

    pub(super) async fn remove_volume(&self, _: &str) -> Result<()> {
        Ok(())
    }

    pub(super) async fn run(&self, _: &str, command: &[String]) -> Result<i64> {
        Ok(i64::from(command.first().is_some_and(|word| word == "false")))
    }

    pub(super) async fn logs(&self, id: &str, tail: Tail) -> Result<String> {
        let log = lock(&self.containers).get(id).map(|container| container.log.clone());
        Ok(tail.of(&log.context("no such container")?))
    }
}

/// What has ended stays as it ended.
fn finish(end: &watch::Sender<Option<Exit>>, since: Timestamp, code: i64) {
    end.send_if_modified(|exit| {
        let is_first = exit.is_none();
        exit.get_or_insert(Exit { since, until: Timestamp::now(), code, out_of_memory: false });
        is_first
    });
}
