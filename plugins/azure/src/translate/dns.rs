//! Who resolves names, which Azure lets a group choose in a subnet alone. The host has worked the policy out.

use vk_aci::group::DnsConfig;
use vk_provider::{Result, pod};

use super::{Notice, Scene};
use crate::annotations::DNS;
use crate::limits::{NAMESERVERS, SEARCH_LINE, SEARCHES};
use crate::refusals::{annotation, refuse, refuse_annotation};

/// The kubelet's reason.
const REASON: &str = "DNSConfigForming";

/// # Errors
/// The pod's own settings cannot be served, or it wants the cluster's name servers where it cannot have them.
pub(super) fn of(scene: Scene<'_>, notices: &mut Vec<Notice>) -> Result<Option<DnsConfig>> {
    let own = &scene.spec.dns_config;
    if scene.wishes.dns == Some(false) {
        let contradicts = !own.says_nothing();
        let why = "spec.dnsConfig says whom to ask, and this says that Azure's own name servers are asked";
        return if contradicts { Err(annotation(DNS, why)) } else { Ok(None) };
    }
    let none = |why: &str| match scene.wishes.dns {
        Some(true) => Err(refuse_annotation(DNS, why)),
        _ => Ok(None),
    };
    if scene.subnet().is_none() {
        let why = "Azure lets a group in a subnet alone choose its name servers";
        return if own.says_nothing() { none(why) } else { Err(refuse("spec.dnsConfig", why)) };
    }
    // Refusals have seen to it that Windows has no settings of its own; what the cluster would give it is left out.
    if !scene.is_linux() {
        return none("Azure has no DNS settings for Windows");
    }
    let pod::Network { nameservers, searches, options, .. } = &scene.pod.network;
    if nameservers.is_empty() {
        let why = "Azure takes search domains and options only beside name servers: add some, with dnsPolicy None";
        let unknown = "the node knows no name server of the cluster: the host's --cluster-dns says it";
        return if own.says_nothing() { none(unknown) } else { Err(refuse("spec.dnsConfig.nameservers", why)) };
    }
    let name_servers: Vec<String> = nameservers.iter().take(NAMESERVERS).cloned().collect();
    if name_servers.len() < nameservers.len() {
        let kept = name_servers.join(" ");
        notices.push(Notice::new(REASON, format!("Azure takes {NAMESERVERS} name servers; these are: {kept}")));
    }
    let search_domains = fitting(searches);
    if search_domains.split_whitespace().count() < searches.len() {
        let message = format!("not all search domains can be used; those that are: {search_domains}");
        notices.push(Notice::new(REASON, message));
    }
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Some(DnsConfig { name_servers, search_domains: some(search_domains), options: some(options.join(" ")) }))
}

/// As many search domains as there is room for.
fn fitting(searches: &[String]) -> String {
    let mut line = String::new();
    for search in searches.iter().take(SEARCHES) {
        let longer = if line.is_empty() { search.clone() } else { format!("{line} {search}") };
        if longer.len() > SEARCH_LINE {
            break;
        }
        line = longer;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_search_domains_as_there_is_room_for() {
        let list = |count: usize, width: usize| -> Vec<String> {
            (0..count).map(|number| format!("{number:0width$}")).collect()
        };
        for (searches, kept) in
            [(list(0, 1), 0), (list(6, 1), 6), (list(7, 1), 6), (list(5, 50), 5), (list(6, 50), 5), (list(1, 257), 0)]
        {
            assert_eq!(fitting(&searches).split_whitespace().count(), kept, "{searches:?}");
        }
        assert_eq!(fitting(&["a.b".to_owned(), "c".to_owned()]), "a.b c");
    }
}
