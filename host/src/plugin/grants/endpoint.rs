//! Named endpoints: a plugin knows the name, its operator the place. Naming one is granting it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::plugin::egress::origin::{Host, Origin, OriginError, Scheme};

/// What an authority ends in that stands for a named endpoint: `NAME.endpoint.internal`.
pub(super) const DOMAIN: &str = ".endpoint.internal";
/// Longest path of a socket, in bytes: Linux has 108 for it and its end (unix(7)).
const SOCKET_PATH: usize = 107;
/// Longest name, in bytes: that of a label of a host's name (RFC 1035, 2.3.4).
const NAME: usize = 63;

/// Where an endpoint is, and how TLS is spoken with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub url: EndpointUrl,
    /// PEM file of the authorities of its certificate; none: the system's and those of `[tls]`. With `https` alone, as the next two.
    pub certificate_authority: Option<PathBuf>,
    /// PEM file of the certificate to show, and its chain; never without its key.
    pub client_certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key: Option<PathBuf>,
}

/// Where an endpoint is. `Display` is what `FromStr` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointUrl {
    /// `unix:///run/docker.sock`: HTTP, or whatever the plugin speaks, over a socket.
    Unix(PathBuf),
    /// `http://HOST:PORT`.
    #[allow(missing_docs, reason = "the variant says it")]
    Http { host: Host, port: u16 },
    /// `https://HOST:PORT`.
    #[allow(missing_docs, reason = "the variant says it")]
    Https { host: Host, port: u16 },
}

/// An endpoint under its name, as `--endpoint NAME=URL` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The plugin's name for it.
    pub name: String,
    /// Where it is.
    pub url: EndpointUrl,
}

/// Why a text is no endpoint. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing but a place.
    #[error("give NAME=URL, such as engine={0}; NAME is what the plugin calls it")]
    NoName(String),
    /// Nothing but a name.
    #[error("give its URL too: {0}=unix:///PATH, {0}=http://HOST:PORT or {0}=https://HOST:PORT")]
    NoUrl(String),
    /// What the plugin cannot have called it.
    #[error(
        "{0:?} is no name of an endpoint: that has 1 to 63 lower-case letters, digits and `-`, and begins with a letter"
    )]
    Name(String),
    /// A path alone.
    #[error("the URL of a socket is unix://{0}")]
    Path(String),
    /// A socket's URL without a usable path.
    #[error("the URL of a socket is unix:// and its absolute path of at most {max} bytes, as in unix:///run/docker.sock", max = SOCKET_PATH)]
    Socket,
    /// As Docker's own client takes it.
    #[error("tcp:// does not say whether TLS is spoken: write http://{0}, or https://{0} with TLS")]
    Tcp(String),
    /// Another URL, or none.
    #[error("an endpoint is unix:///PATH, http://HOST:PORT or https://HOST:PORT")]
    Scheme,
    /// A URL with more than a place.
    #[error("an endpoint has no path, as the plugin says the path of each request: write {0}")]
    Trailing(String),
    /// Host or port.
    #[error(transparent)]
    Server(#[from] OriginError),
}

impl FromStr for Named {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let Some((name, url)) = text.split_once('=') else {
            return Err(match endpoint_name(text) {
                Ok(()) => EndpointError::NoUrl(text.to_owned()),
                Err(_) => EndpointError::NoName(example(text)),
            });
        };
        endpoint_name(name)?;
        Ok(Self { name: name.to_owned(), url: url.parse()? })
    }
}

impl FromStr for EndpointUrl {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(match text {
                path if path.starts_with('/') => EndpointError::Path(path.to_owned()),
                socket if socket.starts_with("unix:") => EndpointError::Socket,
                _ => EndpointError::Scheme,
            });
        };
        match scheme.to_ascii_lowercase().as_str() {
            "unix" => socket(rest),
            "http" | "https" => server(text, rest),
            "tcp" => Err(EndpointError::Tcp(place(rest).to_owned())),
            _ => Err(EndpointError::Scheme),
        }
    }
}

fn socket(path: &str) -> Result<EndpointUrl, EndpointError> {
    let fits = path.starts_with('/') && path.len() > 1 && path.len() <= SOCKET_PATH && !path.contains('\0');
    if fits { Ok(EndpointUrl::Unix(PathBuf::from(path))) } else { Err(EndpointError::Socket) }
}

/// A `/` alone is no path (RFC 3986, 6.2.3).
fn server(text: &str, rest: &str) -> Result<EndpointUrl, EndpointError> {
    let place = place(rest);
    let base = text.strip_suffix(rest).unwrap_or_default();
    if !matches!(rest.strip_prefix(place), Some("" | "/")) {
        return Err(EndpointError::Trailing(format!("{base}{place}")));
    }
    let Origin { scheme, host, port } = Origin::parse(&format!("{base}{place}"))?;
    Ok(match scheme {
        Scheme::Https => EndpointUrl::Https { host, port },
        _ => EndpointUrl::Http { host, port },
    })
}

