//! What the host writes of a pod: its status and its end, nothing else (R14).

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use serde_json::Value;

use crate::apiserver::{innermost, timed};
use crate::provider::PodRef;

/// One write; longer than an API server under load takes, shorter than a person's patience.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);

/// How a write ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Absent, or a namesake with another UID: the watch will say which.
    #[error("the API server has no such pod: {0}")]
    Absent(String),
    /// The API server will never take it (422).
    #[error("the API server refuses it: {0}")]
    Invalid(String),
    /// It may work later.
    #[error("{0}")]
    Transient(String),
}

/// Writes pods.
#[derive(Clone)]
pub struct PodWriter {
    client: Client,
}

impl PodWriter {
    /// A writer on connections of its own.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Patches the status; returns the new resource version. Only metadata comes back: the host knows what it wrote.
    pub async fn patch_status(&self, id: &PodRef, patch: &Value) -> Result<Option<String>, Error> {
        let path = format!("/api/v1/namespaces/{}/pods", id.namespace);
        let request = kube::core::Request::new(path)
            .patch_subresource("status", &id.name, &PatchParams::default(), &Patch::Strategic(patch))
            .map_err(|error| Error::Transient(error.to_string()))?;
        let (mut parts, body) = request.into_parts();
        let accept = http::HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        parts.headers.insert(http::header::ACCEPT, accept);
        let request = http::Request::from_parts(parts, body);
        let written: PartialObjectMeta<Pod> = written(self.client.request(request)).await?;
        Ok(written.metadata.resource_version)
    }

    /// Deletes the pod at once, if it still has this UID. Absent is success.
    pub async fn delete(&self, id: &PodRef) -> Result<(), Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(id.uid.clone()), ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(self.client.clone(), &id.namespace);
        match written(api.delete(&id.name, &params)).await {
            Ok(_) | Err(Error::Absent(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What a failed write means.
async fn written<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match timed(WRITE_TIMEOUT, request).await {
        Ok(value) => Ok(value),
        Err(kube::Error::Api(status)) => Err(match status.code {
            404 => Error::Absent(status.message),
            // 409 is a UID that does not match, or a collision of writers that the API server gave up on.
            409 if status.message.contains("UID") => Error::Absent(status.message),
            400 | 422 => Error::Invalid(status.message),
            _ => Error::Transient(status.message),
        }),
        Err(error) => Err(Error::Transient(innermost(&error))),
    }
}
