//! What one call stands on: configuration, node, and Azure.

use vk_aci::{Account, Client};
use vk_provider::config::{self, NodeInfo};
use vk_provider::{Error, Result};

use crate::config::{Config, Reading};
use crate::in_cloud;
use crate::place::Place;

/// What one call stands on.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) node: NodeInfo,
    pub(crate) client: Client,
}

impl Context {
    /// # Errors
    /// Credentials or configuration are missing, or have a mistake: the files changed after `configure`. Or they name another
    /// place than that of the pods which are known.
    pub(crate) fn reach() -> Result<Self> {
        let account = Account::read().map_err(first)?;
        let reading = Reading::of(Some(&account));
        let account = in_cloud(account, reading.cloud.clone());
        let config = reading.into_config()?;
        let (subscription, resource_group) = (account.subscription.clone(), config.resource_group.clone());
        Place { subscription, resource_group }.keep().map_err(Error::effect_none)?;
        let client = Client::new(account, config.resource_group.clone(), config.version, config.user_agent.clone());
        Ok(Self { config, node: config::node(), client })
    }
}

fn first(mistakes: Vec<Error>) -> Error {
    let none = || Error::internal("NoMistake", "a list of mistakes was empty");
    mistakes.into_iter().next().unwrap_or_else(none)
}
