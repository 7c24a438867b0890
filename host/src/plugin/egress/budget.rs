//! Request rates that a plugin declares, kept for all its calls and builds together.
//!
//! ```text
//! request ▶ the budgets that it matches ▶ a place in the queue ▶ its turn ▶ Ticket
//!                                                    └ too late for the call: at once, no turn
//! ```
//!
//! A turn is when every budget of the request has room and nobody waits in front for one of them; `pace` says when there is room.
//!
//! A server counts a request when it arrives, some time between its turn and its end. So a window begins at the end: else a request
//! that was slow on its way, and one that is fast a window later, would be one too many there.

mod matching;
mod pace;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use http::request::Parts;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::matching::Matching;
use self::pace::{Pace, Past, Plan};
use super::failure::Failure;
use crate::defaults::egress::RETRY_AFTER as LONGEST;
use crate::plugin::bindings::exports::virtual_kubelet::provider::plugin as wit;
use crate::provider::Error;

/// The budgets of one build.
pub(in crate::plugin) struct Budgets {
    declared: Vec<(Matching, Arc<Bucket>)>,
    queue: Arc<Queue>,
}

/// What one budget counts. Two builds that declare the same share it.
struct Bucket {
    pace: Pace,
    /// Locked while the queue is.
    past: Mutex<Past>,
}

/// All who wait, of all builds.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    /// In the order of their coming.
    requests: VecDeque<Request>,
}

struct Request {
    number: u64,
    buckets: Vec<Arc<Bucket>>,
    /// Its turn may come at another time than it thinks.
    wake: Arc<Notify>,
}

/// A request that had its turn. It is dropped when the request has come to its end, whatever that is.
pub(in crate::plugin) struct Ticket {
    buckets: Vec<Arc<Bucket>>,
    queue: Arc<Queue>,
}

/// There is no turn while the call has time enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct NoTurn {
    /// Until there is.
    pub(super) wait: Duration,
}

/// When the last request of a call would have had its turn that got none. `wasi:http` has no word for it, so the guest cannot tell.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct Missed(Arc<Mutex<Option<Instant>>>);

impl Missed {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, missed: NoTurn) {
        *self.lock() = Some(Instant::now() + missed.wait);
    }

    /// How long until then; none: all had their turns.
    pub(in crate::plugin) fn wait(&self) -> Option<Duration> {
        self.lock().map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl From<NoTurn> for Failure {
    fn from(NoTurn { wait }: NoTurn) -> Self {
        Self::Budget { wait }
    }
}

impl Budgets {
    /// No limits.
    pub(in crate::plugin) fn none() -> Self {
        Self { declared: Vec::new(), queue: Arc::default() }
    }

    /// Of the next build, which inherits what equal budgets have counted. An error: one for each mistake in them.
    pub(in crate::plugin) fn successor(&self, declared: &[wit::Budget]) -> Result<Self, Vec<Error>> {
        let mut next = Self { declared: Vec::new(), queue: Arc::clone(&self.queue) };
        let mut mistakes = Vec::new();
        for (number, budget) in declared.iter().enumerate() {
            match (Matching::new(budget), Pace::new(budget)) {
                (Ok(matching), Ok(pace)) => {
                    let bucket = self.bucket(&matching, pace).unwrap_or_else(|| Arc::new(Bucket::new(pace)));
                    next.declared.push((matching, bucket));
                }
                (matching, pace) => {
                    mistakes.extend([matching.err(), pace.err()].into_iter().flatten().map(|wrong| wrong.of(number)));
                }
            }
        }
        if mistakes.is_empty() { Ok(next) } else { Err(mistakes) }
    }

    fn bucket(&self, matching: &Matching, pace: Pace) -> Option<Arc<Bucket>> {
        let same = |(of, bucket): &&(Matching, Arc<Bucket>)| of == matching && bucket.pace == pace;
        self.declared.iter().find(same).map(|(_, bucket)| Arc::clone(bucket))
    }

    /// Waits for the request's turn; at once an error if that would come too late for a call that ends at `end`: a quarter of
    /// its time is the request's own, as one that is sent and cut has an outcome that nobody knows.
    pub(in crate::plugin) async fn turn(&self, request: &Parts, end: Option<Instant>) -> Result<Ticket, NoTurn> {
        let matched = self.declared.iter().filter(|(matching, _)| matching.matches(request));
        let buckets: Vec<_> = matched.map(|(_, bucket)| Arc::clone(bucket)).collect();
        if !buckets.is_empty() {
            let now = Instant::now();
            let until = end.map(|end| now + end.saturating_duration_since(now) * 3 / 4);
            self.queue.wait(&buckets, until).await?;
        }
        Ok(Ticket { buckets, queue: Arc::clone(&self.queue) })
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self, buckets: &[Arc<Bucket>], until: Option<Instant>) -> Result<(), NoTurn> {
        let wake = Arc::new(Notify::new());
        let number = self.lock().enter(buckets, Arc::clone(&wake));
        let mut place = Place { number, queue: self, had_turn: false };
        loop {
            let now = Instant::now();
            let turn = self.lock().turn(number, now);
            let Some(at) = turn else {
                place.had_turn = true;
                return Ok(());
            };
            if until.is_some_and(|until| at > until) {
                return Err(NoTurn { wait: at.saturating_duration_since(now) });
            }
            tokio::select! {
                () = wake.notified() => {}
                // One that is due waits for those in front to go.
                () = sleep_until(at), if at > now => {}
            }
        }
    }
}

/// A place in the queue, given up when it is dropped.
struct Place<'a> {
    number: u64,
    queue: &'a Queue,
    had_turn: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.lock().leave(self.number, self.had_turn);
    }
}

