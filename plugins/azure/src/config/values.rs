//! Values of the configuration: what they look like, and what is wrong with those that do not.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use vk_aci::endpoint;
use vk_provider::quantity::Quantity;

use super::Os;
use crate::resource::{self, Subnet};

/// The least and the most that may lie between two looks.
const POLL: [u64; 2] = [1, 120];
/// More than any quota was ever raised.
const FACTOR: u32 = 1000;
/// Bytes of a text that still looks like a path. What is longer, or has lines, is the content of a file.
const PATH_LIKE: usize = 100;

/// Azure's name of a region, however it is written: `West Europe` is `westeurope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region(pub(crate) String);

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name: String = text.split_whitespace().collect::<String>().to_ascii_lowercase();
        let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fits.then_some(Self(name)).ok_or_else(|| format!("{text:?} is no region; write it like \"westeurope\""))
    }
}

/// The name of a resource group, a virtual network, a subscription: what stands between slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = || {
            format!("{text:?} is no name of a resource: 1 to 90 letters, digits, -, _, ( and ), and . but at the end")
        };
        resource::is_name(text).then(|| Self(text.to_owned())).ok_or_else(why)
    }
}

/// A subnet, by its path or by its name in the virtual network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubnetRef {
    Path(Subnet),
    Name(String),
}

impl FromStr for SubnetRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return text.parse().map(Self::Path);
        }
        text.parse().map(|Name(name)| Self::Name(name))
    }
}

impl fmt::Display for SubnetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path(path) => path.as_str(),
            Self::Name(name) => name,
        })
    }
}

/// Addresses that begin alike, such as `10.240.0.0/16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cidr(pub(crate) String);

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bits = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        let fits = text.split_once('/').is_some_and(|(address, length)| {
            let address: Option<IpAddr> = address.parse().ok();
            let length: Option<u8> = length.parse().ok();
            address.zip(length).is_some_and(|(address, length)| length <= bits(address))
        });
        fits.then(|| Self(text.to_owned())).ok_or_else(|| format!("{text:?} is no range; write it like 10.240.0.0/16"))
    }
}

/// What containers are made for. It has to be what the host says, which the Node and the host's own checks stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SameOs;

impl FromStr for SameOs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (own, of_host) = (text.parse::<Os>()?, Os::of_host());
        let (word, flag) = (own.as_str(), of_host.as_str());
        let why =
            || format!("the node is one of {flag}, as --os says: start the host with --os {word}, or leave it out");
        (own == of_host).then_some(Self).ok_or_else(why)
    }
}

/// A quantity that a node can have, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amount(pub(crate) String);

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let quantity: Quantity = text.parse().map_err(|why| format!("{why}"))?;
        let why = || format!("{text:?} is below zero; a node has 0 or more");
        (!quantity.is_negative()).then(|| Self(text.to_owned())).ok_or_else(why)
    }
}

/// How many pods a node can have, as it was written: the API server takes whole numbers alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Amount);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let amount = text.parse()?;
        let is_whole = text.parse().is_ok_and(|quantity: Quantity| quantity == Quantity::from_whole(quantity.whole()));
        is_whole.then_some(Self(amount)).ok_or_else(|| format!("{text:?} is no whole number; write it like 5000"))
    }
}

/// Between two looks at a group: `5s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Poll(pub(crate) Duration);

impl FromStr for Poll {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let [least, most] = POLL;
        let units = [('s', 1), ('m', 60)];
        let seconds = units.into_iter().find_map(|(letter, unit)| {
            let number: u64 = text.strip_suffix(letter)?.parse().ok()?;
            number.checked_mul(unit)
        });
        let fits = seconds.filter(|seconds| (least..=most).contains(seconds));
        let why = || format!("{text:?} is no period; write it like 5s: from {least}s to {most}s");
        fits.map(|seconds| Self(Duration::from_secs(seconds))).ok_or_else(why)
    }
}

/// How many times the published request rates a subscription has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Factor(pub(crate) u32);

impl FromStr for Factor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let factor = text.parse().ok().filter(|factor| (1..=FACTOR).contains(factor));
        factor.map(Self).ok_or_else(|| format!("{text:?} is no factor: a whole number from 1 to {FACTOR}"))
    }
}

/// A file of the host's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) String);

impl FromStr for FilePath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_path_like = text.len() <= PATH_LIKE && !text.contains(char::is_control);
        // There may be a key in what stands in the place of a path.
        let why = || {
            let shown = if is_path_like { format!("{text:?}") } else { "what is written here".to_owned() };
            format!("{shown} must be an absolute path, such as /etc/azure/NAME; the host reads the file itself")
        };
        (text.starts_with('/') && !text.contains(char::is_control)).then(|| Self(text.to_owned())).ok_or_else(why)
    }
}

/// Where Azure is, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin(pub(crate) String);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        endpoint::parse(text, &["https"]).map(Self)
    }
}

/// The API server, as clients of Kubernetes read it: without a scheme it is asked with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server(pub(crate) String);

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        endpoint::parse(&url, &["https"]).map(Self)
    }
}

/// What may stand in a header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderText(pub(crate) String);

impl FromStr for HeaderText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned())).ok_or_else(|| format!("{text:?} cannot stand in a header"))
    }
}

/// `true` or `false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::annotations::boolean(text).map(Self)
    }
}
