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
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{create, pod};
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use vk_host::plugin::control::{self, Control};
use vk_host::plugin::inspect::inspect;
use vk_host::plugin::swap::{Counts, Outcome, Reloader, Swapper};
use vk_host::plugin::{Config, Limits, NodeInfo, Plugin};
use vk_host::provider::{Call, Code, LogEntry, LogOptions, Provider, Scope, Why};

/// Two builds take turns so often.
const SWAPS: usize = 100;
/// Time between two calls: 500 a second.
const CALL_EVERY: Duration = Duration::from_millis(2);
/// Calls that run or wait at once, at most.
const CALLS_AT_ONCE: usize = 64;
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
async fn some_call(plugin: &Plugin, n: u64) -> Result<(), vk_host::provider::Error> {
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

#[tokio::test(flavor = "multi_thread")]
async fn callers_notice_nothing_while_two_builds_take_turns() {
    let place = Place::new().await;
    for n in 0..FOLLOWERS {
        create(&place.plugin, &format!("log-{n}"), &[("log-lines", "100"), ("log-every", "10ms")]).await.unwrap();
    }
    let stop = CancellationToken::new();
    let began = Instant::now();
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|n| {
            let room = if n % 2 == 0 { 1 } else { 64 };
            tokio::spawn(follow(Arc::clone(&place.plugin), format!("log-{n}"), room, stop.clone()))
        })
        .collect();
    let seen = Arc::new(AtomicU64::new(0));
    let changes = tokio::spawn(changes(Arc::clone(&place.plugin), Arc::clone(&seen), stop.clone()));
    let (longest, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let enough = CancellationToken::new();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let load = {
        let (plugin, enough) = (Arc::clone(&place.plugin), enough.clone());
        let (longest, calls, failures) = (Arc::clone(&longest), Arc::clone(&calls), Arc::clone(&failures));
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(CALL_EVERY);
            let mut running = tokio::task::JoinSet::new();
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !enough.is_cancelled() {
                tick.tick().await;
                // A machine that is too busy for all of them must not gather them.
                if running.len() > CALLS_AT_ONCE
                    && let Some(ended) = running.join_next().await
                {
                    ended.unwrap();
                }
                let n = calls.fetch_add(1, Ordering::Relaxed);
                let (plugin, longest, failures) = (Arc::clone(&plugin), Arc::clone(&longest), Arc::clone(&failures));
                running.spawn(async move {
                    let began = Instant::now();
                    if let Err(error) = some_call(&plugin, n).await {
                        failures.lock().await.push(error);
                    }
                    longest.fetch_max(u64::try_from(began.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
                });
                while let Some(ended) = running.try_join_next() {
                    ended.unwrap();
                }
            }
            while let Some(ended) = running.join_next().await {
                ended.unwrap();
            }
        })
    };

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
    let took = began.elapsed();
    let mut waited = Duration::ZERO;
    for (n, outcome) in place.told.lock().unwrap().iter().enumerate() {
        let Outcome::Replaced { waited: one, snapshot, .. } = outcome else { panic!("{outcome}") };
        assert_eq!(snapshot.is_some(), n % 2 == 1, "{outcome}");
        waited = waited.max(*one);
    }
    assert_eq!(place.plugin.swaps(), Counts { replaced: SWAPS as u64, ..Counts::default() });
    enough.cancel();
    load.await.unwrap();
    assert_eq!(*failures.lock().await, [], "failed calls");
    let pods = FOLLOWERS as u64 + calls.load(Ordering::Relaxed).div_ceil(20);
    let told = || seen.load(Ordering::Relaxed);
    let began = Instant::now();
    while told() < pods && !changes.is_finished() && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.cancel();
    changes.await.unwrap();
    assert_eq!(told(), pods, "pods that changes told of");
    let mut lines = 0;
    for follower in followers {
        lines += whole(&follower.await.unwrap(), took);
    }
    println!(
        "{SWAPS} swaps in {took:?}: {} calls, none failed, the longest took {} ms; a swap kept calls waiting for {waited:?} at most; \
         {lines} lines of {FOLLOWERS} logs, none lost, none twice",
        calls.load(Ordering::Relaxed),
        longest.load(Ordering::Relaxed) / 1000,
    );
}

/// The same component in another file: with a custom section more.
fn other_bytes(build: &[u8]) -> Vec<u8> {
    [build, b"\0\x06\x05again"].concat()
}

/// Follows the changes until it is told to stop, and counts the pods that it is told. Every call has to succeed.
async fn changes(plugin: Arc<Plugin>, seen: Arc<AtomicU64>, stop: CancellationToken) {
    let (mut cursor, mut told) = (None, HashSet::new());
    loop {
        let batch = tokio::select! {
            batch = plugin.next_changes(Call::uncancelled(), cursor.clone(), Duration::from_secs(5)) => batch.unwrap(),
            () = stop.cancelled() => return,
        };
        assert!(cursor.is_none() || batch.scope == Scope::Delta, "it was told to start over");
        told.extend(batch.changed.into_iter().map(|pod| pod.id).chain(batch.touched));
        seen.store(told.len() as u64, Ordering::Relaxed);
        cursor = batch.cursor;
        assert!(cursor.is_some());
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
async fn a_build_that_does_nothing_but_trap_is_taken_back_with_what_it_kept() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    place.configure("[faults]\nget-pods = \"trap\"\n");
    until("it is taken back", || async {
        // Answers about the node do not count: they touch nothing of what the plugin keeps.
        place.plugin.ping().await.unwrap();
        let _ = place.plugin.get_pods().await;
        !place.version().ends_with("-next")
    })
    .await;
    place.configure("");
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 1, "of the copy of the store");
    assert_eq!(place.plugin.swaps(), Counts { replaced: 1, rolled_back: 1, ..Counts::default() });
    let told = place.told.lock().unwrap().last().unwrap().clone();
    assert!(matches!(told, Outcome::RolledBack { traps: 5.., .. }), "{told}");
    // The file still has it: somebody has to ask.
    assert!(place.reload().await.is_success() && place.version().ends_with("-next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_answered_stays() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    place.put_file(&next());
    assert!(place.reload().await.is_success());
    create(&place.plugin, "q", &[]).await.unwrap();
    place.configure("[faults]\nget-pods = \"trap\"\n");
    for _ in 0..20 {
        assert_eq!(place.plugin.get_pods().await.unwrap_err().code, Code::Internal);
    }
    // One attempt comes after the other: had it been taken back, it would be by now.
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
    assert!(place.path("state/store/mock.before-swap.redb").exists());
    assert_eq!(place.plugin.node_details().await.unwrap().runtime_version.as_deref(), Some("mock://0.1.0-next"));
    place.put_file(&mock());
    until("so is the next", || async { !place.version().ends_with("-next") }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_through_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().await;
    let directory = place.path("state");
    let control = Control::open(&directory).unwrap();
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
    // Of a host that was killed: the next one takes its place.
    let again = Control::open(&directory).unwrap();
    drop(again);
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
