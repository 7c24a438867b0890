//! `vk-host`: a Kubernetes node whose pods are what a WebAssembly component makes of them.

pub mod apiserver;
pub mod defaults;
pub mod kubelet;
pub mod node;
pub mod pods;
pub mod provider;
