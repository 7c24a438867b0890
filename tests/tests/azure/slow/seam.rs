//! The way to Azure itself, walked once: the same program runs its tests against a cloud that it knows by credentials
//! alone, as `just test-azure` has it. That cloud is a fake too, started as a program.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use vk_tests::cluster::within;
use vk_tests::engine::{Engine, folder, tagged};
use vk_tests::host::built;
use vk_tests::process::{Tie, start};

/// A run has a control plane of its own, and pods, two at once.
const RUN: Duration = Duration::from_secs(1200);

/// So many tests are run there at least, each with a pod of its own.
const TESTS: usize = 20;

/// A fake as a program. It ends with its input.
struct Program {
    child: Child,
    about: Value,
}

impl Program {
    fn start(folder: &Path, engine: &Engine) -> Result<Self> {
        let mut command = Command::new(built("fake-aci")?);
        command.arg("--folder").arg(folder).arg("--docker").arg(engine.socket()).args(["--pause", &tagged(1)]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no output")?).read_line(&mut line)?;
        Ok(Self { child, about: serde_json::from_str(&line)? })
    }

    fn said(&self, name: &str) -> Result<&str> {
        self.about[name].as_str().with_context(|| format!("it does not say {name}"))
    }

    /// What it has seen, by its own control.
    async fn seen(&self, what: &str) -> Result<Value> {
        let url = format!("{}/fake/{what}", self.said("plainUrl")?);
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(serde_json::from_str(&client.get(url).send().await?.text().await?)?)
    }

    /// Of how many pods it has made a group.
    async fn made(&self) -> Result<usize> {
        Ok(self.seen("made").await?.as_object().context("no object")?.len())
    }

    /// Runs tests against it as if it were Azure: those named so, or all that are run there. What they say is in `log`.
    fn run(&self, folder: &Path, tests: Option<&str>, log: &Path) -> Result<Child> {
        let credentials = folder.join("credentials.json");
        fs::write(&credentials, self.about["credentials"].to_string())?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["--exact", "pods_are_container_groups", "--nocapture"]);
        command.env("VK_TEST_AZURE", "1").env_remove("VK_TEST_ONLY");
        command.envs(tests.map(|tests| ("VK_TEST_ONLY", tests)));
        command.env("AZURE_AUTH_LOCATION", &credentials).env("SSL_CERT_FILE", self.said("authority")?);
        command.env("NO_PROXY", "localhost");
        command.env("ACI_REGION", "westeurope").env("ACI_RESOURCE_GROUP", "pods");
        command.env("VK_TEST_AZURE_IMAGE", tagged(1));
        let grants =
            format!("--grant http={} --grant addresses=127.0.0.0/8 --grant addresses=::1/128", self.said("url")?);
        command.env("VK_TEST_AZURE_FLAGS", grants);
        let out = File::create(log)?;
        start(&command, Tie::Killed, out.try_clone()?, out)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Waits for the end of a run.
async fn ended(run: &mut Child) -> Result<ExitStatus> {
    within(RUN, "the run ends", || {
        let status = run.try_wait();
        async move { Ok(status?) }
    })
    .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn the_tests_run_against_a_cloud_that_is_known_by_credentials_alone_and_leave_nothing_there() -> Result<()> {
    let engine = Engine::shared().await?;
    let folder = folder()?.join("seam");
    fs::create_dir_all(&folder)?;
    let cloud = Program::start(&folder, engine)?;

    let log = folder.join("whole.log");
    let mut run = cloud.run(&folder, None, &log)?;
    let status = ended(&mut run).await?;
    ensure!(status.success(), "{}", fs::read_to_string(&log)?);
    let whole = cloud.made().await?;
    ensure!(whole > TESTS, "{whole} groups were made: {}", fs::read_to_string(&log)?);

    // One that is ended in the middle removes what it has made.
    let log = folder.join("cut.log");
    let mut run = cloud.run(&folder, Some("pods::a_pod_runs"), &log)?;
    within(RUN, "a group is made", || async { Ok((cloud.made().await? > whole).then_some(())) }).await?;
    kill(Pid::from_raw(i32::try_from(run.id())?), Signal::SIGINT)?;
    let status = ended(&mut run).await?;
    let said = fs::read_to_string(&log)?;
    ensure!(!status.success() && said.contains("groups that were left, and are removed: 1"), "{said}");
    let groups = cloud.seen("groups").await?;
    ensure!(groups.as_array().is_some_and(Vec::is_empty), "{groups}");
    let violations = cloud.seen("violations").await?;
    ensure!(violations.as_array().is_some_and(Vec::is_empty), "{violations}");
    Ok(())
}
