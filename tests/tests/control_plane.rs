//! The control plane is real: RBAC and NodeRestriction hold, it survives the
//! loss of its API server, records requests, and leaves no process behind.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use vk_tests::{
    audit::Filter,
    control_plane::{Component, ControlPlane, Ending, Identity, succeed},
    metrics_server::MetricsServer,
    process::Process,
};

/// How long processes that were killed may be seen, on a machine that has other things to do.
const GONE_LIMIT: Duration = Duration::from_secs(20);

/// Measured figures, for a look with `--nocapture`.
macro_rules! note {
    ($($text:tt)*) => { writeln!(std::io::stderr(), $($text)*)? };
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Its components by name, as they are now.
fn components(cluster: &ControlPlane) -> Result<BTreeMap<String, Process>> {
    cluster.pids()?.into_iter().map(|(name, pid)| Ok((name, Process::of(pid)?))).collect()
}

fn wait_gone(processes: impl IntoIterator<Item = Process>) -> Result<()> {
    for process in processes {
        ensure!(process.wait_end(GONE_LIMIT), "process {} is left", process.pid);
    }
    Ok(())
}

/// Standard error of a command that has to fail.
fn refused(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(!output.status.success(), "{command:?} was not refused");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn create(cluster: &ControlPlane, kubeconfig: &Path, object: &serde_json::Value) -> Result<()> {
    let mut kubectl = cluster.kubectl_as(kubeconfig, &["create", "-f", "-"]);
    let mut child = kubectl.stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("no stdin")?.write_all(object.to_string().as_bytes())?;
    ensure!(child.wait()?.success(), "{object} was not created");
    Ok(())
}

#[test]
fn serves_a_node_and_survives_its_api_server() -> Result<()> {
    let cluster = ControlPlane::start(&folder("control-plane"))?;
    note!("{} ready in {:?}", cluster.version(), cluster.started_in());
    let before = components(&cluster)?;
    for (name, process) in &before {
        note!("{name}: {:.0} MiB resident", process.usage()?.resident);
    }

    succeed(&mut cluster.kubectl(&["create", "namespace", "smoke"]))?;
    let node = cluster.node_kubeconfig("x")?;
    let object = |name: &str| serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    create(&cluster, &node, &object("x"))?;
    ensure!(create(&cluster, &node, &object("y")).is_err(), "NodeRestriction is off");
    let told = refused(&mut cluster.kubectl_as(&node, &["get", "secrets", "-A"]))?;
    ensure!(told.contains("Forbidden"), "unexpected refusal: {told}");

    let impostor = Identity { impostor: true, ..ControlPlane::kubelet_client() };
    let impostor = cluster.issue(&impostor)?.kubeconfig;
    let told = refused(&mut cluster.kubectl_as(&impostor, &["get", "nodes"]))?;
    ensure!(told.contains("Unauthorized"), "unexpected refusal: {told}");

    let began = Instant::now();
    cluster.restart(Component::ApiServer, Ending::Crash)?;
    note!("API server crashed and back in {:?}", began.elapsed());
    let after = components(&cluster)?;
    ensure!(before.get("kube-apiserver") != after.get("kube-apiserver"), "the API server was not restarted");
    ensure!(before.get("etcd") == after.get("etcd"), "etcd was restarted too");
    succeed(&mut cluster.kubectl(&["get", "node", "x"]))?;

    let supervisor = Process::of(cluster.supervisor_pid())?;
    let began = Instant::now();
    drop(cluster);
    note!("stopped in {:?}", began.elapsed());
    wait_gone(before.into_values().chain(after.into_values()).chain([supervisor]))
}

#[test]
fn records_who_asked_for_what() -> Result<()> {
    let cluster = ControlPlane::shared(&folder("shared"))?;
    succeed(&mut cluster.kubectl(&["create", "configmap", "recorded"]))?;
    let log = cluster.audit_log();
    let began = Instant::now();
    log.wait_flushed(cluster)?;
    note!("audit log flushed in {:?}", began.elapsed());
    let filter =
        Filter { verb: Some("create"), resource: Some("configmaps"), name: Some("recorded"), ..Filter::default() };
    let found = log.select(Filter { user_agent: Some("kubectl/"), ..filter })?;
    let [event] = found.as_slice() else { anyhow::bail!("{found:?}") };
    ensure!(
        (event.user.as_str(), event.namespace.as_str(), event.code) == ("kubernetes-admin", "default", 201),
        "{event:?}"
    );
    ensure!(!cluster.dir().join(".kube").exists(), "kubectl wrote into its home");
    Ok(())
}

#[test]
fn a_stopped_component_stays_down_until_resumed() -> Result<()> {
    let cluster = ControlPlane::start_with(&folder("stopped"), &[(Component::Scheduler, "--v=3")])?;
    cluster.stop(Component::ApiServer, Ending::Orderly)?;
    refused(&mut cluster.kubectl(&["get", "nodes", "--request-timeout=2s"]))?;
    cluster.resume(Component::ApiServer)?;
    cluster.restart(Component::Etcd, Ending::Crash)?;
    succeed(&mut cluster.kubectl(&["get", "nodes"])).map(drop)
}

#[test]
fn leaves_no_process_when_its_supervisor_is_killed() -> Result<()> {
    let cluster = ControlPlane::start(&folder("killed"))?;
    let components = components(&cluster)?;
    succeed(Command::new("kill").args(["-KILL", &cluster.supervisor_pid().to_string()]))?;
    wait_gone(components.into_values())
}

#[test]
fn one_folder_holds_one_control_plane_and_a_lost_component_ends_it() -> Result<()> {
    let dir = folder("one");
    let cluster = ControlPlane::start(&dir)?;
    let second = ControlPlane::start(&dir).err().context("a second one started")?;
    ensure!(second.to_string().contains("did not start"), "{second:#}");

    let (components, supervisor) = (components(&cluster)?, Process::of(cluster.supervisor_pid())?);
    let scheduler = components.get("kube-scheduler").context("no scheduler")?;
    succeed(Command::new("kill").args(["-KILL", &scheduler.pid.to_string()]))?;
    wait_gone(components.into_values().chain([supervisor]))
}

/// Here, before the tests that ask it are beside others: its build takes both processors for minutes, once.
#[test]
fn there_is_a_metrics_server() -> Result<()> {
    let program = MetricsServer::program()?;
    ensure!(Command::new(&program).arg("--version").status()?.success(), "{} does not run", program.display());
    Ok(())
}
