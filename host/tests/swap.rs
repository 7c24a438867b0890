//! Exchanging the plugin while it serves: what callers notice of it (nothing), and what is refused.
//!
//! The mock's two builds (`just test` makes the later one) differ in version, in `state-version` and in what the node shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "clippy does not take the helpers of tests for tests"
)]

mod common;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::{create, pod};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};
use vk_host::plugin::control::{self, Control};
use vk_host::plugin::inspect::inspect;
use vk_host::plugin::swap::{Counts, Outcome, Reloader, Swapper};
use vk_host::plugin::{Config, Limits, NodeInfo, Plugin};
use vk_host::provider::{Call, Code, Deletion, Error, LogEntry, LogOptions, PodRef, Provider, Scope, Why};

/// Two builds take turns so often.
const SWAPS: usize = 100;
/// Time between the beginnings of two calls: 500 a second.
const CALL_EVERY: Duration = Duration::from_millis(2);
/// Logs that are followed.
const FOLLOWERS: usize = 20;
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn built(name: &str, variable: &str) -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/plugins").join(name);
    let file = std::env::var_os(variable).map_or(built, PathBuf::from);
    assert!(file.exists(), "{} is missing: `just test` builds it", file.display());
    file
}

fn mock() -> PathBuf {
    built("mock.wasm", "VK_MOCK_WASM")
}

fn next() -> PathBuf {
    built("mock-next.wasm", "VK_MOCK_NEXT_WASM")
}

fn limits() -> Limits {
    Limits {
        deadline: PATIENCE,
        create_deadline: PATIENCE,
        node_deadline: PATIENCE,
        load_deadline: PATIENCE,
        cpu_budget: PATIENCE,
        drain: PATIENCE,
        ..Limits::default()
    }
}

/// A plugin in service, and its file.
struct Place {
    directory: TempDir,
    plugin: Arc<Plugin>,
    reloader: Reloader,
    told: Arc<std::sync::Mutex<Vec<Outcome>>>,
    _stop: DropGuard,
}

impl Place {
    async fn new() -> Self {
        Self::with(limits()).await
    }

