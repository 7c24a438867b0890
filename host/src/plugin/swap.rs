//! Exchanging the plugin while it serves.
//!
//! ```text
//! file changed, SIGHUP, `plugin reload`
//!   ▶ read ▶ compile ▶ admit ▶ probe ▶ describe ▶ configure     a bad file: refused, the old build serves on
//!   ▶ one store of the pointer                                  new calls go to the new generation
//!   ▶ the old one's `changes.next` and logs are asked to end    and go on with the new one, unseen by their callers
//! ```
//!
//! Short calls end on the generation that they began on. Where `state-version` differs the two must not meet: calls are drained,
//! new ones wait, and the store is copied before the pointer moves.
//!
//! A new generation that traps again and again, in calls of a kind that it never answers, is taken back, once. With another
//! `state-version` the store goes back too, to the copy from before, and so what was acknowledged since would be lost: pods made
//! would be forgotten, deleted ones be back. Hence it is possible until the first acknowledged create, update or delete, those that
//! the drain waits for included; from then on the generation stays and is reported. What a guest wrote of its own accord, and what
//! calls that failed have left behind, goes with it: the host repeats those.
//!
//! One task, [`Swapper::run`], does all of it, one attempt after the other.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{RwLockWriteGuard, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::build::{self, Build};
use super::generation::Generation;
use super::load::Source;
use super::stamp::Stamp;
use super::{LoadError, Plugin};
use crate::defaults::swap::{LOOK_PERIOD, TRIAL};

/// Letters of a digest that tell two builds apart for a person.
const SHORT_DIGEST: usize = 12;

/// A build, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// `identity.name`.
    pub name: String,
    /// `identity.version`.
    pub version: String,
    /// SHA-256 of the file, in hex.
    pub digest: String,
}

/// How an attempt to swap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The file holds what serves already.
    Unchanged {
        /// What serves.
        serving: Version,
    },
    /// The new build serves.
    Replaced {
        /// What served.
        from: Version,
        /// What serves.
        to: Version,
        /// The store as it was before its shape may change; none: the state's version is the same.
        snapshot: Option<PathBuf>,
        /// How long new calls had to wait.
        waited: Duration,
    },
    /// The file is not fit to serve.
    Refused {
        /// What serves on.
        serving: Version,
        /// [`LoadError::reason`].
        reason: &'static str,
        /// What is wrong, and how to mend it.
        message: String,
    },
    /// The new build trapped, and the one before serves again.
    RolledBack {
        /// What trapped.
        from: Version,
        /// What serves.
        to: Version,
        /// How often it trapped.
        traps: u32,
    },
    /// The new build traps and stays.
    Failing {
        /// What traps.
        serving: Version,
        /// How often it trapped.
        traps: u32,
        /// Why the one before cannot come back.
        message: String,
    },
}

impl Outcome {
    /// The Event reason and the log field.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unchanged { .. } => "PluginUnchanged",
            Self::Replaced { .. } => "PluginReplaced",
            Self::Refused { .. } => "PluginRefused",
            Self::RolledBack { .. } => "PluginRolledBack",
            Self::Failing { .. } => "PluginFailing",
        }
    }

    /// The file's build serves.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Unchanged { .. } | Self::Replaced { .. })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.get(..SHORT_DIGEST).unwrap_or(&self.digest);
        write!(f, "{} {} ({digest})", self.name, self.version)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged { serving } => write!(f, "the file holds {serving}, which serves already"),
            Self::Replaced { from, to, snapshot: None, .. } => write!(f, "{to} took over from {from}"),
            Self::Replaced { from, to, snapshot: Some(file), waited } => write!(
                f,
                "{to} took over from {from}; what it keeps may change its shape, a copy from before is {}; calls waited for {waited:?}",
                file.display()
            ),
            // The message may be a list, and an event cuts it where it is too long.
            Self::Refused { serving, message, .. } => {
                write!(f, "{serving} serves on, and `vk-host plugin reload` tries again once this is mended: {message}")
            }
            Self::RolledBack { from, to, traps } => write!(
                f,
                "{from} trapped {traps} times in calls of a kind that it never answered: {to} serves again, until the plugin's file changes, a reload is asked for or the host restarts; put the old file back"
            ),
            Self::Failing { serving, traps, message } => {
                write!(
                    f,
                    "{serving} trapped {traps} times in calls of a kind that it never answered, and stays: {message}"
                )
            }
        }
    }
}

