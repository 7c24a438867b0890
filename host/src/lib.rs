//! `vk-host`: a Kubernetes node whose pods are what a WebAssembly component makes of them.

pub mod defaults;
pub mod plugin;
pub mod provider;
