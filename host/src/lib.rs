//! `vk-host`: a Kubernetes node whose pods are what a WebAssembly component makes of them.

pub mod apiserver;
pub mod cli;
pub mod defaults;
pub mod host;
pub mod kubelet;
pub mod metrics;
pub mod node;
pub mod plugin;
pub mod pods;
pub mod process;
pub mod provider;
