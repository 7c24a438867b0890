//! What pods use, as the provider tells it, made into what the kubelet's users read: [`summary`] and [`resource`].
//!
//! A provider tells counters and gauges of pods and containers. The node's own figures are its entry for the node if there is
//! one, else all pods and this process together: metrics-server drops a node whose processor time or memory is 0.

pub(super) mod resource;
pub(super) mod summary;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use axum::response::Response;
use jiff::Timestamp;

use super::Api;
use super::router::not_implemented;
use crate::pods::index::Index;
use crate::process;
use crate::provider::{Error, PodRef, Usage};

/// One thing's figures and what follows from the ones before.
#[derive(Clone, Debug, Default, PartialEq)]
struct Figure {
    usage: Usage,
    /// Billionths of a core, between the last two gatherings.
    nano_cores: Option<u64>,
}

/// A pod and its containers.
#[derive(Clone, Debug, PartialEq)]
struct PodFigures {
    id: PodRef,
    started: Timestamp,
    whole: Figure,
    containers: Vec<(String, Figure)>,
}

/// The node and its pods.
#[derive(Clone, Debug, PartialEq)]
struct Figures {
    node: Figure,
    pods: Vec<PodFigures>,
}

/// A pod's UID and a container; none: the pod as a whole, where no containers are told.
type Key = (String, Option<String>);

/// A counter when it was last seen.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time_ms: u64,
    cpu_nanoseconds: u64,
    nano_cores: Option<u64>,
}

/// What has to be remembered from one gathering to the next.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    samples: HashMap<Key, Sample>,
    /// What each pod has used, by its UID: a container's counter falls when it starts again, and its pod's must not.
    totals: HashMap<String, Sample>,
    /// Processor time of all pods, also of those that are gone: a counter must not fall when a pod ends.
    pods_cpu_nanoseconds: u64,
    node: Option<Sample>,
}

/// Asks the provider; an error is ready to be answered.
async fn gather(api: &Api) -> Result<Figures, Error> {
    let told = api.provider.get_stats_summary().await?;
    Ok(api.meter.figures(told, &api.pods, Timestamp::now()))
}

/// The answer of a node whose provider has no statistics. No figures of this process alone: they would look as if the node's
/// pods used nothing.
fn refuse(api: &Api) -> Option<Response> {
    let sentence = || format!("provider {} has no statistics", api.provider.identity().name);
    (!api.provider.capabilities().stats).then(|| not_implemented(sentence()))
}

impl Meter {
    /// Orders what was told. Pods that the API server does not have, or not any more, are left out.
    fn figures(&self, told: Vec<Usage>, index: &Index, now: Timestamp) -> Figures {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = index.all();
        let uids: HashSet<&str> = known.iter().map(|pod| pod.uid()).collect();
        memory.samples.retain(|(uid, _), _| uids.contains(uid.as_str()));
        memory.totals.retain(|uid, _| uids.contains(uid.as_str()));
        let (node, of_pods): (Vec<Usage>, Vec<Usage>) = told.into_iter().partition(|usage| usage.pod.is_none());
        /// Of one pod: the whole, and each container by name.
        type Told = (Option<Usage>, Vec<(String, Usage)>);
        let mut by_pod: HashMap<PodRef, Told> = HashMap::new();
        for mut usage in of_pods {
            let Some(id) = usage.pod.take() else { continue };
            let (whole, containers) = by_pod.entry(id).or_default();
            match usage.container.take() {
                Some(name) => containers.push((name, usage)),
                None => *whole = Some(usage),
            }
        }
        let mut pods = Vec::new();
        for pod in &known {
            let id = pod.id();
            let Some((whole, mut containers)) = by_pod.remove(&id) else { continue };
            containers.sort_by(|(a, _), (b, _)| a.cmp(b));
            let whole = complete(whole.unwrap_or_default(), &containers);
            let started = whole.started_ms.map(timestamp).or(pod.status.start_time.as_ref().map(|time| time.0));
            let (whole, containers) = memory.pod(&id.uid, whole, containers);
            pods.push(PodFigures { whole, containers, started: started.unwrap_or(now), id });
        }
        pods.sort_by(|a, b| a.id.cmp(&b.id));
        let node = memory.node(node.into_iter().next().unwrap_or_default(), &pods, now);
        Figures { node, pods }
    }
}

