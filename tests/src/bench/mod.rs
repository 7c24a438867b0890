//! The benchmark: `vk-host` with the mock, beside a client that does the least a node can do, on one API server.
//!
//! ```text
//! once, not counted:                        vk-host, bare         all at once
//! for each number of pods, for each round:  bare, vk-host         all at once, 16 creators
//! for each round:                           bare, vk-host         20 a second
//! ```
//!
//! In every second round vk-host comes first, so that neither side always finds the API server as the other has left it.
//! A figure alone says more about the machine than about the node, hence the bare client, the rounds in turn, and the
//! requests and the CPU time beside the rates. Nothing here fails for being slow; what is bounded is how long it is waited
//! for. Times count from when a request is sent to when a watch tells the driver.

mod bare;
mod client;
mod load;
mod report;
mod requests;
mod side;

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use jiff::Timestamp;

use crate::cluster::create_namespace;
use crate::control_plane::ControlPlane;
use crate::host;
use crate::process::Process;
use load::{Load, Pace};
use report::{Machine, Report, Run};
use requests::Requests;
use side::{Kind, Side};

/// What is still under way when the last pod is there, or gone: events above all.
const AFTERGLOW: Duration = Duration::from_secs(2);
/// More would measure the API server's memory.
const MOST_PODS: i64 = 5000;
/// More would not make the median better.
const MOST_ROUNDS: i64 = 20;
/// The round that is not counted, before the first one: a new API server is slower than it will be.
const WARM_UP: u16 = 0;

/// Measures vk-host with the mock beside a client that makes one status patch and one delete a pod.
#[derive(Debug, Parser)]
#[command(name = "vk-bench", args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Numbers of pods that are created at once, at most 5000 each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [300, 1000], value_parser = clap::value_parser!(u16).range(1..=MOST_PODS))]
    pods: Vec<u16>,
    /// How often each is measured, at most 20 times
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=MOST_ROUNDS))]
    rounds: u16,
    /// Pods of a paced run, at 20 a second; 0: none
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=MOST_PODS))]
    paced: u16,
    /// Measure vk-host only, as a profiler wants it
    #[arg(long)]
    alone: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the bare client
    #[command(hide = true)]
    Bare {
        #[arg(long)]
        kubeconfig: PathBuf,
        #[arg(long)]
        node: String,
    },
}

/// Runs the benchmark.
pub fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.command {
        Some(Command::Bare { kubeconfig, node }) => runtime.block_on(bare::run(&kubeconfig, &node)),
        None => runtime.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let folder = host::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = fs::File::create(folder.join("lock"))?;
    ensure!(lock.try_lock().is_ok(), "another benchmark is running in {}", folder.display());
    let machine = Machine::look();
    let bench = Bench::start(ControlPlane::start(&folder.join("control-plane"))?, folder.join("sides")).await?;
    let plan = plan(arguments);
    let mut report = Report { machine, kubernetes: bench.control_plane.version().to_owned(), runs: Vec::new() };
    for (index, planned) in plan.iter().enumerate() {
        say(&format!("run {} of {}: {planned}", index + 1, plan.len()));
        let run = bench.run(index, *planned).await;
        let run = run.with_context(|| format!("the logs are in {}", folder.display()))?;
        if planned.round == WARM_UP {
            continue;
        }
        report.runs.push(run);
        // Each time: what was measured is not lost with a run that fails.
        fs::write(folder.join("latest.json"), serde_json::to_vec_pretty(&report)?)?;
    }
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{}", report.markdown())?)
}

/// One run of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    pods: usize,
    pace: Pace,
    round: u16,
    kind: Kind,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pods, pace, round, kind } = self;
        write!(f, "{pods} pods {}, {} ", pace.name(), kind.name())?;
        if *round == WARM_UP { write!(f, "(warm-up)") } else { write!(f, "(round {round})") }
    }
}

/// All runs, in their order.
fn plan(arguments: &Arguments) -> Vec<Planned> {
    let Arguments { command: _, pods, rounds, paced, alone } = arguments;
    let kinds = if *alone { vec![Kind::VkHost] } else { vec![Kind::Bare, Kind::VkHost] };
    let of_round = |pods: u16, pace: Pace, round: u16| {
        let mut kinds = kinds.clone();
        if round.is_multiple_of(2) {
            kinds.reverse();
        }
        kinds.into_iter().map(move |kind| Planned { pods: usize::from(pods), pace, round, kind })
    };
    let loads = pods.iter().map(|pods| (*pods, Pace::AtOnce)).chain([(*paced, Pace::Steady)]);
    let loads = loads.filter(|(pods, _)| *pods > 0);
    let warm_up = loads.clone().take(1).flat_map(|(pods, pace)| of_round(pods, pace, WARM_UP));
    let counted = loads.flat_map(|(pods, pace)| (1..=*rounds).flat_map(move |round| of_round(pods, pace, round)));
    warm_up.chain(counted).collect()
}

