//! Use of resources: made up, and the same at each call. A container uses half of what it requests.

use std::time::Duration;

use vk_provider::stats::Usage;
use vk_provider::store;
use vk_provider::time::Time;
use vk_provider::{Page, PodRef, Result, Stats};

use crate::Mock;
use crate::backend::{self, PODS};
use crate::record::{Part, Record, hash};
use crate::state::{Life, Run};

/// Of a container without a request: from 10 to 49 thousandths of a core, from 16 to 31 MiB.
const IDLE_CPU: u64 = 10;
const IDLE_MEMORY: u64 = 16 << 20;
/// Bytes a second and pod.
const RECEIVED: u64 = 200;
const SENT: u64 = 100;
/// The contract's bound is 1 MiB; an entry takes some 200 bytes.
const MOST: usize = 4000;

impl Stats for Mock {
    fn get_stats_summary(after: Option<String>) -> Result<Page<Usage>> {
        let now = backend::now();
        let page = store::page(PODS, after.as_deref())?;
        let (mut items, mut last) = (Vec::new(), None);
        for (name, entry) in page.items {
            if items.len() > MOST {
                return Ok(Page { items, next: last });
            }
            let record: Record = entry.parse(&name)?;
            if !record.timing.is_gone(now) {
                pod(&backend::id(PODS, &name)?, &record, now, &mut items);
            }
            last = Some(name);
        }
        Ok(Page { items, next: page.next })
    }
}

/// Each container that runs, and the pod as a whole.
fn pod(id: &PodRef, record: &Record, now: u64, items: &mut Vec<Usage>) {
    let snapshot = record.timing.at(now);
    if snapshot.sandbox > now || snapshot.end.is_some() {
        return;
    }
    let (mut cpu, mut memory) = (Duration::ZERO, 0);
    let runs = record.timing.init.iter().chain(&record.timing.main);
    let lives = snapshot.init.iter().chain(&snapshot.main);
    for ((part, run), life) in record.containers.iter().zip(runs).zip(lives) {
        // Counters do not fall: what earlier attempts used the pod has used.
        cpu += cpu_time(id, part, ran(run, *life, now));
        if let Life::Running(attempt) = life {
            let usage = container(id, part, attempt.start, now);
            memory += usage.memory_working_set_bytes.unwrap_or(0);
            items.push(usage);
        }
    }
    let seconds = now.saturating_sub(snapshot.sandbox) / 1000;
    items.push(Usage {
        pod: Some(id.clone()),
        time: Time::from_millis(now),
        started: Some(Time::from_millis(snapshot.sandbox)),
        cpu: Some(cpu),
        memory_working_set_bytes: Some(memory),
        memory_rss_bytes: Some(memory / 2),
        network_received_bytes: Some(seconds * RECEIVED),
        network_sent_bytes: Some(seconds * SENT),
        ..Usage::default()
    });
}

/// How long a container has run over all attempts, in milliseconds. All but the last have run to their own ends.
fn ran(run: &Run, life: Life, now: u64) -> u64 {
    let Some(attempt) = life.attempt() else { return 0 };
    let earlier = u64::from(attempt.number).saturating_mul(run.run_for.unwrap_or(0));
    earlier.saturating_add(attempt.end.map_or(now, |end| end.min(now)).saturating_sub(attempt.start))
}

fn seed(id: &PodRef, part: &Part) -> u64 {
    hash(&id.uid) ^ hash(&part.name)
}

/// What a container uses in so many milliseconds.
fn cpu_time(id: &PodRef, part: &Part, ran: u64) -> Duration {
    let millicores = part.cpu.map_or(IDLE_CPU + seed(id, part) % 40, |cpu| cpu / 2);
    // A thousandth of a core for a millisecond is a microsecond.
    Duration::from_micros(millicores.saturating_mul(ran))
}

fn container(id: &PodRef, part: &Part, start: u64, now: u64) -> Usage {
    let memory = part.memory.map_or(IDLE_MEMORY + seed(id, part) % IDLE_MEMORY, |memory| memory / 2);
    Usage {
        pod: Some(id.clone()),
        container: Some(part.name.clone()),
        time: Time::from_millis(now),
        started: Some(Time::from_millis(start)),
        cpu: Some(cpu_time(id, part, now.saturating_sub(start))),
        memory_working_set_bytes: Some(memory),
        memory_rss_bytes: Some(memory / 2),
        ..Usage::default()
    }
}