impl Memory {
    /// A pod's figures. What it has used is what its containers' counters have grown by, each of which may begin anew, or what is
    /// told of the whole if that is more.
    fn pod(&mut self, uid: &str, whole: Usage, containers: Vec<(String, Usage)>) -> (Figure, Vec<(String, Figure)>) {
        let (mut grown, mut by_container) = (0_u64, false);
        let containers = containers.into_iter().map(|(name, usage)| {
            let nano_cores = usage.cpu_nanoseconds.and_then(|cpu| {
                let (sample, more) = self.take((uid.to_string(), Some(name.clone())), usage.time_ms, cpu);
                (grown, by_container) = (grown.saturating_add(more), true);
                sample.nano_cores
            });
            (name, Figure { usage, nano_cores })
        });
        let containers = containers.collect();
        let Some(told) = whole.cpu_nanoseconds else { return (Figure { usage: whole, nano_cores: None }, containers) };
        if !by_container {
            (_, grown) = self.take((uid.to_string(), None), whole.time_ms, told);
        }
        let before = self.totals.get(uid).copied();
        let used = before.map_or(0, |before| before.cpu_nanoseconds);
        let total = used.saturating_add(grown).max(told);
        self.pods_cpu_nanoseconds = self.pods_cpu_nanoseconds.saturating_add(total - used);
        let sample = Sample { cpu_nanoseconds: total, ..Sample::after(before, whole.time_ms, total) };
        self.totals.insert(uid.to_string(), sample);
        let usage = Usage { cpu_nanoseconds: Some(total), ..whole };
        (Figure { usage, nano_cores: sample.nano_cores }, containers)
    }

    /// Takes note of a counter, and tells how much it has grown by.
    fn take(&mut self, key: Key, time_ms: u64, cpu_nanoseconds: u64) -> (Sample, u64) {
        let before = self.samples.get(&key).copied();
        let sample = Sample::after(before, time_ms, cpu_nanoseconds);
        let grown = match before {
            None => cpu_nanoseconds,
            Some(before) if before.time_ms >= time_ms => 0,
            // A counter that fell has begun anew.
            Some(before) => cpu_nanoseconds.checked_sub(before.cpu_nanoseconds).unwrap_or(cpu_nanoseconds),
        };
        self.samples.insert(key, sample);
        (sample, grown)
    }

    fn node(&mut self, told: Usage, pods: &[PodFigures], now: Timestamp) -> Figure {
        let own_memory = process::memory().unwrap_or_default();
        let sum = |of: fn(&Usage) -> Option<u64>| {
            let told = pods.iter().filter_map(|pod| of(&pod.whole.usage));
            told.fold(own_memory, u64::saturating_add)
        };
        let own_cpu = u64::try_from(process::cpu().as_nanos()).unwrap_or(u64::MAX);
        // A node that uses nothing is one that does not tell.
        let or = |told: Option<u64>, sum: u64| told.filter(|told| *told > 0).unwrap_or(sum);
        let time_ms = if told.time_ms > 0 { told.time_ms } else { milliseconds(now) };
        let cpu = or(told.cpu_nanoseconds, self.pods_cpu_nanoseconds.saturating_add(own_cpu));
        let sample = Sample::after(self.node, time_ms, cpu);
        self.node = Some(sample);
        let usage = Usage {
            time_ms,
            cpu_nanoseconds: Some(sample.cpu_nanoseconds),
            memory_working_set_bytes: Some(or(
                told.memory_working_set_bytes,
                sum(|usage| usage.memory_working_set_bytes),
            )),
            memory_rss_bytes: Some(or(told.memory_rss_bytes, sum(|usage| usage.memory_rss_bytes))),
            ..told
        };
        Figure { usage, nano_cores: sample.nano_cores }
    }
}

impl Sample {
    /// The later one, with the rate between the two. One that was overtaken by a later one changes nothing.
    fn after(before: Option<Self>, time_ms: u64, cpu_nanoseconds: u64) -> Self {
        match before {
            Some(before) if before.time_ms >= time_ms => before,
            Some(before) => {
                let grown = cpu_nanoseconds.checked_sub(before.cpu_nanoseconds);
                // Nanoseconds a millisecond are millionths of a core.
                let rate = |grown: u64| u128::from(grown) * 1000 / u128::from(time_ms - before.time_ms);
                let nano_cores = grown.map(|grown| u64::try_from(rate(grown)).unwrap_or(u64::MAX));
                Self { time_ms, cpu_nanoseconds, nano_cores }
            }
            None => Self { time_ms, cpu_nanoseconds, nano_cores: None },
        }
    }
}

/// The pod as a whole, where the provider tells only its containers.
fn complete(whole: Usage, containers: &[(String, Usage)]) -> Usage {
    let sum = |of: fn(&Usage) -> Option<u64>| {
        let told = containers.iter().filter_map(|(_, usage)| of(usage));
        told.fold(None, |sum: Option<u64>, value| Some(sum.unwrap_or_default().saturating_add(value)))
    };
    let latest = || containers.iter().map(|(_, usage)| usage.time_ms).max().unwrap_or_default();
    Usage {
        time_ms: if whole.time_ms > 0 { whole.time_ms } else { latest() },
        cpu_nanoseconds: whole.cpu_nanoseconds.or_else(|| sum(|usage| usage.cpu_nanoseconds)),
        memory_working_set_bytes: whole
            .memory_working_set_bytes
            .or_else(|| sum(|usage| usage.memory_working_set_bytes)),
        memory_rss_bytes: whole.memory_rss_bytes.or_else(|| sum(|usage| usage.memory_rss_bytes)),
        filesystem_used_bytes: whole.filesystem_used_bytes.or_else(|| sum(|usage| usage.filesystem_used_bytes)),
        ..whole
    }
}

fn timestamp(milliseconds: u64) -> Timestamp {
    let milliseconds = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
