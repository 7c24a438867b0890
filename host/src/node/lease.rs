//! The node's lease: the heartbeat (KEP-589), and the proof that one host alone has this node's name (R24).
//!
//! It runs apart from everything else, on connections of its own: no provider call and no burst of pods delays it (R30, R36).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::apiserver::timed;
use crate::defaults::node::{LEASE_DURATION, LEASE_RENEWAL, REQUEST_TIMEOUT};

/// Where node leases live.
const NAMESPACE: &str = "kube-node-lease";
/// Pause after a failed renewal; several fit into the lease's life.
const RETRY: Duration = Duration::from_secs(2);

/// Why the lease is not ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A live host has it.
    #[error(
        "node {node} is served by {holder}, whose lease runs until {until}; stop it, give another --nodename, or wait for the end of its lease with --take-over"
    )]
    Held {
        /// The node.
        node: String,
        /// Who has it.
        holder: String,
        /// Until when, if it is not renewed.
        until: Timestamp,
    },
    /// Another host took it while this one ran.
    #[error("node {node} was taken over by {holder}; this host stops")]
    Lost {
        /// The node.
        node: String,
        /// Who has it now.
        holder: String,
    },
    /// The API server does not allow it.
    #[error(
        "cannot {verb} lease {NAMESPACE}/{node}: {message}; the identity of the kubeconfig needs get, create and update of leases there"
    )]
    Request {
        /// What was asked for: `get`, `create` or `update`.
        verb: &'static str,
        /// The node.
        node: String,
        /// What it said.
        message: String,
    },
}

/// Keeps one node's lease.
pub struct Keeper {
    api: Api<Lease>,
    node: String,
    holder: String,
    lease: Option<Lease>,
    renewed: watch::Sender<Option<Instant>>,
}

/// When a lease was last renewed, for whoever watches over the host.
#[derive(Clone, Debug)]
pub struct Heartbeat(watch::Receiver<Option<Instant>>);

impl Heartbeat {
    /// Time since the last renewal; none: there was none yet.
    pub fn age(&self) -> Option<Duration> {
        self.0.borrow().map(|renewed| renewed.elapsed())
    }
}

impl Keeper {
    /// A keeper for this node and holder, on connections of its own.
    pub fn new(client: Client, node: &str, holder: String) -> Self {
        Self {
            api: Api::namespaced(client, NAMESPACE),
            node: node.to_string(),
            holder,
            lease: None,
            renewed: watch::Sender::new(None),
        }
    }

