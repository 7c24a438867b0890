//! The Docker Engine API, as far as a provider of containers needs it, in the words of Docker and of Podman.
//!
//! ```text
//! Engine ─┬ client     one endpoint, one version (dialect): sends, and tells refusals from answers (failure)
//!         ├ container  create ▸ start ▸ kill ▸ remove; inspect and list      logs (frames and times)   statistics
//!         ├ volume     named volumes                                         archive (files in and out, as tar)
//!         ├ image      pull, look, import                                    events (what happened, since when)
//!         ├ exec       commands in containers, attach                        system (what the engine is and has)
//! ```
//!
//! Requests are synchronous and end when the host wants the call to end. Nothing here knows of pods.
//!
//! Facts about engines are from docs.docker.com/reference/api/engine, or were measured with Docker 20.10 and Podman
//! 4.3.

pub mod archive;
mod client;
pub mod container;
pub mod dialect;
pub mod events;
pub mod exec;
pub mod failure;
pub mod frame;
pub mod image;
pub mod logs;
pub mod statistics;
pub mod system;
pub mod time;
pub mod volume;
mod words;

pub use client::Engine;
pub use failure::{Failure, Refusal, Result};

#[cfg(test)]
mod tests;
