//! The benchmark: `vk-host` with the mock, beside a client that does the least a node can do, on one API server.
//!
//! ```text
//! once of each kind, not counted:             vk-host, bare       all at once
//! for pods that are minimal, and default:
//!   for each number of pods, for each round:  bare, vk-host       all at once, 16 creators
//!   for each round:                           bare, vk-host       20 a second
//! then:                                       calls into the mock, without a cluster
//! at last:                                    pods as real containers, see [`engine`]
//! ```
//!
//! In every second round vk-host comes first, so that neither side always finds the API server as the other has left it.
//! A figure alone says more about the machine than about the node, hence the bare client, the rounds in turn, and the
//! requests and the CPU time beside the rates. Nothing here fails for being slow; what is bounded is how long it is waited
//! for. Times count from when a request is sent to when a watch tells the driver.

mod bare;
mod calls;
mod client;
mod engine;
mod load;
mod report;
mod requests;
mod side;

use std::env;
use std::ffi::OsString;
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
use load::{Content, Load, Pace, Wave};
use report::{Machine, Report, Run};
use requests::Requests;
use side::{Kind, Side};

/// What is still under way when the first pod, or the last one, is there or gone: events above all.
const AFTERGLOW: Duration = Duration::from_secs(2);
/// More would measure the API server's memory.
const MOST_PODS: i64 = 5000;
/// The largest number, which takes minutes and is measured when it is asked for.
const FULL: u16 = 5000;
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
    /// And 5000 at once, which takes twenty minutes more
    #[arg(long)]
    full: bool,
    /// What is in the pods: nothing to look up, or a token, a ConfigMap and a Secret
    #[arg(long, value_name = "CONTENT,…", value_enum, value_delimiter = ',', default_values = ["minimal", "default"])]
    content: Vec<Content>,
    /// How often each is measured, at most 20 times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=MOST_ROUNDS))]
    rounds: u16,
    /// Pods of a paced run, at 20 a second; 0: none
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=MOST_PODS))]
    paced: u16,
    /// Calls of each kind into the mock without a cluster; 0: none
    #[arg(long, value_name = "N", default_value_t = CALLS)]
    calls: u16,
    /// Rounds of pods as real containers, where an engine can run; 0: none
    #[arg(long, value_name = "N", default_value_t = ENGINE_ROUNDS, value_parser = clap::value_parser!(u16).range(0..=MOST_ROUNDS))]
    engine: u16,
    /// Measure vk-host only, as a profiler wants it
    #[arg(long)]
    alone: bool,
}

/// A second or two of calls.
const CALLS: u16 = 2000;
/// Two minutes each.
const ENGINE_ROUNDS: u16 = 3;

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
    /// Measure calls into the mock only, which needs no cluster
    Calls {
        /// Of each kind
        #[arg(long, value_name = "N", default_value_t = CALLS, value_parser = clap::value_parser!(u16).range(1..))]
        calls: u16,
    },
    /// Measure pods as real containers only, in a namespace with a private Docker engine: needs root
    Engine(engine::Arguments),
}

/// Runs the benchmark.
pub fn run(arguments: Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &arguments.command {
        Some(Command::Bare { kubeconfig, node }) => runtime.block_on(bare::run(kubeconfig, node)),
        Some(Command::Calls { calls }) => runtime.block_on(measure_calls(*calls)),
        Some(Command::Engine(of_engine)) if engine::is_inside() => runtime.block_on(engine::measure(of_engine)),
        Some(Command::Engine(_)) => engine::run(env::args_os().skip(1), true),
        None => {
            runtime.block_on(measure(&arguments))?;
            let Arguments { engine: rounds, alone, .. } = arguments;
            let words = ["engine".to_owned(), format!("--rounds={rounds}")].into_iter();
            let words = words.chain(alone.then(|| "--alone".to_owned())).map(OsString::from);
            if rounds > 0 { engine::run(words, false) } else { Ok(()) }
        }
    }
}

/// Where files of benchmarks are, for this one alone until the lock is dropped.
fn folder() -> Result<(PathBuf, fs::File)> {
    let folder = host::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = fs::File::create(folder.join("lock"))?;
    ensure!(lock.try_lock().is_ok(), "another benchmark is running in {}", folder.display());
    Ok((folder, lock))
}

async fn measure_calls(calls: u16) -> Result<()> {
    let (folder, _lock) = folder()?;
    let machine = Machine::look();
    let figures = calls::measure(&folder.join("calls"), calls.into()).await?;
    print(&format!("{machine}\n\n{}", calls::markdown(&figures)))
}

fn print(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let (folder, _lock) = folder()?;
    let machine = Machine::look();
    let mut bench = Bench::start(ControlPlane::start(&folder.join("control-plane"))?, folder.join("sides")).await?;
    let plan = plan(arguments);
    let mut report =
        Report { machine, kubernetes: bench.control_plane.version().to_owned(), runs: Vec::new(), calls: Vec::new() };
    for (index, planned) in plan.iter().enumerate() {
        say(&format!("run {} of {}: {planned}", index + 1, plan.len()));
        let run = bench.run(index, *planned).await;
        let run = run.with_context(|| format!("the logs are in {}", folder.display()))?;
        if planned.round == WARM_UP {
            continue;
        }
        report.runs.push(run);
        // Each time: what was measured is not lost with a run that fails.
        report.write(&folder)?;
    }
    if arguments.calls > 0 {
        // By itself: the control plane would take its share of the processors.
        drop(bench);
        say("calls into the mock");
        report.calls = calls::measure(&folder.join("calls"), arguments.calls.into()).await?;
        report.write(&folder)?;
    }
    print(&report.markdown())
}

