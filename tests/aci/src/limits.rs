//! Rates, of both kinds.
//!
//! The resource manager has a bucket for each principal and kind of request: reads 250, and 25 more a second; writes and
//! deletes 200, and 10 more a second. Container Instances lets a subscription create 100 groups in five minutes and 300
//! in an hour, and remove as many.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::answer::Answer;
use crate::config::Rate;

/// What a request is to the resource manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Read,
    Write,
    Delete,
}

impl Kind {
    pub(crate) fn of(method: &http::Method) -> Self {
        match *method {
            http::Method::GET | http::Method::HEAD => Self::Read,
            http::Method::DELETE => Self::Delete,
            _ => Self::Write,
        }
    }

    /// How much fits, and how much comes a second.
    fn bucket(self) -> (f64, f64) {
        match self {
            Self::Read => (250.0, 25.0),
            Self::Write | Self::Delete => (200.0, 10.0),
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Read => "x-ms-ratelimit-remaining-subscription-reads",
            Self::Write => "x-ms-ratelimit-remaining-subscription-writes",
            Self::Delete => "x-ms-ratelimit-remaining-subscription-deletes",
        }
    }
}

/// What Container Instances counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Create,
    Delete,
}

/// How far all are.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    buckets: HashMap<(String, Kind), (f64, Instant)>,
    acts: HashMap<(String, Act), VecDeque<Instant>>,
}

impl Limits {
    /// Takes from a principal's bucket. Returns the header that tells what is left.
    pub(crate) fn take(&mut self, principal: &str, kind: Kind, factor: f64) -> Result<(String, String), Answer> {
        let (most, a_second) = kind.bucket();
        let (most, a_second, now) = (most * factor, a_second * factor, Instant::now());
        let (level, at) = self.buckets.entry((principal.to_owned(), kind)).or_insert((most, now));
        *level = (*level + now.duration_since(*at).as_secs_f64() * a_second).min(most);
        *at = now;
        if *level < 1.0 {
            let wait = ((1.0 - *level) / a_second).ceil().max(1.0);
            let message =
                "Number of requests for this subscription and operation exceeded the limit. Please try again later.";
            return Err(Answer::refusal(429, "TooManyRequests", message)
                .header(kind.header(), "0")
                .header("retry-after", format!("{wait:.0}")));
        }
        *level -= 1.0;
        Ok((kind.header().to_owned(), format!("{:.0}", level.floor())))
    }

    /// Counts an act in a region.
    pub(crate) fn count(&mut self, region: &str, act: Act, rates: &[Rate]) -> Result<(), Answer> {
        let now = Instant::now();
        let done = self.acts.entry((region.to_owned(), act)).or_default();
        let longest = rates.iter().map(|rate| rate.window).max().unwrap_or_default();
        while done.front().is_some_and(|first| now.duration_since(*first) > longest) {
            done.pop_front();
        }
        for Rate { most, window } in rates.iter().copied() {
            let within = done.iter().filter(|at| now.duration_since(**at) <= window);
            let (count, first) = (within.clone().count(), within.clone().next());
            let is_full = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) >= most;
            if let Some(first) = first.filter(|_| is_full) {
                let wait = window.saturating_sub(now.duration_since(*first)).as_secs_f64().ceil().max(1.0);
                let what = if act == Act::Create { "create" } else { "delete" };
                let message = format!(
                    "The number of container group {what} requests of the last {} seconds exceeds the limit of {most:.0} in region '{region}'.",
                    window.as_secs()
                );
                return Err(
                    Answer::refusal(429, "TooManyRequests", message).header("retry-after", format!("{wait:.0}"))
                );
            }
        }
        done.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::config::Behaviour;

    #[test]
    fn a_bucket_is_empty_at_its_end_and_says_when_there_is_more() {
        let mut limits = Limits::default();
        for left in (0..200).rev() {
            let (name, value) = limits.take("p", Kind::Write, 1.0).unwrap();
            assert_eq!(
                (name.as_str(), value.as_str()),
                ("x-ms-ratelimit-remaining-subscription-writes", &*left.to_string())
            );
        }
        let refused = limits.take("p", Kind::Write, 1.0).unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(refused.headers.contains(&("retry-after".to_owned(), "1".to_owned())), "{refused:?}");
        // Others have their own, as have other requests.
        assert!(limits.take("q", Kind::Write, 1.0).is_ok() && limits.take("p", Kind::Read, 1.0).is_ok());
    }

    #[test]
    fn a_region_takes_so_many_creates_and_as_many_deletes() {
        let mut limits = Limits::default();
        let rates = Behaviour { factor: 2.0, ..Behaviour::default() }.rates();
        for _ in 0..200 {
            limits.count("r", Act::Create, &rates).unwrap();
        }
        let refused = limits.count("r", Act::Create, &rates).unwrap_err();
        let wait =
            refused.headers.iter().find(|(name, _)| name == "retry-after").map(|(_, value)| value.parse::<u32>());
        assert!(refused.status == 429 && matches!(wait, Some(Ok(290..=300))), "{refused:?}");
        assert!(limits.count("r", Act::Delete, &rates).is_ok() && limits.count("s", Act::Create, &rates).is_ok());
    }

    #[test]
    fn a_test_may_have_rates_of_its_own() {
        let acts = Some(vec![Rate { most: 3.0, window: Duration::from_secs(5) }]);
        let rates = Behaviour { factor: 60.0, acts, ..Behaviour::default() }.rates();
        let mut limits = Limits::default();
        let refused: Vec<bool> = (0..5).map(|_| limits.count("r", Act::Create, &rates).is_err()).collect();
        assert_eq!(refused, [false, false, false, true, true]);
    }
}
