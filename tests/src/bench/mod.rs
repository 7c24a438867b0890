//! The benchmark: `vk-host` with the mock, beside a client that does the least a node can do, on one API server.
//!
//! ```text
//! for each number of pods, for each round:  bare, vk-host         all at once, 16 creators
//! for each round:                           bare, vk-host         20 a second
//! ```
//!
//! A figure alone says more about the machine than about the node, hence the bare client, the rounds in turn, and the
//! requests and the CPU time beside the rates. Nothing here fails for being slow; what is bounded is how long it is waited
//! for. Times count from when a request is sent to when a watch tells the driver.

mod bare;
mod client;
mod load;
mod report;
mod requests;
mod side;

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

/// Runs the benchmark. Call it on the main thread: what it starts ends with that one.
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
    let kinds: &[Kind] = if arguments.alone { &[Kind::VkHost] } else { &[Kind::Bare, Kind::VkHost] };
    let mut plan = Vec::new();
    for (pods, pace) in arguments.pods.iter().map(|pods| (*pods, Pace::AtOnce)).chain([(arguments.paced, Pace::Steady)])
    {
        let rounds = (1..=arguments.rounds).filter(|_| pods > 0);
        plan.extend(rounds.flat_map(|round| kinds.iter().map(move |kind| (usize::from(pods), pace, round, *kind))));
    }
    let mut runs = Vec::new();
    for (index, (pods, pace, round, kind)) in plan.iter().copied().enumerate() {
        say(&format!(
            "run {} of {}: {pods} pods {}, {} (round {round})",
            index + 1,
            plan.len(),
            pace.name(),
            kind.name()
        ));
        let run = bench.run(index, pods, pace, round, kind).await;
        runs.push(run.with_context(|| format!("the logs are in {}", folder.display()))?);
    }
    let report = Report { machine, kubernetes: bench.control_plane.version().to_owned(), runs };
    fs::write(folder.join("latest.json"), serde_json::to_vec_pretty(&report)?)?;
    let mut out = std::io::stdout().lock();
    Ok(writeln!(out, "{}", report.markdown())?)
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
    async fn run(&self, index: usize, pods: usize, pace: Pace, round: u16, kind: Kind) -> Result<Run> {
        let side = Side::start(kind, index, &self.control_plane, &self.sides)?;
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
        side.end(&self.client).await?;
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
}
