//! Where a group is reached, and what it reaches.

use serde::{Deserialize, Serialize};

use super::or_default;
use super::words::words;

/// Where a group is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IpAddress {
    /// At most five.
    #[serde(deserialize_with = "or_default")]
    pub ports: Vec<Port>,
    /// Who reaches it.
    pub r#type: IpAddressType,
    /// The address itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// 5 to 63 of `a-z`, `0-9` and `-`: the first label of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_name_label: Option<String>,
    /// Who may take the same label; none: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_generated_domain_name_label_scope: Option<LabelScope>,
    /// Its whole name. Answers only.
    #[serde(skip_serializing)]
    pub fqdn: Option<String>,
}

/// A port of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// From 1.
    pub port: u16,
    /// none: TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

words! {
    /// Who reaches a group.
    IpAddressType {
        /// The internet.
        Public => "Public",
        /// Its virtual network.
        Private => "Private",
    }
}

words! {
    /// What is spoken on a port.
    Protocol {
        /// TCP.
        Tcp => "TCP",
        /// UDP.
        Udp => "UDP",
    }
}

words! {
    /// Whose groups may have the same label.
    LabelScope {
        /// Everybody's.
        Unsecure => "Unsecure",
        /// The tenant's.
        TenantReuse => "TenantReuse",
        /// The subscription's.
        SubscriptionReuse => "SubscriptionReuse",
        /// The resource group's.
        ResourceGroupReuse => "ResourceGroupReuse",
        /// Nobody's.
        Noreuse => "Noreuse",
    }
}

/// A subnet that is delegated to Container Instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubnetId {
    /// Its path in Azure.
    pub id: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who resolves names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DnsConfig {
    /// Addresses.
    #[serde(deserialize_with = "or_default")]
    pub name_servers: Vec<String>,
    /// With blanks between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_domains: Option<String>,
    /// With blanks between them, as in resolv.conf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}
