//! The WebAssembly half with a real plugin, the mock: what a call may cost, how it is ended, and what that says of its effect.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy does not take the helpers of tests for tests")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{create, pod};
use tempfile::TempDir;
use tokio::sync::mpsc;
use vk_host::plugin::grants::{Grant, Grants, Named};
use vk_host::plugin::{Config, Limits, LoadError, NodeInfo, Plugin};
use vk_host::provider::{Call, Code, Deletion, Effect, LogOptions, Provider, Why};

/// Short enough to wait for, where a test waits for it.
const DEADLINE: Duration = Duration::from_millis(600);
/// See [`DEADLINE`].
const GRACE: Duration = Duration::from_millis(200);
/// Longer than a test waits for changes, of which there are none.
const WAIT: Duration = Duration::from_secs(60);
/// See [`DEADLINE`].
const CPU: Duration = Duration::from_millis(200);

fn mock() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/mock.wasm");
    let file = std::env::var_os("VK_MOCK_WASM").map_or(built, PathBuf::from);
    assert!(file.exists(), "{} is missing: run `just plugins` first", file.display());
    file
}

/// Longer than any call takes on a busy machine, so that a bound is met only where a test means it.
fn limits() -> Limits {
    let long = Duration::from_secs(60);
    Limits { deadline: long, create_deadline: long, load_deadline: long, cpu_budget: long, ..Limits::default() }
}

fn impatient() -> Limits {
    Limits { deadline: DEADLINE, create_deadline: DEADLINE, cancel_grace: GRACE, ..limits() }
}

struct Place {
    directory: TempDir,
    limits: Limits,
}

impl Place {
    fn new(limits: Limits) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), limits }
    }

    async fn load(&self, config: &str) -> Result<Arc<Plugin>, LoadError> {
        self.load_granted(config, &[]).await
    }

    /// With what `--grant` and `--endpoint` would grant.
    async fn load_granted(&self, config: &str, granted: &[&str]) -> Result<Arc<Plugin>, LoadError> {
        let provider_config = self.directory.path().join("mock.toml");
        std::fs::write(&provider_config, config).unwrap();
        let config = Config {
            file: mock(),
            provider_config: Some(provider_config),
            grants: grants(granted),
            state_dir: self.directory.path().join("state"),
            // One for all tests: the mock is compiled once.
            cache_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"),
            node: NodeInfo {
                name: "node-1".into(),
                cluster_id: "test".into(),
                internal_ip: "10.0.0.1".into(),
                ..NodeInfo::default()
            },
            limits: self.limits,
        };
        Plugin::load(config).await.map(Arc::new)
    }
}

/// `ACCESS=TARGET` each, or an endpoint's `NAME=URL`.
fn grants(texts: &[&str]) -> Grants {
    let mut grants = Grants::default();
    for text in texts {
        match text.parse::<Grant>() {
            Ok(grant) => grants.add(grant),
            // `http=…` would be a good name of an endpoint too.
            Err(_) => {
                let Named { name, url } = text.parse().unwrap();
                grants.endpoints.insert(name, url.into());
            }
        }
    }
    grants
}

async fn loaded() -> (Place, Arc<Plugin>) {
    loaded_with(limits()).await
}

async fn loaded_with(limits: Limits) -> (Place, Arc<Plugin>) {
    let place = Place::new(limits);
    let plugin = place.load("").await.unwrap();
    (place, plugin)
}

