//! What authentication and authorization have in common: a question to the API server, whose answer is kept for a while.

use std::hash::Hash;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use crate::apiserver::timed;
use crate::pods::Backoff;

/// One review, as long as a request is kept waiting by it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of one review, and the first and longest pause between them. As the kubelet has it: half a second, and five tries.
const TRIES: usize = 5;
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// Answers that are kept of each kind of review.
const ANSWERS: u64 = 4096;

/// Asks, and again where the API server did not say anything about the question itself, within [`TIMEOUT`].
pub(super) async fn ask<T, F: Future<Output = kube::Result<T>>>(question: impl Fn() -> F) -> kube::Result<T> {
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let asked = async {
        for _ in 1..TRIES {
            match question().await {
                Err(error) if may_pass(&error) => tracing::debug!(%error, "a review is asked for again"),
                answer => return answer,
            }
            tokio::time::sleep(backoff.pause()).await;
        }
        question().await
    };
    timed(TIMEOUT, asked).await
}

fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        kube::Error::Api(status) => status.code >= 500 || status.code == 429,
        _ => false,
    }
}

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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_asked_again_and_a_word_of_the_api_server_is_taken() {
        let status =
            |code| kube::Error::Api(Box::new(kube::core::Status { code, ..kube::core::Status::failure("so", "So") }));
        let lost = || kube::Error::Service("connection reset".into());
        let asked = async |errors: Vec<kube::Error>| {
            let (left, tries) = (std::sync::Mutex::new(errors), AtomicUsize::new(0));
            let answer = ask(|| async {
                tries.fetch_add(1, Ordering::Relaxed);
                left.lock().unwrap().pop().map_or(Ok(()), Err)
            });
            (answer.await.is_ok(), tries.load(Ordering::Relaxed))
        };
        assert_eq!(asked(vec![]).await, (true, 1));
        assert_eq!(asked(vec![status(503), lost()]).await, (true, 3));
        assert_eq!(asked(vec![status(403)]).await, (false, 1));
        assert_eq!(asked((0..9).map(|_| lost()).collect()).await, (false, TRIES));
        let began = tokio::time::Instant::now();
        assert!(ask(std::future::pending::<kube::Result<()>>).await.is_err());
        assert_eq!(began.elapsed().as_secs(), TIMEOUT.as_secs());
    }

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
