//! How fast one budget lets requests go.

use std::collections::VecDeque;
use std::iter::repeat_n;
use std::time::Duration;

use tokio::time::Instant;

use super::matching::Wrong;
use crate::defaults::egress::REMEMBERED;
use crate::plugin::bindings::exports::virtual_kubelet::provider::plugin as wit;

/// Longest window, in milliseconds: a year, which no backend counts in.
const LONGEST_WINDOW: u64 = 366 * 24 * 3600 * 1000;

/// So many requests in any window of so long, and so many of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    requests: u32,
    window: Duration,
    burst: u32,
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// When the last requests ended, as many as one window may have.
    ended: VecDeque<Instant>,
    /// Sent, and not ended.
    under_way: usize,
    rest: Rest,
    /// A server asked for a pause.
    paused: Option<Instant>,
}

/// What is to be sent after that.
#[derive(Debug, Default)]
pub(super) struct Plan {
    sent: Vec<Instant>,
    /// none: nothing is planned yet.
    rest: Option<Rest>,
}

/// Bounds bursts, as a leaky bucket does (the generic cell rate algorithm, ITU-T I.371): when the last requests will have flowed off
/// at the budget's own rate; none: there was none.
#[derive(Clone, Copy, Debug, Default)]
struct Rest(Option<Instant>);

impl Pace {
    pub(super) fn new(budget: &wit::Budget) -> Result<Self, Wrong> {
        let wit::Budget { requests, window_ms, burst, .. } = *budget;
        if requests == 0 {
            return Err(Wrong::new("requests", "0 requests are never any: leave the want out instead"));
        }
        if window_ms == 0 {
            return Err(Wrong::new("window-ms", "a window of 0 ms bounds nothing: leave the budget out instead"));
        }
        if window_ms > LONGEST_WINDOW {
            return Err(Wrong::new(
                "window-ms",
                format!("{window_ms} is longer than a year: at most {LONGEST_WINDOW}"),
            ));
        }
        if burst == Some(0) {
            return Err(Wrong::new("burst", "0 requests at once are never any: it is at least 1"));
        }
        // Any window of a part's length has at most so many, so that the whole one has no more than all its parts.
        let parts = (requests / REMEMBERED).max(1);
        let window = Duration::from_millis(window_ms) / parts;
        let requests = requests.min(REMEMBERED);
        Ok(Self { requests, window, burst: burst.unwrap_or(requests).min(requests) })
    }

    /// Between two requests at the budget's own rate.
    fn every(self) -> Duration {
        self.window / self.requests
    }

    fn count(self) -> usize {
        usize::try_from(self.requests).unwrap_or(usize::MAX)
    }
}

impl Rest {
    fn room(self, pace: Pace) -> Option<Instant> {
        let allowance = pace.every() * pace.burst.saturating_sub(1);
        // What a clock cannot tell any more is long past.
        self.0.filter(|_| pace.burst < pace.requests)?.checked_sub(allowance)
    }

    fn after(self, pace: Pace, at: Instant) -> Self {
        Self(Some(self.0.map_or(at, |rest| rest.max(at)) + pace.every()))
    }
}

impl Past {
    /// When there is room for one more, after what is planned.
    pub(super) fn room(&self, pace: Pace, plan: &Plan, now: Instant) -> Instant {
        // What is under way ends now at the earliest.
        let under_way = repeat_n(&now, self.under_way);
        let window = (self.ended.len() + self.under_way + plan.sent.len())
            .checked_sub(pace.count())
            .and_then(|oldest| self.ended.iter().chain(under_way).chain(&plan.sent).nth(oldest))
            .map(|oldest| *oldest + pace.window);
        let burst = plan.rest.unwrap_or(self.rest).room(pace);
        [window, burst, self.paused].into_iter().flatten().fold(now, Instant::max)
    }

    /// One more is sent.
    pub(super) fn count(&mut self, pace: Pace, at: Instant) {
        self.under_way += 1;
        self.rest = self.rest.after(pace, at);
    }