    async fn with(limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::copy(mock(), at("plugin.wasm")).unwrap();
        std::fs::write(at("mock.toml"), "").unwrap();
        let config = Config {
            file: at("plugin.wasm"),
            provider_config: Some(at("mock.toml")),
            state_dir: at("state"),
            cache_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"),
            node: NodeInfo { name: "node-1".into(), cluster_id: "test".into(), ..NodeInfo::default() },
            limits,
        };
        let plugin = Arc::new(Plugin::load(config).await.unwrap());
        let (swapper, reloader) = Swapper::new(Arc::clone(&plugin));
        let (stop, told) = (CancellationToken::new(), Arc::default());
        let tell = Arc::clone(&told);
        tokio::spawn(swapper.run(stop.clone(), move |outcome: &Outcome| {
            let tell: &std::sync::Mutex<Vec<Outcome>> = &tell;
            tell.lock().unwrap().push(outcome.clone());
        }));
        Self { directory, plugin, reloader, told, _stop: stop.drop_guard() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As a careful operator does it: whole or not at all.
    fn put(&self, bytes: &[u8]) {
        std::fs::write(self.path("new"), bytes).unwrap();
        std::fs::rename(self.path("new"), self.path("plugin.wasm")).unwrap();
    }

    fn put_file(&self, file: &Path) {
        self.put(&std::fs::read(file).unwrap());
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.path("new.toml"), text).unwrap();
        std::fs::rename(self.path("new.toml"), self.path("mock.toml")).unwrap();
    }

    async fn reload(&self) -> Outcome {
        self.reloader.reload().await.expect("the swapper runs")
    }

    fn version(&self) -> String {
        self.plugin.identity().version
    }

    fn last_told(&self) -> Outcome {
        self.told.lock().unwrap().last().unwrap().clone()
    }

    /// Lists pods, on which the plugin traps, until it is so.
    async fn trap_until(&self, what: &str, is: impl Fn() -> bool) {
        until(what, || async {
            // An answer of another kind changes nothing.
            self.plugin.ping().await.unwrap();
            let _ = self.plugin.get_pods().await;
            is()
        })
        .await;
    }

    /// The reason why this file is refused; the build before serves on.
    async fn refusal(&self, bytes: &[u8]) -> (&'static str, String) {
        let before = self.version();
        self.put(bytes);
        let Outcome::Refused { reason, message, .. } = self.reload().await else { panic!("it was not refused") };
        assert_eq!(self.version(), before);
        self.plugin.ping().await.expect("the old one serves");
        self.plugin.get_pods().await.expect("the old one serves");
        (reason, message)
    }
}

/// Follows a log until it is told to stop; returns all of its entries.
async fn follow(plugin: Arc<Plugin>, uid: String, room: usize, stop: CancellationToken) -> Vec<LogEntry> {
    let (sink, mut entries) = mpsc::channel(room);
    let (canceller, call) = Call::new();
    let reading = tokio::spawn(async move {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        plugin.get_container_logs(call, &pod(&uid, &[]).id, "main", options, sink).await
    });
    let (mut lines, mut stopped) = (Vec::new(), false);
    loop {
        tokio::select! {
            some = entries.recv() => match some {
                Some(some) => lines.extend(some),
                None => break,
            },
            () = stop.cancelled(), if !stopped => {
                stopped = true;
                canceller.cancel(Why::ClientGone);
            }
        }
    }
    let ended = reading.await.unwrap();
    assert!(stopped, "the log ended by itself: {ended:?}");
    lines
}

/// Short calls of many kinds, each of which has to succeed. `n` makes their pods.
async fn some_call(plugin: &Plugin, n: u64) -> Result<(), Error> {
    let followed = pod(&format!("log-{}", n % FOLLOWERS as u64), &[]).id;
    match n % 20 {
        0 => {
            let uid = format!("short-{n}");
            create(plugin, &uid, &[]).await?;
            let id = pod(&uid, &[]).id;
            assert!(plugin.get_pod(&id).await?.is_some(), "{uid} was made and is not there");
            plugin.delete_pod(Call::uncancelled(), &id, None, Some(Duration::ZERO)).await.map(drop)
        }
        1 => plugin.get_pods().await.map(|pods| assert!(pods.len() >= FOLLOWERS, "{} pods", pods.len())),
        2 => plugin.capacity().await.map(drop),
        3 => plugin.ping().await,
        _ => plugin.get_pod(&followed).await.map(|found| assert!(found.is_some(), "{followed} is not there")),
    }
}

/// Calls that come as often as they come, whatever becomes of those before.
struct Load {
    /// When the first of them begins.
    began: tokio::time::Instant,
    /// When no more begin.
    end: OnceLock<tokio::time::Instant>,
    /// How long the longest took, in microseconds.
    longest: AtomicU64,
    failures: Mutex<Vec<Error>>,
}

impl Load {
    fn new() -> Self {
        let began = tokio::time::Instant::now();
        Self { began, end: OnceLock::new(), longest: AtomicU64::new(0), failures: Mutex::default() }
    }

