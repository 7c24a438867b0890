//! `wasi:http`.

use super::{Input, Output, Pollable};
use crate::bindings::imports::wasi::http::types::{
    Fields, FutureIncomingResponse, HeaderError, IncomingResponse, Method, OutgoingRequest, RequestOptions, Scheme,
};
use crate::bindings::imports::wasi::http::{outgoing_handler, types};
use crate::http::{ErrorCode, Limits, Outgoing, Unsent};
use crate::time::nanos;

pub(crate) type Exchange = FutureIncomingResponse;
pub(crate) type OutgoingBody = types::OutgoingBody;

/// An answer whose head has come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Input,
}

/// Sends a request's head. Its body, if it has one, is what is written into the output, up to [`http_finish`].
pub(crate) fn http_send(outgoing: &Outgoing<'_>) -> Result<(Exchange, Option<(Output, OutgoingBody)>), Unsent> {
    let request = OutgoingRequest::new(fields(outgoing.headers)?);
    let (url, no) = (outgoing.url, Unsent::Code);
    let scheme = if url.scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_method(&method(outgoing.method)).map_err(|()| no(ErrorCode::HttpRequestMethodInvalid))?;
    request.set_scheme(Some(&scheme)).map_err(|()| no(ErrorCode::HttpRequestUriInvalid))?;
    request.set_authority(Some(&url.authority)).map_err(|()| no(ErrorCode::HttpRequestUriInvalid))?;
    request.set_path_with_query(Some(&url.path)).map_err(|()| no(ErrorCode::HttpRequestUriInvalid))?;
    let body = if outgoing.has_body { Some(body(&request)?) } else { None };
    let exchange = outgoing_handler::handle(request, options(outgoing.limits)).map_err(no)?;
    Ok((exchange, body))
}

/// The body is whole. Its output is gone by now.
pub(crate) fn http_finish(body: OutgoingBody) -> Result<(), ErrorCode> {
    OutgoingBody::finish(body, None)
}

pub(crate) fn http_subscribe(exchange: &Exchange) -> Pollable {
    exchange.subscribe()
}

/// The answer, once; none: not yet.
pub(crate) fn http_take(exchange: &Exchange) -> Option<Result<Answer, ErrorCode>> {
    let outcome = exchange.get()?.map_err(|()| mistaken("the answer was taken before")).flatten();
    Some(outcome.and_then(|response| answer(&response)))
}

fn answer(response: &IncomingResponse) -> Result<Answer, ErrorCode> {
    let headers = response.headers().entries();
    let body = response.consume().map_err(|()| mistaken("the answer has no body"))?;
    let stream = body.stream().map_err(|()| mistaken("the body was taken before"))?;
    Ok(Answer { status: response.status(), headers, body: Input::of_body(stream, body) })
}

fn mistaken(why: &str) -> ErrorCode {
    ErrorCode::InternalError(Some(why.to_owned()))
}

/// One by one, so that it can be said which one is wrong.
fn fields(headers: &[(String, Vec<u8>)]) -> Result<Fields, Unsent> {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value).map_err(|error| {
            Unsent::Invalid(match error {
                HeaderError::Forbidden => format!("the header {name:?} is the host's own"),
                HeaderError::InvalidSyntax | HeaderError::Immutable => format!("the header {name:?} cannot be written"),
            })
        })?;
    }
    Ok(fields)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

fn body(request: &OutgoingRequest) -> Result<(Output, OutgoingBody), Unsent> {
    // Refused for a `Content-Length` that is no number.
    let body = request.body().map_err(|()| Unsent::Invalid("its content-length is no number".to_owned()))?;
    let output = body.write().map_err(|()| Unsent::Code(mistaken("the body was taken before")))?;
    Ok((output, body))
}

/// A limit that the host does not know is left to its own.
fn options(limits: Limits) -> Option<RequestOptions> {
    if limits == Limits::default() {
        return None;
    }
    let options = RequestOptions::new();
    let _ = options.set_connect_timeout(limits.connect.map(nanos));
    let _ = options.set_first_byte_timeout(limits.answer.map(nanos));
    let _ = options.set_between_bytes_timeout(limits.bytes.map(nanos));
    Some(options)
}
