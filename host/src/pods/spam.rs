//! Keeps a provider that talks too much about a pod from crowding out what others have to say.
//! (client-go, tools/record/events_cache.go: EventSourceObjectSpamFilter)

use std::time::Duration;

use tokio::time::Instant;

use crate::defaults::pods::{EVENT_BURST, EVENT_REFILL};

/// How many events a provider may still tell of one pod.
#[derive(Debug)]
pub(super) struct SpamFilter {
    left: u32,
    /// When the last of them was counted in.
    refilled: Instant,
}

impl SpamFilter {
    pub(super) fn new() -> Self {
        Self { left: EVENT_BURST, refilled: Instant::now() }
    }

    /// Whether one more may be told now.
    pub(super) fn lets_through(&mut self) -> bool {
        self.refill();
        let lets = self.left > 0;
        self.left = self.left.saturating_sub(1);
        lets
    }

    fn refill(&mut self) {
        let periods = u32::try_from(self.refilled.elapsed().as_secs() / EVENT_REFILL.as_secs()).unwrap_or(EVENT_BURST);
        let periods = periods.min(EVENT_BURST);
        self.left = self.left.saturating_add(periods).min(EVENT_BURST);
        if self.left == EVENT_BURST {
            self.refilled = Instant::now();
        } else {
            self.refilled += Duration::from_secs(EVENT_REFILL.as_secs() * u64::from(periods));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(filter: &mut SpamFilter) -> u32 {
        (0..100).map(|_| u32::from(filter.lets_through())).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_through_and_then_one_at_a_time() {
        let mut filter = SpamFilter::new();
        assert_eq!(told(&mut filter), EVENT_BURST);
        tokio::time::advance(EVENT_REFILL - Duration::from_secs(1)).await;
        assert_eq!(told(&mut filter), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(&mut filter), 1);
        tokio::time::advance(EVENT_REFILL * 7 / 2).await;
        assert_eq!(told(&mut filter), 3);
        tokio::time::advance(EVENT_REFILL / 2).await;
        assert_eq!(told(&mut filter), 1, "the half that was left counts");
        tokio::time::advance(EVENT_REFILL * 1000).await;
        assert_eq!(told(&mut filter), EVENT_BURST);
    }
}
