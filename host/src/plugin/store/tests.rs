use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::{Bounds, Expect, Failure, OpenError, Store};

const NO_TTL: Option<Duration> = None;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store/mock.redb");
    (directory, path)
}

fn store() -> (TempDir, Store) {
    bounded(Bounds::default())
}

fn bounded(bounds: Bounds) -> (TempDir, Store) {
    let (directory, path) = place();
    let store = Store::open(&path, bounds).unwrap();
    (directory, store)
}

fn text(store: &Store, key: &str) -> Option<String> {
    store.get(key).map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
}

async fn put(store: &Store, key: &str, value: &'static str) -> u64 {
    store.put(key, Bytes::from_static(value.as_bytes()), Expect::Anything, NO_TTL).await.unwrap()
}

#[tokio::test]
async fn one_number_orders_all_writes_and_removals() {
    let (_directory, store) = store();
    let a = put(&store, "a", "1").await;
    let b = put(&store, "b", "1").await;
    store.remove("a", Expect::Anything).await.unwrap();
    let c = put(&store, "c", "1").await;
    assert_eq!((b, c), (a + 1, a + 3), "the removal took a number too");
    assert_eq!(store.get("b").unwrap().revision, b);
    assert_eq!(store.get("a"), None);
}

#[tokio::test]
async fn a_write_happens_only_where_it_was_expected() {
    let (_directory, store) = store();
    let first = store.put("k", "1".into(), Expect::Absent, NO_TTL).await.unwrap();
    let there = store.get("k");
    let again = store.put("k", "2".into(), Expect::Absent, NO_TTL).await;
    assert_eq!(again, Err(Failure::Conflict(there.clone())));
    assert_eq!(store.put("k", "2".into(), Expect::Revision(first + 1), NO_TTL).await, Err(Failure::Conflict(there)));
    let second = store.put("k", "2".into(), Expect::Revision(first), NO_TTL).await.unwrap();
    assert_eq!(store.put("none", "2".into(), Expect::Revision(first), NO_TTL).await, Err(Failure::Conflict(None)));
    assert!(matches!(store.remove("k", Expect::Revision(first)).await, Err(Failure::Conflict(Some(_)))));
    assert_eq!(text(&store, "k").as_deref(), Some("2"));
    store.remove("k", Expect::Revision(second)).await.unwrap();
    store.remove("k", Expect::Anything).await.unwrap();
    store.remove("k", Expect::Absent).await.unwrap();
    assert_eq!(store.remove("k", Expect::Revision(second)).await, Err(Failure::Conflict(None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_expect_the_same_one_wins() {
    let (_directory, store) = store();
    let tasks = (0..64).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.put("k", Bytes::from(n.to_string()), Expect::Absent, NO_TTL).await.is_ok() })
    });
    let won = futures::future::join_all(tasks).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_arrive_together_share_a_commit() {
    let (_directory, store) = store();
    let tasks = (0..512).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.put(&format!("k/{n}"), "v".into(), Expect::Absent, NO_TTL).await.unwrap() })
    });
    let revisions: HashSet<u64> = futures::future::join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(revisions.len(), 512);
    assert!(store.commits() <= 128, "{} commits for 512 writes", store.commits());
}

#[tokio::test]
async fn keys_and_scan_come_in_order_and_in_pages() {
    let (_directory, store) = store();
    let writes = (0..1200)
        .map(|n| store.put(Box::leak(format!("pods/{n:04}").into_boxed_str()), "v".into(), Expect::Anything, NO_TTL));
    futures::future::try_join_all(writes).await.unwrap();
    put(&store, "pods", "no prefix of it ends so").await;
    put(&store, "q", "after").await;
    let first = store.keys("pods/", None);
    assert_eq!((first.len(), first.first().unwrap().as_str()), (1000, "pods/0000"));
    let rest = store.keys("pods/", first.last().map(String::as_str));
    assert_eq!((rest.len(), rest.first().unwrap().as_str()), (200, "pods/1000"));
    let (mut after, mut sizes) = (None, Vec::new());
    loop {
        let page = store.scan("pods/", after.as_deref());
        sizes.push(page.len());
        let Some((key, _)) = page.last() else { break };
        after = Some(key.to_string());
    }
    assert_eq!(sizes, [500, 500, 200, 0]);
}

