//! What the programs of this crate have in common: how they begin, and how they end.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::process;

/// Wrong usage (sysexits.h, EX_USAGE).
const USAGE: u8 = 64;

/// The `main` of a program: becomes another one if that is what it was started for, and else reads its arguments and runs.
pub fn main<A: Parser>(run: impl FnOnce(A) -> Result<()>) -> ExitCode {
    if let Some(error) = process::become_other() {
        return failed::<A>(&error);
    }
    let arguments = match A::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed::<A>(&error),
    }
}

fn failed<A: Parser>(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "\n{}: {error:#}", A::command().get_name());
    ExitCode::FAILURE
}
