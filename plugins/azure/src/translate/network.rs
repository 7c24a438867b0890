//! Where a group is reached, and what it reaches.

use vk_aci::group::{DnsConfig, IpAddress, IpAddressType, SubnetId};
use vk_provider::Result;

use super::placement::Placement;
use super::ports::{self, Open};
use super::{Notice, Scene, dns};
use crate::annotations::{DNS_LABEL, PUBLIC_IP};
use crate::limits;
use crate::refusals::{refuse_annotation, too_much};

/// Where a group is.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) ip: Option<IpAddress>,
    pub(super) subnet: Option<SubnetId>,
    pub(super) dns: Option<DnsConfig>,
}

/// # Errors
/// Ports or names that cannot be served.
pub(super) fn of(scene: Scene<'_>, placement: &Placement, notices: &mut Vec<Notice>) -> Result<Network> {
    let open = ports::of_group(scene.spec)?;
    let subnet = scene.subnet().map(|path| SubnetId { id: path.as_str().to_owned(), name: None });
    let ip = address(scene, placement, &open)?;
    Ok(Network { ip, subnet, dns: dns::of(scene, notices)? })
}

/// A public address, wherever a port is declared outside of a subnet: so azure-aci has it, unless the operator or the
/// pod does not want it. In a subnet Azure gives an address by itself, with all ports open to the network.
fn address(scene: Scene<'_>, placement: &Placement, open: &[Open]) -> Result<Option<IpAddress>> {
    let Scene { wishes, config, .. } = scene;
    let wanted = wishes.public_ip.unwrap_or(config.network.public_ip);
    let cannot = if scene.subnet().is_some() {
        Some("a group in a subnet has no public address")
    } else if open.is_empty() {
        Some("no container has a port")
    } else {
        None
    };
    if let Some(why) = cannot.filter(|_| wishes.public_ip == Some(true)) {
        return Err(refuse_annotation(PUBLIC_IP, why));
    }
    if cannot.is_some() || !wanted || placement.is_spot() {
        let why = cannot.unwrap_or("the pod gets no public address");
        return if wishes.dns_label.is_some() { Err(refuse_annotation(DNS_LABEL, why)) } else { Ok(None) };
    }
    if let Some(sixth) = open.get(limits::PORTS) {
        let why = format!(
            "a public address has at most {} ports: declare those that are to be reached, or {PUBLIC_IP}: \"false\"",
            limits::PORTS
        );
        return Err(too_much(sixth.field.clone(), why));
    }
    Ok(Some(IpAddress {
        ports: open.iter().map(|open| open.port.clone()).collect(),
        r#type: IpAddressType::Public,
        dns_name_label: wishes.dns_label.clone(),
        ..IpAddress::default()
    }))
}
