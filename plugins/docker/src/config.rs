//! The operator's configuration, in TOML. README.md has the keys with their meaning.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use vk_provider::config::{self, Form};
use vk_provider::quantity::{NotAQuantity, Quantity};
use vk_provider::{Error, Result};

/// The name that `--endpoint` gives to the engine.
const ENDPOINT: &str = "engine";
/// How names of containers and volumes begin.
const PREFIX: &str = "k8s";
/// Docker's and Podman's own network.
const NETWORK: &str = "bridge";
/// The kubelet's default. What really limits is how many an engine bears.
const PODS: &str = "110";

/// What the operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The engine's name among the host's endpoints.
    pub(crate) endpoint: String,
    /// How names of containers and volumes begin.
    pub(crate) prefix: String,
    /// The engine's network for pods that do not want the machine's own.
    pub(crate) network: String,
    /// Whether the host can open connections to pods.
    pub(crate) reach: Reach,
    /// The engine's machine; none: the node's own address.
    pub(crate) address: Option<IpAddr>,
    /// An image for the sandbox; none: our own.
    pub(crate) pause_image: Option<String>,
    /// What the node offers; none: what the engine's machine has.
    pub(crate) cpu: Option<String>,
    /// The same.
    pub(crate) memory: Option<String>,
    /// How many pods.
    pub(crate) pods: String,
}

/// Whether the host can open connections to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The engine is on the host's machine, or its network is routed.
    FromHost,
    /// It is elsewhere.
    Unreachable,
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "from-host" => Ok(Self::FromHost),
            "unreachable" => Ok(Self::Unreachable),
            _ => Err(format!("{text:?} is neither \"from-host\" nor \"unreachable\"")),
        }
    }
}

/// A word that is fit for the names of engines' objects and of endpoints.
struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.' || byte == b'_';
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(letters)
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        let wrong =
            || format!("{text:?} is no name; it must be 1 to 63 letters, digits, -, . and _, a letter or digit first");
        fits.then(|| Self(text.to_owned())).ok_or_else(wrong)
    }
}

/// A quantity that a node can have, as it was written.
struct Capacity(String);

impl FromStr for Capacity {
    type Err = NotACapacity;

    fn from_str(text: &str) -> Result<Self, NotACapacity> {
        let quantity: Quantity = text.parse().map_err(NotACapacity::Quantity)?;
        if quantity.is_negative() { Err(NotACapacity::Negative(text.to_owned())) } else { Ok(Self(text.to_owned())) }
    }
}

/// Why a text is no capacity.
enum NotACapacity {
    Quantity(NotAQuantity),
    Negative(String),
}

impl fmt::Display for NotACapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantity(why) => why.fmt(f),
            Self::Negative(text) => write!(f, "{text:?} is below zero; a node has 0 or more"),
        }
    }
}

impl Config {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(crate) fn read() -> Result<Self, Vec<Error>> {
        let mut form = Form::read()?;
        let config = Self::from_form(&mut form);
        form.finish()?;
        Ok(config)
    }

    /// As [`Config::read`], for calls that can tell one error only: the file changed after `configure`.
    pub(crate) fn now() -> Result<Self> {
        Self::read().map_err(config::first)
    }

    fn from_form(form: &mut Form) -> Self {
        let mut name = |key, default: &str| form.parsed(key).map_or_else(|| default.to_owned(), |Name(name)| name);
        let (endpoint, prefix, network) =
            (name("endpoint", ENDPOINT), name("prefix", PREFIX), name("network", NETWORK));
        let reach = form.parsed("pod-network").unwrap_or(Reach::FromHost);
        let (address, pause_image) = (form.parsed("address"), form.text("pause-image"));
        let mut capacity = |key| form.parsed(key).map(|Capacity(amount)| amount);
        let (cpu, memory, pods) = (capacity("cpu"), capacity("memory"), capacity("pods"));
        let pods = pods.unwrap_or_else(|| PODS.to_owned());
        Self { endpoint, prefix, network, reach, address, pause_image, cpu, memory, pods }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::testing;

    #[test]
    fn without_a_file_everything_has_a_default() {
        testing::reset();
        let config = Config::read().unwrap();
        assert_eq!(
            (config.endpoint.as_str(), config.prefix.as_str(), config.network.as_str()),
            ("engine", "k8s", "bridge")
        );
        assert_eq!((config.reach, config.pods.as_str()), (Reach::FromHost, "110"));
        assert_eq!((config.address, config.pause_image, config.cpu, config.memory), (None, None, None, None));
    }

    #[test]
    fn all_keys_are_read() {
        testing::reset();
        testing::configure(
            "endpoint = \"far\"\nprefix = \"vk\"\nnetwork = \"pods\"\npod-network = \"unreachable\"\naddress = \"10.0.0.7\"\n\
             pause-image = \"registry.example/busybox:1\"\ncpu = 4\nmemory = \"8Gi\"\npods = 20",
        );
        let expected = Config {
            endpoint: "far".to_owned(),
            prefix: "vk".to_owned(),
            network: "pods".to_owned(),
            reach: Reach::Unreachable,
            address: Some(IpAddr::from([10, 0, 0, 7])),
            pause_image: Some("registry.example/busybox:1".to_owned()),
            cpu: Some("4".to_owned()),
            memory: Some("8Gi".to_owned()),
            pods: "20".to_owned(),
        };
        assert_eq!(Config::read(), Ok(expected));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        testing::reset();
        testing::configure(
            "endpoint = \"a/b\"\npod-network = \"maybe\"\naddress = \"here\"\ncpu = \"-1\"\nmemory = \"lots\"\nsocket = \"x\"",
        );
        let mistakes = Config::read().unwrap_err();
        let fields: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.field.as_deref()).collect();
        assert_eq!(fields, ["endpoint", "pod-network", "address", "cpu", "memory", "socket"]);
        assert!(mistakes[1].message.contains("is neither \"from-host\" nor \"unreachable\""), "{}", mistakes[1]);
    }
}
