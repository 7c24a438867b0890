//! The contract in Rust, made from `wit/`.
//!
//! One world for all capabilities: which of them a component has is asked by `GuestIndices::new`. WASI is mapped to
//! wasmtime-wasi's own bindings, so that pollables are the same type on both sides.

#![allow(missing_docs, unreachable_pub, reason = "generated; wit/ documents every item")]
#![allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "generated"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "host",
    imports: {
        "virtual-kubelet:provider/store.put": async | trappable,
        "virtual-kubelet:provider/store.remove": async | trappable,
        "virtual-kubelet:provider/config.text": async | trappable,
        "virtual-kubelet:provider/config.file": async | trappable,
        "virtual-kubelet:provider/cluster.volume": async | trappable,
        "virtual-kubelet:provider/cluster.registry-credentials": async | trappable,
        "virtual-kubelet:provider/cluster.resolve-container": async | trappable,
        "virtual-kubelet:provider/log-sink.[method]sink.write": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "virtual-kubelet:provider/store.lock": crate::plugin::store::Lock,
        "virtual-kubelet:provider/log-sink.sink": crate::plugin::imports::log_sink::Sink,
        "virtual-kubelet:provider/terminal.resizes": crate::plugin::imports::terminal::Resizes,
        "virtual-kubelet:provider/upgrade.pending": crate::plugin::imports::upgrade::Pending,
    },
});