    /// Offers a call each [`CALL_EVERY`] until the end, those that a busy machine was late with at once; returns how many, when all
    /// of them have ended.
    async fn offer(self: Arc<Self>, plugin: Arc<Plugin>) -> u64 {
        let mut tick = tokio::time::interval_at(self.began, CALL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut calls, mut running) = (0, tokio::task::JoinSet::new());
        loop {
            let due = tick.tick().await;
            if self.end.get().is_some_and(|end| due >= *end) {
                break;
            }
            running.spawn(Arc::clone(&self).call(Arc::clone(&plugin), calls));
            calls += 1;
            while let Some(ended) = running.try_join_next() {
                ended.unwrap();
            }
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
        calls
    }

    async fn call(self: Arc<Self>, plugin: Arc<Plugin>, n: u64) {
        let began = Instant::now();
        if let Err(error) = some_call(&plugin, n).await {
            self.failures.lock().await.push(error);
        }
        self.longest.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_notice_nothing_while_two_builds_take_turns() {
    let place = Place::new().await;
    for n in 0..FOLLOWERS {
        create(&place.plugin, &format!("log-{n}"), &[("log-lines", "100"), ("log-every", "10ms")]).await.unwrap();
    }
    let stop = CancellationToken::new();
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|n| {
            let room = if n % 2 == 0 { 1 } else { 64 };
            tokio::spawn(follow(Arc::clone(&place.plugin), format!("log-{n}"), room, stop.clone()))
        })
        .collect();
    // Of a pod that came and went before there was a cursor nobody is told.
    let changes = Changes::listed(Arc::clone(&place.plugin)).await;
    let seen = Arc::clone(&changes.seen);
    let changes = tokio::spawn(changes.follow(stop.clone()));
    let load = Arc::new(Load::new());
    let calls = tokio::spawn(Arc::clone(&load).offer(Arc::clone(&place.plugin)));

    // Every other swap changes the state's version.
    let [first, later] = [mock(), next()].map(|file| std::fs::read(file).unwrap());
    let builds = [other_bytes(&first), later.clone(), other_bytes(&later), first];
    for n in 0..SWAPS {
        place.put(&builds[n % 4]);
        // The watch may have been faster.
        let outcome = place.reload().await;
        assert!(outcome.is_success(), "{outcome}");
        assert_eq!(place.version().ends_with("-next"), [1, 2].contains(&(n % 4)), "{outcome}");
    }
    let took = load.began.elapsed();
    load.end.set(load.began + took).unwrap();
    let mut waited = Duration::ZERO;
    for (n, outcome) in place.told.lock().unwrap().iter().enumerate() {
        let Outcome::Replaced { waited: one, snapshot, .. } = outcome else { panic!("{outcome}") };
        assert_eq!(snapshot.is_some(), n % 2 == 1, "{outcome}");
        waited = waited.max(*one);
    }
    assert_eq!(place.plugin.swaps(), Counts { replaced: SWAPS as u64, ..Counts::default() });
    let calls = calls.await.unwrap();
    let answered = load.began.elapsed();
    assert_eq!(*load.failures.lock().await, [], "failed calls");
    assert!(calls as f64 >= took.as_secs_f64() / CALL_EVERY.as_secs_f64(), "only {calls} calls in {took:?}");
    let made = (0..FOLLOWERS).map(|n| format!("log-{n}")).chain((0..calls).step_by(20).map(|n| format!("short-{n}")));
    let made: HashSet<PodRef> = made.map(|uid| pod(&uid, &[]).id).collect();
    let began = Instant::now();
    while seen.load(Ordering::Relaxed) < made.len() as u64 && !changes.is_finished() && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    let told = changes.await.unwrap();
    let (untold, unknown): (Vec<_>, Vec<_>) = (made.difference(&told).collect(), told.difference(&made).collect());
    assert!(untold.is_empty() && unknown.is_empty(), "changes told nothing of {untold:?}, and of {unknown:?}");
    let mut lines = 0;
    for follower in followers {
        lines += whole(&follower.await.unwrap(), took);
    }
    println!(
        "{SWAPS} swaps in {took:?}: {calls} calls, {:.0} a second, of which {:.0} a second were answered; none failed, the longest \
         took {} ms; a swap kept calls waiting for {waited:?} at most; {lines} lines of {FOLLOWERS} logs, none lost, none twice",
        calls as f64 / took.as_secs_f64(),
        calls as f64 / answered.as_secs_f64(),
        load.longest.load(Ordering::Relaxed) / 1000,
    );
}

/// The same component in another file: with a custom section more.
fn other_bytes(build: &[u8]) -> Vec<u8> {
    [build, b"\0\x06\x05again"].concat()
}

/// What the changes have told so far.
struct Changes {
    plugin: Arc<Plugin>,
    cursor: Option<String>,
    told: HashSet<PodRef>,
    /// How many those are.
    seen: Arc<AtomicU64>,
}

impl Changes {
    /// Takes the list that they begin with.
    async fn listed(plugin: Arc<Plugin>) -> Self {
        let mut changes = Self { plugin, cursor: None, told: HashSet::new(), seen: Arc::default() };
        while changes.next().await != Scope::Listed {}
        changes
    }

    /// Follows them until it is told to stop; returns the pods that it was told of. Every call has to succeed.
    async fn follow(mut self, stop: CancellationToken) -> HashSet<PodRef> {
        loop {
            tokio::select! {
                scope = self.next() => assert_eq!(scope, Scope::Delta, "it was told to start over"),
                () = stop.cancelled() => return self.told,
            }
        }
    }

    async fn next(&mut self) -> Scope {
        let batch =
            self.plugin.next_changes(Call::uncancelled(), self.cursor.clone(), Duration::from_secs(5)).await.unwrap();
        self.told.extend(batch.changed.into_iter().map(|pod| pod.id).chain(batch.touched));
        self.seen.store(self.told.len() as u64, Ordering::Relaxed);
        self.cursor = batch.cursor;
        assert!(self.cursor.is_some());
        batch.scope
    }
}

/// Each line of a followed log is there once, in order; returns how many there are.
fn whole(entries: &[LogEntry], took: Duration) -> usize {
    let text = |entry: &LogEntry| String::from_utf8(entry.bytes.to_vec()).unwrap();
    let (head, ticks) = entries.split_at(101);
    assert!(text(&head[0]).starts_with("calls create=1 "), "{}", text(&head[0]));
    for (n, line) in head[1..].iter().enumerate() {
        assert_eq!(text(line), format!("line {} of 100", n + 1));
    }
    for (n, tick) in ticks.iter().enumerate() {
        assert_eq!(text(tick), format!("tick {}", n + 1));
    }
    assert!(ticks.len() as u128 >= took.as_millis() / 10 * 9 / 10, "{} ticks in {took:?}", ticks.len());
    entries.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fit_is_refused_and_the_old_one_serves() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    let later = std::fs::read(next()).unwrap();
    let text = |wat: &str| wat::parse_str(wat).unwrap();
    for (bytes, wanted) in [
        (b"no plugin at all".to_vec(), "NotWebAssembly"),
        (later[..later.len() / 2].to_vec(), "PluginInvalid"),
        (later[..later.len() - 9].to_vec(), "PluginInvalid"),
        (text("(module)"), "NotAComponent"),
        (text("(component)"), "MissingExport"),
        (text(r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)))"#), "UnknownImport"),
        (text(&all_names("")), "ContractMismatch"),
        (text(&all_names("(start $f)")), "PluginFailed"),
        (under_another_name(&later), "PluginNameChanged"),
    ] {
        let (reason, message) = place.refusal(&bytes).await;
        assert_eq!(reason, wanted, "{message}");
    }
    place.configure("wants = \"https://example.com:443\"\n");
    let (reason, message) = place.refusal(&later).await;
    assert_eq!(reason, "NotGranted", "{message}");
    assert!(message.contains("https://example.com:443"), "{message}");
    place.configure("memroy = \"1Gi\"\n");
    place.put(&later);
    let outcome = place.reload().await;
    assert!(matches!(&outcome, Outcome::Refused { reason: "ConfigurationInvalid", .. }), "{outcome}");
    place.configure("");
    assert!(place.reload().await.is_success(), "what was refused is taken once it is asked for and fit");
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 1);
}

/// Exports all that a plugin has to, by name alone: each function takes a number and traps.
fn all_names(start: &str) -> String {
    let interfaces = [
        ("plugin", "describe configure"),
        (
            "node",
            "node-details capacity node-conditions node-addresses node-daemon-endpoints operating-system ping stop",
        ),
        ("pods", "create-pod update-pod delete-pod get-pod get-pod-status get-pods"),
    ];
    let exports = interfaces.map(|(interface, functions)| {
        let functions: String =
            functions.split(' ').map(|name| format!("(export \"{name}\" (func $f))")).collect();
        format!(
            "(instance ${interface} {functions}) (export \"virtual-kubelet:provider/{interface}@0.1.0\" (instance ${interface}))"
        )
    });
    format!(
        r#"(component
            (core module $m (func $f unreachable) {start} (func (export "f") (param i32) unreachable))
            (core instance $c (instantiate $m))
            (func $f (param "surprise" u32) (canon lift (core func $c "f")))
            {})"#,
        exports.concat()
    )
}