/// What comes before a path, a query or a fragment.
fn place(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The URL that a place without a name most likely means.
fn example(text: &str) -> String {
    match text.parse::<EndpointUrl>() {
        Ok(url) => url.to_string(),
        Err(EndpointError::Path(path)) => format!("unix://{path}"),
        Err(EndpointError::Tcp(place)) => format!("http://{place}"),
        Err(EndpointError::Trailing(url)) => url,
        Err(_) => "unix:///run/docker.sock".to_owned(),
    }
}

/// Whether a name can be an endpoint's: it becomes a label of a host's name.
pub fn endpoint_name(name: &str) -> Result<(), EndpointError> {
    let fits = name.len() <= NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.ends_with('-');
    if fits { Ok(()) } else { Err(EndpointError::Name(name.to_owned())) }
}

impl EndpointUrl {
    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Https { .. })
    }
}

impl From<EndpointUrl> for Endpoint {
    fn from(url: EndpointUrl) -> Self {
        Self { url, certificate_authority: None, client_certificate: None, client_key: None }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix(path) => return write!(f, "unix://{}", path.display()),
            Self::Http { host, port } => (Scheme::Http, host, port),
            Self::Https { host, port } => (Scheme::Https, host, port),
        };
        Origin { scheme, host: host.clone(), port: *port }.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_url_are_an_endpoint() {
        for (text, name, url) in [
            ("engine=unix:///run/docker.sock", "engine", "unix:///run/docker.sock"),
            ("engine-2=http://10.0.0.7:2375", "engine-2", "http://10.0.0.7:2375"),
            ("engine=http://10.0.0.7:2375/", "engine", "http://10.0.0.7:2375"),
            ("engine=HTTPS://Engine.corp.example:2376", "engine", "https://engine.corp.example:2376"),
            ("engine=http://[::1]:2375", "engine", "http://[::1]:2375"),
            ("engine=unix:///run/user/1000/podman/podman.sock", "engine", "unix:///run/user/1000/podman/podman.sock"),
        ] {
            let named: Named = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((named.name.as_str(), named.url.to_string().as_str()), (name, url));
            assert_eq!(named.url.to_string().parse(), Ok(named.url), "what is shown is what is taken");
        }
    }

    #[test]
    fn what_people_type_is_answered_with_what_they_mean() {
        for (text, says) in [
            ("/run/docker.sock", "engine=unix:///run/docker.sock"),
            ("unix:///run/podman.sock", "engine=unix:///run/podman.sock"),
            ("tcp://10.0.0.7:2375", "engine=http://10.0.0.7:2375"),
            ("http://10.0.0.7:2375/v1.41", "engine=http://10.0.0.7:2375;"),
            ("10.0.0.7:2375", "NAME=URL"),
            ("", "NAME=URL"),
            ("engine", "engine=unix:///PATH"),
            ("engine=", "http://HOST:PORT"),
            ("engine=/run/docker.sock", "unix:///run/docker.sock"),
            ("engine=unix:/run/docker.sock", "unix:///run/docker.sock"),
            ("engine=unix://run/docker.sock", "absolute path"),
            ("engine=unix:///", "absolute path"),
            ("engine=tcp://10.0.0.7:2375", "http://10.0.0.7:2375, or https://10.0.0.7:2375 with TLS"),
            ("engine=npipe:////./pipe/docker_engine", "unix:///PATH"),
            ("engine=ssh://root@10.0.0.7", "https://HOST:PORT"),
            ("engine=10.0.0.7:2375", "http://HOST:PORT"),
            ("engine=http://10.0.0.7:2375/v1.41", "write http://10.0.0.7:2375"),
            ("engine=https://10.0.0.7:2376?tls=1", "write https://10.0.0.7:2376"),
            ("Engine=unix:///run/docker.sock", "lower-case"),
            ("my_engine=unix:///run/docker.sock", "\"my_engine\""),
            ("=unix:///run/docker.sock", "begins with a letter"),
        ] {
            let error = text.parse::<Named>().err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
            assert!(error.contains(says) && !error.contains('\n'), "{text}: {error}");
        }
        for text in ["engine=http://", "engine=http://10.0.0.7:99999", "engine=http://*.corp.example:2375"] {
            assert!(matches!(text.parse::<Named>(), Err(EndpointError::Server(_))), "{text}");
        }
        let long = format!("engine=unix:///{}", "a".repeat(SOCKET_PATH));
        assert_eq!(long.parse::<Named>(), Err(EndpointError::Socket));
    }
}
