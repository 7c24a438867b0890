//! Flags of what the provider may reach, see and read, and the file of `--config` that they add to.

use std::collections::btree_map::Entry;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _};

use super::{Cli, config_file};
use crate::plugin::grants::{Endpoint, Grant, Grants, Named};

/// Flags of what the provider may reach, see and read.
#[derive(Args, Clone, Debug)]
pub struct GrantFlags {
    /// What the provider may reach, see and read, as TOML (README, Granting); read once, at the start
    #[arg(long, value_name = "FILE", help_heading = "Provider")]
    config: Option<PathBuf>,
    /// Grant the provider what it wants: http=ORIGIN, upgrade=ORIGIN, connect=ORIGIN, environment=NAME, file=PATH or
    /// addresses=NETWORK; may be repeated. What is missing is told at the start, as the flag to add
    #[arg(long, value_name = "ACCESS=TARGET", help_heading = "Provider")]
    grant: Vec<Grant>,
    /// Grant the provider an endpoint that it wants by name, and say where it is: unix:///PATH, http://HOST:PORT or
    /// https://HOST:PORT; may be repeated
    #[arg(long, value_name = "NAME=URL", help_heading = "Provider")]
    endpoint: Vec<Named>,
}

impl GrantFlags {
    /// What the file and the flags grant together. An error is the file's mistakes, or wrong usage.
    pub(super) fn into_grants(self) -> anyhow::Result<Grants> {
        let Self { config, grant, endpoint } = self;
        let mut grants = config.map(|file| config_file::read(&file)).transpose()?.unwrap_or_default();
        grant.into_iter().for_each(|grant| grants.add(grant));
        for Named { name, url } in endpoint {
            match grants.endpoints.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(Endpoint::from(url));
                }
                Entry::Occupied(there) => {
                    let message = format!(
                        "--endpoint {name}={url}: an endpoint is in one place, and the file of --config or another --endpoint has {name} \
                         at {}\n",
                        there.get().url,
                        name = there.key()
                    );
                    return Err(Cli::command().error(ErrorKind::ArgumentConflict, message).into());
                }
            }
        }
        Ok(grants)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{parse, usage};
    use super::*;

    fn grants(flags: &[&str]) -> Result<Grants, String> {
        let words = ["vk-host", "--plugin", "docker.wasm"].into_iter().chain(flags.iter().copied()).map(OsString::from);
        let cli = parse(words).map_err(|error| usage::line(&error))?;
        cli.run.grants.into_grants().map_err(|error| match error.downcast_ref() {
            Some(error) => usage::line(error),
            None => error.to_string(),
        })
    }

    #[test]
    fn a_socket_takes_one_flag() {
        let grants = grants(&["--endpoint", "engine=unix:///run/docker.sock"]).unwrap();
        assert_eq!(grants.endpoints["engine"].url.to_string(), "unix:///run/docker.sock");
    }

    #[test]
    fn flags_add_to_each_other_and_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("vk.toml");
        std::fs::write(
            &file,
            "[grants]\nenvironment = [\"A\"]\n[endpoints.engine]\nurl = \"unix:///run/docker.sock\"\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let both =
            ["--config", file, "--grant", "environment=B", "--grant=environment=C_*", "--endpoint=o=http://10.0.0.7:1"];
        let granted = grants(&both).unwrap();
        assert_eq!(granted.environment, ["A", "B", "C_*"]);
        assert_eq!(granted.endpoints.keys().collect::<Vec<_>>(), ["engine", "o"]);
        for flags in [
            &["--config", file, "--endpoint", "engine=http://10.0.0.7:2375"][..],
            &["--endpoint", "engine=unix:///run/docker.sock", "--endpoint", "engine=http://10.0.0.7:2375"],
        ] {
            let line = grants(flags).unwrap_err();
            let parts = ["engine=http://10.0.0.7:2375", "in one place", "at unix:///run/docker.sock", "see --help"];
            assert!(parts.iter().all(|part| line.contains(part)) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_mistake_is_one_line_with_flag_and_value_and_what_is_right() {
        for (flag, value, says) in [
            ("--endpoint", "/run/docker.sock", "engine=unix:///run/docker.sock"),
            ("--endpoint", "engine=/run/docker.sock", "unix:///run/docker.sock"),
            ("--endpoint", "engine=tcp://10.0.0.7:2375", "http://10.0.0.7:2375"),
            ("--endpoint", "engine=http://10.0.0.7:2375/v1.41", "no path"),
            ("--endpoint", "engine", "engine=unix:///PATH"),
            ("--grant", "http://10.0.0.7:5000", "http=http://10.0.0.7:5000"),
            ("--grant", "net=10.0.0.0/8", "addresses"),
            ("--grant", "endpoint=engine", "--endpoint NAME=URL"),
            ("--grant", "file=credentials.json", "absolute path"),
        ] {
            let line = grants(&[flag, value]).unwrap_err();
            assert!([flag, value, says].iter().all(|part| line.contains(part)) && !line.contains('\n'), "{line}");
            assert!(line.ends_with("; see --help"), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let line = grants(&["--config", "/nowhere/vk.toml"]).unwrap_err();
        assert!(line.contains("--config") && line.contains("/nowhere/vk.toml"), "{line}");
    }
}
