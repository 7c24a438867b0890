//! What authentication and authorization have in common: a question to the API server, whose answer is kept for a while.

use std::hash::Hash;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

/// One review, as long as a request is kept waiting by it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Answers that are kept of each kind of review.
const ANSWERS: u64 = 4096;

/// An answer that is a yes or a no.
pub(super) trait Answer: Clone + Send + Sync + 'static {
    /// Whether it is a yes.
    fn is_yes(&self) -> bool;
}

impl Answer for bool {
    fn is_yes(&self) -> bool {
        *self
    }
}

impl<T: Clone + Send + Sync + 'static> Answer for Option<T> {
    fn is_yes(&self) -> bool {
        self.is_some()
    }
}

/// How long answers are kept; zero: not at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// A yes.
    pub yes: Duration,
    /// A no.
    pub no: Duration,
}

impl Kept {
    /// A cache of answers. Whoever asks what is being asked already waits for that answer; a failure is nobody's answer.
    pub(super) fn cache<K: Hash + Eq + Send + Sync + 'static, V: Answer>(self) -> Cache<K, V> {
        Cache::builder().max_capacity(ANSWERS).expire_after(self).build()
    }
}

impl<K, V: Answer> Expiry<K, V> for Kept {
    fn expire_after_create(&self, _question: &K, answer: &V, _now: Instant) -> Option<Duration> {
        Some(if answer.is_yes() { self.yes } else { self.no })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_yes_and_a_no_are_kept_as_long_as_each_may_be() {
        let cache = Kept { yes: Duration::from_secs(60), no: Duration::ZERO }.cache::<u8, bool>();
        for (question, answer) in [(1, true), (2, false)] {
            assert_eq!(cache.get_with(question, async move { answer }).await, answer);
        }
        assert_eq!((cache.get(&1).await, cache.get(&2).await), (Some(true), None));
        assert!(cache.get_with(2, async { true }).await, "asked anew");
        assert_eq!(cache.get(&2).await, Some(true), "for as long as a yes");
    }
}
