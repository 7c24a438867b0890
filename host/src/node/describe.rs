//! What the provider says that the node is. Asked apart from the node's own loop, so that a provider that hangs delays neither
//! heartbeat nor shutdown (R30).

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::object;
use super::reach::Reach;
use crate::defaults::node::{PING_PERIOD, STATUS_REPORT};
use crate::pods::Backoff;
use crate::pods::resolve::quantity::Quantity;
use crate::provider::{Address, Amount, Condition, Error, NodeDetails, Provider};

/// What a provider has said so far. What it does not answer stays as it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// What else the Node object says.
    pub details: NodeDetails,
    /// What the node offers; empty: not known yet.
    pub capacity: Vec<Amount>,
    /// Conditions beside the host's.
    pub conditions: Vec<Condition>,
    /// none: the host's own.
    pub addresses: Option<Vec<Address>>,
    /// none: the host's own.
    pub port: Option<u16>,
}

/// Asks once; every question that is not answered leaves its part as it is.
pub async fn ask(provider: &dyn Provider, operating_system: &str, known: &mut Description) {
    let (details, capacity, conditions, addresses, port, system) = tokio::join!(
        provider.node_details(),
        provider.capacity(),
        provider.node_conditions(),
        provider.node_addresses(),
        provider.node_daemon_endpoints(),
        provider.operating_system(),
    );
    keep("details", details, |details| known.details = fit_details(details));
    keep("capacity", capacity, |capacity| known.capacity = fit_capacity(capacity));
    keep("conditions", conditions, |conditions| known.conditions = conditions);
    keep("addresses", addresses, |addresses| known.addresses = addresses.filter(|list| !list.is_empty()));
    keep("daemon endpoints", port, |port| known.port = port);
    keep("operating system", system, |system| {
        if system != operating_system {
            tracing::warn!(provider = %system, flag = %operating_system, "the provider's operating system is not that of --os; --os stands");
        }
    });
}

/// Asks again whenever there is a reason to, until shutdown: the provider says that the node changed, its backend answers
/// again, the capacity is still missing, or it is time for a report, since not every provider tells changes.
pub async fn watch(
    provider: Arc<dyn Provider>,
    operating_system: String,
    changed: Arc<Notify>,
    mut reach: watch::Receiver<Reach>,
    to: watch::Sender<Description>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(PING_PERIOD, PING_PERIOD * 6);
    loop {
        let missing = to.borrow().capacity.is_empty();
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed.notified() => {}
            Ok(()) = reach.changed() => if !reach.borrow_and_update().reachable { continue },
            () = tokio::time::sleep(if missing { backoff.pause() } else { STATUS_REPORT }) => {}
        }
        let mut known = to.borrow().clone();
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = ask(&*provider, &operating_system, &mut known) => {}
        }
        to.send_if_modified(|before| {
            let changed = *before != known;
            *before = known;
            changed
        });
    }
}

fn keep<T>(what: &str, answer: Result<T, Error>, take: impl FnOnce(T)) {
    match answer {
        Ok(value) => take(value),
        Err(error) => tracing::warn!(%error, "the provider does not tell the node's {what}"),
    }
}

/// One label or annotation that the API server refuses would refuse the whole node, so it is left out.
fn fit_details(mut details: NodeDetails) -> NodeDetails {
    details.labels.retain(|(key, value)| {
        let fits = object::may_label(key, value);
        if !fits {
            tracing::warn!(%key, %value, "the API server would refuse this label of the provider; it is left out");
        }
        fits
    });
    details.annotations.retain(|(key, _)| {
        let fits = object::may_annotate(key);
        if !fits {
            tracing::warn!(%key, "the API server would refuse this annotation of the provider; it is left out");
        }
        fits
    });
    details
}

/// The same of quantities.
fn fit_capacity(mut capacity: Vec<Amount>) -> Vec<Amount> {
    capacity.retain(|amount| {
        let texts = std::iter::once(&amount.capacity).chain(&amount.allocatable);
        let wrong =
            texts.map(|text| Quantity::parse(text).map_err(|e| e.to_string())).find_map(|parsed| match parsed {
                Ok(amount) if amount.is_negative() => Some("it is negative".to_string()),
                Ok(_) => None,
                Err(error) => Some(error),
            });
        let wrong =
            wrong.or_else(|| (!object::may_annotate(&amount.resource)).then(|| "that is no name of a resource".into()));
        if let Some(error) = &wrong {
            tracing::warn!(resource = %amount.resource, %error, "this amount of the provider is left out");
        }
        wrong.is_none()
    });
    capacity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_would_refuse_is_left_out() {
        let label = |key: &str, value: &str| (key.to_string(), value.to_string());
        let labels = vec![label("zone", "a"), label("zone2", "not a value!"), label("kubernetes.io/role", "agent")];
        let details = fit_details(NodeDetails { labels, ..NodeDetails::default() });
        assert_eq!(details.labels, [label("zone", "a")]);
        let amount = |resource: &str, capacity: &str| Amount {
            resource: resource.into(),
            capacity: capacity.into(),
            allocatable: None,
        };
        let capacity =
            fit_capacity(vec![amount("cpu", "2"), amount("memory", "lots"), amount("pods", "-1"), amount("a b", "1")]);
        assert_eq!(capacity, [amount("cpu", "2")]);
    }
}
