//! Process 1: it waits, reaps, and ends at once when it is told to. With its end the kernel ends all that is in the
//! sandbox.
//!
//! The kernel drops signals of process 1 that nobody handles, unless they are blocked. So all are blocked and taken one
//! by one.

use crate::system;

/// The same on both architectures.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

/// Waits until it is told to end, and returns the exit code.
pub(crate) fn wait() -> i32 {
    system::block_signals();
    // Some may have ended before.
    system::reap();
    loop {
        match system::next_signal() {
            SIGTERM | SIGINT => return 0,
            SIGCHLD => system::reap(),
            _ => {}
        }
    }
}
