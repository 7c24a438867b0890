//! What stands in annotations, and in the configuration where it says the same for all pods.

use std::str::FromStr;

use data_encoding::BASE64;
use vk_aci::group::{Priority, Sku, Tags};

use crate::names;
use crate::resource::Identity;

/// What an identity of the group's own is called.
const SYSTEM: &str = "SystemAssigned";

/// What a group's containers may sign in as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identities {
    /// As something that is made with the group and ends with it.
    pub(crate) system: bool,
    /// As these.
    pub(crate) given: Vec<Identity>,
}

impl FromStr for Identities {
    type Err = String;

    /// Paths, or the word for the group's own, with semicolons between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut identities = Self::default();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            if part.eq_ignore_ascii_case(SYSTEM) {
                identities.system = true;
            } else {
                let identity = part.parse().map_err(|why| format!("{why}, or {SYSTEM}"))?;
                if !identities.given.contains(&identity) {
                    identities.given.push(identity);
                }
            }
        }
        Ok(identities)
    }
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(format!("{text:?} is neither \"true\" nor \"false\"")),
    }
}

pub(super) fn label(text: &str) -> Result<String, String> {
    let why = || format!("{text:?} is no label: 5 to 63 letters, digits and hyphens, no hyphen at an end");
    names::is_label(text).then(|| text.to_owned()).ok_or_else(why)
}

pub(crate) fn sku(text: &str) -> Result<Sku, String> {
    match Sku::from(text) {
        Sku::NotSpecified | Sku::Other(_) => {
            Err(format!("{text:?} is no sku; known are Standard, Dedicated and Confidential"))
        }
        sku => Ok(sku),
    }
}

pub(crate) fn priority(text: &str) -> Result<Priority, String> {
    match Priority::from(text) {
        Priority::Other(_) => Err(format!("{text:?} is no priority; known are Regular and Spot")),
        priority => Ok(priority),
    }
}

pub(super) fn base64(text: &str) -> Result<String, String> {
    let why = |error| format!("it is no base64 ({error}): `az confcom acipolicygen` makes the policy");
    BASE64.decode(text.as_bytes()).map(|_| text.to_owned()).map_err(why)
}

/// One zone; Microsoft's own list has semicolons.
pub(crate) fn zone(text: &str) -> Result<String, String> {
    let zones: Vec<&str> = text.split(';').map(str::trim).filter(|zone| !zone.is_empty()).collect();
    match zones.as_slice() {
        [zone] if zone.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Ok((*zone).to_owned()),
        [_] => Err(format!("{text:?} is no zone; write it like \"1\"")),
        _ => Err(format!("{text:?} are {} zones, and a group is in one", zones.len())),
    }
}

/// `NAME=VALUE;…`
pub(super) fn tags(text: &str) -> Result<Tags, String> {
    let mut tags = Tags::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("{part:?} is no tag; write it like env=dev;team=web"))?;
        let (name, value) = (name.trim(), value.trim());
        names::check_tag(name, value)?;
        tags.insert(name.to_owned(), value.to_owned());
    }
    Ok(tags)
}

pub(crate) fn https(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    let why = || format!("{text:?} is no vault's URL; write it like https://NAME.vault.azure.net");
    host.filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@']))
        .map(|_| text.to_owned())
        .ok_or_else(why)
}
