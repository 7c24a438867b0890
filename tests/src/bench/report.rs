//! The result: all runs as JSON, medians as Markdown.

use std::fmt::Write as _;

use serde::Serialize;

use super::load::{Latency, Pace};
use super::requests::Requests;
use super::side::Kind;

/// One side in one round. Times are seconds, memory is MiB.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "named after the columns")]
pub struct Run {
    pub side: Kind,
    pub pods: usize,
    pub pace: Pace,
    pub round: u16,
    pub pods_per_second: f64,
    pub running: Latency,
    pub gone: Latency,
    pub delete_all: f64,
    pub requests: Requests,
    pub cpu: f64,
    pub api_server_cpu: f64,
    pub resident_idle: f64,
    pub resident_full: f64,
    pub resident_peak: f64,
}

/// Where it was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cpus: usize,
    /// `/proc/loadavg` at the start: other work spoils rates.
    load: String,
    profile: &'static str,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// Version of the API server.
    pub kubernetes: String,
    /// In the order in which they were made.
    pub runs: Vec<Run>,
}

impl Machine {
    /// This one, now.
    pub fn look() -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            load: load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

const BURST: &str = "\
| pods | node | pods/s to Running | of bare: median (min–max) | create→Running p50 / p99 s | delete all s | requests/pod: status + delete + other | events/pod | CPU s | API server CPU s | RSS idle / full / peak MiB |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

const PACED: &str = "\
| pods | node | create→Running p50 / p99 ms | delete→gone p50 / p99 ms | requests/pod: status + delete + other | events/pod | CPU ms/pod | API server CPU ms/pod |
| --- | --- | --- | --- | --- | --- | --- | --- |";

impl Report {
    /// Tables for people.
    pub fn markdown(&self) -> String {
        let Machine { cpus, load, profile } = &self.machine;
        let rounds = self.runs.iter().map(|run| run.round).max().unwrap_or_default();
        let mut text = format!(
            "{profile} build, Kubernetes {}, {cpus} CPUs shared by all, load before: {load}; medians of {rounds} rounds\n",
            self.kubernetes
        );
        self.table(&mut text, Pace::AtOnce, BURST, |runs| self.burst(runs));
        self.table(&mut text, Pace::Steady, PACED, paced);
        let refused: u32 = self.runs.iter().map(|run| run.requests.refused).sum();
        let _ = write!(text, "\nrequests that the API server refused, in all runs: {refused}");
        text
    }

    /// One row for each number of pods and side.
    fn table(&self, text: &mut String, pace: Pace, head: &str, row: impl Fn(&[&Run]) -> String) {
        let mut rows: Vec<(usize, Kind)> = Vec::new();
        for run in self.runs.iter().filter(|run| run.pace == pace) {
            if !rows.contains(&(run.pods, run.side)) {
                rows.push((run.pods, run.side));
            }
        }
        if !rows.is_empty() {
            let _ = write!(text, "\n{}:\n\n{head}\n", pace.name());
        }
        for (pods, side) in rows {
            let of_row = |run: &&Run| run.pace == pace && run.pods == pods && run.side == side;
            let runs: Vec<&Run> = self.runs.iter().filter(of_row).collect();
            let _ = writeln!(text, "| {pods} | {} | {} |", side.name(), row(&runs));
        }
    }

    fn burst(&self, runs: &[&Run]) -> String {
        let m = |pick: fn(&Run) -> f64| median(runs.iter().map(|run| pick(run)).collect());
        let ratios: Vec<f64> = runs.iter().filter_map(|run| self.of_bare(run)).collect();
        let least = ratios.iter().copied().reduce(f64::min);
        let most = ratios.iter().copied().reduce(f64::max);
        let of_bare = match least.zip(most) {
            Some((least, most)) => format!("{:.2} ({least:.2}–{most:.2})", median(ratios)),
            None => "–".to_owned(),
        };
        format!(
            "{:.0} | {of_bare} | {:.2} / {:.2} | {:.1} | {} | {:.2} | {:.1} | {:.0} / {:.0} / {:.0}",
            m(|run| run.pods_per_second),
            m(|run| run.running.p50),
            m(|run| run.running.p99),
            m(|run| run.delete_all),
            requests(runs),
            m(|run| run.cpu),
            m(|run| run.api_server_cpu),
            m(|run| run.resident_idle),
            m(|run| run.resident_full),
            m(|run| run.resident_peak),
        )
    }

    /// The rate, of that of the bare client in the same round.
    fn of_bare(&self, run: &Run) -> Option<f64> {
        let same = |other: &&Run| other.pods == run.pods && other.pace == run.pace && other.round == run.round;
        let bare = self.runs.iter().filter(same).find(|other| other.side == Kind::Bare)?;
        (run.side != Kind::Bare).then(|| run.pods_per_second / bare.pods_per_second)
    }
}

fn paced(runs: &[&Run]) -> String {
    let m = |pick: fn(&Run) -> f64| median(runs.iter().map(|run| pick(run)).collect());
    format!(
        "{:.0} / {:.0} | {:.0} / {:.0} | {} | {:.1} | {:.1}",
        m(|run| run.running.p50 * 1e3),
        m(|run| run.running.p99 * 1e3),
        m(|run| run.gone.p50 * 1e3),
        m(|run| run.gone.p99 * 1e3),
        requests(runs),
        m(|run| run.cpu * 1e3 / run.pods as f64),
        m(|run| run.api_server_cpu * 1e3 / run.pods as f64),
    )
}

/// Two columns: requests for pods, and events.
fn requests(runs: &[&Run]) -> String {
    let m = |pick: fn(&Requests) -> u32| {
        median(runs.iter().map(|run| f64::from(pick(&run.requests)) / run.pods as f64).collect())
    };
    format!(
        "{:.2}: {:.2} + {:.2} + {:.2} | {:.2}",
        m(Requests::for_pods),
        m(|requests| requests.status),
        m(|requests| requests.deletes),
        m(|requests| requests.other_pods + requests.other),
        m(|requests| requests.events),
    )
}

/// Of an even number, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len().is_multiple_of(2) { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) } else { at(middle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!([vec![], vec![3.0], vec![4.0, 1.0], vec![9.0, 1.0, 2.0]].map(median), [0.0, 3.0, 2.5, 2.0]);
    }
}
