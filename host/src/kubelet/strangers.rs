//! Connections that nobody vouches for yet: a bounded number of places, of which a newcomer takes the oldest.
//!
//! Refusing newcomers instead would let whoever fills the places shut the API server out. So it takes as many connections in the time
//! that the API server needs for one handshake and one request, and not merely that many silent ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Places at once: an API server has all its connections let in within moments.
const PLACES: usize = 128;

/// All places.
#[derive(Default)]
pub(super) struct Strangers(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    /// Of the next one.
    number: u64,
    /// The oldest first.
    places: BTreeMap<u64, CancellationToken>,
}

/// One place, until it is dropped.
pub(super) struct Place {
    of: Arc<Strangers>,
    number: u64,
    lost: CancellationToken,
}

impl Strangers {
    /// A place, if need be that of the oldest.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let lost = CancellationToken::new();
        let mut taken = self.lock();
        let number = taken.number;
        taken.number += 1;
        taken.places.insert(number, lost.clone());
        if taken.places.len() > PLACES
            && let Some((_, oldest)) = taken.places.pop_first()
        {
            oldest.cancel();
        }
        drop(taken);
        Place { of: self.clone(), number, lost }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until a newcomer has it.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.lock().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_takes_the_place_of_the_oldest_who_is_still_there() {
        let strangers = Arc::new(Strangers::default());
        let mut places: Vec<Place> = (0..PLACES).map(|_| strangers.enter()).collect();
        drop(places.remove(0));
        let lost = |places: &[Place]| places.iter().filter(|place| place.lost.is_cancelled()).count();
        places.push(strangers.enter());
        assert_eq!(lost(&places), 0, "one had gone by itself");
        places.push(strangers.enter());
        assert_eq!(lost(&places), 1);
        assert!(places[0].lost.is_cancelled());
    }
}
