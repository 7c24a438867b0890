//! The result: all runs and counts as JSON, medians as Markdown, and whether both sides did the same work.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::super::load::Latency;
use super::super::report::{Machine, median};
use super::super::side::Kind;
use super::Content;
use super::counter::Calls;
use super::run::{Counted, Run};

/// Calls a pod that one side may make and the other not: a look is three of them, it is made when something was heard, and how much is
/// heard together is a matter of moments.
const MOST_DIFFERENT: f64 = 2.5;

const TIMES: &str = "\
| pods | client | s to Running: median (min–max) | of bare: median (min–max) | create→Running p50 / p99 s | delete→gone p50 / p99 s | its CPU s | engine's CPU s | cluster's CPU s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    machine: Machine,
    kubernetes: String,
    engine: String,
    pub(super) runs: Vec<Run>,
    pub(super) counts: Vec<Counted>,
}

impl Report {
    pub(super) fn new(machine: Machine, (kubernetes, engine): (String, String)) -> Self {
        Self { machine, kubernetes, engine, runs: Vec::new(), counts: Vec::new() }
    }

    /// Keeps it as `engine.json`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join("engine.json");
        fs::write(&file, serde_json::to_vec_pretty(self)?).with_context(|| format!("write {}", file.display()))
    }

    /// An error if the two sides ask the engine for different things, whatever they took.
    pub(super) fn check(&self) -> Result<()> {
        for (bare, host) in self.pairs() {
            let (differ, content) = (differ(bare, host), bare.content.name());
            ensure!(
                differ <= MOST_DIFFERENT,
                "the bare client does other work: {differ:.2} calls a {content} pod are not the same, see above"
            );
        }
        Ok(())
    }

    /// Counts of the same pods: of the bare client, and of `vk-host`.
    fn pairs(&self) -> impl Iterator<Item = (&Counted, &Counted)> {
        let of = |side| move |counted: &&Counted| counted.side == side;
        self.counts.iter().filter(of(Kind::Bare)).filter_map(move |bare| {
            let host = self.counts.iter().filter(of(Kind::VkHost)).find(|host| host.content == bare.content)?;
            Some((bare, host))
        })
    }

    /// Tables for people.
    pub(super) fn markdown(&self) -> String {
        let Self { machine, kubernetes, engine, runs, .. } = self;
        let rounds = runs.iter().map(|run| run.round).max().unwrap_or_default();
        let mut text = format!(
            "pods as real containers: {machine}, Kubernetes {kubernetes}, Docker {engine}; medians of {rounds} rounds\n\n{TIMES}\n"
        );
        for content in [Content::Minimal, Content::Token] {
            for side in [Kind::Bare, Kind::VkHost] {
                let runs: Vec<&Run> =
                    self.runs.iter().filter(|run| (run.content, run.side) == (content, side)).collect();
                if let Some(first) = runs.first() {
                    let _ =
                        writeln!(text, "| {} {} | {} | {} |", first.pods, content.name(), side.name(), self.row(&runs));
                }
            }
        }
        for content in [Content::Minimal, Content::Token] {
            self.calls(&mut text, content);
            self.requests(&mut text, content);
        }
        text
    }

    fn row(&self, runs: &[&Run]) -> String {
        let m = |pick: fn(&Run) -> f64| median(runs.iter().map(|run| pick(run)).collect());
        let latency = |latency: Latency| format!("{:.1} / {:.1}", latency.p50, latency.p99);
        let of = |pick: &dyn Fn(&Run) -> Option<Latency>| {
            let all: Vec<Latency> = runs.iter().filter_map(|run| pick(run)).collect();
            let m = |pick: fn(&Latency) -> f64| median(all.iter().map(pick).collect());
            if all.is_empty() { "–".to_owned() } else { latency(Latency { p50: m(|l| l.p50), p99: m(|l| l.p99) }) }
        };
        format!(
            "{} | {} | {} | {} | {:.1} | {:.1} | {:.1}",
            spread(&runs.iter().map(|run| run.running).collect::<Vec<_>>(), 1),
            spread(&runs.iter().filter_map(|run| self.of_bare(run)).collect::<Vec<_>>(), 2),
            of(&|run| Some(run.latency)),
            of(&|run| run.gone),
            m(|run| run.cpu),
            m(|run| run.engine_cpu),
            m(|run| run.cluster_cpu),
        )
    }

    /// The time, of that of the bare client in the same round.
    fn of_bare(&self, run: &Run) -> Option<f64> {
        let same = |other: &&Run| (other.content, other.round) == (run.content, run.round);
        let bare = self.runs.iter().filter(same).find(|other| other.side == Kind::Bare)?;
        (run.side != Kind::Bare).then(|| run.running / bare.running)
    }

    /// What `vk-host` has asked the API server for.
    fn requests(&self, text: &mut String, content: Content) {
        let runs: Vec<_> = self.runs.iter().filter(|run| run.content == content).collect();
        let names: BTreeSet<&String> =
            runs.iter().filter_map(|run| run.requests.as_ref()).flat_map(|all| all.of_pods.keys()).collect();
        let of = |name: &String| {
            let counts = runs.iter().filter_map(|run| Some((run, run.requests.as_ref()?)));
            let a_pod = counts
                .map(|(run, all)| f64::from(all.of_pods.get(name).copied().unwrap_or_default()) / run.pods as f64);
            median(a_pod.collect())
        };
        let all: Vec<String> = names.into_iter().map(|name| format!("{name} {:.2}", of(name))).collect();
        if !all.is_empty() {
            let _ = writeln!(
                text,
                "requests of vk-host to the API server, a {} pod to Running: {}",
                content.name(),
                all.join(", ")
            );
        }
    }

    /// What was asked of the engine, a pod.
    fn calls(&self, text: &mut String, content: Content) {
        let of = |side| self.counts.iter().find(|counted| (counted.content, counted.side) == (content, side));
        let (bare, host) = (of(Kind::Bare), of(Kind::VkHost));
        let counted = || [bare, host].into_iter().flatten();
        let all: BTreeSet<&str> = counted()
            .flat_map(|counted| counted.running.all().chain(counted.gone.all()))
            .map(|(call, _)| call)
            .collect();
        if all.is_empty() {
            return;
        }
        let _ = writeln!(
            text,
            "\n| calls a {} pod | bare, to Running | vk-host, to Running | vk-host, to gone |\n| --- | --- | --- | --- |",
            content.name()
        );
        let column = |counted: Option<&Counted>, calls: fn(&Counted) -> &Calls, call: &str| {
            let count = counted.map(|counted| counted.a_pod(calls(counted).of(call)));
            count.map_or_else(|| "–".to_owned(), |count| format!("{count:.2}"))
        };
        for call in all {
            let (bare, first) = (column(bare, |c| &c.running, call), column(host, |c| &c.running, call));
            let _ = writeln!(text, "| `{call}` | {bare} | {first} | {} |", column(host, |c| &c.gone, call));
        }
        let sums: Vec<String> = counted()
            .map(|counted| {
                let sum = counted.running.for_pods().map(|(_, count)| count).sum();
                format!("{} {:.2}", counted.side.name(), counted.a_pod(sum))
            })
            .collect();
        let _ = writeln!(text, "\ncalls for pods, a {} pod to Running: {}", content.name(), sums.join(", "));
        if let Some((bare, host)) = bare.zip(host) {
            let _ = writeln!(text, "not the same: {:.2}", differ(bare, host));
        }
    }
}

