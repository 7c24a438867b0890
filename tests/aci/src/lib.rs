//! Azure Container Instances for tests.
//!
//! ```text
//!            ┌ entra      tokens for a secret, or for a cluster's token          faults     what goes wrong next
//! client ────┼ metadata   tokens for a machine's identity          server ◂──── record     what went by
//!   (TLS)    └ arm        groups, logs, operations, regions           │          control    both, for other languages
//!                          │ schema, check: what may be sent          │
//!                          └▶ run: one task a group ─▶ engine: Docker's, or played
//! ```
//!
//! The protocol is ours, after the published specification and documentation; containers are real ones of an engine. What no document
//! and no recorded answer shows is marked in the README as assumed.
//!
//! Contract: whatever keeps to the API gets from here what Azure would answer, and whatever does not is refused and recorded.

mod answer;
mod arm;
mod asked;
mod check;
pub mod config;
mod control;
mod echo;
mod engine;
mod entra;
mod fake;
mod fault;
mod group;
mod limits;
mod metadata;
mod operation;
mod record;
mod run;
mod schema;
mod server;
mod spec;
mod tls;
mod token;
mod view;
mod world;

pub use config::Config;
pub use engine::LABEL;
pub use fake::Fake;
pub use fault::{Fault, How};
pub use record::{Request, Violation};
