//! What is read of the host's parts at each scrape of `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::metrics::Registrar;
use crate::node::lease::Heartbeat;
use crate::plugin::Plugin;
use crate::plugin::swap::Counts;
use crate::pods::events::Events;
use crate::process;

/// Registers the plugin half's counters, events, the node's heartbeat and this process.
pub(super) fn register(
    registrar: &mut Registrar,
    plugin: &Arc<Plugin>,
    events: Events,
    heartbeat: Heartbeat,
    started: Timestamp,
) {
    registrar.gauge(
        "vk_lease_renewal_age_seconds",
        "Seconds since the node's lease was last renewed, by the monotonic clock; the node is lost at 40",
        move || heartbeat.age().map(|age| age.as_secs_f64()),
    );
    let running = plugin.clone();
    registrar.gauge(
        "vk_plugin_instances",
        "Instances of the plugin, each of which runs one call or session",
        move || Some(float(running.running_calls() as u64)),
    );
    let swapped = plugin.clone();
    registrar.counters("vk_plugin_swaps", "Attempts to swap the plugin, by how they ended", "outcome", move || {
        let Counts { replaced, refused, rolled_back, failing } = swapped.swaps();
        let counts = [("replaced", replaced), ("refused", refused), ("rolled_back", rolled_back), ("failing", failing)];
        counts.into_iter().map(|(outcome, count)| (outcome.to_string(), float(count))).collect()
    });
    let reaching = plugin.clone();
    registrar.counters(
        "vk_plugin_egress",
        "Requests and connections of the plugin, by what came of them; an answer whose body was cut counts for both",
        "outcome",
        move || reaching.egress().into_iter().map(|(outcome, count)| (outcome.to_string(), float(count))).collect(),
    );
    let plugin = plugin.clone();
    registrar.counters(
        "vk_plugin_calls_cut",
        "Calls of the plugin that did not end by an answer of its own, by the reason: a trap, a bound, a cancellation",
        "reason",
        move || plugin.cut_calls().into_iter().map(|(reason, calls)| (reason.into_owned(), float(calls))).collect(),
    );
    registrar.counter("vk_events_dropped", "Events that were not written because too many waited", move || {
        float(events.dropped())
    });
    registrar.counter("process_cpu_seconds", "Time of this process on a core, user and system, in seconds", || {
        process::cpu().as_secs_f64()
    });
    registrar.gauge("process_resident_memory_bytes", "Resident memory of this process in bytes", || {
        process::memory().map(float)
    });
    let started = started.duration_since(Timestamp::UNIX_EPOCH);
    let started = Duration::try_from(started).unwrap_or_default().as_secs_f64();
    registrar.gauge("process_start_time_seconds", "Start of this process in seconds since the unix epoch", move || {
        Some(started)
    });
}

/// Prometheus' values are floats, exact up to 2^53.
fn float(value: u64) -> f64 {
    value as f64
}
