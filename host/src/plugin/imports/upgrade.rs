//! `upgrade`: two-way connections under the same policy as `wasi:http`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;

use super::pollable;
use super::wit::types::Error;
use super::wit::upgrade::{Answer, Duplex, Head, Host, HostPending, Refused, Request, Switched};
use crate::plugin::egress::{self, Attempt, Failure, Outcome};
use crate::plugin::state::State;
use crate::provider;

/// A connection in the making.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Pending(Attempt);

impl Host for State {
    fn open(&mut self, request: Request) -> wasmtime::Result<Resource<Pending>> {
        let protocol = request.protocol.clone();
        let attempt = self.egress.open(as_http(request), protocol);
        Ok(self.table.push(Pending(attempt))?)
    }

    fn connect(&mut self, origin: String) -> wasmtime::Result<Resource<Pending>> {
        let attempt = self.egress.connect(origin);
        Ok(self.table.push(Pending(attempt))?)
    }
}

impl HostPending for State {
    fn subscribe(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Resource<DynPollable>> {
        let ended = self.table.get(&pending)?.0.ended();
        pollable(&mut self.table, ended)
    }

    fn take(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Option<Result<Answer, Error>>> {
        let outcome = self.table.get(&pending)?.0.take();
        match outcome {
            None => Ok(None),
            Some(Err(failure)) => Ok(Some(Err(provider::Error::from(failure).into()))),
            Some(Ok(outcome)) => self.answer(outcome).map(|answer| Some(Ok(answer))),
        }
    }

    fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

impl State {
    fn answer(&mut self, outcome: Outcome) -> wasmtime::Result<Answer> {
        Ok(match outcome {
            Outcome::Switched(parts, io) => Answer::Switched(Switched { head: head(parts), io: self.duplex(io)? }),
            Outcome::Refused(parts, body) => {
                Answer::Refused(Refused { head: head(parts), body: self.table.push(body)? })
            }
            Outcome::Connected(io) => Answer::Connected(self.duplex(io)?),
        })
    }

    fn duplex(&mut self, egress::Duplex { input, output }: egress::Duplex) -> wasmtime::Result<Duplex> {
        Ok(Duplex { input: self.table.push(input)?, output: self.table.push(output)? })
    }
}

fn as_http(request: Request) -> Result<http::Request<Bytes>, Failure> {
    let Request { method, url, headers, body, protocol: _ } = request;
    let wrong = |what: &str| Failure::Request(format!("{what} of the request to upgrade is none that HTTP has"));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(&format!("the header {name:?}")))?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(value));
        map.append(&name, value.map_err(|_| wrong(&format!("the value of the header {name}")))?);
    }
    let mut request = http::Request::new(Bytes::from(body));
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| wrong(&format!("the method {method:?}")))?;
    *request.uri_mut() = Uri::try_from(url).map_err(|error| wrong(&format!("the URL ({error})")))?;
    *request.headers_mut() = map;
    Ok(request)
}

fn head(parts: http::response::Parts) -> Head {
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Head { status: parts.status.as_u16(), headers }
}