/// The later mock, calling itself `mick`. Its name is a constant of its code: the four letters in one number.
fn under_another_name(build: &[u8]) -> Vec<u8> {
    let constant = |name: &[u8; 4]| {
        let mut rest = i64::from(i32::from_le_bytes(*name));
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap();
            rest >>= 7;
            if rest == 0 && low & 0x40 == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    };
    let (is, should) = (constant(b"mock"), constant(b"mick"));
    let places: Vec<usize> = build.windows(is.len()).enumerate().filter(|(_, w)| *w == is).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 1, "the name is elsewhere in this build");
    let mut build = build.to_vec();
    build[places[0]..places[0] + is.len()].copy_from_slice(&should);
    build
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_traps_is_taken_back_with_what_it_kept() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is taken back", || !place.version().ends_with("-next")).await;
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 1, "of the copy of the store");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, ..Counts::default() });
    let told = place.last_told();
    assert!(matches!(told, Outcome::RolledBack { traps: 5.., .. }), "{told}");
    assert_eq!(told.reason(), "PluginRolledBack");
    // The file still has it: somebody has to ask.
    assert!(place.reload().await.is_success() && place.version().ends_with("-next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_traps_is_taken_back_once_and_what_it_made_stays() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    let digest = |place: &Place| match place.last_told() {
        Outcome::Replaced { to, .. } | Outcome::RolledBack { to, .. } => to.digest,
        told => panic!("{told}"),
    };
    place.put(&other_bytes(&std::fs::read(mock()).unwrap()));
    assert!(place.reload().await.is_success());
    let trapping = digest(&place);
    // It makes pods and does not list them. The state has the same version, so that the build before knows them.
    create(&place.plugin, "q", &[]).await.unwrap();
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is taken back", || place.plugin.swaps().rolled_back == 1).await;
    assert_ne!(digest(&place), trapping);
    // The one before fails alike, and stays: there is none before it.
    for _ in 0..20 {
        assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
    }
    place.put(b"broken");
    // One attempt comes after the other: had it been taken back, it would be by now.
    assert!(!place.reload().await.is_success());
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 2);
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, refused: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_has_made_pods_for_another_state_stays_and_is_told_of_once() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    create(&place.plugin, "q", &[]).await.unwrap();
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is told of", || place.plugin.swaps().failing > 0).await;
    let told = place.last_told();
    assert!(matches!(told, Outcome::Failing { traps: 5.., .. }), "{told}");
    assert_eq!(told.reason(), "PluginFailing");
    assert!(told.to_string().contains("0.1.0-next") && told.to_string().contains("it has made, changed"), "{told}");
    for _ in 0..20 {
        assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
    }
    let outcome = place.reload().await;
    assert!(matches!(outcome, Outcome::Unchanged { .. }), "{outcome}");
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 2, "none is lost");
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, failing: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_answers_some_and_traps_on_others_stays() {
    let place = Place::new().await;
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    create(&place.plugin, "p", &[]).await.unwrap();
    for _ in 0..20 {
        let error = create(&place.plugin, "t", &[("create-fault", "trap")]).await.unwrap_err();
        assert_eq!(error.code, Code::Internal);
    }
    let outcome = place.reload().await;
    assert!(matches!(outcome, Outcome::Unchanged { .. }), "{outcome}");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_seen_and_what_calls_do_not_end_in_time_are_asked_to() {
    let place = Place::with(Limits { drain: Duration::from_millis(300), ..limits() }).await;
    let plugin = Arc::clone(&place.plugin);
    let hanging = tokio::spawn(async move { create(&plugin, "h", &[("create-fault", "hang")]).await });
    until("it hangs", || async { place.plugin.running_calls() == 1 }).await;
    place.put_file(&next());
    until("the file is seen", || async { place.version().ends_with("-next") }).await;
    let error = hanging.await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::Cancelled, "the guest's own answer: {error}");
    let copy = place.path("state/store/mock.state-1.redb");
    let before = std::fs::read(&copy).unwrap();
    assert_eq!(place.plugin.node_details().await.unwrap().runtime_version.as_deref(), Some("mock://0.1.0-next"));
    place.put_file(&mock());
    until("so is the next", || async { !place.version().ends_with("-next") }).await;
    // Whoever went back by hand still has what there is to go back to.
    assert!(place.path("state/store/mock.state-2.redb").exists());
    assert!(std::fs::read(&copy).unwrap() == before, "another copy lies in its place");
}

