//! What a plugin wants against what its operator grants. Pure: nothing is read here and nobody is asked.
//!
//! ```text
//! --config, --grant, --endpoint ▶ Grants ─┐
//! plugin.configure ▶ wants ───────────────┴▶ weigh ▶ Granted: what the plugin's calls may have
//!                                                  ▶ what nobody granted, each with the line to add
//! ```

mod endpoint;
mod remedy;
mod settle;
mod target;
mod wanted;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;

pub use endpoint::{Endpoint, EndpointError, EndpointUrl, Named, endpoint_name};
pub(super) use remedy::remedy;
pub use settle::Verdict;
pub(super) use settle::{Access, Allowed, Granted, Weighed, weigh};
pub use target::TargetError;
pub use wanted::Mistaken;

use super::egress::origin::{Origin, Pattern};

/// What an operator lets a plugin have, beside what is harmless. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Origins of requests.
    pub http: Vec<Pattern>,
    /// Origins of connections that begin as HTTP/1.1.
    pub upgrade: Vec<Pattern>,
    /// Origins of plain TCP and TLS.
    pub connect: Vec<Pattern>,
    /// Names of the host's variables; a `*` at the end stands for the rest of a name.
    pub environment: Vec<String>,
    /// Absolute paths.
    pub files: Vec<PathBuf>,
    /// What the names of origins may stand for beside public addresses.
    pub addresses: Vec<IpNet>,
    /// By the name that the plugin has for it.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// PEM files of authorities that are trusted beside the system's.
    pub certificate_authorities: Vec<PathBuf>,
}

/// One thing that an operator grants: an entry below `[grants]`, or one `--grant`.
#[derive(Clone, Debug)]
pub enum Grant {
    /// See [`Grants::http`].
    Http(Pattern),
    /// See [`Grants::upgrade`].
    Upgrade(Pattern),
    /// See [`Grants::connect`].
    Connect(Pattern),
    /// See [`Grants::environment`].
    Environment(String),
    /// See [`Grants::files`].
    File(PathBuf),
    /// See [`Grants::addresses`].
    Addresses(IpNet),
}

/// Why a text grants nothing. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No `=`.
    #[error("give ACCESS=TARGET, such as http=http://10.0.0.7:5000; ACCESS is one of {}", Grant::ACCESSES.join(", "))]
    Form,
    /// An access that there is not.
    #[error("there is no access {0:?}; there are {all}", all = Grant::ACCESSES.join(", "))]
    Access(String),
    /// Endpoints have a flag and a table of their own.
    #[error(
        "naming an endpoint is granting it: --endpoint NAME=URL, or a table [endpoints.NAME] in the file of --config"
    )]
    Endpoint,
    /// The access is right and the target is not.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl Grant {
    /// Words for what may be granted, in the file and on the command line.
    pub const ACCESSES: [&str; 6] = ["http", "upgrade", "connect", "environment", "file", "addresses"];

    /// What access and target mean.
    pub fn new(access: &str, target: &str) -> Result<Self, GrantError> {
        Ok(match access {
            "http" => Self::Http(target::origin(Access::Http, target)?),
            "upgrade" => Self::Upgrade(target::origin(Access::Upgrade, target)?),
            "connect" => Self::Connect(target::origin(Access::Connect, target)?),
            "environment" => Self::Environment(target::variables(target)?),
            "file" => Self::File(target::file(target)?),
            "addresses" => Self::Addresses(target::addresses(target)?),
            "endpoint" | "endpoints" => return Err(GrantError::Endpoint),
            _ => return Err(GrantError::Access(access.to_owned())),
        })
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    /// `ACCESS=TARGET`.
    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (access, target) = text.split_once('=').ok_or(GrantError::Form)?;
        Self::new(access, target)
    }
}

impl Grants {
    /// One more.
    pub fn add(&mut self, grant: Grant) {
        match grant {
            Grant::Http(pattern) => self.http.push(pattern),
            Grant::Upgrade(pattern) => self.upgrade.push(pattern),
            Grant::Connect(pattern) => self.connect.push(pattern),
            Grant::Environment(names) => self.environment.push(names),
            Grant::File(path) => self.files.push(path),
            Grant::Addresses(net) => self.addresses.push(net),
        }
    }

    /// Whether a variable may be seen.
    pub fn shows(&self, variable: &str) -> bool {
        self.environment.iter().any(|names| match names.strip_suffix('*') {
            Some(prefix) => variable.starts_with(prefix),
            None => variable == names,
        })
    }

    /// Whether the operator grants this very origin, by itself or with those that it is one of.
    pub(super) fn names(&self, access: Access, origin: &Origin) -> bool {
        self.origins(access).iter().any(|pattern| pattern.matches(origin))
    }

    fn origins(&self, access: Access) -> &[Pattern] {
        match access {
            Access::Http => &self.http,
            Access::Upgrade => &self.upgrade,
            Access::Connect => &self.connect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_access_has_a_list_of_its_own() {
        let mut grants = Grants::default();
        for text in [
            "http=http://10.0.0.7:5000",
            "upgrade=wss://engine.corp.example:2376",
            "connect=tcp://10.0.0.7:8080",
            "environment=ACI_*",
            "file=/etc/azure/credentials.json",
            "addresses=10.0.0.0/8",
            "addresses=fd00::1",
        ] {
            grants.add(text.parse().unwrap_or_else(|error| panic!("{text}: {error}")));
        }
        let lengths = [grants.http.len(), grants.upgrade.len(), grants.connect.len()];
        assert_eq!(lengths, [1, 1, 1]);
        assert_eq!(grants.environment, ["ACI_*"]);
        assert_eq!(grants.files, [PathBuf::from("/etc/azure/credentials.json")]);
        let nets: Vec<String> = grants.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["10.0.0.0/8", "fd00::1/128"]);
    }

    #[test]
    fn what_is_no_grant_is_told_with_what_would_be_one() {
        for (text, says) in [
            ("http://10.0.0.7:5000", "ACCESS=TARGET"),
            ("https=https://example.com", "there are http, upgrade, connect"),
            ("endpoint=engine", "--endpoint NAME=URL"),
            ("http=tcp://10.0.0.7:5000", "http:// or https://"),
            ("connect=https://example.com", "tcp:// or tls://"),
            ("http=https://engine.endpoint.internal", "--endpoint"),
            ("environment=", "a name"),
            ("environment=A*B", "at its end"),
            ("environment=*", "at its end"),
            ("environment=A=1", "a name"),
            ("file=credentials.json", "absolute"),
            ("addresses=10.0.0.1/8", "10.0.0.0/8"),
            ("addresses=everything", "10.0.0.0/8"),
        ] {
            let error = Grant::from_str(text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_name() {
        let grants = Grants { environment: vec!["ACI_*".into(), "HOME".into()], ..Grants::default() };
        for (name, shown) in [("ACI_REGION", true), ("ACI_", true), ("HOME", true), ("HOMEX", false), ("ACI", false)] {
            assert_eq!(grants.shows(name), shown, "{name}");
        }
    }
}
