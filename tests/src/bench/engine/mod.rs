//! Pods as real containers: `vk-host` with the provider `docker`, beside a client of the engine alone that makes the same calls.
//!
//! ```text
//! vk-bench ── a namespace ──► vk-bench engine ── control plane, engine
//!
//! for pods that are minimal, and with a token:
//!   counted, through a proxy, not timed:   vk-host, bare
//!   for each round:                        bare, vk-host        in every second one vk-host comes first
//! ```
//!
//! The bare client says to the engine what `vk-host` says, with as much at once, and knows no Kubernetes and no plugin: what `vk-host`
//! takes longer is their price. It ends at the answer that shows a container running; `vk-host` when a watch of the API server tells
//! the driver so. That both do the same work is counted before anything is timed, and a difference is an error.

mod bare;
mod counter;
mod report;
mod run;

use std::ffi::OsString;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::report::Machine;
use super::side::Kind;
use super::{MOST_ROUNDS, WARM_UP, folder, print, say};
use crate::engine::{self, Inside};
use crate::host;
use report::Report;
use run::{Bench, Planned};

/// More would leave no address of the engine's bridge for them.
const MOST_PODS: i64 = 200;
/// What makes the pods' image, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 1] = [("busybox", "busybox-static")];
/// The container of each pod.
const CONTAINER: &str = "main";
/// What it runs: nothing, until it is asked to end.
const COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"];

/// What is in the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// One container
    Minimal,
    /// One container, and the token of the service account that admission adds
    Token,
}

impl Content {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Token => "token",
        }
    }
}

/// Pods on a real engine.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Pods that are created at once, at most 200
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=MOST_PODS))]
    pods: u16,
    /// How often each is measured, at most 20 times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=MOST_ROUNDS))]
    rounds: u16,
    /// What is in the pods: nothing to look up, or a token
    #[arg(long, value_name = "CONTENT,…", value_enum, value_delimiter = ',', default_values = ["minimal", "token"])]
    content: Vec<Content>,
    /// Measure vk-host only, as a profiler wants it
    #[arg(long)]
    alone: bool,
}

/// Runs this program again in a namespace, to measure there; says why if that cannot be here, which is an error only to who asked
/// for nothing else.
pub(super) fn run(arguments: impl IntoIterator<Item = OsString>, asked: bool) -> Result<()> {
    match engine::lacks(engine::Kind::Docker, &PROGRAMS) {
        Some(why) if asked => bail!("no engine can run here: {why}"),
        Some(why) => print(&format!("\nSKIPPED: pods as real containers. {why}")),
        None => {
            let parent = host::target().join("bench").join("engine");
            let mut inside = Inside::start(engine::Kind::Docker, &parent, arguments)?;
            ensure!(
                inside.wait()?.success(),
                "pods as real containers: see above; logs are in {}",
                inside.folder().display()
            );
            Ok(())
        }
    }
}

/// Whether this process is in the namespace.
pub(super) fn is_inside() -> bool {
    engine::folder().is_ok()
}

/// Measures, in the namespace.
pub(super) async fn measure(arguments: &Arguments) -> Result<()> {
    let (folder, _lock) = folder()?;
    let machine = Machine::look();
    let logs = engine::folder()?;
    let bench = Bench::start(&logs).await?;
    let mut report = Report::new(machine, bench.versions().await?);
    let plan = plan(arguments);
    for (index, planned) in plan.iter().enumerate() {
        say(&format!("run {} of {}: {planned}", index + 1, plan.len()));
        if planned.round == WARM_UP {
            report.counts.push(bench.count(index, *planned).await?);
        } else {
            report.runs.push(bench.time(index, *planned).await?);
        }
        report.write(&folder)?;
    }
    print(&report.markdown())?;
    report.check()
}

/// All runs, in their order. `vk-host` is first of all: it makes the image of sandboxes, which the bare client takes.
fn plan(arguments: &Arguments) -> Vec<Planned> {
    let Arguments { pods, rounds, content, alone } = arguments;
    let kinds = if *alone { vec![Kind::VkHost] } else { vec![Kind::Bare, Kind::VkHost] };
    let of_round = |content: Content, round: u16| {
        let mut kinds = kinds.clone();
        if round.is_multiple_of(2) {
            kinds.reverse();
        }
        let pods = usize::from(*pods);
        kinds.into_iter().map(move |kind| Planned { pods, content, round, kind })
    };
    let counted = content.iter().flat_map(|content| of_round(*content, WARM_UP));
    let timed = content.iter().flat_map(|content| (1..=*rounds).flat_map(|round| of_round(*content, round)));
    counted.chain(timed).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn planned(words: &[&str]) -> Vec<String> {
        let line = Line::try_parse_from(["vk-bench"].iter().chain(words)).unwrap();
        plan(&line.arguments).iter().map(Planned::to_string).collect()
    }

    #[test]
    fn counts_come_first_and_the_sides_take_turns_in_being_first() {
        assert_eq!(
            planned(&["--pods", "3", "--rounds", "2", "--content", "token"]),
            [
                "3 token pods on an engine, vk-host (counted)",
                "3 token pods on an engine, bare (counted)",
                "3 token pods on an engine, bare (round 1)",
                "3 token pods on an engine, vk-host (round 1)",
                "3 token pods on an engine, vk-host (round 2)",
                "3 token pods on an engine, bare (round 2)",
            ]
        );
        assert_eq!(planned(&["--alone", "--rounds", "3"]).len(), 8);
    }
}
