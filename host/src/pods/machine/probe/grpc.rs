//! The health service of gRPC (grpc.health.v1.Health/Check), asked without TLS, as the kubelet does.
//!
//! One unary call needs no more of gRPC than five bytes before each message, and of Protocol Buffers one field each way.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Answer, http as plain, tcp};
use crate::defaults::machine::PROBE_OUTPUT;

/// HealthCheckResponse.ServingStatus.SERVING.
const SERVING: u64 = 1;
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// The codes of gRPC that are told apart.
const UNIMPLEMENTED: &str = "12";
const DEADLINE_EXCEEDED: &str = "4";

/// Whether the service says that it serves.
pub(super) async fn probe(host: &str, port: u16, service: &str, limit: Duration) -> Answer {
    let at = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match timeout(limit, check(host, port, &at, service, limit)).await {
        Ok(Ok(SERVING)) => Answer::Success,
        Ok(Ok(status)) => {
            let status = usize::try_from(status).ok().and_then(|status| STATUSES.get(status)).copied();
            Answer::Failure(format!("service unhealthy (responded with {:?})", status.unwrap_or("unknown")))
        }
        Ok(Err(error)) => Answer::Failure(error),
        Err(_) => Answer::Failure(format!("timeout: health rpc did not complete within {limit:?}")),
    }
}

/// Asks; returns the status that the service tells.
async fn check(host: &str, port: u16, at: &str, service: &str, limit: Duration) -> Result<u64, String> {
    let failed = |error: String| format!("error: failed to connect service at {at:?}: {error}");
    let stream = tcp::connect(host, port, limit).await.map_err(failed)?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| failed(plain::innermost(&error)))?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // The request tells what went wrong.
        let _ = connection.await;
    }));
    let request = Request::post(format!("http://{at}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(message(service)))
        .map_err(|error| failed(error.to_string()))?;
    let rpc = |error: String| format!("error: health rpc probe failed: {error}");
    let response = sender.send_request(request).await.map_err(|error| rpc(plain::innermost(&error)))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, PROBE_OUTPUT).collect().await.map_err(|error| rpc(error.to_string()))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let body = body.to_bytes();
    verdict(head.status.as_u16(), &head.headers, &trailers)?;
    status(&body).ok_or_else(|| rpc("the answer is no HealthCheckResponse".into()))
}

/// An error that the server tells: at the end of the answer, or in its head if there is nothing else.
fn verdict(http: u16, head: &HeaderMap, trailers: &HeaderMap) -> Result<(), String> {
    let of = |name: &str| trailers.get(name).or_else(|| head.get(name)).and_then(|value| value.to_str().ok());
    let said = of("grpc-message").unwrap_or_default();
    match of("grpc-status") {
        Some("0") => Ok(()),
        Some(UNIMPLEMENTED) => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {said}"
        )),
        Some(DEADLINE_EXCEEDED) => Err(format!("timeout: health rpc did not complete: {said}")),
        Some(code) => Err(format!("error: health rpc probe failed: code = {code} desc = {said}")),
        None => Err(format!("error: health rpc probe failed: the server speaks no gRPC (HTTP status {http})")),
    }
}

/// HealthCheckRequest { service = 1 }, not compressed.
fn message(service: &str) -> Bytes {
    let mut request = BytesMut::new();
    if !service.is_empty() {
        request.put_u8(1 << 3 | 2);
        put_varint(&mut request, service.len() as u64);
        request.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(request.len()).unwrap_or(u32::MAX));
    framed.put_slice(&request);
    framed.freeze()
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

/// HealthCheckResponse { status = 1 }; a field that is not there is 0. none: it is something else.
fn status(framed: &[u8]) -> Option<u64> {
    let (compressed, rest) = framed.split_first()?;
    let (length, message) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let mut message = message.get(..length).filter(|_| *compressed == 0)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderValue, Response};
    use http_body_util::StreamBody;
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    /// A server whose health service answers with this message and these trailers, and tells the requests that it got.
    async fn server(message: &'static [u8], code: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<Bytes>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, asks) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = service_fn(move |request: Request<Incoming>| {
                let asked = asked.clone();
                async move {
                    asked.send(request.into_body().collect().await.unwrap().to_bytes()).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static(code));
                    let frames: [Result<_, Infallible>; 2] =
                        [Ok(Frame::data(Bytes::from_static(message))), Ok(Frame::trailers(trailers))];
                    Ok::<_, Infallible>(Response::new(StreamBody::new(futures::stream::iter(frames))))
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), serve).await;
        });
        (port, asks)
    }

    async fn ask(message: &'static [u8], code: &'static str, service: &str) -> (Answer, Option<Bytes>) {
        let (port, mut asks) = server(message, code).await;
        let answer = probe("127.0.0.1", port, service, Duration::from_secs(10)).await;
        (answer, asks.try_recv().ok())
    }

    #[tokio::test]
    async fn a_service_serves_or_it_does_not() {
        let (answer, asked) = ask(&[0, 0, 0, 0, 2, 8, 1], "0", "ab").await;
        assert_eq!(answer, Answer::Success);
        assert_eq!(asked.unwrap(), &[0, 0, 0, 0, 4, 10, 2, b'a', b'b'][..]);
        let (answer, asked) = ask(&[0, 0, 0, 0, 2, 8, 2], "0", "").await;
        assert_eq!(answer, Answer::Failure("service unhealthy (responded with \"NOT_SERVING\")".into()));
        assert_eq!(asked.unwrap(), &[0, 0, 0, 0, 0][..]);
    }

    #[tokio::test]
    async fn what_speaks_no_health_protocol_is_told_apart() {
        let (answer, _) = ask(&[], "12", "").await;
        assert!(matches!(&answer, Answer::Failure(said) if said.contains("does not implement")), "{answer:?}");
        let (answer, _) = ask(&[0, 0, 0, 0, 9, 8], "0", "").await;
        assert!(matches!(&answer, Answer::Failure(said) if said.contains("no HealthCheckResponse")), "{answer:?}");
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        assert_eq!(status(&[0, 0, 0, 0, 8, 18, 2, b'x', b'y', 24, 5, 8, 1]), Some(1));
        assert_eq!(status(&[0, 0, 0, 0, 0]), Some(0), "UNKNOWN is not written");
        assert_eq!(status(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
    }
}
