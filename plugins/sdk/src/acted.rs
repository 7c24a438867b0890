//! Whether this call may have changed something, in the backend or in the store, which is the backend of some.
//!
//! A call is an instance of its own, so it is enough to remember it here: an error that the call ends with has effect
//! `none` only as long as nothing that went before may have acted.

use std::cell::Cell;

use crate::{Effect, Error};

thread_local! {
    static ACTED: Cell<bool> = const { Cell::new(false) };
}

/// From here on nobody can say that nothing was done.
pub(crate) fn mark() {
    ACTED.set(true);
}

/// What a failure of this effect means for the whole call.
pub(crate) fn so_far(effect: Effect) -> Effect {
    if ACTED.get() { Effect::Unknown } else { effect }
}

/// What a failed question, which by itself changes nothing, means for the whole call.
pub(crate) fn not(error: Error) -> Error {
    Error { effect: so_far(Effect::None), ..error }
}

/// A new call begins.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn forget() {
    ACTED.set(false);
}