/// One run of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Planned {
    wave: Wave,
    round: u16,
    kind: Kind,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wave: Wave { pods, content, pace }, round, kind } = self;
        write!(f, "{pods} {} pods {}, {} ", content.name(), pace.name(), kind.name())?;
        if *round == WARM_UP { write!(f, "(warm-up)") } else { write!(f, "(round {round})") }
    }
}

/// All runs, in their order.
fn plan(arguments: &Arguments) -> Vec<Planned> {
    let Arguments { command: _, pods, full, content, rounds, paced, calls: _, engine: _, alone } = arguments;
    let kinds = if *alone { vec![Kind::VkHost] } else { vec![Kind::Bare, Kind::VkHost] };
    let of_round = |wave: Wave, round: u16| {
        let mut kinds = kinds.clone();
        if round.is_multiple_of(2) {
            kinds.reverse();
        }
        kinds.into_iter().map(move |kind| Planned { wave, round, kind })
    };
    let full = Some(FULL).filter(|number| *full && !pods.contains(number));
    let at_once = pods.iter().copied().chain(full).map(|pods| (pods, Pace::AtOnce));
    let loads: Vec<_> = at_once.chain([(*paced, Pace::Steady)]).filter(|(pods, _)| *pods > 0).collect();
    let waves = content.iter().flat_map(|content| {
        loads.iter().map(|(pods, pace)| Wave { pods: usize::from(*pods), content: *content, pace: *pace })
    });
    // Of each content: default pods warm the paths of ConfigMaps, Secrets and the Node authorizer too.
    let warm_up = content.iter().filter_map(|content| waves.clone().find(|wave| wave.content == *content));
    let warm_up: Vec<_> = warm_up.flat_map(|wave| of_round(wave, WARM_UP)).collect();
    let counted = waves.flat_map(|wave| (1..=*rounds).flat_map(move |round| of_round(wave, round)));
    warm_up.into_iter().chain(counted).collect()
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
    /// Pods whose ConfigMap and Secret are there.
    objects: usize,
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
        Ok(Self { api_server: Process::of(pid)?, control_plane, client, namespace, sides, objects: 0 })
    }

    /// One side, from its start to its end.
    async fn run(&mut self, index: usize, planned: Planned) -> Result<Run> {
        let Wave { pods, content, .. } = planned.wave;
        if content == Content::Default && pods > self.objects {
            load::make_objects(&self.client, &self.namespace, self.objects..pods).await?;
            self.objects = pods;
        }
        let side = Side::start(planned.kind, index, &self.control_plane, &self.sides)?;
        let run = tokio::select! {
            run = self.observe(&side, index, planned) => run?,
            error = side.lost() => return Err(error),
        };
        side.end(&self.client).await?;
        Ok(run)
    }

    async fn observe(&self, side: &Side, index: usize, planned: Planned) -> Result<Run> {
        let Planned { wave, round, kind } = planned;
        let ready = side.ready(&self.client).await?;
        // A node is Ready a moment before it has its lease and its first lists, which are no part of what a pod costs.
        let load = async |prefix: &str, Wave { pods, content, pace }| {
            let template = load::template(&self.namespace, side.node(), content);
            Load::start(&self.client, &self.namespace, &format!("{prefix}{index}"), pods, pace, template).await
        };
        let mut first = load("p", Wave { pods: 1, content: Content::Minimal, pace: Pace::AtOnce }).await?;
        first.create().await?;
        first.delete().await?;
        drop(first);
        let mut load = load("r", wave).await?;
        tokio::time::sleep(AFTERGLOW).await;
        let audit_log = self.control_plane.audit_log();
        let (before, began) = (audit_log.end(), Timestamp::now());
        let (idle, server) = (side.usage()?, self.api_server.usage()?);
        let running = load.create().await?;
        tokio::time::sleep(AFTERGLOW).await;
        let full = side.usage()?;
        let gone = load.delete().await?;
        tokio::time::sleep(AFTERGLOW).await;
        let (end, server_end) = (side.usage()?, self.api_server.usage()?);
        audit_log.wait_flushed(&self.control_plane)?;
        let requests = Requests::of(side.user(), began, before, &self.control_plane)?;
        Ok(Run {
            side: kind,
            wave,
            round,
            ready: ready.as_secs_f64(),
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
        let default = Arguments::try_parse_from(["vk-bench"]).unwrap();
        assert_eq!((default.pods, default.rounds), (vec![300, 1000], 5));
        assert_eq!(default.content, [Content::Minimal, Content::Default]);
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
            plan(&["--content", "default", "--pods", "5", "--rounds", "2", "--paced", "3"]),
            [
                "5 default pods at once, vk-host (warm-up)",
                "5 default pods at once, bare (warm-up)",
                "5 default pods at once, bare (round 1)",
                "5 default pods at once, vk-host (round 1)",
                "5 default pods at once, vk-host (round 2)",
                "5 default pods at once, bare (round 2)",
                "3 default pods at 20 a second, bare (round 1)",
                "3 default pods at 20 a second, vk-host (round 1)",
                "3 default pods at 20 a second, vk-host (round 2)",
                "3 default pods at 20 a second, bare (round 2)",
            ]
        );
        assert_eq!(
            plan(&["--alone", "--full", "--pods", "5", "--rounds", "1", "--paced", "0"]),
            [
                "5 minimal pods at once, vk-host (warm-up)",
                "5 default pods at once, vk-host (warm-up)",
                "5 minimal pods at once, vk-host (round 1)",
                "5000 minimal pods at once, vk-host (round 1)",
                "5 default pods at once, vk-host (round 1)",
                "5000 default pods at once, vk-host (round 1)",
            ]
        );
    }
}
