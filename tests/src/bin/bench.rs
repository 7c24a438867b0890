//! `vk-bench`: see [`vk_tests::bench`].

/// The one of `vk-host`: the bare client is measured beside it, and calls into the plugin as it makes them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    vk_tests::entry::main(vk_tests::bench::run)
}
