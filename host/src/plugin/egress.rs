//! Which requests of a plugin leave the host: in this version none. The policy's only place.
//!
//! `wasi:http` is linked all the same, because nearly every component imports it; a request is answered with
//! `HTTP-request-denied`, as it will be for a host that was not granted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::services::Services;

/// Targets that are remembered; a plugin that makes up names must not fill the memory.
const REMEMBERED: usize = 256;

type Exchange = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Exchange), Error>> + Send>;

/// Targets that were denied, so that each is logged once.
#[derive(Debug, Default)]
pub(super) struct Denied(Mutex<HashSet<String>>);

impl Denied {
    fn first(&self, target: &str) -> bool {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        targets.len() < REMEMBERED && targets.insert(target.to_owned())
    }
}

/// The hooks of one call.
pub(super) struct Egress(Arc<Services>);

impl Egress {
    pub(super) fn new(services: Arc<Services>) -> Self {
        Self(services)
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Exchange,
    ) -> Sent {
        let uri = request.uri();
        let target = format!("{}://{}", uri.scheme_str().unwrap_or("?"), uri.authority().map_or("?", |a| a.as_str()));
        if self.0.denied.first(&target) {
            tracing::debug!(plugin = %self.0.name(), target = %target, "request denied: egress is not served by this version yet");
        }
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
