//! Growing pauses between tries that never end.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double from the first to the longest, with jitter so that a thousand pods do not come back together.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    /// None until the first pause: most things work.
    pauses: Option<ExponentialBackoff>,
    longest: Duration,
}

impl Backoff {
    /// Pauses between these two.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self { builder, pauses: None, longest }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pauses = self.pauses.get_or_insert_with(|| self.builder.build());
        pauses.next().unwrap_or(self.longest).min(self.longest)
    }

    /// What was tried has worked: start over.
    pub fn reset(&mut self) {
        self.pauses = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= Duration::from_secs(1) && pauses[0] < Duration::from_secs(3), "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(8)), "{pauses:?}");
        assert_eq!(pauses[19], Duration::from_secs(8));
        backoff.reset();
        assert!(backoff.pause() < Duration::from_secs(3));
    }
}
