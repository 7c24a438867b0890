//! Places among the calls of a class. A thousand hanging calls of one class starve none of another; and within a class the slow do not
//! starve the quick: a call that lasts gives its place to the next one and goes on among the slow, as long as there is room.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::Limits;
use super::call::{ByClass, Class};
use crate::defaults::call::{SLOW_AFTER, SLOW_SHARE};

/// All of them.
#[derive(Debug)]
pub(super) struct Places {
    rooms: ByClass<Room>,
}

/// Those of one class.
#[derive(Debug, Default)]
struct Room {
    quick: Section,
    slow: Section,
}

#[derive(Debug)]
struct Section {
    places: Semaphore,
    size: usize,
}

/// One call's place.
#[derive(Debug)]
pub(super) struct Place<'a> {
    held: Mutex<SemaphorePermit<'a>>,
    slow: &'a Section,
}

impl Default for Section {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Section {
    fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(size), size }
    }

    /// Waits until all are free, and gives out none any more.
    async fn close(&self) {
        if let Ok(permit) = self.places.acquire_many(u32::try_from(self.size).unwrap_or(u32::MAX)).await {
            permit.forget();
        }
        self.places.close();
    }
}

impl Room {
    /// Whoever asks for news, reads a log or runs a command is meant to last.
    fn lasting(size: usize) -> Self {
        Self { quick: Section::new(size), slow: Section::default() }
    }

    fn new(size: usize) -> Self {
        Self { quick: Section::new(size), slow: Section::new(size.saturating_mul(SLOW_SHARE)) }
    }
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            rooms: ByClass {
                create: Room::new(limits.create_permits),
                pull: Room::lasting(limits.pull_permits),
                delete: Room::new(limits.delete_permits),
                poll: Room::new(limits.poll_permits),
                node: Room::new(limits.node_permits),
                session: Room::lasting(limits.session_permits),
                command: Room::lasting(limits.command_permits),
                changes: Room::lasting(limits.changes_permits),
            },
        }
    }

    /// How many calls may run at once.
    pub(super) fn count(&self) -> usize {
        let sections = self.rooms.all().into_iter().flat_map(|room| [&room.quick, &room.slow]);
        sections.fold(0, |sum, section| sum.saturating_add(section.size))
    }

    /// The next place of a class that is free; none: they are closed.
    pub(super) async fn take(&self, class: Class) -> Option<Place<'_>> {
        let Room { quick, slow } = self.rooms.of(class);
        Some(Place { held: Mutex::new(quick.places.acquire().await.ok()?), slow })
    }

    /// Waits until all calls have ended, class by class, and lets none begin any more.
    pub(super) async fn close(&self) {
        for Room { quick, slow } in self.rooms.all() {
            quick.close().await;
            slow.close().await;
        }
    }
}

impl Place<'_> {
    /// Beside a call for as long as it runs.
    pub(super) async fn cede(&self) -> Infallible {
        if self.slow.size > 0 {
            sleep(SLOW_AFTER).await;
            if let Ok(place) = self.slow.places.acquire().await {
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = place;
            }
        }
        pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

    fn places(create_permits: usize) -> Places {
        Places::new(&Limits { create_permits, ..Limits::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_leave_their_places_to_the_quick() {
        let places = places(2);
        let (first, second) = (places.take(Class::Create).await.unwrap(), places.take(Class::Create).await.unwrap());
        let slow = async { tokio::join!(first.cede(), second.cede()) };
        let begun = Instant::now();
        tokio::select! {
            _ = slow => unreachable!("they never end"),
            third = places.take(Class::Create) => assert!(third.is_some()),
        }
        assert_eq!(begun.elapsed(), SLOW_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_are_not_without_number() {
        let places = places(1);
        let mut held = Vec::new();
        for _ in 0..=SLOW_SHARE {
            let place = places.take(Class::Create).await.unwrap();
            let _ = timeout(SLOW_AFTER * 2, place.cede()).await;
            held.push(place);
        }
        let next = timeout(Duration::from_secs(3600), places.take(Class::Create));
        assert!(next.await.is_err(), "the last one found no room among the slow and keeps its place");
        held.remove(0);
        let last = held.pop().unwrap();
        tokio::select! {
            _ = last.cede() => unreachable!("it never ends"),
            place = places.take(Class::Create) => assert!(place.is_some()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_meant_to_last_keeps_its_place() {
        let places = Places::new(&Limits { session_permits: 1, ..Limits::default() });
        let place = places.take(Class::Session).await.unwrap();
        let _ = timeout(SLOW_AFTER * 10, place.cede()).await;
        assert!(timeout(SLOW_AFTER, places.take(Class::Session)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_waits_for_the_slow_too() {
        let places = places(1);
        let place = places.take(Class::Create).await.unwrap();
        let _ = timeout(SLOW_AFTER * 2, place.cede()).await;
        assert!(timeout(SLOW_AFTER, places.close()).await.is_err());
        drop(place);
        places.close().await;
        assert!(places.take(Class::Create).await.is_none());
    }
}
