//! [`export!`](crate::export!).

/// Makes a component of a type's capabilities: `plugin` and `node` always, and those that are listed.
///
/// ```ignore
/// vk_provider::export!(Mock: pods, changes, container_logs, stats);
/// ```
///
/// Known are `pods`, `containers`, `changes`, `container_logs`, `exec`, `attach`, `port_forward`, `stats`, `volumes`, `resize` and
/// `ephemeral_containers`. A capability whose trait is not implemented is an ordinary error (`Mock: Exec is not satisfied`); one that is
/// implemented and not listed is not exported, and the node does without it.
#[macro_export]
macro_rules! export {
    ($provider:ident: $($capability:ident),+ $(,)?) => {
        $crate::export_one!(plugin $provider);
        $crate::export_one!(node $provider);
        $($crate::export_one!($capability $provider);)+
    };
    ($($other:tt)*) => {
        ::std::compile_error!("write it like export!(Provider: pods, changes)");
    };
}

/// One arm of [`export!`](crate::export!). Outside of a component the symbols' names are none that a linker takes, so that only
/// the trait is asked for there.
#[doc(hidden)]
#[macro_export]
macro_rules! export_one {
    (plugin $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::plugin::export_plugin!($provider with_types_in $crate::bindings::plugin);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::plugin::<$provider>;
    };
    (node $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::node::export_node!($provider with_types_in $crate::bindings::node);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::node::<$provider>;
    };
    (pods $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::pods::export_pods!($provider with_types_in $crate::bindings::pods);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::pods::<$provider>;
    };
    (containers $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::containers::export_containers!($provider with_types_in $crate::bindings::containers);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::containers::<$provider>;
    };
    (changes $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::changes::export_changes!($provider with_types_in $crate::bindings::changes);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::changes::<$provider>;
    };
    (container_logs $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::container_logs::export_container_logs!($provider with_types_in $crate::bindings::container_logs);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::container_logs::<$provider>;
    };
    (exec $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::exec::export_exec!($provider with_types_in $crate::bindings::exec);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::exec::<$provider>;
    };
    (attach $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::attach::export_attach!($provider with_types_in $crate::bindings::attach);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::attach::<$provider>;
    };
    (port_forward $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::port_forward::export_port_forward!($provider with_types_in $crate::bindings::port_forward);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::port_forward::<$provider>;
    };
    (stats $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::stats::export_stats!($provider with_types_in $crate::bindings::stats);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::stats::<$provider>;
    };
    (volumes $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::volumes::export_volumes!($provider with_types_in $crate::bindings::volumes);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::volumes::<$provider>;
    };
    (resize $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::resize::export_resize!($provider with_types_in $crate::bindings::resize);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::resize::<$provider>;
    };
    (ephemeral_containers $provider:ident) => {
        #[cfg(target_family = "wasm")]
        $crate::bindings::ephemeral_containers::export_ephemeral_containers!($provider with_types_in $crate::bindings::ephemeral_containers);
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::assert_exports::ephemeral_containers::<$provider>;
    };
    ($unknown:ident $provider:ident) => {
        ::std::compile_error!(::std::concat!(
            "unknown capability `",
            ::std::stringify!($unknown),
            "`; known are pods, containers, changes, container_logs, exec, attach, port_forward, stats, volumes, resize, \
             ephemeral_containers"
        ));
    };
}

/// Asks for the traits where there is no component.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub mod assert_exports {
    macro_rules! asserts {
        ($($name:ident: $capability:ident),* $(,)?) => { $(pub const fn $name<T: crate::$capability>() {})* };
    }

    asserts! {
        plugin: Plugin, node: Node, pods: Pods, containers: Containers, changes: Changes, container_logs: ContainerLogs, exec: Exec,
        attach: Attach, port_forward: PortForward, stats: Stats, volumes: Volumes, resize: Resize,
        ephemeral_containers: EphemeralContainers,
    }
}