#[tokio::test]
async fn a_page_of_large_values_has_about_a_mebibyte() {
    let (_directory, store) = store();
    for n in 0..4 {
        store.put(&format!("k{n}"), Bytes::from(vec![0; 400 << 10]), Expect::Anything, NO_TTL).await.unwrap();
    }
    store.put("k4", Bytes::from(vec![0; 1 << 20]), Expect::Anything, NO_TTL).await.unwrap();
    assert_eq!(store.scan("", None).len(), 2);
    assert_eq!(store.scan("", Some("k3")).len(), 1, "one that fills the page alone is given all the same");
}

#[tokio::test]
async fn since_tells_the_last_change_of_each_key_oldest_first() {
    let (_directory, store) = store();
    let start = put(&store, "pods/a", "1").await;
    put(&store, "pods/b", "1").await;
    put(&store, "other", "1").await;
    put(&store, "pods/a", "2").await;
    store.remove("pods/b", Expect::Anything).await.unwrap();
    let last = put(&store, "other", "2").await;
    let news = store.since("pods/", start).unwrap();
    let told: Vec<_> = news.changed.iter().map(|(key, entry)| (&**key, entry.is_some())).collect();
    assert_eq!(told, [("pods/a", true), ("pods/b", false)]);
    assert_eq!(news.revision, last, "what happened elsewhere need not be looked at again");
    assert_eq!(store.since("pods/", news.revision).unwrap().changed, []);
    assert_eq!(store.revision(), last);
}

#[tokio::test]
async fn since_walks_in_pages() {
    let (_directory, store) = store();
    let keys: Vec<String> = (0..1100).map(|n| format!("k/{n}")).collect();
    futures::future::try_join_all(keys.iter().map(|key| store.put(key, "v".into(), Expect::Anything, NO_TTL)))
        .await
        .unwrap();
    let (mut revision, mut seen) = (0, HashSet::new());
    let mut pages = Vec::new();
    loop {
        let news = store.since("k/", revision).unwrap();
        pages.push((news.changed.len(), news.revision == store.revision()));
        revision = news.revision;
        if news.changed.is_empty() {
            break;
        }
        seen.extend(news.changed.into_iter().map(|(key, _)| key));
    }
    assert_eq!(seen.len(), 1100);
    assert_eq!(pages, [(500, false), (500, false), (100, true), (0, true)], "the store's revision ends the walk");
}

#[tokio::test]
async fn an_outworn_revision_is_told_and_the_store_s_own_is_where_a_scan_begins() {
    let (_directory, store) = bounded(Bounds { removals: 10, ..Bounds::default() });
    let old = put(&store, "old", "1").await;
    for n in 0..20 {
        put(&store, &format!("k{n}"), "1").await;
        store.remove(&format!("k{n}"), Expect::Anything).await.unwrap();
    }
    for outworn in [0, old, store.revision() + 1000, u64::MAX] {
        assert_eq!(store.since("", outworn), Err(Failure::Outworn), "{outworn}");
        store.watch("", outworn).ready().await;
    }
    let start = store.revision();
    let all = store.scan("", None);
    assert_eq!(all.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), ["old"]);
    assert_eq!(store.since("", start).unwrap().changed, []);
    let next = put(&store, "new", "1").await;
    assert_eq!(store.since("", start).unwrap().revision, next);
}

#[tokio::test]
async fn a_watch_wakes_for_its_prefix_alone() {
    let (_directory, store) = store();
    let start = put(&store, "pods/a", "1").await;
    let mut watch = store.watch("pods/", start);
    put(&store, "other", "1").await;
    assert!(tokio::time::timeout(Duration::from_millis(50), watch.ready()).await.is_err());
    let (other, ()) = tokio::join!(put(&store, "pods/b", "1"), watch.ready());
    assert_eq!(store.since("pods/", start).unwrap().changed.len(), 1);
    store.watch("pods/", start).ready().await;
    assert!(tokio::time::timeout(Duration::from_millis(50), store.watch("pods/", other).ready()).await.is_err());
}