impl Waiting {
    fn enter(&mut self, buckets: &[Arc<Bucket>], wake: Arc<Notify>) -> u64 {
        self.last += 1;
        self.requests.push_back(Request { number: self.last, buckets: buckets.to_vec(), wake });
        self.last
    }

    /// A turn that is taken changes no plan of those behind: only who is next may have waited for just that. Else hundreds who
    /// wait would each work out the plans of all in front, at each turn.
    fn leave(&mut self, number: u64, had_turn: bool) {
        let Ok(place) = self.requests.binary_search_by_key(&number, |request| request.number) else { return };
        let Some(left) = self.requests.remove(place) else { return };
        if had_turn {
            for bucket in &left.buckets {
                let next =
                    self.requests.iter().find(|request| request.buckets.iter().any(|of| Arc::ptr_eq(of, bucket)));
                next.into_iter().for_each(|request| request.wake.notify_one());
            }
        } else {
            self.requests.range(place..).for_each(|request| request.wake.notify_one());
        }
    }

    /// When a request's turn comes, if all in front take theirs; none: it is now, and counted.
    fn turn(&self, number: u64, now: Instant) -> Option<Instant> {
        let mut plans = Plans::default();
        for request in &self.requests {
            let at = plans.room(&request.buckets, now);
            if request.number != number {
                plans.count(&request.buckets, at);
                continue;
            }
            if at > now || plans.has_any(&request.buckets) {
                return Some(at);
            }
            request.buckets.iter().for_each(|bucket| bucket.lock().count(bucket.pace, now));
        }
        None
    }
}

/// What each bucket will have counted when those in front have had their turns.
#[derive(Default)]
struct Plans<'a>(Vec<(&'a Arc<Bucket>, Plan)>);

impl<'a> Plans<'a> {
    fn of(&self, bucket: &Arc<Bucket>) -> Option<&Plan> {
        self.0.iter().find(|(of, _)| Arc::ptr_eq(of, bucket)).map(|(_, plan)| plan)
    }

    fn has_any(&self, buckets: &[Arc<Bucket>]) -> bool {
        buckets.iter().any(|bucket| self.of(bucket).is_some())
    }

    /// When all of them have room.
    fn room(&self, buckets: &[Arc<Bucket>], now: Instant) -> Instant {
        let none = Plan::default();
        let room = |bucket: &Arc<Bucket>| bucket.lock().room(bucket.pace, self.of(bucket).unwrap_or(&none), now);
        buckets.iter().map(room).fold(now, Instant::max)
    }

    fn count(&mut self, buckets: &'a [Arc<Bucket>], at: Instant) {
        for bucket in buckets {
            match self.0.iter_mut().find(|(of, _)| Arc::ptr_eq(of, bucket)) {
                Some((_, plan)) => bucket.lock().plan(bucket.pace, plan, at),
                None => {
                    let mut plan = Plan::default();
                    bucket.lock().plan(bucket.pace, &mut plan, at);
                    self.0.push((bucket, plan));
                }
            }
        }
    }
}

impl Bucket {
    fn new(pace: Pace) -> Self {
        Self { pace, past: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// A server that says when to come back is not asked again before, by whatever its budgets count.
    pub(super) fn heed(&self, response: &http::response::Parts) {
        let limits = matches!(response.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let said = response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause = said.filter(|_| limits).and_then(|said| retry_after(said, Timestamp::now()));
        let Some(pause) = pause.filter(|_| !self.buckets.is_empty()) else { return };
        tracing::info!(pause_ms = pause.as_millis(), "a server asks for a pause: requests of the same budgets wait");
        let (waiting, until) = (self.queue.lock(), Instant::now() + pause);
        self.buckets.iter().for_each(|bucket| bucket.lock().pause(until));
        waiting.requests.iter().for_each(|request| request.wake.notify_one());
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (_waiting, now) = (self.queue.lock(), Instant::now());
        self.buckets.iter().for_each(|bucket| bucket.lock().ended(bucket.pace, now));
    }
}

/// Seconds or a date (RFC 9110, 10.2.3), at most an hour.
fn retry_after(said: &str, now: Timestamp) -> Option<Duration> {
    let said = said.trim();
    let pause = if !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(said.parse().unwrap_or(u64::MAX))
    } else {
        let then = DateTimeParser::new().parse_timestamp(said).ok()?;
        Duration::try_from(then.duration_since(now)).ok()?
    };
    Some(pause.min(LONGEST))
}

#[cfg(test)]
mod tests;
