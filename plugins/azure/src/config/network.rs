//! The subnet that groups are in, found by its name.

use vk_aci::Account;

use super::Reading;
use super::merge::Said;
use super::values::{Cidr, Name, SubnetRef};
use crate::resource::Subnet;

/// What variables and the file say of it, in this order.
pub(super) struct Parts {
    pub(super) subnet: (Option<SubnetRef>, Option<SubnetRef>),
    pub(super) cidr: (Option<Cidr>, Option<Cidr>),
    pub(super) vnet: (Option<Name>, Option<Name>),
    pub(super) resource_group: (Option<Name>, Option<Name>),
    pub(super) subscription: (Option<Name>, Option<Name>),
}

impl Parts {
    /// Whether there is to be one, found or not.
    pub(super) const fn is_wanted(&self) -> bool {
        self.subnet.0.is_some() || self.subnet.1.is_some()
    }

    /// Its path; none: there is to be none, or it cannot be told as yet.
    pub(super) fn subnet(self, account: Option<&Account>, own: Option<&str>, reading: &mut Reading) -> Option<Subnet> {
        let names = ("ACI_SUBNET_NAME", "SubnetName");
        let subnet = Said { names, variable: self.subnet.0, account: None, file: self.subnet.1 }.counts(reading);
        ranges(self.cidr, subnet.is_some(), reading);
        let said = |names, (variable, file): (Option<Name>, Option<Name>), account: Option<&String>| {
            let plain = |name: Option<Name>| name.map(|Name(name)| name);
            Said { names, variable: plain(variable), account: account.cloned(), file: plain(file) }
        };
        let vnet = account.and_then(|account| account.vnet.as_ref());
        let group = vnet.and_then(|vnet| vnet.resource_group.as_ref());
        let network = [
            said(("ACI_VNET_NAME", "vnet"), self.vnet, vnet.map(|vnet| &vnet.name)),
            said(("ACI_VNET_RESOURCE_GROUP", "vnet-resource-group"), self.resource_group, group),
            said(("ACI_VNET_SUBSCRIPTION_ID", "vnet-subscription"), self.subscription, None),
        ];
        let (whole, why) = match subnet {
            Some(SubnetRef::Name(name)) => return named(&name, network, account, own, reading),
            Some(SubnetRef::Path(path)) => (Some(path), "the subnet's whole path says it"),
            None => (None, "it is of a subnet, and SubnetName is missing"),
        };
        network.into_iter().for_each(|said| said.idle(why, reading));
        whole
    }
}

/// By its name in a network, which is said by its own name, resource group and subscription.
fn named(
    name: &str,
    network: [Said<String>; 3],
    account: Option<&Account>,
    own: Option<&str>,
    reading: &mut Reading,
) -> Option<Subnet> {
    let [vnet, group, subscription] = network.map(|said| said.counts(reading));
    let Some(vnet) = vnet else {
        let why = format!(
            "it is missing: in which virtual network is the subnet {name}? Write vnet = \"NAME\", set and grant \
             ACI_VNET_NAME, or give the subnet's whole path"
        );
        reading.miss("vnet", why);
        return None;
    };
    let subscription = subscription.or_else(|| account.map(|account| account.subscription.clone()))?;
    Some(Subnet::of(&subscription, group.as_deref().or(own)?, &[&vnet, name]))
}

/// Ranges by variable and file, of which nothing is made.
fn ranges((variable, file): (Option<Cidr>, Option<Cidr>), has_subnet: bool, reading: &mut Reading) {
    for (who, range) in [("ACI_SUBNET_CIDR", variable), ("SubnetCIDR", file)] {
        match range {
            None => {}
            Some(Cidr(range)) if has_subnet => reading.told.push(format!(
                "{who} {range} does not count: the subnet must be there, and is neither made nor changed \
                 (az network vnet subnet create --delegations Microsoft.ContainerInstance/containerGroups)"
            )),
            // Whoever writes a range means pods to be in it, and without a subnet they are on the internet. A variable
            // may say it yet.
            Some(_) => reading.miss(
                who,
                "it is the range of a subnet, and SubnetName is missing; write it like SubnetName = \"aci\", or set and \
                 grant ACI_SUBNET_NAME",
            ),
        }
    }
}
