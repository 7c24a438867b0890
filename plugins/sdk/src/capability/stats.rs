//! Use of resources, for `kubectl top` and autoscaling.

use std::time::Duration;

use crate::bindings::imports::virtual_kubelet::provider::types;
use crate::bindings::stats::exports::virtual_kubelet::provider::stats as wit;
use crate::pod::PodRef;
use crate::time::{Time, nanos};
use crate::{Page, Result};

/// Counters and gauges of one container; what the backend does not tell is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// none: of the node as a whole.
    pub pod: Option<PodRef>,
    /// none: of the pod as a whole.
    pub container: Option<String>,
    /// Of the figures.
    pub time: Time,
    /// Since when counters count.
    pub started: Option<Time>,
    /// Time on a core, summed up.
    pub cpu: Option<Duration>,
    /// What the out-of-memory killer looks at.
    pub memory_working_set_bytes: Option<u64>,
    /// Anonymous memory.
    pub memory_rss_bytes: Option<u64>,
    /// Of the container's own layer.
    pub filesystem_used_bytes: Option<u64>,
    /// Summed up.
    pub network_received_bytes: Option<u64>,
    /// Summed up.
    pub network_sent_bytes: Option<u64>,
}

impl From<Usage> for wit::Usage {
    fn from(usage: Usage) -> Self {
        let Usage { pod, container, time, started, cpu, memory_working_set_bytes, memory_rss_bytes, .. } = usage;
        Self {
            pod,
            container,
            time_ms: time.as_millis(),
            started_ms: started.map(Time::as_millis),
            cpu_nanoseconds: cpu.map(nanos),
            memory_working_set_bytes,
            memory_rss_bytes,
            filesystem_used_bytes: usage.filesystem_used_bytes,
            network_received_bytes: usage.network_received_bytes,
            network_sent_bytes: usage.network_sent_bytes,
        }
    }
}

/// Use of resources.
pub trait Stats {
    /// Of every pod that this node owns, in pages.
    ///
    /// # Errors
    /// Not known.
    fn get_stats_summary(after: Option<String>) -> Result<Page<Usage>>;
}

impl<T: Stats> wit::Guest for T {
    fn get_stats_summary(after: Option<String>) -> Result<wit::Page, types::Error> {
        let Page { items, next } = <T as Stats>::get_stats_summary(after)?;
        Ok(wit::Page { usage: items.into_iter().map(Into::into).collect(), next })
    }
}
