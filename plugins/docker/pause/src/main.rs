//! What holds a pod's sandbox together: the one program in it.
//!
//! ```text
//! vk-pause                    waits for SIGTERM, and takes in whatever ends below it: it is process 1
//! vk-pause switch DIR NAME    makes DIR/..data lead to NAME at one moment, and sweeps what does not count any more
//! vk-pause part DIR WITHIN PATH NAME    makes DIR/parts/NAME what is at a path of DIR/data; ends with 2 if it is a file
//! ```
//!
//! It uses no library, not even libc: an engine gets it as the only file of an image. The Engine API has no rename, so
//! that `switch` and `part` are called in the sandbox that runs, as other processes of it. Compiled by ../build.rs for bare metal,
//! where there is neither `std` nor a runtime that calls `main`; compiled as an ordinary program for its tests.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod entry;
mod part;
mod signals;
mod switch;
mod system;

use core::ffi::CStr;

use part::Part;
use system::Errno;

/// Wrong use, as BSD's sysexits.h has it.
const USAGE: i32 = 64;
const FAILED: i32 = 1;
/// A part of a volume that is a file.
const FILE: i32 = 2;

/// Does what the arguments say, the program's own name not among them, and returns the exit code.
fn run<'a>(mut arguments: impl Iterator<Item = &'a CStr>) -> i32 {
    let Some(command) = arguments.next() else { return signals::wait() };
    let mut next = || arguments.next();
    let words = [next(), next(), next(), next(), next()];
    match (command.to_bytes(), words) {
        (b"switch", [Some(directory), Some(name), None, ..]) => match switch::switch(directory, name) {
            Ok(()) => 0,
            Err(error) => failed(directory, c"", error),
        },
        (b"part", [Some(volume), Some(within), Some(path), Some(name), None]) => {
            match part::part(volume, within, path, name) {
                Ok(Part::Directory) => 0,
                Ok(Part::File) => FILE,
                Err(error) => failed(volume, path, error),
            }
        }
        _ => {
            system::complain(&[
                b"vk-pause: write it like switch DIR NAME, like part DIR WITHIN PATH NAME, or without arguments\n",
            ]);
            USAGE
        }
    }
}

fn failed(directory: &CStr, path: &CStr, error: Errno) -> i32 {
    let between: &[u8] = if path.is_empty() { b"" } else { b" " };
    let (directory, path, why) = (directory.to_bytes(), path.to_bytes(), error.text().as_bytes());
    system::complain(&[b"vk-pause: ", directory, between, path, b": ", why, b"\n"]);
    FAILED
}

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStringExt as _;

    let arguments: Vec<CString> =
        std::env::args_os().skip(1).filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let code = run(arguments.iter().map(CString::as_c_str));
    u8::try_from(code).map_or(std::process::ExitCode::FAILURE, Into::into)
}