#[tokio::test]
async fn what_has_a_time_to_live_expires_and_that_is_news() {
    let (_directory, store) = store();
    let before = store.commits();
    store.put("session", "s".into(), Expect::Absent, Some(Duration::from_secs(600))).await.unwrap();
    assert_eq!(text(&store, "session").as_deref(), Some("s"));
    let revision = store.put("token", "t".into(), Expect::Absent, Some(Duration::from_millis(80))).await.unwrap();
    assert_eq!(store.commits(), before, "it stays in memory");
    let mut watch = store.watch("token", revision);
    tokio::time::timeout(Duration::from_secs(5), watch.ready()).await.expect("the expiry wakes");
    assert_eq!(text(&store, "token"), None);
    let news = store.since("token", revision).unwrap();
    assert_eq!(news.changed, [(Arc::from("token"), None)]);
    store.put("token", "u".into(), Expect::Absent, NO_TTL).await.unwrap();
}

#[tokio::test]
async fn an_entry_in_memory_does_not_uncover_the_durable_one_below() {
    let (_directory, path) = place();
    {
        let store = Store::open(&path, Bounds::default()).unwrap();
        put(&store, "k", "durable").await;
        store.put("k", "memory".into(), Expect::Anything, Some(Duration::from_secs(600))).await.unwrap();
        assert_eq!(text(&store, "k").as_deref(), Some("memory"));
    }
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert_eq!(text(&store, "k"), None);
}

#[tokio::test]
async fn what_memory_covered_is_told_as_removed_after_a_restart() {
    let (_directory, path) = place();
    let minute = Some(Duration::from_secs(60));
    let start = {
        let store = Store::open(&path, Bounds::default()).unwrap();
        put(&store, "covered", "1").await;
        let start = put(&store, "removed", "1").await;
        store.put("covered", "2".into(), Expect::Anything, minute).await.unwrap();
        store.remove("removed", Expect::Anything).await.unwrap();
        store.put("removed", "2".into(), Expect::Anything, minute).await.unwrap();
        put(&store, "other", "1").await;
        start
    };
    let store = Store::open(&path, Bounds::default()).unwrap();
    let news = store.since("", start).unwrap().changed;
    let mut gone: Vec<&str> = news.iter().filter(|(_, entry)| entry.is_none()).map(|(key, _)| &**key).collect();
    gone.sort_unstable();
    assert_eq!(gone, ["covered", "removed"]);
    // Once they are durable again nothing of it is left.
    put(&store, "covered", "3").await;
    put(&store, "removed", "3").await;
    drop(store);
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert!(store.since("", start).unwrap().changed.iter().all(|(_, entry)| entry.is_some()));
}

#[tokio::test]
async fn the_quota_holds_for_key_value_and_share() {
    let (_directory, store) = bounded(Bounds { key: 8, value: 100, share: 700, removals: 10 });
    let value = |n| Bytes::from(vec![0; n]);
    assert_eq!(store.put("123456789", value(1), Expect::Anything, NO_TTL).await, Err(Failure::TooLong));
    assert_eq!(store.put("k", value(101), Expect::Anything, NO_TTL).await, Err(Failure::TooLong));
    store.put("a", value(100), Expect::Anything, NO_TTL).await.unwrap();
    store.put("b", value(100), Expect::Anything, NO_TTL).await.unwrap();
    assert_eq!(store.put("c", value(100), Expect::Anything, NO_TTL).await, Err(Failure::Quota));
    store.put("b", value(100), Expect::Anything, NO_TTL).await.expect("what is replaced is free");
    store.remove("a", Expect::Anything).await.unwrap();
    store.put("c", value(100), Expect::Anything, NO_TTL).await.unwrap();
    // Two in one commit do not both fit.
    let (one, two) = tokio::join!(
        store.put("d", value(30), Expect::Anything, NO_TTL),
        store.put("e", value(30), Expect::Anything, NO_TTL)
    );
    assert!(one.is_ok() != two.is_ok());
}

