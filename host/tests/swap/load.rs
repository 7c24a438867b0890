//! What callers notice while builds take turns.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use vk_host::plugin::Plugin;
use vk_host::plugin::swap::{Counts, Outcome};
use vk_host::provider::{Call, Error, LogEntry, LogOptions, PodRef, Provider as _, Scope, Why};

use crate::common::{create, pod};
use crate::place::{PATIENCE, Place, mock, next, other_bytes};

/// Two builds take turns so often.
const SWAPS: usize = 100;
/// Time between the beginnings of two calls: 500 a second.
const CALL_EVERY: Duration = Duration::from_millis(2);
/// Logs that are followed.
const FOLLOWERS: usize = 20;

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
