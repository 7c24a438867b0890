//! Where requests lead, as text: origins such as `https://api.example.com:443`, and patterns of them.
//!
//! A name is one that DNS could have. What a system's resolver would read as an address in another spelling (`2130706433`,
//! `0x7f.1`, `127.1`) is none, so that what is compared here is what is connected to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest name, in bytes (RFC 1035, 2.3.4).
const NAME: usize = 253;
/// Longest part of a name between two dots, in bytes (RFC 1035, 2.3.4).
const LABEL: usize = 63;

/// What is shown of a text that is no origin, in bytes; every origin is shorter.
const SHOWN: usize = 512;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP without TLS; also `ws`.
    Http,
    /// HTTP over TLS; also `wss`.
    Https,
    /// Bytes.
    Tcp,
    /// Bytes over TLS.
    Tls,
}

/// A server's name or address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// In lower case, in DNS' own spelling (IDNA's A-labels), without a dot at its end.
    Name(String),
    /// An IPv6 address that stands for one of IPv4 (`::ffff:10.0.0.7`) is that one.
    Ip(IpAddr),
}

/// One server, and how it is spoken to. `Display` always shows the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// How.
    pub scheme: Scheme,
    /// Which server.
    pub host: Host,
    /// Its port, never 0.
    pub port: u16,
}

/// One origin, or all those below a name: `https://*.example.com:443` is every name in front of `.example.com`, of one label or more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    scheme: Scheme,
    hosts: Hosts,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Hosts {
    One(Host),
    /// All below this name, without the name itself.
    Below(String),
}

/// Why a text is no origin. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No scheme, or one that is not known.
    #[error("{0:?} has to begin with https://, http://, wss://, ws://, tls:// or tcp://")]
    Scheme(String),
    /// A port is needed.
    #[error("{0:?} needs a port, as in tcp://10.0.0.7:8080")]
    NoPort(String),
    /// What stands for a port is none.
    #[error("{0:?} has no port that there is: that is a number from 1 to 65535")]
    Port(String),
    /// `user@host`.
    #[error("{0:?} has something in front of its host and an `@`, which hides where it leads: leave that out")]
    User(String),
    /// A path, a query or a fragment.
    #[error("{0:?} goes on after its host: an origin is SCHEME://HOST:PORT")]
    Trailing(String),
    /// Neither a name nor an address.
    #[error(
        "{0:?} has no host that there is: that is a name of letters, digits and `-` (xn--… for others), an IPv4 address of four decimal numbers or an IPv6 address in brackets"
    )]
    Host(String),
    /// A star somewhere else, or before too little.
    #[error("{0:?}: a `*` stands in front, and at least two labels follow it, as in https://*.example.com")]
    Star(String),
}

/// A text taken apart; nothing is checked but its form.
struct Parts<'a> {
    scheme: Scheme,
    host: &'a str,
    port: Option<u16>,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "http" | "ws" => Some(Self::Http),
            "https" | "wss" => Some(Self::Https),
            "tcp" => Some(Self::Tcp),
            "tls" => Some(Self::Tls),
            _ => None,
        }
    }

    const fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp | Self::Tls => None,
        }
    }

    /// Whether TLS is spoken.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, OriginError> {
        let whole = || bare(text);
        let (scheme, rest) = text.split_once("://").ok_or_else(|| OriginError::Scheme(whole()))?;
        let scheme = Scheme::parse(scheme).ok_or_else(|| OriginError::Scheme(whole()))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '\\', '?', '#']) {
            return Err(OriginError::Trailing(whole()));
        }
        if authority.contains('@') {
            return Err(OriginError::User(whole()));
        }
        // The colons of an IPv6 address are within its brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let port = port.map(|port| number(port).ok_or_else(|| OriginError::Port(whole()))).transpose()?;
        Ok(Self { scheme, host, port: port.or(scheme.default_port()) })
    }
}

/// Without what may be a secret, and no more of it than people read: a guest may hand in megabytes.
pub(super) fn bare(text: &str) -> String {
    let start = |text: &str| text.get(..text.floor_char_boundary(SHOWN)).unwrap_or(text).to_owned();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{}://{}", start(scheme), start(host)),
        None => start(text),
    }
}

fn number(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|port| digits && *port != 0)
}

