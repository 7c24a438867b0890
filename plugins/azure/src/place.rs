//! Where groups are: a resource group of a subscription. It is kept while pods are known, as the configuration may come to name
//! another: none of the groups would be found there, all pods would be taken for lost, and the groups would run on.

use serde::{Deserialize, Serialize};
use vk_provider::store::{self, Expect};
use vk_provider::{Error, Result};

use crate::ledger;

const KEY: &str = "place";

/// A resource group of a subscription. Later versions must understand it: add fields, keep these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
}

impl Place {
    /// Makes sure that the groups of all pods that are known are here, and keeps that they are.
    ///
    /// # Errors
    /// They are elsewhere, or the store does not answer.
    pub(crate) fn keep(&self) -> Result<()> {
        match store::get::<Self>(KEY)?.map(|there| there.value) {
            Some(there) if there.is(self) => Ok(()),
            Some(there) if !ledger::is_empty()? => {
                let Self { subscription, resource_group } = there;
                let message = format!(
                    "the pods of this node are in the resource group {resource_group} of the subscription {subscription}, \
                     and credentials and configuration name {} of {}: let them name the first again, at least until those \
                     pods are deleted",
                    self.resource_group, self.subscription
                );
                Err(Error::failed_precondition("PodsAreElsewhere", message))
            }
            _ => {
                store::put(KEY, self, Expect::Anything, None)?;
                Ok(())
            }
        }
    }

    /// Azure tells neither apart by case.
    fn is(&self, other: &Self) -> bool {
        self.subscription.eq_ignore_ascii_case(&other.subscription)
            && self.resource_group.eq_ignore_ascii_case(&other.resource_group)
    }
}
