//! This call's own life. [`Wait`](crate::wait::Wait) watches it by itself.

use std::time::Duration;

pub use crate::bindings::imports::virtual_kubelet::provider::call::Why;

use crate::sys;

/// The host wants the call to end. After a grace it drops the instance.
pub fn cancelled() -> bool {
    reason().is_some()
}

/// Why the host wants the call to end; none: go on.
pub fn reason() -> Option<Why> {
    sys::reason()
}

/// How long the call may still take; none: no limit.
pub fn remaining() -> Option<Duration> {
    sys::remaining()
}
