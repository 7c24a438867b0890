//! Compiles the sandbox's program (pause/) for each architecture of an engine's machine, to be part of the component.
//!
//! It needs nothing but the toolchain itself: bare-metal targets, whose `core` rustup has, and the linker that comes
//! with rustc. The result is the same on every machine: no build id, no paths, no symbols.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "pause/src/main.rs";

/// Go's name for an architecture, and rustc's target.
const TARGETS: [(&str, &str); 2] = [("amd64", "x86_64-unknown-none"), ("arm64", "aarch64-unknown-none")];

/// Small, without unwinding, loaded where it was linked.
const FLAGS: [&str; 9] = [
    "--edition=2024",
    "--crate-type=bin",
    "-Copt-level=s",
    "-Cpanic=abort",
    "-Clto=fat",
    "-Ccodegen-units=1",
    "-Crelocation-model=static",
    "-Cstrip=symbols",
    "-Clink-arg=--build-id=none",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=pause/src");
    println!("cargo::rerun-if-env-changed=RUSTC");
    let rustc = env::var_os("RUSTC").ok_or("cargo sets RUSTC")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    for (architecture, target) in TARGETS {
        compile(&mut Command::new(&rustc), target, &out.join(format!("pause-{architecture}")))?;
    }
    Ok(())
}

fn compile(rustc: &mut Command, target: &str, program: &Path) -> Result<(), Box<dyn Error>> {
    let here = env::current_dir()?;
    rustc.args(FLAGS).args(["--crate-name=pause", "--target", target, "-o"]).arg(program).arg(SOURCE);
    rustc.arg(format!("--remap-path-prefix={}=.", here.display()));
    // Flags of the build around it are for another target.
    let output = rustc.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("the sandbox's program cannot be compiled; is the target there (rustup target add {target})?\n{words}")
        .into())
}
