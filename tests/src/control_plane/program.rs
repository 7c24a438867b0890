//! The program `vk-control-plane`, built from the Go sources beside this crate.

use std::path::PathBuf;

use anyhow::Result;

use crate::go::GoProgram;

const PROGRAM: GoProgram = GoProgram {
    title: "the control plane",
    name: "vk-control-plane",
    folder: "control-plane",
    package: ".",
    module: "k8s.io/kubernetes",
    takes: "5 minutes",
    linker_flags,
};

/// The built program; builds it first if it is missing (five to ten minutes on
/// two cores, 3 GB of Go build cache). Concurrent callers, also in other
/// processes, build once.
///
/// # Errors
///
/// As [`GoProgram::build`].
pub fn binary() -> Result<PathBuf> {
    PROGRAM.build()
}

/// Strips symbols and stamps the version: unstamped, the API server calls
/// itself v0.0.0-master and clients disbelieve it.
fn linker_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let mut flags = String::from("-s -w");
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in
            [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor), ("gitTreeState", "clean")]
        {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_the_version_twice() {
        let flags = linker_flags("v1.36.3");
        assert!(flags.starts_with("-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 "));
        assert!(flags.contains("k8s.io/client-go/pkg/version.gitMinor=36"));
    }
}
