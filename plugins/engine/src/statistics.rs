//! What a container uses. Docker computes a difference over a second unless asked not to; counters are enough here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use vk_provider::time::Time;

use crate::client::{Engine, of};
use crate::failure::{Result, absent};
use crate::time::moment;

/// `GET /containers/ID/stats`, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// When they were taken.
    #[serde(deserialize_with = "moment")]
    pub read: Option<Time>,
    cpu_stats: Cpu,
    memory_stats: Memory,
    /// By interface; none: it has no network of its own.
    networks: Option<BTreeMap<String, Traffic>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Memory {
    usage: Option<u64>,
    /// The cgroup's own figures: not the same in both versions of cgroups.
    stats: Option<BTreeMap<String, u64>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Traffic {
    rx_bytes: u64,
    tx_bytes: u64,
}

impl Statistics {
    /// Counter: time on a core, all cores together.
    pub fn cpu(&self) -> Option<Duration> {
        self.cpu_stats.cpu_usage.total_usage.map(Duration::from_nanos)
    }

    /// Memory that the kernel cannot simply take back: all of it less file pages that nobody used lately.
    pub fn working_set(&self) -> Option<u64> {
        let inactive = self.memory(["total_inactive_file", "inactive_file"]).unwrap_or(0);
        Some(self.memory_stats.usage?.saturating_sub(inactive))
    }

    /// Anonymous memory.
    pub fn rss(&self) -> Option<u64> {
        self.memory(["total_rss", "anon"])
    }

    /// The figure by its name in cgroups v1, else in v2.
    fn memory(&self, names: [&str; 2]) -> Option<u64> {
        let stats = self.memory_stats.stats.as_ref()?;
        names.iter().find_map(|name| stats.get(*name).copied())
    }

    /// Counters: bytes received and sent over all interfaces; none: it has no network of its own.
    pub fn network(&self) -> Option<(u64, u64)> {
        let networks = self.networks.as_ref().filter(|networks| !networks.is_empty())?;
        let sum = |of: fn(&Traffic) -> u64| networks.values().map(of).fold(0, u64::saturating_add);
        Some((sum(|traffic| traffic.rx_bytes), sum(|traffic| traffic.tx_bytes)))
    }
}

impl Engine {
    /// What a container uses now; none: it is not there.
    ///
    /// # Errors
    /// It does not run (Podman alone says so), there was no answer, or the engine said no.
    pub fn statistics(&self, id: &str) -> Result<Option<Statistics>> {
        let request = self.get(&of("containers", id, "/stats")).query("stream", "0");
        let one_shot = self.dialect().has_one_shot_statistics();
        absent(self.read(&if one_shot { request.query("one-shot", "1") } else { request }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups_are_understood() {
        let v1: Statistics = serde_json::from_str(
            r#"{"read":"2026-11-24T10:00:00.5Z","cpu_stats":{"cpu_usage":{"total_usage":1500000000}},
            "memory_stats":{"usage":1000,"stats":{"total_inactive_file":300,"inactive_file":1,"total_rss":200,"rss":2}},
            "networks":{"eth0":{"rx_bytes":10,"tx_bytes":20},"eth1":{"rx_bytes":1,"tx_bytes":2}}}"#,
        )
        .unwrap();
        assert_eq!(v1.cpu(), Some(Duration::from_millis(1500)));
        assert_eq!((v1.working_set(), v1.rss(), v1.network()), (Some(700), Some(200), Some((11, 22))));
        let v2: Statistics = serde_json::from_str(
            r#"{"cpu_stats":{"cpu_usage":{"total_usage":1}},"memory_stats":{"usage":1000,"stats":{"inactive_file":400,"anon":100}},"networks":{}}"#,
        )
        .unwrap();
        assert_eq!((v2.working_set(), v2.rss(), v2.network()), (Some(600), Some(100), None));
    }

    #[test]
    fn what_is_not_told_is_not_zero() {
        let ended: Statistics =
            serde_json::from_str(r#"{"read":"0001-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{}},"memory_stats":{}}"#)
                .unwrap();
        assert_eq!(
            (ended.read, ended.cpu(), ended.working_set(), ended.rss(), ended.network()),
            (None, None, None, None, None)
        );
    }
}