/// Fails with this reason, and the plugin goes on.
async fn fails(plugin: &Plugin, fault: &str, code: Code, reason: &str) -> Duration {
    let began = Instant::now();
    let error = create(plugin, "p", &[("create-fault", fault)]).await.unwrap_err();
    let took = began.elapsed();
    assert_eq!((error.code, &*error.reason), (code, reason), "{error}");
    assert_eq!(error.effect, Effect::Unknown, "the guest ran, so the backend may have acted: {error}");
    plugin.ping().await.expect("one call's end is no other's");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_who_it_is_and_what_it_can() {
    let (_place, plugin) = loaded().await;
    assert_eq!(plugin.identity().name, "mock");
    assert!(plugin.capabilities().changes && plugin.capabilities().container_logs);
    let capacity = plugin.capacity().await.unwrap();
    assert!(capacity.iter().any(|amount| amount.resource == "cpu" && amount.capacity == "20"), "{capacity:?}");
    plugin.ping().await.unwrap();
}

/// Waits until so many calls run.
async fn running(plugin: &Plugin, calls: usize) {
    let until = Instant::now() + Duration::from_secs(10);
    while plugin.running_calls() != calls {
        assert!(Instant::now() < until, "{} calls run, not {calls}", plugin.running_calls());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A call has its whole deadline from when it begins, however long it had to wait for others.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_permit_takes_nothing_from_the_deadline() {
    let (_place, plugin) = loaded_with(Limits { create_permits: 1, create_deadline: DEADLINE, ..impatient() }).await;
    let creates = (0..4).map(|n| {
        let plugin = Arc::clone(&plugin);
        tokio::spawn(async move { create(&plugin, &format!("p{n}"), &[("create-fault", "hang")]).await })
    });
    for create in creates.collect::<Vec<_>>() {
        let error = create.await.unwrap().unwrap_err();
        let own = error.message.contains("the call's time is up");
        assert!(own, "the guest's own answer, asked to end by its deadline: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_any_more_ends_and_frees_its_permit() {
    let (_place, plugin) = loaded_with(Limits { create_permits: 1, ..limits() }).await;
    let calls = Arc::clone(&plugin);
    let hanging = tokio::spawn(async move { create(&calls, "h", &[("create-fault", "hang")]).await });
    running(&plugin, 1).await;
    hanging.abort();
    running(&plugin, 0).await;
    create(&plugin, "p", &[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stops_asks_calls_to_end_and_still_tells_the_provider() {
    let (_place, plugin) = loaded().await;
    let calls = Arc::clone(&plugin);
    let hanging = tokio::spawn(async move { create(&calls, "h", &[("create-fault", "hang")]).await });
    running(&plugin, 1).await;
    plugin.begin_shutdown();
    let error = hanging.await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::Cancelled, "{error}");
    assert_eq!(&*plugin.ping().await.unwrap_err().reason, "CallCancelled");
    plugin.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_comes_and_goes() {
    let (_place, plugin) = loaded().await;
    create(&plugin, "p", &[]).await.unwrap();
    create(&plugin, "p", &[]).await.expect("idempotent by uid");
    let id = pod("p", &[]).id;
    let observed = plugin.get_pod(&id).await.unwrap().expect("it is there");
    assert_eq!((observed.id, observed.revision.as_deref()), (id.clone(), Some("r1")));
    assert_eq!(plugin.get_pods().await.unwrap().len(), 1);
    let deletion =
        plugin.delete_pod(Call::uncancelled(), &id, Some(pod("p", &[])), Some(Duration::ZERO)).await.unwrap();
    assert_eq!(deletion, Deletion::Gone, "without grace nothing is waited for");
    assert_eq!(plugin.get_pod(&id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_ends_its_own_call() {
    let (_place, plugin) = loaded().await;
    fails(&plugin, "trap", Code::Internal, "PluginTrapped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_with_its_processor_time() {
    let (_place, plugin) = loaded_with(Limits { cpu_budget: CPU, ..limits() }).await;
    let took = fails(&plugin, "spin", Code::Internal, "CpuBudgetExceeded").await;
    assert!(took >= CPU, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_all_memory_is_out_of_it() {
    let (_place, plugin) = loaded_with(Limits { guest_memory: 32 << 20, ..limits() }).await;
    fails(&plugin, "allocate", Code::Internal, "OutOfMemory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_listens_ends_softly_at_its_deadline() {
    let (_place, plugin) = loaded_with(impatient()).await;
    let began = Instant::now();
    let error = create(&plugin, "p", &[("create-fault", "hang")]).await.unwrap_err();
    assert_eq!(error.code, Code::DeadlineExceeded);
    assert!(error.message.contains("the call's time is up"), "the guest's own answer: {error}");
    assert!(began.elapsed() >= DEADLINE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_listen_is_dropped_after_the_grace() {
    let (_place, plugin) = loaded_with(impatient()).await;
    let took = fails(&plugin, "deaf-hang", Code::DeadlineExceeded, "DeadlineExceeded").await;
    assert!(took >= DEADLINE + GRACE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_fails_has_had_no_effect() {
    let (_place, plugin) = loaded().await;
    create(&plugin, "p", &[("get-fault", "trap")]).await.unwrap();
    let error = plugin.get_pod(&pod("p", &[]).id).await.unwrap_err();
    assert_eq!((&*error.reason, error.effect), ("PluginTrapped", Effect::None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_an_unknown_effect_and_the_pod_is_there() {
    let (_place, plugin) = loaded().await;
    for (uid, fault, reason) in [("a", "lost", "MockAnswerLost"), ("b", "lost-trap", "PluginTrapped")] {
        let error = create(&plugin, uid, &[("create-fault", fault)]).await.unwrap_err();
        assert_eq!((&*error.reason, error.effect), (reason, Effect::Unknown));
        assert!(plugin.get_pod(&pod(uid, &[]).id).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_ends_its_call() {
    let (_place, plugin) = loaded_with(Limits { cancel_grace: GRACE, ..limits() }).await;
    for (fault, least) in [("hang", Duration::ZERO), ("deaf-hang", GRACE)] {
        let (canceller, call) = Call::new();
        let calls = Arc::clone(&plugin);
        let hanging = tokio::spawn(async move { calls.create_pod(call, pod("p", &[("create-fault", fault)])).await });
        running(&plugin, 1).await;
        let began = Instant::now();
        canceller.cancel(Why::PodDeleted);
        let error = hanging.await.unwrap().unwrap_err();
        assert_eq!(error.code, Code::Cancelled, "{error}");
        assert!(began.elapsed() >= least && began.elapsed() < limits().deadline, "{fault}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_that_hang_do_not_keep_a_delete_waiting() {
    let place = Place::new(Limits { create_permits: 2, cancel_grace: GRACE, ..limits() });
    let plugin = place.load("").await.unwrap();
    create(&plugin, "there", &[]).await.unwrap();
    let hanging: Vec<_> = (0..8)
        .map(|n| {
            let plugin = Arc::clone(&plugin);
            tokio::spawn(async move { create(&plugin, &format!("h{n}"), &[("create-fault", "deaf-hang")]).await })
        })
        .collect();
    running(&plugin, 2).await;
    plugin.delete_pod(Call::uncancelled(), &pod("there", &[]).id, None, None).await.unwrap();
    plugin.ping().await.unwrap();
    plugin.shutdown().await;
    for create in hanging {
        let error = create.await.unwrap().unwrap_err();
        assert_eq!(&*error.reason, "CallCancelled", "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_spin_do_not_stop_the_others() {
    let place = Place::new(Limits {
        cpu_budget: Duration::from_secs(60),
        create_deadline: Duration::from_secs(60),
        ..limits()
    });
    let plugin = place.load("").await.unwrap();
    let spinning: Vec<_> = (0..4)
        .map(|n| {
            let plugin = Arc::clone(&plugin);
            tokio::spawn(async move { create(&plugin, &format!("s{n}"), &[("create-fault", "spin")]).await })
        })
        .collect();
    running(&plugin, 4).await;
    for _ in 0..10 {
        plugin.ping().await.expect("within its deadline");
    }
    plugin.shutdown().await;
    for create in spinning {
        assert_eq!(create.await.unwrap().unwrap_err().code, Code::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_when_they_happen() {
    let (_place, plugin) = loaded().await;
    let first = plugin.next_changes(Call::uncancelled(), None, Duration::from_millis(50)).await.unwrap();
    let cursor = first.cursor.expect("where to go on");
    let waiting = {
        let (plugin, cursor) = (Arc::clone(&plugin), cursor.clone());
        tokio::spawn(
            async move { plugin.next_changes(Call::uncancelled(), Some(cursor), Duration::from_secs(20)).await },
        )
    };
    running(&plugin, 1).await;
    let began = Instant::now();
    create(&plugin, "p", &[]).await.unwrap();
    let batch = waiting.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    let named = batch.changed.iter().map(|pod| &pod.id).chain(&batch.touched).any(|id| id.uid == "p");
    assert!(named, "{batch:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_changes_outlasts_a_short_call_and_ends_when_asked() {
    let (_place, plugin) = loaded_with(impatient()).await;
    let cursor = plugin.next_changes(Call::uncancelled(), None, Duration::from_millis(50)).await.unwrap().cursor;
    let began = Instant::now();
    let (canceller, call) = Call::new();
    let waiting = {
        let plugin = Arc::clone(&plugin);
        tokio::spawn(async move { plugin.next_changes(call, cursor, WAIT).await })
    };
    // A short call that begins after it, and would have run for ever, has come and gone.
    running(&plugin, 1).await;
    fails(&plugin, "deaf-hang", Code::DeadlineExceeded, "DeadlineExceeded").await;
    assert!(!waiting.is_finished(), "{:?}", waiting.await);
    canceller.cancel(Why::Replaced);
    let _ = waiting.await.unwrap();
    assert!(began.elapsed() < WAIT, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_comes_whole_and_a_reader_that_leaves_ends_it() {
    // What ends the log is the guest that learns of it, not the grace.
    let (_place, plugin) = loaded_with(Limits { cancel_grace: Duration::from_secs(60), ..limits() }).await;
    create(&plugin, "p", &[("log-lines", "2500")]).await.unwrap();
    let id = pod("p", &[]).id;
    let (sink, mut entries) = mpsc::channel(1);
    let reading = {
        let (plugin, id) = (Arc::clone(&plugin), id.clone());
        tokio::spawn(async move {
            plugin.get_container_logs(Call::uncancelled(), &id, "main", LogOptions::default(), sink).await
        })
    };
    let mut lines = Vec::new();
    while let Some(some) = entries.recv().await {
        lines.extend(some);
    }
    reading.await.unwrap().unwrap();
    // The counts come first; each entry is a nanosecond later than the one before.
    assert_eq!(lines.len(), 1 + 2500);
    assert!(lines.is_sorted_by(|one, next| one.time_ns.unwrap() + 1 == next.time_ns.unwrap()));
    let (sink, mut entries) = mpsc::channel(1);
    let following = tokio::spawn(async move {
        plugin
            .get_container_logs(
                Call::uncancelled(),
                &id,
                "main",
                LogOptions { follow: true, ..LogOptions::default() },
                sink,
            )
            .await
    });
    entries.recv().await.expect("a first line");
    let began = Instant::now();
    drop(entries);
    let _ = following.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// On this thread alone, so that its processor time is the session's.
#[tokio::test]
async fn a_session_that_spins_takes_its_share_and_no_more() {
    let (share, period) = (Duration::from_millis(100), Duration::from_millis(500));
    let (_place, plugin) =
        loaded_with(Limits { session_cpu: share, session_period: period, cancel_grace: GRACE, ..limits() }).await;
    create(&plugin, "p", &[("logs-fault", "spin")]).await.unwrap();
    let id = pod("p", &[]).id;
    let (sink, entries) = mpsc::channel(1);
    let (began, before) = (Instant::now(), thread_time());
    let session =
        async { plugin.get_container_logs(Call::uncancelled(), &id, "main", LogOptions::default(), sink).await };
    let reader = async {
        // The fourth share comes in the fourth period; what each is exceeded by, which is a tick or two, does not make up for two.
        while thread_time() - before < share * 4 {
            assert!(began.elapsed() < Duration::from_secs(60), "it spins no more");
            tokio::time::sleep(period / 10).await;
        }
        assert!(began.elapsed() >= period * 2, "{:?}", began.elapsed());
        // It is not ended for what it took, but when its reader goes.
        drop(entries);
        Instant::now()
    };
    let (error, left) = tokio::join!(session, reader);
    let spent = thread_time() - before;
    assert_eq!(error.unwrap_err().code, Code::Cancelled);
    assert!(left.elapsed() < Duration::from_secs(5));
    assert!(spent <= share * 8, "{spent:?} in four periods and a grace");
}

fn thread_time() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_the_configuration_is_told() {
    let place = Place::new(limits());
    let error = place.load("cpu = \"many\"\nmemroy = \"1Gi\"\n").await.err().expect("refused");
    let LoadError::Mistakes(mistakes) = &error else { panic!("{error}") };
    assert_eq!(mistakes.len(), 2, "{error}");
    let text = error.to_string();
    assert!(text.contains("many") && text.contains("memroy"), "{text}");
}

/// One of each access, and two that nobody has to grant: PATH is set, as cargo is found by it.
const WANTS: &str = "wants = [\"http http://10.0.0.7:5000\", \"upgrade ws://10.0.0.7\", \"connect tcp://10.0.0.7:22\", \
                     \"environment PATH\", \"file /etc/passwd\", \"endpoint engine\", \"http https://example.com:443\", \
                     \"environment VK_IS_NOT_SET\"]\n";
/// What is granted for [`WANTS`].
const GRANTS: [&str; 6] = [
    "http=http://10.0.0.7:5000",
    "upgrade=http://10.0.0.7:80",
    "connect=tcp://10.0.0.7:22",
    "environment=PATH",
    "file=/etc/passwd",
    "engine=unix:///run/docker.sock",
];

/// Why a host with these grants does not load the mock with this configuration.
async fn refusal(config: &str, granted: &[&str]) -> LoadError {
    Place::new(limits()).load_granted(config, granted).await.err().expect("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_refused_what_is_not_granted_and_each_is_named() {
    let error = refusal(WANTS, &[]).await;
    assert_eq!(error.reason(), "NotGranted");
    let text = error.to_string();
    for says in [
        "--grant http=http://10.0.0.7:5000, or http = [\"http://10.0.0.7:5000\"] below [grants]",
        "--grant upgrade=ws://10.0.0.7",
        "--grant connect=tcp://10.0.0.7:22",
        "--grant environment=PATH",
        "--grant file=/etc/passwd",
        "--endpoint engine=unix:///PATH",
    ] {
        assert_eq!(text.matches(says).count(), 1, "{says} in {text}");
    }
    assert_eq!(text.lines().count(), 1 + GRANTS.len(), "the others need no grant: {text}");
    for left_out in GRANTS {
        let granted: Vec<&str> = GRANTS.into_iter().filter(|grant| *grant != left_out).collect();
        let text = refusal(WANTS, &granted).await.to_string();
        assert_eq!(text.lines().count(), 2, "{left_out} alone is missing: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_granted_what_it_wants_serves() {
    let place = Place::new(limits());
    place.load_granted(WANTS, &GRANTS).await.unwrap().ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wants_follow_from_a_file_once_it_is_granted() {
    let place = Place::new(limits());
    let more = place.directory.path().join("more");
    std::fs::write(&more, "http http://10.0.0.7:5000\nenvironment PATH\n").unwrap();
    let (config, file) = (format!("wants-of-file = {more:?}\n"), format!("file={}", more.display()));
    let missing = async |granted: &[&str]| match refusal(&config, granted).await {
        LoadError::NotGranted(missing) => missing.into_iter().map(|missing| missing.want.access).collect::<Vec<_>>(),
        error => panic!("{error}"),
    };
    assert_eq!(missing(&[]).await, ["file"], "what is in it is not known yet");
    assert_eq!(missing(&[&file]).await, ["http", "environment"]);
    place.load_granted(&config, &[&file, "http=http://10.0.0.7:5000", "environment=PATH"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_want_that_no_host_could_grant_is_the_plugins_mistake() {
    let error = refusal("wants = [\"teleport x\", \"http example.com\"]\n", &[]).await;
    assert_eq!(error.reason(), "WantInvalid");
    let text = error.to_string();
    assert!(text.contains("teleport x") && text.contains("http example.com"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_counts_at_the_next_call() {
    let (place, plugin) = loaded().await;
    std::fs::write(place.directory.path().join("mock.toml"), "cpu = \"7\"\n").unwrap();
    let capacity = plugin.capacity().await.unwrap();
    assert!(capacity.iter().any(|amount| amount.resource == "cpu" && amount.capacity == "7"), "{capacity:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_the_host_and_the_store_has_one_owner() {
    let (place, plugin) = loaded().await;
    create(&plugin, "p", &[]).await.unwrap();
    let error = place.load("").await.err().expect("refused");
    assert_eq!(error.reason(), "StoreUnusable", "{error}");
    assert!(error.to_string().contains("another process uses it"), "{error}");
    plugin.shutdown().await;
    let refused = plugin.ping().await.unwrap_err();
    assert_eq!((&*refused.reason, refused.effect), ("CallCancelled", Effect::None));
    drop(plugin);
    let plugin = place.load("").await.unwrap();
    assert_eq!(plugin.get_pods().await.unwrap().len(), 1);
}
