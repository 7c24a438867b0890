//! How an operator exchanges a plugin, what he can ask, and what becomes of calls under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vk_host::plugin::Limits;
use vk_host::plugin::control::{self, Control};
use vk_host::plugin::grants::{Grants, Verdict};
use vk_host::plugin::inspect::inspect;
use vk_host::provider::{Call, Code, LogOptions, Provider as _};

use crate::common::{create, pod};
use crate::place::{PATIENCE, Place, limits, mock, next, until};

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
    let inspection = inspect(&next(), None, Grants::default()).await.unwrap();
    assert_eq!(inspection.contract.as_deref(), Some("virtual-kubelet:provider@0.1.0"));
    assert_eq!(inspection.identity.as_ref().unwrap().state_version, 2);
    assert!(inspection.exports.iter().any(|name| name == "virtual-kubelet:provider/container-logs@0.1.0"));
    assert!(inspection.wants.as_ref().unwrap().is_empty() && inspection.refusal.is_none());
    let text = inspection.to_string();
    assert!(text.contains("mock 0.1.0-next, state version 2") && text.contains(&inspection.digest), "{text}");

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("mock.toml");
    std::fs::write(&config, "wants = [\"http http://10.0.0.7:5000\", \"http https://example.com:443\"]\n").unwrap();
    let wanting = inspect(&next(), Some(config.clone()), Grants::default()).await.unwrap();
    let wants = wanting.wants.as_ref().unwrap();
    assert_eq!([wants[0].granted, wants[1].granted], [Verdict::Missing, Verdict::ByItself]);
    assert_eq!(wanting.refusal.as_ref().unwrap().reason, "NotGranted");
    let text = wanting.to_string();
    let line = |target: &str| text.lines().find(|line| line.contains(target)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("http http://10.0.0.7:5000 ").contains("needs --grant http=http://10.0.0.7:5000"), "{text}");
    assert!(line("http https://example.com:443 ").ends_with("granted by itself"), "{text}");
    let mut grants = Grants::default();
    grants.add("http=http://10.0.0.7:5000".parse().unwrap());
    let granted = inspect(&next(), Some(config), grants).await.unwrap();
    assert_eq!(granted.wants.as_ref().unwrap()[0].granted, Verdict::ByOperator);
    assert!(granted.refusal.is_none(), "{granted}");

    let other = directory.path().join("other.wasm");
    std::fs::write(&other, wat::parse_str(r#"(component (import "a:b/c@1.0.0" (instance)))"#).unwrap()).unwrap();
    let other = inspect(&other, None, Grants::default()).await.unwrap();
    assert_eq!((other.imports.as_slice(), other.identity.is_some()), (&["a:b/c@1.0.0".to_owned()][..], false));
    assert_eq!(other.refusal.as_ref().unwrap().reason, "UnknownImport");
}
