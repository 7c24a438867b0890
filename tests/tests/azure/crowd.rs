//! Many pods at once, on rates that are Azure's and sixty times as fast; and when the API server told what became of each.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::task::JoinHandle;
use vk_fake_aci::config::Rate;
use vk_tests::cluster::{Corner, phase};

use crate::corner::{Ground, Setup};

/// Creates of pods in flight.
const CREATORS: usize = 16;
/// Azure's rates of creates, and of deletes, sixty times as fast: an hour is a minute.
pub(crate) const ACTS: [(u32, Duration); 2] = [(100, Duration::from_secs(5)), (300, Duration::from_secs(60))];
/// The same for the provider, and the resource manager's rates, which are buckets.
const BUDGETS: &str =
    "[budgets]\nfactor = 60\ncreates = [\"100/5s\", \"300/1m\"]\ndeletes = [\"100/5s\", \"300/1m\"]\n";
/// What the provider's configuration says if it says nothing.
pub(crate) const PERIOD: Duration = Duration::from_secs(5);

/// A cloud with room for a thousand pods, which are played, and with both kinds of limits.
pub(crate) fn roomy(setup: &mut Setup) {
    setup.played();
    let behaviour = &mut setup.fake.behaviour;
    (behaviour.groups, behaviour.cores, behaviour.factor) = (1000, 1000.0, 60.0);
    behaviour.acts = Some(ACTS.map(|(most, window)| Rate { most: most.into(), window }).to_vec());
    setup.provider = setup.provider.replace("poll-period = \"1s\"\n", "") + BUDGETS;
}

/// The time in which so many can be made at least.
pub(crate) fn floor(pods: usize) -> Duration {
    let mut made: Vec<Duration> = Vec::new();
    for index in 0..pods {
        let of = |(most, window): (u32, Duration)| {
            let before = index.checked_sub(usize::try_from(most).unwrap_or(usize::MAX))?;
            Some(*made.get(before)? + window)
        };
        made.push(ACTS.into_iter().filter_map(of).max().unwrap_or_default());
    }
    made.last().copied().unwrap_or_default()
}

/// Creates pods, as fast as the API server takes them.
pub(crate) async fn create(ground: &Ground, pods: impl IntoIterator<Item = Value>) -> Result<()> {
    let pods: Vec<Value> = pods.into_iter().collect();
    let creates = stream::iter(pods).map(|pod| async { ground.corner.create(pod).await.map(drop) });
    creates.buffer_unordered(CREATORS).try_collect().await
}

/// UID and phase, and when a watch told that first.
type Told = BTreeMap<(String, String), Timestamp>;

/// What a watch tells of a namespace's pods.
pub(crate) struct Crowd {
    told: Arc<Mutex<Told>>,
    watch: JoinHandle<()>,
}

impl Crowd {
    /// Begins to watch.
    pub(crate) fn of(corner: &Corner<'static>) -> Self {
        let told = Arc::<Mutex<Told>>::default();
        let (pods, kept) = (corner.pods(), Arc::clone(&told));
        let watch = tokio::spawn(async move {
            let mut seen = pin!(watcher(pods, watcher::Config::default()).default_backoff().applied_objects());
            // A busy API server ends watches: they begin anew.
            while let Some(pod) = seen.next().await {
                let Ok(pod) = pod else { continue };
                let (uid, phase) = (pod.uid().unwrap_or_default(), phase(&pod).to_owned());
                lock(&kept).entry((uid, phase)).or_insert_with(Timestamp::now);
            }
        });
        Self { told, watch }
    }

    /// When each pod was first in a phase, by its UID.
    pub(crate) fn told(&self, phase: &str) -> BTreeMap<String, Timestamp> {
        let of = |((uid, told), at): (&(String, String), &Timestamp)| (told == phase).then(|| (uid.clone(), *at));
        lock(&self.told).iter().filter_map(of).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How late something was, for people.
pub(crate) struct Lateness(Vec<Duration>);

impl Lateness {
    /// Of all that happened: when, and when that was told.
    pub(crate) fn of(spans: impl Iterator<Item = (Timestamp, Timestamp)>) -> Self {
        let late = |(from, to): (Timestamp, Timestamp)| from.duration_until(to).unsigned_abs();
        let mut all: Vec<Duration> = spans.map(late).collect();
        all.sort_unstable();
        Self(all)
    }

    /// So many of a hundred are not above.
    pub(crate) fn at(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}
