//! The Azure Container Instances API, as far as a provider of pods needs it.
//!
//! ```text
//! Account ── credentials   variables ▸ AKS file ▸ credentials.json      cloud (where one signs in, where groups are)
//!    │
//! Client ─┬─ token         one for all calls: secret, workload identity, managed identity
//!         ├─ groups        put ▸ get ▸ list ▸ stop ▸ delete; logs                          group (the wire)
//!         ├─ operation     how far it is, by either header
//!         └─ failure       what a refusal means for the host       secrets, scrub (never in its words)
//! ```
//!
//! Requests are synchronous and end when the host wants the call to end. Nothing here knows of pods.
//!
//! Facts are from Microsoft's specification of 2023-05-01 and 2026-05-01 (azure-rest-api-specs), its documentation, and
//! reports of its users.

mod client;
mod cloud;
mod credentials;
pub mod endpoint;
pub mod failure;
pub mod group;
mod groups;
pub mod operation;
mod redacted;
mod scrub;
mod secrets;
mod token;
pub mod version;

pub use client::Client;
pub use cloud::{Cloud, NotACloud};
pub use credentials::{Account, Credential, Vnet};
pub use failure::{Cause, Class, Failure, Refusal, Result};
pub use group::Group;
pub use groups::{Accepted, Listed, Provisioning, Removal, Summary};
pub use operation::{Operation, Progress};
pub use redacted::Redacted;
pub use scrub::scrubbed;
pub use token::SignIn;
pub use version::{Feature, Version};

#[cfg(test)]
mod tests;
