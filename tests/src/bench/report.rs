//! The result: all runs as JSON, medians as Markdown.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::calls::{self, Figures};
use super::load::{Content, Latency, Pace, Wave};
use super::requests::Requests;
use super::side::Kind;

/// One side in one round. Times are seconds, memory is MiB.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "named after the columns")]
pub struct Run {
    pub side: Kind,
    #[serde(flatten)]
    pub wave: Wave,
    pub round: u16,
    pub ready: f64,
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
    /// Calls without a cluster.
    pub calls: Vec<Figures>,
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

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpus, load, profile } = self;
        write!(f, "{profile} build, {cpus} CPUs shared by all, load before: {load}")
    }
}

const BURST: &str = "\
| pods | node | pods/s to Running | of bare: median (min–max) | create→Running p50 / p99 s | delete all s | requests/pod, by verb | events/pod | CPU s | API server CPU s | RSS idle / full / peak MiB | start→Ready ms |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

const PACED: &str = "\
| pods | node | create→Running p50 / p99 ms | delete→gone p50 / p99 ms | requests/pod, by verb | events/pod | CPU ms/pod | API server CPU ms/pod |
| --- | --- | --- | --- | --- | --- | --- | --- |";

/// Requests of which there are fewer a pod are not a pod's: lists and watches of the whole node.
const RARE: f64 = 0.005;

impl Report {
    /// Keeps it as `latest.json`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join("latest.json");
        fs::write(&file, serde_json::to_vec_pretty(self)?).with_context(|| format!("write {}", file.display()))
    }

    /// Tables for people.
    pub fn markdown(&self) -> String {
        let rounds = self.runs.iter().map(|run| run.round).max().unwrap_or_default();
        let mut text = format!("{}, Kubernetes {}; medians of {rounds} rounds\n", self.machine, self.kubernetes);
        for content in [Content::Minimal, Content::Default] {
            self.table(&mut text, content, Pace::AtOnce, BURST, |runs| self.burst(runs));
            self.table(&mut text, content, Pace::Steady, PACED, paced);
        }
        if !self.calls.is_empty() {
            let _ = write!(text, "\n{}", calls::markdown(&self.calls));
        }
        let refused: u32 = self.runs.iter().map(|run| run.requests.refused).sum();
        let _ = write!(text, "\nrequests that the API server refused, in all runs: {refused}");
        text
    }

    /// One row for each number of pods and side.
    fn table(&self, text: &mut String, content: Content, pace: Pace, head: &str, row: impl Fn(&[&Run]) -> String) {
        let mut rows: Vec<(Wave, Kind)> = Vec::new();
        for run in self.runs.iter().filter(|run| (run.wave.content, run.wave.pace) == (content, pace)) {
            if !rows.contains(&(run.wave, run.side)) {
                rows.push((run.wave, run.side));
            }
        }
        if !rows.is_empty() {
            let _ = write!(text, "\n{} pods {}:\n\n{head}\n", content.name(), pace.name());
        }
        for (wave, side) in rows {
            let runs: Vec<&Run> = self.runs.iter().filter(|run| run.wave == wave && run.side == side).collect();
            let _ = writeln!(text, "| {} | {} | {} |", wave.pods, side.name(), row(&runs));
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
            "{:.0} | {of_bare} | {:.2} / {:.2} | {:.1} | {} | {:.2} | {:.1} | {:.0} / {:.0} / {:.0} | {:.0}",
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
            m(|run| run.ready * 1e3),
        )
    }

    /// The rate, of that of the bare client in the same round.
    fn of_bare(&self, run: &Run) -> Option<f64> {
        let same = |other: &&Run| other.wave == run.wave && other.round == run.round;
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
        m(|run| run.cpu * 1e3 / run.wave.pods as f64),
        m(|run| run.api_server_cpu * 1e3 / run.wave.pods as f64),
    )
}

/// Two columns: requests for pods, all and by verb, the most frequent first; and events.
fn requests(runs: &[&Run]) -> String {
    let m = |pick: &dyn Fn(&Requests) -> u32| {
        median(runs.iter().map(|run| f64::from(pick(&run.requests)) / run.wave.pods as f64).collect())
    };
    let names: BTreeSet<&str> = runs.iter().flat_map(|run| run.requests.by_verb()).map(|(name, _)| name).collect();
    let count = |name: &str| m(&|requests| requests.of_pods.get(name).copied().unwrap_or_default());
    let mut by_verb: Vec<(&str, f64)> = names.into_iter().map(|name| (name, count(name))).collect();
    by_verb.retain(|(_, count)| *count >= RARE);
    by_verb.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let by_verb: Vec<String> = by_verb.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
    format!("{:.2}: {} | {:.2}", m(&Requests::for_pods), by_verb.join(", "), m(&Requests::events))
}

/// Of an even number, the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len().is_multiple_of(2) { f64::midpoint(at(middle.saturating_sub(1)), at(middle)) } else { at(middle) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(side: Kind, content: Content, round: u16, rate: f64) -> Run {
        let of_pods = [("delete pods", 10), ("patch pods/status", 20 * u32::from(round)), ("create events", 10)];
        let of_pods = of_pods.map(|(name, count)| (name.to_owned(), count)).into();
        Run {
            side,
            wave: Wave { pods: 10, content, pace: Pace::AtOnce },
            round,
            ready: 0.25,
            pods_per_second: rate,
            running: Latency::default(),
            gone: Latency::default(),
            delete_all: 0.0,
            requests: Requests { of_pods, of_the_node: 3, refused: 1 },
            cpu: 0.0,
            api_server_cpu: 0.0,
            resident_idle: 1.0,
            resident_full: 2.0,
            resident_peak: 3.0,
        }
    }

    #[test]
    fn each_kind_of_pods_has_a_table_of_medians() {
        let runs = vec![
            run(Kind::Bare, Content::Minimal, 1, 100.0),
            run(Kind::VkHost, Content::Minimal, 1, 80.0),
            run(Kind::VkHost, Content::Minimal, 2, 60.0),
            run(Kind::Bare, Content::Minimal, 2, 100.0),
            run(Kind::VkHost, Content::Default, 1, 50.0),
        ];
        let report = Report { machine: Machine::look(), kubernetes: "v1".into(), runs, calls: Vec::new() };
        let text = report.markdown();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| 10 |")).collect();
        let [bare, host, default] = rows[..] else { panic!("three rows, and not\n{text}") };
        assert!(text.contains("\nminimal pods at once:\n") && text.contains("\ndefault pods at once:\n"), "{text}");
        assert!(bare.starts_with("| 10 | bare | 100 | – |"), "{bare}");
        assert!(host.starts_with("| 10 | vk-host | 70 | 0.70 (0.60–0.80) |"), "{host}");
        assert!(host.contains("| 4.00: patch pods/status 3.00, delete pods 1.00 | 1.00 |"), "{host}");
        assert!(host.ends_with("| 1 / 2 / 3 | 250 |"), "{host}");
        assert!(default.starts_with("| 10 | vk-host | 50 | – |"), "{default}");
        assert!(text.ends_with("in all runs: 5"), "{text}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!([vec![], vec![3.0], vec![4.0, 1.0], vec![9.0, 1.0, 2.0]].map(median), [0.0, 3.0, 2.5, 2.0]);
    }
}