#[tokio::test]
async fn all_is_there_after_a_reopening_and_numbers_go_on() {
    let (_directory, path) = place();
    let (kept, last) = {
        let store = Store::open(&path, Bounds::default()).unwrap();
        let kept = put(&store, "kept", "1").await;
        put(&store, "gone", "1").await;
        store.remove("gone", Expect::Anything).await.unwrap();
        (kept, store.put("memory", "1".into(), Expect::Anything, Some(Duration::from_secs(600))).await.unwrap())
    };
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert_eq!(store.get("kept").unwrap().revision, kept);
    assert_eq!((store.get("gone"), store.get("memory")), (None, None));
    let news = store.since("", kept).unwrap();
    assert_eq!(news.changed, [(Arc::from("gone"), None)], "a removal is told after the host's restart too");
    assert!(put(&store, "new", "1").await > last, "a number that memory alone knew is not given out again");
}

#[tokio::test]
async fn a_copy_brings_back_what_was_there_and_no_revision_comes_twice() {
    let (_directory, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    let copy = path.with_extension("state-1.redb");
    put(&store, "a", "old").await;
    put(&store, "gone", "x").await;
    store.remove("gone", Expect::Anything).await.unwrap();
    for _ in 0..2 {
        store.export(&copy).await.expect("also over an older one");
    }
    let later = put(&store, "a", "new").await;
    put(&store, "b", "new").await;
    let newest = store.revision();
    let mut watch = store.watch("", newest);
    store.restore(&copy).await.unwrap();
    assert_eq!((text(&store, "a").as_deref(), text(&store, "b")), (Some("old"), None));
    assert!(!copy.exists(), "it is the store's own file now");
    watch.ready().await;
    assert_eq!(store.since("", newest), Err(Failure::Outworn));
    assert!(put(&store, "a", "again").await > later.max(newest));
    assert!(store.restore(&copy).await.is_err(), "there is none any more");
    assert_eq!(text(&store, "a").as_deref(), Some("again"));
    put(&store, "c", "and goes on").await;
    drop(store);
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert_eq!(text(&store, "a").as_deref(), Some("again"));
}

#[tokio::test]
async fn a_closed_store_refuses_writes_and_frees_its_file() {
    let (_directory, path) = place();
    let store = Store::open(&path, Bounds::default()).unwrap();
    put(&store, "k", "1").await;
    assert!(matches!(Store::open(&path, Bounds::default()), Err(OpenError::Locked)));
    store.close();
    assert!(matches!(store.put("k", "2".into(), Expect::Anything, NO_TTL).await, Err(Failure::Unavailable(_))));
    let again = Store::open(&path, Bounds::default()).unwrap();
    assert_eq!(text(&again, "k").as_deref(), Some("1"));
}

#[test]
fn a_damaged_file_is_told() {
    let (_directory, path) = place();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, vec![7; 8192]).unwrap();
    assert!(matches!(Store::open(&path, Bounds::default()), Err(OpenError::Corrupt(_))));
}

#[tokio::test]
async fn a_store_whose_making_was_cut_short_is_made_again() {
    let (_directory, path) = place();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // What a process leaves that is killed before redb has written a file's mark, here and in its last place.
    std::fs::write(path.with_extension("new"), vec![0; 4096]).unwrap();
    std::fs::write(&path, "").unwrap();
    let store = Store::open(&path, Bounds::default()).unwrap();
    store.put("k", "1".into(), Expect::Anything, NO_TTL).await.unwrap();
    assert!(!path.with_extension("new").exists());
}

#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = place();
    let _store = Store::open(&path, Bounds::default()).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[tokio::test]
async fn a_lock_goes_through_its_queue() {
    let (_directory, store) = store();
    let long = Duration::from_secs(600);
    let first = store.acquire("refresh", long);
    let second = store.acquire("refresh", long);
    let third = store.acquire("refresh", long);
    let other = store.acquire("other", long);
    assert!(first.held() && !second.held() && !third.held() && other.held());
    let mut waits = second.wait();
    drop(first);
    waits.ready().await;
    assert!(second.held() && !third.held());
    drop(second);
    third.wait().ready().await;
    assert!(third.held());
}

