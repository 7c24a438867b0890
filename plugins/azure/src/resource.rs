//! Paths of resources in Azure: `/subscriptions/S/resourceGroups/G/providers/NAMESPACE/TYPE/NAME/…`. Their case does not matter to
//! Azure, so it does not matter here.

use std::fmt;
use std::str::FromStr;

/// Of a subnet of a virtual network.
pub(crate) type Subnet = Path<Subnets>;
/// Of a user-assigned managed identity.
pub(crate) type Identity = Path<Identities>;

/// What a path leads to.
pub(crate) trait Kind {
    /// The namespace of its types.
    const PROVIDER: &'static str;
    /// Its types, from the outside to the inside.
    const TYPES: &'static [&'static str];
}

/// Subnets.
#[derive(Debug)]
pub(crate) enum Subnets {}

impl Kind for Subnets {
    const PROVIDER: &'static str = "Microsoft.Network";
    const TYPES: &'static [&'static str] = &["virtualNetworks", "subnets"];
}

/// Managed identities.
#[derive(Debug)]
pub(crate) enum Identities {}

impl Kind for Identities {
    const PROVIDER: &'static str = "Microsoft.ManagedIdentity";
    const TYPES: &'static [&'static str] = &["userAssignedIdentities"];
}

/// The path of a resource of one kind, as it was written.
pub(crate) struct Path<K>(String, std::marker::PhantomData<K>);

impl<K: Kind> Path<K> {
    /// Of these names, one for each type.
    pub(crate) fn of(subscription: &str, resource_group: &str, names: &[&str]) -> Self {
        let inside: String = K::TYPES.iter().zip(names).map(|(kind, name)| format!("/{kind}/{name}")).collect();
        let path =
            format!("/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{}{inside}", K::PROVIDER);
        Self(path, std::marker::PhantomData)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// How it is to be written.
    pub(crate) fn shape() -> String {
        let names: Vec<String> = K::TYPES.iter().map(|_| "NAME".to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Self::of("SUBSCRIPTION", "GROUP", &names).0
    }
}

impl<K: Kind> FromStr for Path<K> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fixed = ["", "subscriptions", "*", "resourceGroups", "*", "providers", K::PROVIDER];
        let shape = fixed.into_iter().chain(K::TYPES.iter().flat_map(|kind| [*kind, "*"]));
        let fits = |part: &str, wanted: &str| match wanted {
            "*" => is_name(part),
            _ => part.eq_ignore_ascii_case(wanted),
        };
        let mut parts = text.split('/');
        let all = shape.into_iter().all(|wanted| parts.next().is_some_and(|part| fits(part, wanted)));
        if all && parts.next().is_none() {
            return Ok(Self(text.to_owned(), std::marker::PhantomData));
        }
        Err(format!("{text:?} is not the path of such a resource; write it like {}", Self::shape()))
    }
}

/// What stands between slashes, and needs no escape in a URL.
pub(crate) fn is_name(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte);
    (1..=90).contains(&text.len()) && !text.ends_with('.') && text.bytes().all(letters)
}

impl<K> Clone for Path<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), std::marker::PhantomData)
    }
}

impl<K> PartialEq for Path<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl<K> Eq for Path<K> {}

impl<K> fmt::Debug for Path<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBNET: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n";

    #[test]
    fn a_path_leads_to_one_kind() {
        assert_eq!(SUBNET.parse::<Subnet>().unwrap(), Subnet::of("s", "g", &["v", "n"]));
        assert_eq!(SUBNET.to_uppercase().parse::<Subnet>().unwrap(), Subnet::of("s", "g", &["v", "n"]));
        let identity =
            "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me";
        assert_eq!(identity.parse::<Identity>().unwrap().as_str(), identity, "as it was written");
        for wrong in [
            identity,
            "",
            "n",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v",
            "/subscriptions//resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n/",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/a b",
        ] {
            let why = wrong.parse::<Subnet>().unwrap_err();
            assert!(why.ends_with("/providers/Microsoft.Network/virtualNetworks/NAME/subnets/NAME"), "{why}");
        }
    }
}
