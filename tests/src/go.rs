//! Programs in Go that tests run: built once per user from sources beside this crate, and kept in the user's cache folder.
//!
//! ```text
//! CACHE/vk-host/control-plane/
//!   lock                          held while one caller builds
//!   v1.36.3-1f2e3d4c5b6a/         version, hash of the sources
//!     vk-control-plane
//! ```
//!
//! Contract: what [`GoProgram::build`] returns is complete (it is built under another name and renamed) and belongs to the
//! sources as they are now.

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

use crate::control_plane::succeed;

/// The oldest Go that Kubernetes 1.36 accepts, as (major, minor).
const OLDEST_GO: (u32, u32) = (1, 26);

/// Hexadecimal digits of the source hash in the folder's name: enough to tell
/// apart the few versions one user ever builds.
const HASH_DIGITS: usize = 12;

/// How often a build says that it is alive; CI systems kill silent jobs.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// How often a running build is looked at.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// What is built from where.
#[derive(Clone, Copy, Debug)]
pub struct GoProgram {
    /// In messages, such as `the control plane`.
    pub title: &'static str,
    /// Of the file.
    pub name: &'static str,
    /// Folder of its go.mod below this crate, and of the built program below the cache.
    pub folder: &'static str,
    /// Import path, or `.` for the sources in the folder.
    pub package: &'static str,
    /// Module in go.mod whose version is the program's.
    pub module: &'static str,
    /// How long a build takes on two cores.
    pub takes: &'static str,
    /// Flags of the linker for this version.
    pub linker_flags: fn(version: &str) -> String,
}

impl GoProgram {
    /// The built program; builds it first if it is missing. Concurrent callers, also in other processes, build once.
    ///
    /// # Errors
    ///
    /// Go is missing or too old, the build fails, or there is no cache folder.
    pub fn build(&self) -> Result<PathBuf> {
        let sources = self.sources();
        let version = self.version()?;
        let cache = cache_folder()?.join(self.folder);
        let folder = cache.join(format!("{version}-{}", source_hash(&sources)?));
        let program = folder.join(self.name);
        if program.is_file() {
            return Ok(program);
        }

        check_go()?;
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let lock = fs::File::create(cache.join("lock")).context("create the build lock")?;
        lock.lock().context("wait for the build lock")?; // released when dropped
        if !program.is_file() {
            let unfinished = folder.join(format!("{}.unfinished", self.name));
            self.go_build(&version, &unfinished)?;
            fs::rename(&unfinished, &program).context("move the built program")?;
        }
        Ok(program)
    }

    /// Where one of the module's files is, as released: in Go's module cache, to which it is downloaded if it is missing.
    ///
    /// # Errors
    ///
    /// Go is missing, or cannot download the module.
    pub fn module_file(&self, path: &str) -> Result<PathBuf> {
        let mut go = Command::new("go");
        go.args(["mod", "download", "-json", self.module]).current_dir(self.sources()).env("GOWORK", "off");
        let told = succeed(&mut go)?.stdout;
        let told: serde_json::Value = serde_json::from_slice(&told).context("read what go mod download says")?;
        let folder = told.get("Dir").and_then(serde_json::Value::as_str).context("the module has no folder")?;
        Ok(Path::new(folder).join(path))
    }

    /// The version that go.mod requires, such as `v1.36.3`.
    fn version(&self) -> Result<String> {
        let file = self.sources().join("go.mod");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let required = required(&text, self.module);
        required.with_context(|| format!("{} does not require {}", file.display(), self.module))
    }

    fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder)
    }

    fn go_build(&self, version: &str, out: &Path) -> Result<()> {
        let Self { title, takes, .. } = self;
        say(&format!("building {title} ({version}; about {takes}, once) …"));
        let began = Instant::now();
        let mut go = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly"])
            .arg(format!("-ldflags={}", (self.linker_flags)(version)))
            .arg("-o")
            .arg(out)
            .arg(self.package)
            .current_dir(self.sources())
            // No C compiler needed, and the program runs on any Linux.
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("start go build")?;
        let status = self.wait_aloud(&mut go, began)?;
        ensure!(status.success(), "go build failed ({status}), see its messages above");
        say(&format!("built {title} in {} s", began.elapsed().as_secs()));
        Ok(())
    }

    fn wait_aloud(&self, go: &mut Child, began: Instant) -> Result<ExitStatus> {
        let mut next = PROGRESS_EVERY;
        loop {
            if let Some(status) = go.try_wait().context("wait for go build")? {
                return Ok(status);
            }
            if began.elapsed() >= next {
                say(&format!("building {} … {} s", self.title, began.elapsed().as_secs()));
                next += PROGRESS_EVERY;
            }
            thread::sleep(POLL_EVERY);
        }
    }
}

/// Progress of a build, for whoever waits in front of a terminal; a closed
/// stderr must not end the build.
fn say(progress: &str) {
    let _ = writeln!(io::stderr(), "{progress}");
}

fn cache_folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("vk-host"))
}

/// The version of a module that this go.mod requires, in a block or on a line of its own.
fn required(go_mod: &str, module: &str) -> Option<String> {
    let lines = go_mod.lines().map(|line| line.trim().trim_start_matches("require "));
    let mut versions =
        lines.filter_map(|line| line.strip_prefix(module)?.strip_prefix(" v")?.split_whitespace().next());
    versions.next().map(|version| format!("v{version}"))
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
            bail!("the tests' control plane is built with Go, and `go` is missing: {cure}")
        }
        Err(error) => return Err(error).context("run go version"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let found = go_version(&text).with_context(|| format!("`go version` says {:?}: {cure}", text.trim()))?;
    ensure!(found >= OLDEST_GO, "Go {}.{} is too old for the tests' control plane: {cure}", found.0, found.1);
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
    fn reads_the_version_of_a_module() {
        let text = "module x\n\ntool a.b/c/cmd\n\nrequire d.e/f v2.0.0 // indirect\nrequire (\n\ta.b/c-d v0.1.0\n\ta.b/c v1.2.3\n)\n";
        assert_eq!(required(text, "a.b/c").as_deref(), Some("v1.2.3"));
        assert_eq!(required(text, "d.e/f").as_deref(), Some("v2.0.0"));
        assert_eq!(required(text, "a.b"), None);
    }
}