/// Attempts by how they ended; what changed nothing is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// See [`Outcome::Replaced`].
    pub replaced: u64,
    /// See [`Outcome::Refused`].
    pub refused: u64,
    /// See [`Outcome::RolledBack`].
    pub rolled_back: u64,
    /// See [`Outcome::Failing`].
    pub failing: u64,
}

/// [`Counts`] in the making.
#[derive(Debug, Default)]
pub(super) struct Counters {
    replaced: AtomicU64,
    refused: AtomicU64,
    rolled_back: AtomicU64,
    failing: AtomicU64,
}

impl Counters {
    fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Unchanged { .. } => return,
            Outcome::Replaced { .. } => &self.replaced,
            Outcome::Refused { .. } => &self.refused,
            Outcome::RolledBack { .. } => &self.rolled_back,
            Outcome::Failing { .. } => &self.failing,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            replaced: read(&self.replaced),
            refused: read(&self.refused),
            rolled_back: read(&self.rolled_back),
            failing: read(&self.failing),
        }
    }
}

/// Asks for an attempt.
#[derive(Clone, Debug)]
pub struct Reloader(pub(super) mpsc::Sender<oneshot::Sender<Outcome>>);

impl Reloader {
    /// Reads the file anew and returns how that ended; none: the host stops.
    pub async fn reload(&self) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.0.send(reply).await.ok()?;
        outcome.await.ok()
    }
}

/// The one who swaps.
pub struct Swapper {
    plugin: Arc<Plugin>,
    requests: mpsc::Receiver<oneshot::Sender<Outcome>>,
    watch: Watch,
    /// Digest of the file that was refused last: it is looked at again only when somebody asks.
    refused: Option<String>,
    /// Replaced ones that still have sessions.
    older: Vec<Weak<Generation>>,
    trial: Option<Trial>,
}

/// What a generation on trial took over from.
struct Trial {
    /// Of the generation on trial.
    number: u64,
    before: Arc<Build>,
    /// There if the state's version differs.
    snapshot: Option<PathBuf>,
    /// An earlier generation of the same build has acknowledged what the snapshot does not have.
    outdated: bool,
    until: Instant,
}

impl Swapper {
    /// Of this plugin, and the way to ask it.
    pub fn new(plugin: Arc<Plugin>) -> (Self, Reloader) {
        let (sender, requests) = mpsc::channel(1);
        let watch = Watch { file: plugin.paths.file.clone(), last: None, taken: None };
        (Self { plugin, requests, watch, refused: None, older: Vec::new(), trial: None }, Reloader(sender))
    }