#[tokio::test(start_paused = true)]
async fn a_lock_ends_with_its_time() {
    let (_directory, store) = store();
    let first = store.acquire("refresh", Duration::from_secs(5));
    assert!(first.held());
    let second = store.acquire("refresh", Duration::from_secs(5));
    let began = tokio::time::Instant::now();
    second.wait().ready().await;
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(second.held() && !first.held());
    first.wait().ready().await;
    assert!(!first.held(), "a wait for what will never come ends, and says no");
}

/// Not a test by itself: the child of the next one. It writes until it is killed, says what was acknowledged, and copies its
/// store meanwhile, as a swap does.
#[test]
fn writes_until_it_is_killed() {
    let Ok(path) = std::env::var("VK_TEST_STORE_KILL") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(path.as_ref(), Bounds::default()).unwrap();
        let (copied, copy) = (store.clone(), PathBuf::from(&path).with_extension("state-1.redb"));
        tokio::spawn(async move {
            loop {
                copied.export(&copy).await.unwrap();
            }
        });
        let writers = (0..16).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0_u64.. {
                    let key = format!("{writer}/{}", n % 50);
                    let revision = store.put(&key, Bytes::from(n.to_string()), Expect::Anything, NO_TTL).await.unwrap();
                    // One call of write(2) a line: a kill cannot cut it.
                    let line = format!("ack {key} {n} {revision}\n");
                    nix::unistd::write(std::io::stdout(), line.as_bytes()).unwrap();
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let (_directory, path) = place();
    let mut newest = 0;
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "plugin::store::tests::writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env("VK_TEST_STORE_KILL", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acknowledged = std::collections::HashMap::new();
        let mut count = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let ["ack", key, n, revision] = words.as_slice() else { continue };
            acknowledged.insert((*key).to_owned(), (n.parse::<u64>().unwrap(), revision.parse::<u64>().unwrap()));
            count += 1;
            if count == 2000 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(count >= 2000, "the child ended early, after {count} writes");
        let store = Store::open(&path, Bounds::default()).unwrap();
        for (key, (n, revision)) in acknowledged {
            let entry = store.get(&key).unwrap_or_else(|| panic!("{key} is lost"));
            assert!(entry.revision >= revision, "{key} went back to {}", entry.revision);
            let value: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
            assert!(value >= n, "{key} has {value} and {n} was acknowledged");
            assert!(revision > newest, "a revision was given out twice");
        }
        newest = store.revision();
        let copy = path.with_extension("state-1.redb");
        if copy.exists() {
            Store::open(&copy, Bounds::default()).expect("a copy is whole or not there");
        }
    }
}

/// Not a test by itself: the child of the next one, which may not write large files.
#[test]
fn meets_a_full_disk() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok(path) = std::env::var("VK_TEST_STORE_FULL") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(path.as_ref(), Bounds::default()).unwrap();
        store.put("token", "t".into(), Expect::Anything, Some(Duration::from_secs(1))).await.unwrap();
        let start = store.revision();
        let value = Bytes::from(vec![7; 64 << 10]);
        let mut there = 0;
        let failure = loop {
            match store.put(&format!("k/{there:04}"), value.clone(), Expect::Absent, NO_TTL).await {
                Ok(_) => there += 1,
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure, Failure::Unavailable(_)), "{failure}");
        assert_eq!(store.keys("k/", None).len(), there, "what failed is not shown");
        let (_, most) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, most, most).unwrap();
        store.put("after", value, Expect::Absent, NO_TTL).await.expect("it goes on by itself");
        assert!(store.keys("k/", None).len() >= there);
        assert_eq!(
            store.since("", start),
            Err(Failure::Outworn),
            "what happened at the failure is not known, so all look again"
        );
    });
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let (_directory, path) = place();
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 8192; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "plugin::store::tests::meets_a_full_disk", "--nocapture", "--test-threads=1"])
        .env("VK_TEST_STORE_FULL", &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let store = Store::open(&path, Bounds::default()).unwrap();
    assert!(store.get("after").is_some() && store.get("token").is_none());
}
