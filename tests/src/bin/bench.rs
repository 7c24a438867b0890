//! `vk-bench`: see [`vk_tests::bench`].

fn main() -> std::process::ExitCode {
    vk_tests::entry::main(vk_tests::bench::run)
}
