//! Wants as the host understands them.

use std::path::PathBuf;

use super::endpoint::endpoint_name;
use super::{Access, TargetError, target};
use crate::plugin::Want;
use crate::plugin::egress::origin::Pattern;

/// What a want asks for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Origin(Access, Pattern),
    /// By its name.
    Endpoint(String),
    /// By its name.
    Variable(String),
    File(PathBuf),
}

/// A want that no grant could cover: the plugin's mistake, not its operator's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{want}: {why}")]
pub struct Mistaken {
    /// Which.
    pub want: Want,
    /// What is wrong with it.
    pub why: NotUnderstood,
}

/// Why a want is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    /// Perhaps one of a later host.
    #[error("this host knows the accesses http, upgrade, connect, endpoint, environment and file")]
    Access,
    /// The access is known.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl Wanted {
    pub(super) fn new(want: &Want) -> Result<Self, NotUnderstood> {
        let text = want.target.as_str();
        Ok(match want.access.as_str() {
            "http" => Self::Origin(Access::Http, target::origin(Access::Http, text)?),
            "upgrade" => Self::Origin(Access::Upgrade, target::origin(Access::Upgrade, text)?),
            "connect" => Self::Origin(Access::Connect, target::origin(Access::Connect, text)?),
            "endpoint" => {
                endpoint_name(text).map_err(TargetError::from)?;
                Self::Endpoint(text.to_owned())
            }
            "environment" => Self::Variable(target::variable(text)?),
            "file" => Self::File(target::file(text)?),
            _ => return Err(NotUnderstood::Access),
        })
    }
}
