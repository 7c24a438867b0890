//! The host's log. What a component writes to stderr appears there, one record a line, with the plugin's name.

use std::fmt;
use std::io::Write as _;

/// Writes one line to the host's log. Never a secret.
///
/// ```
/// vk_provider::log!("container group {} made", "web");
/// ```
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(::std::format_args!($($argument)*)) };
}

/// What [`log!`](crate::log!) calls. The line goes out in one write, so that lines of calls side by side do not mix.
pub fn line(text: fmt::Arguments<'_>) {
    // Nobody is there to be told that the log cannot be written.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
