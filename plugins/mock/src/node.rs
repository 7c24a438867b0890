//! The node that the mock makes up.

use vk_provider::node::{Amount, Details};
use vk_provider::{Node, Result};

use crate::config::{self, Config};
use crate::{Mock, VERSION, fault};

impl Node for Mock {
    fn node_details() -> Result<Details> {
        Ok(Details {
            provider_id: Config::now()?.provider_id,
            runtime_version: Some(format!("mock://{VERSION}")),
            ..Details::default()
        })
    }

    fn capacity() -> Result<Vec<Amount>> {
        let Config { cpu, memory, pods, others, .. } = Config::now()?;
        let fixed = [("cpu".to_owned(), cpu), ("memory".to_owned(), memory), ("pods".to_owned(), pods)];
        Ok(fixed.into_iter().chain(others).map(|(resource, amount)| Amount::new(resource, amount.0)).collect())
    }

    fn ping() -> Result<()> {
        fault::play(config::faults()?.ping)
    }
}
