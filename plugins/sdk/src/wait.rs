//! Waiting for several things at once, by name.
//!
//! It hides what bites: `poll` of an empty list traps, a call that does not watch `call.cancelled` outlives its welcome, and a
//! pollable must go before what it came from. So cancellation is always in the list, and [`Pollable`] borrows from its parent.
//!
//! ```
//! # vk_provider::testing::reset();
//! use std::time::Duration;
//! use vk_provider::{store, wait::Wait};
//!
//! #[derive(Clone, Copy, PartialEq)]
//! enum Woken { News, Due }
//!
//! let ready = Wait::new()
//!     .on(Woken::News, store::subscribe("pods/", 0))
//!     .after(Woken::Due, Duration::from_secs(5))
//!     .first();
//! assert!(ready.has(Woken::Due) && !ready.cancelled());
//! ```

use std::marker::PhantomData;
use std::time::Duration;

use crate::sys;

/// Something that becomes ready. Lives no longer than what it came from.
pub struct Pollable<'a>(sys::Pollable, PhantomData<&'a ()>);

impl Pollable<'_> {
    pub(crate) const fn new(inner: sys::Pollable) -> Self {
        Self(inner, PhantomData)
    }
}

#[cfg(target_family = "wasm")]
impl From<crate::bindings::imports::wasi::io::poll::Pollable> for Pollable<'static> {
    /// A pollable of WASI's own; drop it before its stream.
    fn from(inner: crate::bindings::imports::wasi::io::poll::Pollable) -> Self {
        Self::new(inner)
    }
}

/// What to wait for. `call.cancelled` is always among it.
pub struct Wait<'a, N> {
    named: Vec<(N, Held<'a>)>,
    cancelled: Pollable<'static>,
}

/// A pollable of this wait alone, or one that its owner waits for again.
enum Held<'a> {
    Own(Pollable<'a>),
    Lent(&'a Pollable<'a>),
}

impl Held<'_> {
    const fn inner(&self) -> &sys::Pollable {
        match self {
            Self::Own(pollable) => &pollable.0,
            Self::Lent(pollable) => &pollable.0,
        }
    }
}

impl<'a, N: Copy + PartialEq> Wait<'a, N> {
    /// Waits for the end of the call alone.
    #[expect(clippy::new_without_default, reason = "an empty wait is no sensible default")]
    pub fn new() -> Self {
        Self { named: Vec::new(), cancelled: Pollable::new(sys::cancelled()) }
    }

    /// And for this.
    #[must_use]
    pub fn on(mut self, name: N, pollable: Pollable<'a>) -> Self {
        self.named.push((name, Held::Own(pollable)));
        self
    }

    /// And for this, which its owner keeps: a pollable may be waited for any number of times.
    #[must_use]
    pub fn on_lent(mut self, name: N, pollable: &'a Pollable<'_>) -> Self {
        self.named.push((name, Held::Lent(pollable)));
        self
    }

    /// And for so long.
    #[must_use]
    pub fn after(self, name: N, time: Duration) -> Self {
        self.on(name, Pollable::new(sys::after(time)))
    }

    /// Returns when the first of them is ready, with all that are.
    pub fn first(self) -> Ready<N> {
        let list: Vec<&sys::Pollable> =
            self.named.iter().map(|(_, it)| it.inner()).chain([&self.cancelled.0]).collect();
        let indexes = sys::poll(&list);
        let is_ready = |index: usize| indexes.iter().any(|ready| usize::try_from(*ready) == Ok(index));
        let names =
            self.named.iter().enumerate().filter(|(index, _)| is_ready(*index)).map(|(_, (name, _))| *name).collect();
        Ready { names, cancelled: is_ready(self.named.len()) }
    }
}

/// What was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready<N> {
    names: Vec<N>,
    cancelled: bool,
}

impl<N: PartialEq> Ready<N> {
    /// This was ready.
    pub fn has(&self, name: N) -> bool {
        self.names.contains(&name)
    }

    /// The host wants the call to end.
    pub const fn cancelled(&self) -> bool {
        self.cancelled
    }
}

/// Sleeps whatever the host wants, which drops such a call after a grace. For the rest there is [`clock::sleep`](crate::clock::sleep).
pub(crate) fn deaf(time: Duration) {
    let clock = sys::after(time);
    sys::poll(&[&clock]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Why;
    use crate::{store, testing};

    #[test]
    fn the_first_of_several_ends_the_wait() {
        testing::reset();
        testing::after(Duration::from_secs(2), || {
            store::put("a/1", "x", store::Expect::Anything, None).unwrap();
        });
        let wait = || Wait::new().on(1, store::subscribe("a/", 0)).after(2, Duration::from_secs(3));
        let ready = wait().first();
        assert!(ready.has(1) && !ready.has(2) && !ready.cancelled());
    }

    #[test]
    fn a_pollable_may_be_waited_for_again() {
        testing::reset();
        let news = store::subscribe("a/", 0);
        assert!(!Wait::new().on_lent(1, &news).after(2, Duration::from_secs(1)).first().has(1));
        store::put("a/1", "x", store::Expect::Anything, None).unwrap();
        assert!(Wait::new().on_lent(1, &news).after(2, Duration::from_secs(1)).first().has(1));
    }

    #[test]
    fn cancellation_is_always_among_it() {
        testing::reset();
        testing::cancel_after(Duration::from_secs(1), Why::Shutdown);
        assert!(Wait::<()>::new().first().cancelled());
    }
}