    /// Watches the file and takes requests until `stop`; tells of each attempt that changed something or should have.
    pub async fn run(mut self, stop: CancellationToken, tell: impl Fn(&Outcome)) {
        let serve = async {
            let mut look = tokio::time::interval(LOOK_PERIOD);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let plugin = Arc::clone(&self.plugin);
            loop {
                tokio::select! {
                    Some(reply) = self.requests.recv() => {
                        let outcome = self.load().await;
                        self.report(&outcome, &tell);
                        // Whoever asked may have gone.
                        let _ = reply.send(outcome);
                    }
                    () = plugin.failing.notified() => {
                        if let Some(outcome) = self.roll_back().await {
                            self.report(&outcome, &tell);
                        }
                    }
                    _ = look.tick() => {
                        // The old build's code goes with it.
                        self.trial.take_if(|trial| Instant::now() > trial.until);
                        if self.watch.has_changed() && let Some(outcome) = self.look().await {
                            self.report(&outcome, &tell);
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = serve => {}
        }
    }

    fn report(&self, outcome: &Outcome, tell: &impl Fn(&Outcome)) {
        self.plugin.swaps.count(outcome);
        let reason = outcome.reason();
        match outcome {
            Outcome::Unchanged { .. } => return tracing::debug!(reason, "{outcome}"),
            Outcome::Replaced { .. } => tracing::info!(reason, "{outcome}"),
            Outcome::Refused { reason: why, .. } => tracing::warn!(reason, why, "{outcome}"),
            Outcome::RolledBack { .. } | Outcome::Failing { .. } => tracing::warn!(reason, "{outcome}"),
        }
        tell(outcome);
    }

    /// Takes what the file holds now, because somebody asked.
    async fn load(&mut self) -> Outcome {
        match self.read().await {
            Ok(source) => self.take(source).await,
            Err(error) => self.refuse(&error),
        }
    }

    /// Takes what the file holds now, because it changed; none: it is what was refused last, and stays so until somebody asks.
    async fn look(&mut self) -> Option<Outcome> {
        match self.read().await {
            Ok(source) if self.refused.as_ref() == Some(&source.digest) => None,
            Ok(source) => Some(self.take(source).await),
            Err(error) => Some(self.refuse(&error)),
        }
    }

    async fn read(&self) -> Result<Source, LoadError> {
        build::read(&self.plugin.runner, &self.plugin.paths).await
    }

    async fn take(&mut self, source: Source) -> Outcome {
        match self.prepare(source).await {
            Ok(Some(build)) => self.switch(Arc::new(build)).await,
            Ok(None) => Outcome::Unchanged { serving: self.plugin.current.load().version() },
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&self, error: &LoadError) -> Outcome {
        let serving = self.plugin.current.load().version();
        Outcome::Refused { serving, reason: error.reason(), message: error.to_string() }
    }

    /// none: it serves already.
    async fn prepare(&mut self, source: Source) -> Result<Option<Build>, LoadError> {
        let Plugin { runner, linker, paths, current, .. } = &*self.plugin;
        let current = current.load_full();
        if source.digest == current.digest {
            self.refused = None;
            return Ok(None);
        }
        self.refused = Some(source.digest.clone());
        let number = current.number.saturating_add(1);
        let build = build::prepare(runner, linker, paths, source, number, &current.rights).await?;
        let (running, found) = (current.exports.workloads.name(), build.exports.workloads.name());
        if running != found {
            return Err(LoadError::OtherShape { running, found });
        }
        self.refused = None;
        Ok(Some(build))
    }

    async fn switch(&mut self, build: Arc<Build>) -> Outcome {
        let plugin = Arc::clone(&self.plugin);
        let old = plugin.current.load_full();
        let (from, to) = (old.version(), build.version());
        let began = Instant::now();
        let mut snapshot = None;
        if build.state_version == old.state_version {
            self.install(build);
        } else {
            let alone = self.drain(&plugin).await;
            let file = plugin.paths.snapshot(&old.identity.name, old.state_version);
            if let Err(error) = self.export(&file).await {
                // A generation that was asked to make way does not serve again; its build does.
                self.install(Arc::clone(&old.build));
                return self.refuse(&LoadError::Snapshot { file, error });
            }
            self.install(build);
            drop(alone);
            snapshot = Some(file);
        }
        self.trial = Some(Trial {
            number: plugin.current.load().number,
            before: Arc::clone(&old.build),
            snapshot: snapshot.clone(),
            outdated: false,
            until: Instant::now() + TRIAL,
        });
        Outcome::Replaced { from, to, snapshot, waited: began.elapsed() }
    }

    /// The pointer first: whoever is asked to end must find the next one.
    fn install(&mut self, build: Arc<Build>) {
        let number = self.plugin.current.load().number.saturating_add(1);
        let old = self.plugin.current.swap(Arc::new(Generation::new(number, build)));
        old.replace();
        self.older.retain(|generation| generation.strong_count() > 0);
        self.older.push(Arc::downgrade(&old));
    }

    /// Waits until no call runs but sessions, which may only read the store from then on; new ones wait for what is returned to be
    /// dropped. Calls that take long are asked to end, and dropped a grace later.
    async fn drain<'a>(&self, plugin: &'a Plugin) -> RwLockWriteGuard<'a, ()> {
        let running: Vec<Arc<Generation>> =
            self.older.iter().filter_map(Weak::upgrade).chain([plugin.current.load_full()]).collect();
        let mut alone = pin!(plugin.gate.write());
        let asked = async {
            // Not before the gate is asked for: what ends now has to wait there, not to come back to the same generation.
            running.iter().for_each(|generation| generation.replace());
            tokio::time::sleep(plugin.limits().drain).await;
        };
        let alone = tokio::select! {
            biased;
            alone = &mut alone => alone,
            () = asked => {
                running.iter().for_each(|generation| generation.hurry());
                alone.await
            }
        };
        running.iter().for_each(|generation| generation.store.forbid_writes());
        alone
    }

    async fn export(&self, to: &std::path::Path) -> Result<(), super::store::Failure> {
        self.plugin.runner.services.store()?.export(to).await
    }

    /// Takes the generation on trial back if it fails; none: it is not on trial, or does not.
    async fn roll_back(&mut self) -> Option<Outcome> {
        let plugin = Arc::clone(&self.plugin);
        let failing = plugin.current.load_full();
        let fits = |trial: &mut Trial| trial.number == failing.number && failing.trial.fails();
        let trial = self.trial.take_if(fits)?;
        if Instant::now() > trial.until {
            return None;
        }
        let (from, to, traps) = (failing.version(), trial.before.version(), failing.trial.traps());
        let stays = |message| Some(Outcome::Failing { serving: failing.version(), traps, message });
        if let Some(file) = &trial.snapshot {
            if let Err(message) = trial.holds(&failing) {
                return stays(message);
            }
            let _alone = self.drain(&plugin).await;
            // What it waited for may have been answered.
            if !failing.trial.fails() {
                self.install(Arc::clone(&failing.build));
                let (number, outdated) = (plugin.current.load().number, trial.holds(&failing).is_err());
                self.trial = Some(Trial { number, outdated, ..trial });
                return None;
            }
            let restored = match trial.holds(&failing) {
                Ok(()) => self.restore(file).await,
                Err(message) => Err(message),
            };
            if let Err(message) = restored {
                self.install(Arc::clone(&failing.build));
                return stays(message);
            }
            self.install(trial.before);
        } else {
            self.install(trial.before);
        }
        // The file still holds it.
        self.refused = Some(from.digest.clone());
        Some(Outcome::RolledBack { from, to, traps })
    }

    async fn restore(&self, from: &std::path::Path) -> Result<(), String> {
        let store = self.plugin.runner.services.store().map_err(|error| error.to_string())?;
        store.restore(from).await.map_err(|error| format!("the copy of the store cannot be brought back: {error}"))
    }
}

impl Trial {
    /// The snapshot has all that was acknowledged.
    fn holds(&self, failing: &Generation) -> Result<(), String> {
        if !self.outdated && !failing.trial.acknowledged() {
            return Ok(());
        }
        Err("it has made, changed or deleted pods since it took over, of which the copy of the store knows nothing"
            .into())
    }
}

impl Build {
    fn version(&self) -> Version {
        let identity = &self.identity;
        Version { name: identity.name.clone(), version: identity.version.clone(), digest: self.digest.clone() }
    }
}

/// The file, by its stamp. Looking works on every file system, through every link, and over a directory that is exchanged.
struct Watch {
    file: PathBuf,
    /// At the last look; none: it was not there.
    last: Option<Stamp>,
    /// When it was loaded last.
    taken: Option<Stamp>,
}

impl Watch {
    /// Once for each change, as soon as two looks found the same. The first look counts as a change: the file may be another since
    /// it was loaded.
    fn has_changed(&mut self) -> bool {
        let now = std::fs::metadata(&self.file).ok().map(|metadata| Stamp::of(&metadata));
        let settled = now.is_some() && now == self.last;
        self.last = now;
        settled && std::mem::replace(&mut self.taken, now) != now
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        // As kubelet writes a ConfigMap volume: file ▶ ..data/file, ..data ▶ a directory of this time.
        for (version, text) in [("one", "1"), ("two", "2"), ("three", "3")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("p.wasm"), text).unwrap();
        }
        let point = |version: &str| {
            symlink(version, at("..new")).unwrap();
            std::fs::rename(at("..new"), at("..data")).unwrap();
        };
        let mut watch = Watch { file: at("p.wasm"), last: None, taken: None };
        assert!(!watch.has_changed() && !watch.has_changed(), "there is none");
        symlink("..data/p.wasm", at("p.wasm")).unwrap();
        point("one");
        assert_eq!([(); 3].map(|()| watch.has_changed()), [false, true, false]);
        point("two");
        assert!(!watch.has_changed());
        point("three");
        assert_eq!([(); 3].map(|()| watch.has_changed()), [false, true, false], "the last of a row");
        std::fs::remove_file(at("..data")).unwrap();
        assert!(!watch.has_changed() && !watch.has_changed(), "what is gone is no plugin");
    }
}