impl Host {
    /// As an authority has it; none: it is no host.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let address: Ipv6Addr = address.parse().ok()?;
            return Some(Self::Ip(IpAddr::V6(address).to_canonical()));
        }
        // Rust takes four decimal numbers and nothing else.
        if let Ok(address) = text.parse() {
            return Some(Self::Ip(IpAddr::V4(address)));
        }
        name(text).map(Self::Name)
    }
}

fn name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let whole = name.len() <= NAME && name.split('.').all(is_label);
    let last = name.rsplit('.').next()?;
    (whole && !is_number(last)).then_some(name)
}

/// `_` is none of a host's by the letter of the standards, and of many in practice.
fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=LABEL).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

/// What inet_aton(3) takes for a number. No top-level domain is one, so a name that ends in one is an address in disguise.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl Origin {
    /// `SCHEME://HOST[:PORT]`. HTTP has default ports, the others need one.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let Parts { scheme, host, port } = Parts::of(text)?;
        let host = Host::parse(host).ok_or_else(|| OriginError::Host(bare(text)))?;
        let port = port.ok_or_else(|| OriginError::NoPort(bare(text)))?;
        Ok(Self { scheme, host, port })
    }

    /// That a request with this absolute URI is for; none: it has none that there is.
    pub fn of_uri(uri: &http::Uri) -> Option<Self> {
        Self::parse(&base(uri)?).ok()
    }
}

/// Scheme and authority of an absolute URI, as they are.
pub(super) fn base(uri: &http::Uri) -> Option<String> {
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// The host of a text that is an origin, but for the port that an endpoint needs none of.
pub(super) fn host(text: &str) -> Result<(Scheme, &str), OriginError> {
    let Parts { scheme, host, .. } = Parts::of(text)?;
    Ok((scheme, host.strip_suffix('.').unwrap_or(host)))
}

impl Pattern {
    /// An origin, whose host may begin with `*.`; at least two labels follow it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let Parts { scheme, host, port } = Parts::of(text)?;
        let star = || OriginError::Star(bare(text));
        let hosts = match host.strip_prefix("*.") {
            Some(below) => Hosts::Below(name(below).filter(|name| name.contains('.')).ok_or_else(star)?),
            None if host.contains('*') => return Err(star()),
            None => Hosts::One(Host::parse(host).ok_or_else(|| OriginError::Host(bare(text)))?),
        };
        let port = port.ok_or_else(|| OriginError::NoPort(bare(text)))?;
        Ok(Self { scheme, hosts, port })
    }

    /// Whether the origin is one of them.
    pub fn matches(&self, origin: &Origin) -> bool {
        let hosts = match (&self.hosts, &origin.host) {
            (Hosts::One(host), other) => host == other,
            (Hosts::Below(suffix), Host::Name(name)) => is_below(name, suffix),
            (Hosts::Below(_), Host::Ip(_)) => false,
        };
        hosts && (self.scheme, self.port) == (origin.scheme, origin.port)
    }

    /// Whether every origin of the other one is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        let hosts = match (&self.hosts, &other.hosts) {
            (Hosts::One(host), Hosts::One(other)) => host == other,
            (Hosts::Below(suffix), Hosts::One(Host::Name(name))) => is_below(name, suffix),
            (Hosts::Below(suffix), Hosts::Below(other)) => other == suffix || is_below(other, suffix),
            (Hosts::Below(_), Hosts::One(Host::Ip(_))) | (Hosts::One(_), Hosts::Below(_)) => false,
        };
        hosts && (self.scheme, self.port) == (other.scheme, other.port)
    }

    /// What all of them speak.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The name of its host, or that which all of its hosts are below; none: it is an address.
    pub fn name(&self) -> Option<&str> {
        match &self.hosts {
            Hosts::One(Host::Name(name)) | Hosts::Below(name) => Some(name),
            Hosts::One(Host::Ip(_)) => None,
        }
    }

    /// The address that it is; none: its host has a name.
    pub const fn literal(&self) -> Option<IpAddr> {
        match &self.hosts {
            Hosts::One(Host::Ip(ip)) => Some(*ip),
            Hosts::One(Host::Name(_)) | Hosts::Below(_) => None,
        }
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{host}:{port}")
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, hosts, port } = self;
        match hosts {
            Hosts::One(host) => write!(f, "{scheme}://{host}:{port}"),
            Hosts::Below(suffix) => write!(f, "{scheme}://*.{suffix}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests;
