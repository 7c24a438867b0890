//! Who provides the pods: the provider that the demo is written for, in some build, or one of the user's own.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::host;

/// What the command line says of it.
#[derive(Debug, Default, Args)]
pub struct Choice {
    /// Another build of the provider, or a provider of your own [default: target/plugins/mock.wasm, with --docker docker.wasm]. Of one of
    /// your own the demo wants pods that come to be Running and Ready, are replaced and go; addresses and logs are shown as they are
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// The configuration of that provider
    #[arg(long, value_name = "FILE", requires = "plugin", conflicts_with = "docker")]
    provider_config: Option<PathBuf>,
    /// What that provider is granted, as vk-host takes it; may be repeated
    #[arg(long, value_name = "ACCESS=TARGET", requires = "plugin")]
    grant: Vec<String>,
    /// An endpoint of that provider, as vk-host takes it; may be repeated
    #[arg(long, value_name = "NAME=URL", requires = "plugin", conflicts_with = "docker")]
    endpoint: Vec<String>,
}

/// A provider.
#[derive(Debug)]
pub struct Provided {
    /// Its name, as its file has it.
    pub name: String,
    /// The component.
    pub plugin: PathBuf,
    /// It is not the one that the demo is written for.
    pub is_users_own: bool,
    /// Text of its configuration; none: it has none.
    pub config: Option<String>,
    /// Flags of the host for it.
    pub flags: Vec<String>,
    /// Variables of this program that it is granted. Others would be flags of the host.
    pub variables: Vec<(String, String)>,
}

impl Choice {
    /// What was chosen; else the provider that is called `usual`.
    pub fn provided(self, usual: &str) -> Result<Provided> {
        let plugin = self.plugin.map_or_else(|| host::plugin(usual), Ok)?;
        ensure!(plugin.is_file(), "there is no plugin {}", plugin.display());
        let plugin = plugin.canonicalize()?;
        let name = plugin.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let read = |file: PathBuf| {
            fs::read_to_string(&file).with_context(|| format!("--provider-config: read {}", file.display()))
        };
        let said = |flag: &str, values: Vec<String>| {
            let flag = flag.to_owned();
            values.into_iter().flat_map(move |value| [flag.clone(), value])
        };
        let granted: Vec<&str> = self.grant.iter().filter_map(|grant| grant.strip_prefix("environment=")).collect();
        let is_granted = |name: &str| granted.iter().any(|granted| is_meant(granted, name));
        let variables =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let variables = variables.filter(|(name, _)| is_granted(name)).collect();
        Ok(Provided {
            variables,
            is_users_own: name != usual,
            name,
            plugin,
            config: self.provider_config.map(read).transpose()?,
            flags: said("--grant", self.grant).chain(said("--endpoint", self.endpoint)).collect(),
        })
    }
}

/// Whether a grant of variables, a name or the beginning of names and a star, has this one in it.
fn is_meant(granted: &str, name: &str) -> bool {
    granted.strip_suffix('*').map_or(granted == name, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_of_the_users_own_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "a = 1").unwrap();
            Some(path)
        };
        let choice = Choice {
            plugin: file("note.wasm"),
            provider_config: file("note.toml"),
            // Cargo sets it for each test.
            grant: vec!["environment=CARGO_MANIFEST_D*".to_owned()],
            endpoint: vec!["a=unix:///a".to_owned()],
        };
        let provided = choice.provided("mock").unwrap();
        assert!(provided.is_users_own && provided.name == "note" && provided.config.as_deref() == Some("a = 1"));
        assert_eq!(provided.flags, ["--grant", "environment=CARGO_MANIFEST_D*", "--endpoint", "a=unix:///a"]);
        assert_eq!(provided.variables, [("CARGO_MANIFEST_DIR".to_owned(), env!("CARGO_MANIFEST_DIR").to_owned())]);
        let another_build = Choice { plugin: file("mock.wasm"), ..Choice::default() };
        assert!(!another_build.provided("mock").unwrap().is_users_own);
        let missing = Choice { plugin: Some(folder.path().join("no.wasm")), ..Choice::default() };
        assert!(missing.provided("mock").unwrap_err().to_string().contains("no.wasm"));
    }
}
