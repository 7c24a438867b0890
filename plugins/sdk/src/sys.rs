//! The host, as the rest of the SDK sees it: `wasm` calls the imports, `native` is a host in memory with a clock of its own, so that
//! a provider's tests run as ordinary tests. Both have the same functions.

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::*;
