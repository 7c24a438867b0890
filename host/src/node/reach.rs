//! Whether the backend answers, told to whoever asks. Never in the way of the heartbeat (R31).

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::defaults::node::PING_PERIOD;
use crate::pods::events::Events;
use crate::provider::Provider;

/// What the last ping said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The backend answered.
    pub reachable: bool,
    /// Why not; empty while it does.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// Since when it is as it is.
    pub since: Instant,
}

impl Reach {
    /// Before the first ping: taken for good, so that a healthy node does not start with a wrong condition.
    pub fn assumed() -> Self {
        Self { reachable: true, reason: String::new(), message: String::new(), since: Instant::now() }
    }
}

/// Pings until shutdown. A hanging ping counts as unreachable after one period.
pub async fn watch(provider: Arc<dyn Provider>, events: Events, to: watch::Sender<Reach>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(PING_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let answer = tokio::select! {
            answer = tokio::time::timeout(PING_PERIOD, provider.ping()) => answer,
            () = shutdown.cancelled() => return,
        };
        let reachable = matches!(answer, Ok(Ok(())));
        let (reason, message) = match answer {
            Ok(Ok(())) => (String::new(), String::new()),
            Ok(Err(error)) => (error.reason.to_string(), error.message),
            Err(_) => ("PingTimeout".into(), format!("the provider did not answer a ping within {PING_PERIOD:?}")),
        };
        let changed = to.send_if_modified(|reach| {
            let changed = reach.reachable != reachable || reach.reason != reason;
            if reach.reachable != reachable {
                reach.since = Instant::now();
            }
            if changed {
                (reach.reachable, reach.reason, reach.message) = (reachable, reason.clone(), message.clone());
            }
            changed
        });
        match (changed, reachable) {
            (true, true) => {
                tracing::info!("the provider's backend answers again");
                events.node("ProviderReachable", "The provider's backend answers again");
            }
            (true, false) => {
                tracing::warn!(%reason, %message, "the provider's backend does not answer");
                events.node_warning("ProviderUnreachable", format!("{reason}: {message}; new pods wait"));
            }
            _ => {}
        }
    }
}
