//! Reads of objects that many pods name at once, shared without ever being old.
//!
//! What a pod gets must be no older than the pod: whoever changes a ConfigMap and then makes a pod expects the pod to have the
//! change, so that there is no cache with a life of its own. A read is shared by all that asked before it began:
//!
//! ```text
//! asks    a     b c d        e
//! reads   |--a--||--b c d--||--e--|
//! ```

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The last read of one object: when it began, and what it found.
type Last<V> = tokio::sync::Mutex<Option<(Instant, Arc<V>)>>;

/// Reads under way, by object.
pub(super) struct Reads<K, V>(Mutex<HashMap<K, Arc<Last<V>>>>);

impl<K, V> Default for Reads<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V> Reads<K, V> {
    /// What a read finds that begins now or later. `read` is not called if another's will do.
    pub(super) async fn get<F: Future<Output = V>>(&self, key: K, read: impl FnOnce() -> F) -> Arc<V> {
        let asked = Instant::now();
        let interest = self.interest(key);
        let mut last = interest.last.lock().await;
        match &*last {
            Some((began, found)) if *began >= asked => found.clone(),
            _ => {
                let began = Instant::now();
                let found = Arc::new(read().await);
                *last = Some((began, found.clone()));
                found
            }
        }
    }

    fn interest(&self, key: K) -> Interest<'_, K, V> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.entry(key.clone()).or_default().clone();
        Interest { reads: self, key, last }
    }
}

/// Somebody's interest in an object. The last one to leave takes what was read along: it may be a secret.
struct Interest<'a, K: Hash + Eq, V> {
    reads: &'a Reads<K, V>,
    key: K,
    last: Arc<Last<V>>,
}

impl<K: Hash + Eq, V> Drop for Interest<'_, K, V> {
    fn drop(&mut self) {
        let mut all = self.reads.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Ours, and the map's.
        if Arc::strong_count(&self.last) <= 2 {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_ask_meanwhile_share_the_next_read_and_nobody_gets_an_older_one() {
        let (reads, count) = (Reads::<&str, usize>::default(), AtomicUsize::new(0));
        let ask = |after: u64| {
            let (reads, count) = (&reads, &count);
            async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                let read = || async move {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    number
                };
                *reads.get("a", read).await
            }
        };
        let asks = [0, 1, 2, 3, 15, 100];
        let found = futures::future::join_all(asks.map(ask)).await;
        assert_eq!(found, [0, 1, 1, 1, 2, 3]);
        assert!(reads.0.lock().unwrap().is_empty(), "nothing is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gives_up_leaves_the_read_to_the_others() {
        let reads = Reads::<&str, u8>::default();
        let hangs = tokio::time::timeout(Duration::from_millis(5), reads.get("a", std::future::pending));
        let (gave_up, found) = tokio::join!(hangs, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            reads.get("a", || std::future::ready(7)).await
        });
        assert!(gave_up.is_err());
        assert_eq!(*found, 7);
        assert!(reads.0.lock().unwrap().is_empty());
    }
}
