//! Microsoft's own client drives the fake, and so checks the protocol from outside.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use vk_fake_aci::config::RunsOn;
use vk_fake_aci::{Config, Fake};
use vk_tests::engine::{Engine, folder, tagged};

/// Says that an environment is whole. Environments that were cut short have none.
const WHOLE: &str = "whole";
/// Set where nobody looks at what was skipped: there the client has to be had.
const CI: &str = "CI";
/// Set: not even there.
const WITHOUT: &str = "VK_TEST_WITHOUT_AZURE_SDK";

/// Whether the check may be skipped where there is no client.
fn may_be_skipped() -> bool {
    env::var_os(CI).is_none() || env::var_os(WITHOUT).is_some()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("aci/contract")
}

/// Where the client is kept, in the user's cache: one environment for each list of requirements.
fn environment() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME is set")?;
    let wanted = fs::read_to_string(sources().join("requirements.txt"))?;
    let versions: Vec<&str> =
        wanted.lines().filter_map(|line| line.split_once("==")).map(|(_, version)| version).collect();
    Ok(cache.join("vk-host/azure-sdk").join(versions.join("-")))
}

/// Gets the client from PyPI, once. Where there is no Python, or no way to PyPI, it says so, and the test with it is skipped; in CI it
/// is an error.
pub(crate) fn prepare() -> Result<()> {
    let environment = environment()?;
    if environment.join(WHOLE).is_file() {
        return Ok(());
    }
    fs::create_dir_all(&environment)?;
    let python = environment.join("bin/python");
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&environment);
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    install.arg(sources().join("requirements.txt"));
    for command in [&mut make, &mut install] {
        let why = match command.output() {
            Ok(output) if output.status.success() => continue,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        ensure!(may_be_skipped(), "no client of Microsoft's, and {WITHOUT} is not set: {why}");
        writeln!(io::stderr(), "\nno client of Microsoft's: {why}\non Debian: apt-get install python3-venv\n")?;
        return Ok(());
    }
    Ok(fs::write(environment.join(WHOLE), "")?)
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn microsofts_own_client_gets_on_with_the_fake() -> Result<()> {
    let environment = environment()?;
    if !environment.join(WHOLE).is_file() {
        ensure!(may_be_skipped(), "there is no client of Microsoft's, and {WITHOUT} is not set; see above");
        writeln!(io::stderr(), "\nSKIPPED: the contract with Microsoft's client, as there is none; see above\n")?;
        return Ok(());
    }
    let engine = Engine::shared().await?;
    let folder = folder()?.join("contract");
    let fake = Fake::start(Config::new(&folder, RunsOn::Docker { socket: engine.socket(), pause: tagged(1) }))?;
    let mut about = fake.about();
    about["image"] = json!(tagged(1));
    let file = folder.join("about.json");
    fs::write(&file, about.to_string())?;
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(sources().join("contract.py")).arg(&file);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