/// Traps often enough to be taken back while a call is under way that ends before it is; returns that call's answer.
async fn taken_back_late<T: Send + 'static>(place: &Place, late: impl AsyncFnOnce(Arc<Plugin>) -> T) -> T {
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    place.configure("[faults]\nget-pods = \"trap\"\n");
    let plugin = Arc::clone(&place.plugin);
    let traps = async {
        until("it runs", || async { place.plugin.running_calls() == 1 }).await;
        for _ in 0..5 {
            assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
        }
        place.configure("");
    };
    tokio::join!(late(plugin), traps).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_deletes_a_pod_while_it_is_being_taken_back_stays() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[("delete-fault", "late deaf for=2s")]).await.unwrap();
    let id = pod("p", &[]).id;
    let delete = async |plugin: Arc<Plugin>| {
        plugin.delete_pod(Call::uncancelled(), &id, None, Some(Duration::ZERO)).await.unwrap()
    };
    assert_eq!(taken_back_late(&place, delete).await, Deletion::Gone);
    until("it is told of", || async { place.plugin.swaps().failing > 0 }).await;
    let told = place.last_told();
    assert!(told.to_string().contains("deleted pods"), "{told}");
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.get_pods().await.unwrap(), [], "what is gone does not come back");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, failing: 1, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_answers_while_it_is_being_taken_back_stays_on_trial() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[("get-fault", "late deaf for=2s")]).await.unwrap();
    let id = pod("p", &[]).id;
    let look = async |plugin: Arc<Plugin>| plugin.get_pod(&id).await.unwrap();
    assert!(taken_back_late(&place, look).await.is_some());
    // One attempt comes after the other: had it been taken back, it would be by now.
    assert!(matches!(place.reload().await, Outcome::Unchanged { .. }));
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, ..Counts::default() });
    place.configure("[faults]\nget-pods = \"trap\"\n");
    place.trap_until("it is taken back", || !place.version().ends_with("-next")).await;
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, ..Counts::default() });
}

