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

/// Without what may be a secret.
pub(super) fn bare(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}"),
        None => text.to_owned(),
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
        let host = Host::parse(host).ok_or_else(|| OriginError::Host(text.to_owned()))?;
        let port = port.ok_or_else(|| OriginError::NoPort(text.to_owned()))?;
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
        let star = || OriginError::Star(text.to_owned());
        let hosts = match host.strip_prefix("*.") {
            Some(below) => Hosts::Below(name(below).filter(|name| name.contains('.')).ok_or_else(star)?),
            None if host.contains('*') => return Err(star()),
            None => Hosts::One(Host::parse(host).ok_or_else(|| OriginError::Host(text.to_owned()))?),
        };
        let port = port.ok_or_else(|| OriginError::NoPort(text.to_owned()))?;
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
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, shown) in [
            ("https://example.com", "https://example.com:443"),
            ("HTTPS://Example.COM:443/", "https://example.com:443"),
            ("https://example.com.:8443", "https://example.com:8443"),
            ("http://registry", "http://registry:80"),
            ("ws://my_service:80", "http://my_service:80"),
            ("wss://a.example", "https://a.example:443"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example:443"),
            ("https://XN--BCHER-KVA.example", "https://xn--bcher-kva.example:443"),
            ("https://1.example", "https://1.example:443"),
            ("https://0xbad.example", "https://0xbad.example:443"),
            ("tcp://10.0.0.7:8080", "tcp://10.0.0.7:8080"),
            ("tls://[2001:DB8::0:1]:443", "tls://[2001:db8::1]:443"),
            ("http://[::ffff:10.0.0.7]:80", "http://10.0.0.7:80"),
            ("http://[::ffff:a00:7]", "http://10.0.0.7:80"),
        ] {
            let origin = Origin::parse(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(origin.to_string(), shown);
            assert_eq!(Origin::parse(shown), Ok(origin), "what is shown is what is taken");
        }
    }

    #[test]
    fn an_address_in_another_spelling_is_no_host() {
        for host in [
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0X7F.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "127.0.0.0x1",
            "1.2.3.4.5",
            "256.0.0.1",
            "0x",
            "example.0x7f",
            "::1",
            "[::1",
            "[::1%25lo]",
            "[fe80::1%eth0]",
            "[127.0.0.1]",
            "[example.com]",
        ] {
            let text = format!("http://{host}:80");
            assert!(matches!(Origin::parse(&text), Err(OriginError::Host(_) | OriginError::Port(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_told_with_what_would_be_one() {
        let long = format!("https://{}.example", "a".repeat(64));
        let longer = format!("https://{}example", "a.".repeat(126));
        for (text, says) in [
            ("example.com", "https://"),
            ("ftp://user:secret@example.com", "https://"),
            ("https:/example.com", "https://"),
            ("tcp://10.0.0.7", "tcp://10.0.0.7:8080"),
            ("https://example.com:0", "1 to 65535"),
            ("https://example.com:65536", "1 to 65535"),
            ("https://example.com:", "1 to 65535"),
            ("https://example.com:+80", "1 to 65535"),
            ("https://user@example.com", "leave that out"),
            ("https://good.example@evil.example", "leave that out"),
            ("https://user:secret@example.com:443", "leave that out"),
            ("https://example.com/v1", "SCHEME://HOST:PORT"),
            ("https://example.com?x", "SCHEME://HOST:PORT"),
            ("https://example.com#x", "SCHEME://HOST:PORT"),
            (r"https://good.example\evil.example", "SCHEME://HOST:PORT"),
            ("https://", "no host"),
            ("https://.", "no host"),
            ("https://.example.com", "no host"),
            ("https://a..example.com", "no host"),
            ("https://example.com..", "no host"),
            ("https://-a.example", "no host"),
            ("https://a-.example", "no host"),
            ("https://bücher.example", "xn--"),
            ("https://１２７.0.0.1", "no host"),
            ("https://exa%6dple.com", "no host"),
            ("https://a b.example", "no host"),
            ("https://a\0.example", "no host"),
            ("https://*.example.com", "no host"),
            (long.as_str(), "no host"),
            (longer.as_str(), "no host"),
        ] {
            let error = Origin::parse(text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
            assert!(error.contains(says) && !error.contains('\n') && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_uri_is_for_the_origin_that_its_authority_is() {
        let of = |text: &'static str| Origin::of_uri(&http::Uri::from_static(text)).map(|origin| origin.to_string());
        assert_eq!(of("https://Example.com/a/b?c=https://other.example").as_deref(), Some("https://example.com:443"));
        assert_eq!(of("http://10.0.0.7:5000/").as_deref(), Some("http://10.0.0.7:5000"));
        assert_eq!(of("http://good.example@10.0.0.7/"), None);
        assert_eq!(of("http://0x7f.1/"), None);
        assert_eq!(of("/path"), None);
    }

    #[test]
    fn a_pattern_is_its_own_origin_or_all_below_a_name() {
        for (pattern, origin, matches) in [
            ("https://example.com", "https://EXAMPLE.com.:443", true),
            ("https://example.com", "https://example.com:8443", false),
            ("https://example.com", "http://example.com:443", false),
            ("https://example.com", "https://a.example.com", false),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://notexample.com", false),
            ("https://*.example.com", "https://a.example.com.evil.example", false),
            ("https://*.Example.COM.", "https://a.example.com", true),
            ("wss://a.example.com", "https://a.example.com", true),
            ("tls://a.example.com:443", "https://a.example.com", false),
            ("http://10.0.0.7", "http://10.0.0.7", true),
            ("http://10.0.0.7", "http://[::ffff:10.0.0.7]", true),
            ("http://10.0.0.7", "http://10.0.0.70", false),
        ] {
            let parsed = (Pattern::parse(pattern).unwrap(), Origin::parse(origin).unwrap());
            assert_eq!(parsed.0.matches(&parsed.1), matches, "{pattern} and {origin}");
        }
    }

    #[test]
    fn a_star_alone_or_in_the_middle_is_refused() {
        for text in [
            "https://*",
            "https://*.",
            "https://*.io",
            "https://*.io.",
            "https://*.*.example.com",
            "https://a.*.example.com",
            "https://*a.example.com",
            "https://example.*",
            "https://*.0.0.1",
            "https://*.example.7",
            "https://*.[::1]",
        ] {
            assert!(matches!(Pattern::parse(text), Err(OriginError::Star(_))), "{text}");
        }
    }

    #[test]
    fn a_pattern_covers_what_it_matches() {
        for (one, other, covers) in [
            ("https://example.com", "https://example.com:443", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://*.a.example.com", true),
            ("https://*.example.com", "https://*.example.com", true),
            ("https://*.a.example.com", "https://*.example.com", false),
            ("https://*.example.com", "https://*.notexample.com", false),
            ("https://a.example.com", "https://*.example.com", false),
            ("https://*.example.com", "https://10.0.0.7", false),
            ("https://*.example.com", "http://*.example.com:443", false),
        ] {
            assert_eq!(
                Pattern::parse(one).unwrap().covers(&Pattern::parse(other).unwrap()),
                covers,
                "{one} and {other}"
            );
        }
    }

    #[test]
    fn a_pattern_shows_what_it_was_made_of() {
        for (text, name, literal) in [
            ("https://*.example.com:443", Some("example.com"), None),
            ("http://registry:5000", Some("registry"), None),
            ("http://10.0.0.7:5000", None, Some("10.0.0.7")),
            ("http://[fd00::1]:80", None, Some("fd00::1")),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((pattern.to_string().as_str(), pattern.name()), (text, name));
            assert_eq!(pattern.literal(), literal.map(|literal| literal.parse().unwrap()));
        }
    }
}
