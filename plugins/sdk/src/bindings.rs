//! What wit-bindgen makes of `wit/`: the imports once, and one small world for each capability, so that a component exports what
//! its author listed and nothing else. Not for authors: use the crate's own names.
//!
//! Records are compared, sorted and hashed as any plain data. The few that hold a resource cannot be, and are left out by name.
#![allow(clippy::all, unreachable_pub, reason = "generated code")]

pub mod imports {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "imports",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash],
        additional_derives_ignore: ["stream-error", "stdio", "duplex", "switched", "refused", "answer"],
        // A provider stores which pod something belongs to.
        additional_type_attributes: {
            "virtual-kubelet:provider/types@0.1.0/pod-ref": [#[derive(serde::Serialize, serde::Deserialize)]],
        },
    });
}

/// One world with one export. Types that the imports have already are taken from there; wit-bindgen refuses a mapping that the
/// world does not need, so each capability names its own.
macro_rules! capability {
    ($name:ident, $world:literal, $export:literal $(, $wit:literal: $path:path)*) => {
        pub mod $name {
            wit_bindgen::generate!({
                path: "../../wit",
                world: $world,
                pub_export_macro: true,
                export_macro_name: $export,
                generate_unused_types: true,
                additional_derives: [PartialEq, Eq, PartialOrd, Ord, Hash],
                with: {
                    "virtual-kubelet:provider/types@0.1.0": crate::bindings::imports::virtual_kubelet::provider::types,
                    $($wit: $path,)*
                },
            });
        }
    };
}

capability!(plugin, "with-plugin", "export_plugin");
capability!(node, "with-node", "export_node");
capability!(pods, "with-pods", "export_pods");
capability!(containers, "with-containers", "export_containers");
capability!(changes, "with-changes", "export_changes");
capability!(
    container_logs,
    "with-container-logs",
    "export_container_logs",
    "virtual-kubelet:provider/log-sink@0.1.0": crate::bindings::imports::virtual_kubelet::provider::log_sink,
    "wasi:io/poll@0.2.3": crate::bindings::imports::wasi::io::poll
);
capability!(
    exec,
    "with-exec",
    "export_exec",
    "virtual-kubelet:provider/terminal@0.1.0": crate::bindings::imports::virtual_kubelet::provider::terminal,
    "wasi:io/poll@0.2.3": crate::bindings::imports::wasi::io::poll,
    "wasi:io/error@0.2.3": crate::bindings::imports::wasi::io::error,
    "wasi:io/streams@0.2.3": crate::bindings::imports::wasi::io::streams
);
capability!(
    attach,
    "with-attach",
    "export_attach",
    "virtual-kubelet:provider/terminal@0.1.0": crate::bindings::imports::virtual_kubelet::provider::terminal,
    "wasi:io/poll@0.2.3": crate::bindings::imports::wasi::io::poll,
    "wasi:io/error@0.2.3": crate::bindings::imports::wasi::io::error,
    "wasi:io/streams@0.2.3": crate::bindings::imports::wasi::io::streams
);
capability!(
    port_forward,
    "with-port-forward",
    "export_port_forward",
    "wasi:io/poll@0.2.3": crate::bindings::imports::wasi::io::poll,
    "wasi:io/error@0.2.3": crate::bindings::imports::wasi::io::error,
    "wasi:io/streams@0.2.3": crate::bindings::imports::wasi::io::streams
);
capability!(stats, "with-stats", "export_stats");
capability!(volumes, "with-volumes", "export_volumes");
capability!(resize, "with-resize", "export_resize");
capability!(ephemeral_containers, "with-ephemeral-containers", "export_ephemeral_containers");
