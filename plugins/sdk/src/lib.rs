#![doc = include_str!("../README.md")]

mod acted;
#[doc(hidden)]
pub mod bindings;
pub mod call;
mod capability;
pub mod clock;
pub mod cluster;
pub mod config;
mod error;
mod export;
pub mod http;
pub mod log;
mod page;
pub mod pod;
pub mod pump;
pub mod quantity;
pub mod status;
pub mod store;
pub mod stream;
mod sys;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;
pub mod upgrade;
pub mod wait;

pub use capability::changes::{self, Changes};
pub use capability::container_logs::{self, ContainerLogs};
pub use capability::containers::{self, Containers};
pub use capability::node::{self, Node};
pub use capability::plugin::{self, Plugin};
pub use capability::pods::{self, Pods};
pub use capability::sessions::{self, Attach, Exec, PortForward};
pub use capability::stats::{self, Stats};
pub use capability::updates::{self, EphemeralContainers, Resize, Volumes};
pub use error::{Code, Effect, Error, Result};
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub use export::assert_exports;
pub use page::Page;
pub use pod::{Deletion, DesiredPod, ObservedPod, PodRef};
/// To derive one's own configuration and records.
pub use {serde, serde_json};

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_shows_the_example_as_it_is_compiled() {
        let (_, code) = include_str!("../examples/minimal.rs").split_once("\n\n").unwrap();
        assert!(include_str!("../README.md").contains(code));
    }
}
