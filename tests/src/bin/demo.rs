//! `vk-demo`: see [`vk_tests::demo`].

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use vk_tests::demo::{self, Arguments};
use vk_tests::process;

/// Wrong usage (sysexits.h, EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    if let Some(error) = process::become_other() {
        return failed(&error);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match demo::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "\nvk-demo: {error:#}");
    ExitCode::FAILURE
}
