//! One trait for each capability of the contract, with native types and default answers. [`export!`](crate::export!) makes a
//! component of their implementations.
//!
//! The functions have no `self`: each call is a fresh instance, and what must be remembered is in the [`store`](crate::store).

pub mod changes;
pub mod container_logs;
pub mod containers;
pub mod node;
pub mod plugin;
pub mod pods;
pub mod sessions;
pub mod stats;
pub mod updates;