    /// One has ended: the server has counted it by now.
    pub(super) fn ended(&mut self, pace: Pace, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended.push_back(now);
        if self.ended.len() > pace.count() {
            self.ended.pop_front();
        }
    }

    /// One more is to be sent.
    pub(super) fn plan(&self, pace: Pace, plan: &mut Plan, at: Instant) {
        plan.sent.push(at);
        plan.rest = Some(plan.rest.unwrap_or(self.rest).after(pace, at));
    }

    /// None is sent before. A shorter pause does not end a longer one.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused = self.paused.max(Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(requests: u32, window_ms: u64, burst: Option<u32>) -> Result<Pace, Wrong> {
        let (origin, methods, paths) = ("https://a.example".into(), vec![], vec![]);
        Pace::new(&wit::Budget { origin, methods, paths, requests, window_ms, burst })
    }

    /// When so many requests that come at once are sent, in milliseconds.
    fn sent(pace: Pace, requests: usize) -> Vec<u128> {
        let (began, mut past) = (Instant::now(), Past::default());
        let mut now = began;
        let mut next = || {
            now = past.room(pace, &Plan::default(), now);
            past.count(pace, now);
            past.ended(pace, now);
            (now - began).as_millis()
        };
        (0..requests).map(|_| next()).collect()
    }

    #[test]
    fn a_window_has_so_many_wherever_it_begins() {
        assert_eq!(sent(pace(3, 1000, None).unwrap(), 7), [0, 0, 0, 1000, 1000, 1000, 2000]);
        assert_eq!(sent(pace(4, 1000, Some(2)).unwrap(), 8), [0, 0, 250, 500, 1000, 1000, 1250, 1500]);
        assert_eq!(sent(pace(4, 1000, Some(1)).unwrap(), 5), [0, 250, 500, 750, 1000]);
        assert_eq!(sent(pace(2, 1000, Some(9)).unwrap(), 3), [0, 0, 1000]);
    }

    #[test]
    fn a_plan_says_what_will_be() {
        let pace = pace(4, 1000, Some(2)).unwrap();
        let (began, past) = (Instant::now(), Past::default());
        let mut plan = Plan::default();
        let mut planned = Vec::new();
        for _ in 0..8 {
            let at = past.room(pace, &plan, began);
            past.plan(pace, &mut plan, at);
            planned.push((at - began).as_millis());
        }
        assert_eq!(planned, sent(pace, 8));
    }

    #[test]
    fn after_a_rest_there_is_a_burst_again() {
        let pace = pace(4, 1000, Some(2)).unwrap();
        let (began, mut past) = (Instant::now(), Past::default());
        for _ in 0..2 {
            past.count(pace, began);
            past.ended(pace, began);
        }
        let later = began + Duration::from_millis(1000);
        for _ in 0..2 {
            assert_eq!(past.room(pace, &Plan::default(), later), later);
            past.count(pace, later);
            past.ended(pace, later);
        }
        assert_eq!(past.room(pace, &Plan::default(), later), later + Duration::from_millis(250));
    }

    #[test]
    fn many_requests_are_kept_by_parts_of_the_window() {
        let whole = REMEMBERED * 3 + 5;
        let pace = pace(whole, 3000, None).unwrap();
        assert_eq!((pace.requests, pace.window), (REMEMBERED, Duration::from_secs(1)));
        let at = sent(pace, usize::try_from(whole).unwrap() + 1);
        let within = at.iter().filter(|at| **at < 3000).count();
        assert!(within <= usize::try_from(whole).unwrap(), "{within}");
    }

    #[test]
    fn a_budget_that_bounds_nothing_or_everything_is_a_mistake() {
        for (requests, window_ms, burst) in [(0, 1000, None), (1, 0, None), (1, u64::MAX, None), (1, 1000, Some(0))] {
            assert!(pace(requests, window_ms, burst).is_err());
        }
    }
}
