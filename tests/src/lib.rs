//! What end-to-end tests, the demo and the benchmarks stand on: a real control plane, hosts as processes, and the means to
//! wait until something is so.

pub mod audit;
pub mod bench;
pub mod cluster;
pub mod control_plane;
pub mod demo;
pub mod engine;
pub mod entry;
pub mod go;
pub mod host;
pub mod metrics_server;
pub mod process;