/// Progress, apart from the result.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

struct Bench {
    control_plane: ControlPlane,
    api_server: Process,
    client: kube::Client,
    namespace: String,
    sides: PathBuf,
}

impl Bench {
    async fn start(control_plane: ControlPlane, sides: PathBuf) -> Result<Self> {
        // State of nodes belongs to one cluster, and this one is new.
        if sides.exists() {
            fs::remove_dir_all(&sides).context("remove what the last benchmark left")?;
        }
        let client = client::connect(control_plane.admin_kubeconfig(), "vk-bench").await?;
        let namespace = create_namespace(&client, "bench").await?;
        let pid = control_plane.pids()?.get("kube-apiserver").copied().context("there is no API server")?;
        Ok(Self { api_server: Process::of(pid)?, control_plane, client, namespace, sides })
    }

    /// One side, from its start to its end.
    async fn run(&self, index: usize, planned: Planned) -> Result<Run> {
        let side = Side::start(planned.kind, index, &self.control_plane, &self.sides)?;
        let run = tokio::select! {
            run = self.observe(&side, index, planned) => run?,
            error = side.lost() => return Err(error),
        };
        side.end(&self.client).await?;
        Ok(run)
    }

    async fn observe(&self, side: &Side, index: usize, planned: Planned) -> Result<Run> {
        let Planned { pods, pace, round, kind } = planned;
        side.ready(&self.client).await?;
        let mut load =
            Load::start(&self.client, &self.namespace, side.node(), &format!("r{index}"), pods, pace).await?;
        let (began, idle, server) = (Timestamp::now(), side.usage()?, self.api_server.usage()?);
        let running = load.create().await?;
        tokio::time::sleep(AFTERGLOW).await;
        let full = side.usage()?;
        let gone = load.delete().await?;
        tokio::time::sleep(AFTERGLOW).await;
        let (end, server_end) = (side.usage()?, self.api_server.usage()?);
        self.control_plane.audit_log().wait_flushed(&self.control_plane)?;
        let requests = Requests::of(side.user(), began, &self.control_plane)?;
        Ok(Run {
            side: kind,
            pods,
            pace,
            round,
            pods_per_second: running.per_second(),
            running: running.latency(),
            gone: gone.latency(),
            delete_all: gone.whole().as_secs_f64(),
            requests,
            cpu: (end.cpu - idle.cpu).as_secs_f64(),
            api_server_cpu: (server_end.cpu - server.cpu).as_secs_f64(),
            resident_idle: idle.resident,
            resident_full: full.resident,
            resident_peak: end.peak,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_bounded() {
        Arguments::command().debug_assert();
        assert_eq!(Arguments::try_parse_from(["vk-bench"]).unwrap().pods, [300, 1000]);
        assert!(Arguments::try_parse_from(["vk-bench", "--pods", "5001"]).is_err());
        assert!(Arguments::try_parse_from(["vk-bench", "--rounds", "0"]).is_err());
    }

    #[test]
    fn a_warm_up_comes_first_and_the_sides_take_turns_in_being_first() {
        let plan = |words: &[&str]| {
            let arguments = Arguments::try_parse_from(["vk-bench"].iter().chain(words)).unwrap();
            plan(&arguments).iter().map(Planned::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            plan(&["--pods", "5", "--rounds", "2", "--paced", "3"]),
            [
                "5 pods at once, vk-host (warm-up)",
                "5 pods at once, bare (warm-up)",
                "5 pods at once, bare (round 1)",
                "5 pods at once, vk-host (round 1)",
                "5 pods at once, vk-host (round 2)",
                "5 pods at once, bare (round 2)",
                "3 pods at 20 a second, bare (round 1)",
                "3 pods at 20 a second, vk-host (round 1)",
                "3 pods at 20 a second, vk-host (round 2)",
                "3 pods at 20 a second, bare (round 2)",
            ]
        );
        assert_eq!(plan(&["--alone", "--pods", "5", "--rounds", "1", "--paced", "0"]).len(), 2);
    }
}