/// Followers have all places, and others wait for one: a swap gives none of them away.
#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_log_keeps_its_place_over_a_swap() {
    let place = Place::with(Limits { session_permits: 1, ..limits() }).await;
    create(&place.plugin, "p", &[("log-every", "10ms")]).await.unwrap();
    let follow = |sink| {
        let plugin = Arc::clone(&place.plugin);
        let options = LogOptions { follow: true, ..LogOptions::default() };
        tokio::spawn(async move {
            plugin.get_container_logs(Call::uncancelled(), &pod("p", &[]).id, "main", options, sink).await
        })
    };
    let (sink, mut first) = mpsc::channel(1);
    let _following = follow(sink);
    first.recv().await.expect("it follows");
    let (sink, mut queued) = mpsc::channel(1);
    let _waiting = follow(sink);
    for build in [next(), mock()] {
        place.put_file(&build);
        assert!(place.reload().await.is_success());
        // More than what lay in the channel and in the old generation's hands.
        for _ in 0..20 {
            let entries = tokio::time::timeout(PATIENCE, first.recv()).await.expect("it goes on");
            assert!(entries.is_some());
        }
    }
    assert!(queued.try_recv().is_err(), "it took the place of one who was there");
    drop(first);
    assert!(tokio::time::timeout(PATIENCE, queued.recv()).await.expect("its turn").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_through_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().await;
    let directory = place.path("state");
    let open = || Control::open(&directory, signal(SignalKind::hangup()).unwrap());
    let control = open();
    assert_eq!(std::fs::metadata(directory.join("control.sock")).unwrap().permissions().mode() & 0o777, 0o600);
    let stop = CancellationToken::new();
    let running = tokio::spawn(control.run(place.reloader.clone(), stop.clone()));
    let ask = async || {
        let directory = directory.clone();
        tokio::task::spawn_blocking(move || control::reload(&directory)).await.unwrap()
    };
    let unchanged = ask().await.unwrap();
    assert!(unchanged.success && unchanged.outcome == "PluginUnchanged", "{unchanged:?}");
    place.put(b"broken");
    let refused = ask().await.unwrap();
    assert!(!refused.success && refused.outcome == "PluginRefused", "{refused:?}");
    assert!(refused.message.contains("is not WebAssembly"), "{refused:?}");
    assert!(refused.message.contains("`vk-host plugin reload` tries again"), "{refused:?}");
    // As one that was killed leaves it behind: the next one takes its place.
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert!(ask().await.unwrap_err().to_string().contains("no vk-host listens"));
    let running = tokio::spawn(open().run(place.reloader.clone(), stop.clone()));
    assert_eq!(ask().await.unwrap().outcome, "PluginRefused");
    stop.cancel();
    running.await.unwrap();
    let error = ask().await.unwrap_err().to_string();
    assert!(error.contains("no vk-host listens") && error.contains("--state-dir"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_tells_what_it_is() {
    let inspection = inspect(&next(), None).await.unwrap();
    assert_eq!(inspection.contract.as_deref(), Some("virtual-kubelet:provider@0.1.0"));
    assert_eq!(inspection.identity.as_ref().unwrap().state_version, 2);
    assert!(inspection.exports.iter().any(|name| name == "virtual-kubelet:provider/container-logs@0.1.0"));
    assert!(inspection.wants.as_ref().unwrap().is_empty() && inspection.refusal.is_none());
    let text = inspection.to_string();
    assert!(text.contains("mock 0.1.0-next, state version 2") && text.contains(&inspection.digest), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("mock.toml");
    std::fs::write(&config, "wants = \"https://example.com:443\"\n").unwrap();
    let wanting = inspect(&next(), Some(config)).await.unwrap();
    assert_eq!(wanting.wants.as_ref().unwrap()[0].target, "https://example.com:443");
    assert_eq!(wanting.refusal.as_ref().unwrap().reason, "NotGranted");

    let other = directory.path().join("other.wasm");
    std::fs::write(&other, wat::parse_str(r#"(component (import "a:b/c@1.0.0" (instance)))"#).unwrap()).unwrap();
    let other = inspect(&other, None).await.unwrap();
    assert_eq!((other.imports.as_slice(), other.identity.is_some()), (&["a:b/c@1.0.0".to_owned()][..], false));
    assert_eq!(other.refusal.as_ref().unwrap().reason, "UnknownImport");
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
