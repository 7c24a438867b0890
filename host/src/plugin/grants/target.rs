//! Targets: what wants and grants are written as, the same for both.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::Access;
use super::endpoint::{DOMAIN, EndpointError};
use crate::plugin::egress::origin::{OriginError, Pattern, Scheme};

/// Why a text is no target. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No origin at all.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// An origin of another access.
    #[error("{0} is for an origin that begins with {1}")]
    Scheme(&'static str, &'static str),
    /// An endpoint's authority.
    #[error("a host below {domain} is an endpoint, which is wanted and granted by its name: access endpoint, --endpoint NAME=URL", domain = DOMAIN)]
    OfEndpoint,
    /// No variable's name.
    #[error("a variable is written as a name without spaces and `=`")]
    Variable,
    /// A star that names nothing, or in the middle.
    #[error("a `*` stands at its end and behind a beginning, as in ACI_*")]
    Star,
    /// No absolute path.
    #[error("a file is written as its absolute path, such as /etc/azure/credentials.json")]
    File,
    /// No network.
    #[error("addresses are written as a network, such as 10.0.0.0/8, or as one address")]
    Addresses,
    /// More bits than the network's.
    #[error("the network is written {0}")]
    HostBits(IpNet),
    /// No endpoint's name.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// An origin, or a pattern of origins, of the schemes that the access has.
pub(super) fn origin(access: Access, text: &str) -> Result<Pattern, TargetError> {
    let pattern = Pattern::parse(text)?;
    let plain = matches!(pattern.scheme(), Scheme::Tcp | Scheme::Tls);
    if plain != (access == Access::Connect) {
        let schemes = if plain { "http:// or https://" } else { "tcp:// or tls://" };
        return Err(TargetError::Scheme(access.word(), schemes));
    }
    let below = |name: &str| name.ends_with(DOMAIN) || Some(name) == DOMAIN.strip_prefix('.');
    if pattern.name().is_some_and(below) { Err(TargetError::OfEndpoint) } else { Ok(pattern) }
}

/// The name of one variable.
pub(super) fn variable(name: &str) -> Result<String, TargetError> {
    let odd = |c: char| c == '=' || c.is_whitespace() || c.is_control();
    match name {
        "" => Err(TargetError::Variable),
        _ if name.contains(odd) => Err(TargetError::Variable),
        _ if name.contains('*') => Err(TargetError::Star),
        _ => Ok(name.to_owned()),
    }
}

/// The same, or a beginning and a `*`.
pub(super) fn variables(names: &str) -> Result<String, TargetError> {
    match names.strip_suffix('*') {
        Some("") => Err(TargetError::Star),
        Some(prefix) => variable(prefix).map(|prefix| format!("{prefix}*")),
        None => variable(names),
    }
}

/// The name of a file.
pub(super) fn file(name: &str) -> Result<PathBuf, TargetError> {
    let path = Path::new(name);
    // A directory's name would be granted in vain.
    let fits = path.is_absolute() && path.file_name().is_some() && !name.ends_with('/') && !name.contains('\0');
    if fits { Ok(path.to_owned()) } else { Err(TargetError::File) }
}

/// A network, or one address.
pub(super) fn addresses(text: &str) -> Result<IpNet, TargetError> {
    if let Ok(one) = text.parse::<IpAddr>() {
        return Ok(one.to_canonical().into());
    }
    let net: IpNet = text.parse().map_err(|_| TargetError::Addresses)?;
    if net == net.trunc() { Ok(net) } else { Err(TargetError::HostBits(net.trunc())) }
}