/// Calls a pod that one of the two has made to Running and the other has not.
fn differ(bare: &Counted, host: &Counted) -> f64 {
    bare.a_pod(bare.running.differ(&host.running))
}

/// Median, and the least and the most; none: there is nothing.
fn spread(values: &[f64], digits: usize) -> String {
    let (least, most) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max));
    match least.zip(most) {
        Some((least, most)) => format!("{:.digits$} ({least:.digits$}–{most:.digits$})", median(values.to_vec())),
        None => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::counter::Counter;
    use super::*;
    use crate::engine::proxy::Asked;

    fn run(side: Kind, round: u16, running: f64) -> Run {
        let latency = Latency { p50: running / 2.0, p99: running };
        let gone = (side == Kind::VkHost).then_some(Latency { p50: 1.0, p99: 2.0 });
        let content = Content::Minimal;
        Run {
            side,
            content,
            pods: 10,
            round,
            running,
            latency,
            gone,
            cpu: 1.0,
            engine_cpu: 2.0,
            cluster_cpu: 3.0,
            requests: None,
        }
    }

    fn counted(side: Kind, looks: u64) -> Counted {
        let counter = Counter::default();
        for number in 0..looks {
            counter.note(&Asked { number, method: Method::GET, path: "/containers/json".to_owned() });
        }
        Counted { side, content: Content::Minimal, pods: 10, running: counter.take(), gone: Calls::default() }
    }

    fn report(looks: u64) -> Report {
        let runs = vec![
            run(Kind::Bare, 1, 10.0),
            run(Kind::VkHost, 1, 11.0),
            run(Kind::VkHost, 2, 9.0),
            run(Kind::Bare, 2, 10.0),
        ];
        let counts = vec![counted(Kind::VkHost, looks), counted(Kind::Bare, 20)];
        Report { machine: Machine::look(), kubernetes: "v1".to_owned(), engine: "20".to_owned(), runs, counts }
    }

    #[test]
    fn each_side_has_a_row_and_each_call_one() {
        let text = report(25).markdown();
        assert!(
            text.contains("\n| 10 minimal | bare | 10.0 (10.0–10.0) | – | 5.0 / 10.0 | – | 1.0 | 2.0 | 3.0 |\n"),
            "{text}"
        );
        assert!(
            text.contains("\n| 10 minimal | vk-host | 10.0 (9.0–11.0) | 1.00 (0.90–1.10) | 5.0 / 10.0 | 1.0 / 2.0 |"),
            "{text}"
        );
        assert!(text.contains("\n| `GET /containers/json` | 2.00 | 2.50 | 0.00 |\n"), "{text}");
        assert!(text.contains("\nnot the same: 0.50\n"), "{text}");
    }

    #[test]
    fn other_work_is_an_error() {
        assert!(report(25).check().is_ok());
        let error = report(200).check().unwrap_err().to_string();
        assert!(error.contains("18.00 calls a minimal pod are not the same"), "{error}");
    }
}
