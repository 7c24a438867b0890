//! What holds a pod's sandbox together: the one program in it.
//!
//! ```text
//! vk-pause                    waits for SIGTERM, and takes in whatever ends below it: it is process 1
//! vk-pause switch DIR NAME    makes DIR/..data lead to NAME at one moment, and sweeps what does not count any more
//! ```
//!
//! It uses no library, not even libc: an engine gets it as the only file of an image. The Engine API has no rename, so
//! that `switch` is called in the sandbox that runs, as another process of it. Compiled by ../build.rs for bare metal,
//! where there is neither `std` nor a runtime that calls `main`; compiled as an ordinary program for its tests.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod entry;
mod signals;
mod switch;
mod system;

use core::ffi::CStr;

/// Wrong use, as BSD's sysexits.h has it.
const USAGE: i32 = 64;
const FAILED: i32 = 1;

/// Does what the arguments say, the program's own name not among them, and returns the exit code.
fn run<'a>(mut arguments: impl Iterator<Item = &'a CStr>) -> i32 {
    let Some(command) = arguments.next() else { return signals::wait() };
    match (command.to_bytes(), arguments.next(), arguments.next(), arguments.next()) {
        (b"switch", Some(directory), Some(name), None) => match switch::switch(directory, name) {
            Ok(()) => 0,
            Err(error) => {
                system::complain(&[b"vk-pause: ", directory.to_bytes(), b": ", error.text().as_bytes(), b"\n"]);
                FAILED
            }
        },
        _ => {
            system::complain(&[b"vk-pause: write it like switch DIR NAME, or without arguments\n"]);
            USAGE
        }
    }
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
