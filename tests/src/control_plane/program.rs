//! The program `vk-control-plane`: built once per user from the Go sources
//! beside this crate, and kept in the user's cache folder.
//!
//! ```text
//! CACHE/vk-host/control-plane/
//!   lock                          held while one caller builds
//!   v1.36.3-1f2e3d4c5b6a/         Kubernetes version, hash of the sources
//!     vk-control-plane
//! ```
//!
//! Contract: whatever [`binary`] returns is complete (it is built under another
//! name and renamed) and belongs to the sources as they are now.

use std::{
    env, fs,
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

const NAME: &str = "vk-control-plane";

/// The oldest Go that Kubernetes 1.36 accepts, as (major, minor).
const OLDEST_GO: (u32, u32) = (1, 26);

/// Hexadecimal digits of the source hash in the folder's name: enough to tell
/// apart the few versions one user ever builds.
const HASH_DIGITS: usize = 12;

/// How often a build says that it is alive; CI systems kill silent jobs.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// How often a running build is looked at.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// The built program; builds it first if it is missing (about five minutes on
/// two cores, 3 GB of Go build cache). Concurrent callers, also in other
/// processes, build once.
///
/// # Errors
///
/// Go is missing or too old, the build fails, or there is no cache folder.
pub fn binary() -> Result<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane");
    let version = kubernetes_version(&sources)?;
    let cache = cache_folder()?;
    let folder = cache.join(format!("{version}-{}", source_hash(&sources)?));
    let program = folder.join(NAME);
    if program.is_file() {
        return Ok(program);
    }

    check_go()?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let lock = fs::File::create(cache.join("lock")).context("create the build lock")?;
    lock.lock().context("wait for the build lock")?; // released when dropped
    if !program.is_file() {
        let unfinished = folder.join(format!("{NAME}.unfinished"));
        build(&sources, &version, &unfinished)?;
        fs::rename(&unfinished, &program).context("move the built program")?;
    }
    Ok(program)
}

fn build(sources: &Path, version: &str, out: &Path) -> Result<()> {
    say(&format!("building the control plane (Kubernetes {version}; about 5 minutes, once) …"));
    let began = Instant::now();
    let mut go = Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly"])
        .arg(format!("-ldflags={}", linker_flags(version)))
        .arg("-o")
        .arg(out)
        .arg(".")
        .current_dir(sources)
        // No C compiler needed, and the program runs on any Linux.
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("start go build")?;
    let status = wait_aloud(&mut go, began)?;
    ensure!(status.success(), "go build failed ({status}), see its messages above");
    say(&format!("built the control plane in {} s", began.elapsed().as_secs()));
    Ok(())
}

fn wait_aloud(go: &mut Child, began: Instant) -> Result<ExitStatus> {
    let mut next = PROGRESS_EVERY;
    loop {
        if let Some(status) = go.try_wait().context("wait for go build")? {
            return Ok(status);
        }
        if began.elapsed() >= next {
            say(&format!("building the control plane … {} s", began.elapsed().as_secs()));
            next += PROGRESS_EVERY;
        }
        thread::sleep(POLL_EVERY);
    }
}

/// Progress of a build, for whoever waits in front of a terminal; a closed
/// stderr must not end the build.
fn say(progress: &str) {
    let _ = writeln!(io::stderr(), "{progress}");
}

/// Strips symbols and stamps the version: unstamped, the API server calls
/// itself v0.0.0-master and clients disbelieve it.
fn linker_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let mut flags = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in
            [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
        {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

fn cache_folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("vk-host/control-plane"))
}

/// The version of `k8s.io/kubernetes` that go.mod requires, such as `v1.36.3`.
fn kubernetes_version(sources: &Path) -> Result<String> {
    let file = sources.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    text.lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
        .and_then(|rest| rest.split_whitespace().next())
        .map(|version| format!("v{version}"))
        .context("go.mod does not require k8s.io/kubernetes")
}

fn source_hash(sources: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(|| format!("list {}", sources.display()))?;
    files.retain(|file| file.extension().is_some_and(|end| end == "go" || end == "mod" || end == "sum"));
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update([0]);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(HASH_DIGITS);
    Ok(digits)
}

fn check_go() -> Result<()> {
    let (major, minor) = OLDEST_GO;
    let cure = format!("install Go {major}.{minor} or newer and put `go` on PATH");
    let output = match Command::new("go").arg("version").output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("the control plane is built with Go, and `go` is missing: {cure}")
        }
        Err(error) => return Err(error).context("run go version"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let found = go_version(&text).with_context(|| format!("`go version` says {:?}: {cure}", text.trim()))?;
    ensure!(found >= OLDEST_GO, "Go {}.{} is too old for the control plane: {cure}", found.0, found.1);
    Ok(())
}

/// Reads `go version go1.26.8 linux/amd64`, also `go1.27rc1`.
fn go_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().find_map(|word| word.strip_prefix("go1."))?;
    let minor: String = number.chars().take_while(char::is_ascii_digit).collect();
    Some((1, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_go() {
        assert_eq!(go_version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(go_version("go version go1.27rc1 linux/arm64"), Some((1, 27)));
        assert_eq!(go_version("gccgo"), None);
    }

    #[test]
    fn stamps_the_version_twice() {
        let flags = linker_flags("v1.36.3");
        assert!(flags.starts_with("-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 "));
        assert!(flags.contains("k8s.io/client-go/pkg/version.gitMinor=36"));
    }
}
