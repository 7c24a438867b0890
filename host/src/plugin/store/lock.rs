//! Queues for names, in memory: a lock ends with the call that holds it, so it need not outlive the host.
//!
//! Nobody keeps a timer: whoever looks at a queue first drops holders whose time is up, and who waits for its turn also wakes
//! when the holder's time ends.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Who waits for which name.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<HashMap<Arc<str>, VecDeque<Place>>>,
    /// Counts what may have changed whose turn it is.
    moved: watch::Sender<u64>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Place {
    number: u64,
    ttl: Duration,
    /// When the turn ends; none: it has not begun.
    until: Option<Instant>,
}

/// A place in a queue. Dropping it gives it up.
#[derive(Debug)]
pub struct Lock {
    shared: Arc<Shared>,
    name: Arc<str>,
    number: u64,
}

/// How a place stands.
enum Turn {
    Held,
    /// The first one's turn ends then, at the latest.
    Waits(Instant),
    Over,
}

impl Queues {
    pub(super) fn join(&self, name: &str, ttl: Duration) -> Lock {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let name: Arc<str> = name.into();
        let mut queues = self.0.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(Arc::clone(&name)).or_default().push_back(Place { number, ttl, until: None });
        Lock { shared: Arc::clone(&self.0), name, number }
    }
}

impl Shared {
    fn turn(&self, name: &str, number: u64) -> Turn {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let Some(queue) = queues.get_mut(name) else { return Turn::Over };
        let mut moved = false;
        let turn = loop {
            let Some(first) = queue.front_mut() else { break Turn::Over };
            let until = *first.until.get_or_insert_with(|| now + first.ttl);
            if until <= now {
                queue.pop_front();
                moved = true;
                continue;
            }
            if first.number == number {
                break Turn::Held;
            }
            let waits = queue.iter().any(|place| place.number == number);
            break if waits { Turn::Waits(until) } else { Turn::Over };
        };
        if queue.is_empty() {
            queues.remove(name);
        }
        if moved {
            self.moved.send_modify(|moved| *moved = moved.wrapping_add(1));
        }
        turn
    }
}

impl Lock {
    /// False before its turn, and again after its time.
    pub fn held(&self) -> bool {
        matches!(self.shared.turn(&self.name, self.number), Turn::Held)
    }

    /// Something to wait with that does not keep the place.
    pub fn wait(&self) -> Wait {
        Wait {
            shared: Arc::clone(&self.shared),
            moved: self.shared.moved.subscribe(),
            name: Arc::clone(&self.name),
            number: self.number,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        {
            let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(queue) = queues.get_mut(&self.name) else { return };
            queue.retain(|place| place.number != self.number);
            if queue.is_empty() {
                queues.remove(&self.name);
            }
        }
        self.shared.moved.send_modify(|moved| *moved = moved.wrapping_add(1));
    }
}

/// Waits for a place's turn.
#[derive(Debug)]
pub struct Wait {
    shared: Arc<Shared>,
    moved: watch::Receiver<u64>,
    name: Arc<str>,
    number: u64,
}

impl Wait {
    /// Returns once the lock is held, or when it never will be: its time is over or its place was given up. Then `held` says no.
    pub async fn ready(&mut self) {
        loop {
            self.moved.mark_unchanged();
            let Turn::Waits(until) = self.shared.turn(&self.name, self.number) else { return };
            tokio::select! {
                _ = self.moved.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }
}
