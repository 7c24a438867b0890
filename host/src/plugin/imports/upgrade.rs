//! `upgrade`: two-way connections under the same policy as `wasi:http`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;

use super::pollable;
use super::wit::types::Error;
use super::wit::upgrade::{Answer, Duplex, Head, Host, HostPending, Refused, Request, Switched};
use crate::defaults::egress::HEAD;
use crate::plugin::egress::{self, Attempt, Failure, Outcome};
use crate::plugin::state::State;
use crate::provider;

/// Body of a request that asks for an upgrade, in bytes: what is to be run, and not what that is to read.
const BODY: usize = 1 << 20;

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
    fits(&request)?;
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

/// Before anything is made of it: the host keeps it until the attempt ends.
fn fits(request: &Request) -> Result<(), Failure> {
    let Request { method, url, headers, body, protocol } = request;
    let headers = headers.iter().map(|(name, value)| name.len() + value.len());
    let head = method.len() + url.len() + protocol.len() + headers.sum::<usize>();
    for (part, bytes, limit) in [("head", head, HEAD), ("body", body.len(), BODY)] {
        if bytes > limit {
            return Err(Failure::Request(format!("the {part} of the request to upgrade has more than {limit} bytes")));
        }
    }
    Ok(())
}

fn head(parts: http::response::Parts) -> Head {
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Head { status: parts.status.as_u16(), headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_the_host_would_have_to_keep_is_no_larger_than_one_to_upgrade_is() {
        let request = || Request {
            method: "POST".into(),
            url: "https://a.example/exec".into(),
            headers: vec![],
            body: vec![0; BODY],
            protocol: "tcp".into(),
        };
        assert!(as_http(request()).is_ok());
        let long = "x".repeat(HEAD);
        let many = vec![("a".to_owned(), vec![b'b'; 15]); HEAD / 16];
        for (large, part) in [
            (Request { body: vec![0; BODY + 1], ..request() }, "body"),
            (Request { url: long.clone(), ..request() }, "head"),
            (Request { method: long.clone(), ..request() }, "head"),
            (Request { protocol: long.clone(), ..request() }, "head"),
            (Request { headers: vec![(long, vec![])], ..request() }, "head"),
            (Request { headers: many, ..request() }, "head"),
        ] {
            let text = as_http(large).unwrap_err().to_string();
            assert!(text.contains(&format!("the {part} of the request")) && text.len() < 200, "{text}");
        }
    }
}
