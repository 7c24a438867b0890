//! What the host writes of a pod: its status and its end, nothing else (R14).

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Resource as _};
use serde::Deserialize;
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

    /// Patches the status; returns the new resource version.
    pub async fn patch_status(&self, id: &PodRef, patch: &Value) -> Result<Option<String>, Error> {
        let request = kube::core::Request::new(Pod::url_path(&(), Some(&id.namespace))).patch_subresource(
            "status",
            &id.name,
            &PatchParams::default(),
            &Patch::Strategic(patch),
        );
        self.write(request).await
    }

    /// Deletes the pod at once, if it still has this UID. [`Error::Absent`] is no proof that it has gone: for a node's identity
    /// the API server looks into a cache first (NodeRestriction), which lags behind when it has just started.
    pub async fn delete(&self, id: &PodRef) -> Result<(), Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(id.uid.clone()), ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        let request = kube::core::Request::new(Pod::url_path(&(), Some(&id.namespace))).delete(&id.name, &params);
        self.write(request).await.map(drop)
    }

    /// Sends a write. Only metadata comes back, and only the version of it is read: the host knows what it wrote.
    async fn write(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Option<String>, Error> {
        let mut request = request.map_err(|error| Error::Transient(error.to_string()))?;
        let accept = http::HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        request.headers_mut().insert(http::header::ACCEPT, accept);
        let written: Written = written(self.client.request(request)).await?;
        Ok(written.metadata.resource_version)
    }
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    metadata: Version,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    resource_version: Option<String>,
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
