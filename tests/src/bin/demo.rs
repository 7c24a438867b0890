//! `vk-demo`: see [`vk_tests::demo`].

fn main() -> std::process::ExitCode {
    vk_tests::entry::main(vk_tests::demo::run)
}