    /// Tells how old the last renewal is, for as long as anybody asks.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat(self.renewed.subscribe())
    }

    /// Makes sure that no other host is alive under this node's name; with `take_over`, waits until it is not.
    pub async fn claim(&mut self, take_over: bool) -> Result<(), Error> {
        loop {
            self.lease = self.read().await?;
            let Some((holder, until)) = self.lease.as_ref().and_then(|lease| self.foreign(lease)) else {
                return Ok(());
            };
            if !take_over {
                return Err(Error::Held { node: self.node.clone(), holder, until });
            }
            tracing::info!(%holder, %until, "waiting for the other host's lease to end");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Who else holds a lease that has not ended, and until when.
    fn foreign(&self, lease: &Lease) -> Option<(String, Timestamp)> {
        let spec = lease.spec.as_ref()?;
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty() && *holder != self.holder)?;
        let duration = SignedDuration::from_secs(spec.lease_duration_seconds?.into());
        // Whatever somebody wrote there; a time that no clock shows is none.
        let until = spec.renew_time.as_ref()?.0.checked_add(duration).ok()?;
        (until > Timestamp::now()).then(|| (holder.to_string(), until))
    }

    /// Writes the lease for the first time: of two hosts that start together only one succeeds. Tries again for as long as
    /// the API server is out of reach; that it refuses the write is an error.
    pub async fn acquire(&mut self, owner: Option<&str>) -> Result<(), Error> {
        loop {
            match self.renew(owner).await {
                Ok(()) => return Ok(()),
                Err(Failure::Lost(error) | Failure::Refused(error)) => return Err(error),
                Err(Failure::Again(message)) => {
                    tracing::warn!(%message, "lease not acquired");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Renews for ever; returns only if another host took over. The owner is the Node's UID, once it is known.
    pub async fn run(mut self, owner: watch::Receiver<Option<String>>) -> Result<(), Error> {
        loop {
            let uid = owner.borrow().clone();
            let pause = match self.renew(uid.as_deref()).await {
                Ok(()) => LEASE_RENEWAL,
                Err(Failure::Lost(error)) => return Err(error),
                // Roles may be given back before the lease ends.
                Err(Failure::Refused(error)) => {
                    tracing::warn!(%error, "lease not renewed");
                    RETRY
                }
                Err(Failure::Again(message)) => {
                    tracing::warn!(%message, "lease not renewed");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn renew(&mut self, owner: Option<&str>) -> Result<(), Failure> {
        let wanted = self.wanted(owner);
        match self.write(&wanted).await {
            Ok(lease) => {
                self.hold(lease);
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                // Deleted, or written by someone else: look who.
                self.lease = self.read().await.map_err(|error| Failure::Again(error.to_string()))?;
                if let Some((holder, _)) = self.lease.as_ref().and_then(|lease| self.foreign(lease)) {
                    return Err(Failure::Lost(Error::Lost { node: self.node.clone(), holder }));
                }
                let wanted = self.wanted(owner);
                let lease = self.write(&wanted).await.map_err(|error| self.failure(error))?;
                self.hold(lease);
                Ok(())
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// What a failed write means.
    fn failure(&self, error: kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403 | 422) => Failure::Refused(Error::Request {
                verb: if self.lease.is_some() { "update" } else { "create" },
                node: self.node.clone(),
                message: status.message,
            }),
            other => Failure::Again(other.to_string()),
        }
    }

    fn hold(&mut self, lease: Lease) {
        self.lease = Some(lease);
        self.renewed.send_replace(Some(Instant::now()));
    }

    async fn write(&self, wanted: &Lease) -> kube::Result<Lease> {
        let params = PostParams::default();
        match &self.lease {
            Some(_) => timed(REQUEST_TIMEOUT, self.api.replace(&self.node, &params, wanted)).await,
            None => timed(REQUEST_TIMEOUT, self.api.create(&params, wanted)).await,
        }
    }

    fn wanted(&self, owner: Option<&str>) -> Lease {
        let before = self.lease.as_ref();
        let owner = owner.map(|uid| OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: self.node.clone(),
            uid: uid.into(),
            ..OwnerReference::default()
        });
        let spec = before.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        Lease {
            metadata: ObjectMeta {
                name: Some(self.node.clone()),
                namespace: Some(NAMESPACE.into()),
                // A new Node has a new UID (R33): the old owner would have the lease collected.
                owner_references: owner
                    .map(|owner| vec![owner])
                    .or_else(|| before.and_then(|l| l.metadata.owner_references.clone())),
                ..before.map(|lease| lease.metadata.clone()).unwrap_or_default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.holder.clone()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..spec
            }),
        }
    }

    async fn read(&self) -> Result<Option<Lease>, Error> {
        let failed = |message: String| Error::Request { verb: "get", node: self.node.clone(), message };
        timed(REQUEST_TIMEOUT, self.api.get_opt(&self.node)).await.map_err(|error| failed(error.to_string()))
    }
}

enum Failure {
    Lost(Error),
    /// The API server does not allow it.
    Refused(Error),
    Again(String),
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use serde_json::{Value, json};

    use super::*;

    /// An API server that has this lease, or none, and lets nobody write.
    fn read_only(lease: Option<Value>) -> Client {
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let refusal = |code: u16, reason: &str, message: &str| {
                (
                    code,
                    json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}),
                )
            };
            let (code, body) = match (request.method(), &lease) {
                (&Method::GET, Some(lease)) => (200, lease.clone()),
                (&Method::GET, None) => refusal(404, "NotFound", "not found"),
                _ => refusal(403, "Forbidden", "leases is forbidden"),
            };
            let mut response = Response::new(axum::body::Body::from(body.to_string()));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
            std::future::ready(Ok::<_, kube::Error>(response))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn an_identity_that_may_only_read_leases_is_told_so_at_once() {
        let lease = json!({"metadata": {"name": "n"}, "spec": {"holderIdentity": "me"}});
        for (lease, verb) in [(None, "create"), (Some(lease), "update")] {
            let mut keeper = Keeper::new(read_only(lease), "n", "me".into());
            keeper.claim(false).await.unwrap();
            let refused = tokio::time::timeout(Duration::from_secs(5), keeper.acquire(None)).await;
            let error = refused.expect("it tries for ever").unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot {verb} lease kube-node-lease/n: leases is forbidden")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_lease_that_runs_until_no_clock_can_show_is_nobody_s() {
        let lease = json!({"metadata": {"name": "n"}, "spec": {
            "holderIdentity": "other", "renewTime": "9999-12-30T21:59:59.000000Z", "leaseDurationSeconds": i32::MAX,
        }});
        Keeper::new(read_only(Some(lease)), "n", "me".into()).claim(false).await.unwrap();
    }
}
