//! Two listeners: TLS, for the authority and the resource manager; and plain HTTP, for the metadata service and the fake's own control.
//!
//! ```text
//! request ─▶ schema ─▶ fault? ─▶ handler ─▶ record ─▶ answer (whole, broken or lost)
//! ```
//!
//! Contract: what a handler does is done whether the client waits for the answer or not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::fault::{How, Plan};
use crate::world::{World, lock};
use crate::{arm, control, entra, metadata, record};

type Body = UnsyncBoxBody<Bytes, anyhow::Error>;

/// The longest body of a request: the resource manager takes no more.
const MOST: usize = 4 << 20;
/// Long enough for a client to have read what was written before a connection breaks.
const BREAK: Duration = Duration::from_millis(20);

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Tls,
    Plain,
}

/// Serves TLS for ever.
pub(crate) async fn tls(listener: TcpListener, acceptor: TlsAcceptor, world: Arc<World>) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, world) = (acceptor.clone(), world.clone());
        tokio::spawn(async move {
            // Who does not trust the authority goes.
            if let Ok(stream) = acceptor.accept(stream).await {
                connection(stream, world, Door::Tls).await;
            }
        });
    }
}

/// Serves plain HTTP for ever.
pub(crate) async fn plain(listener: TcpListener, world: Arc<World>) -> Infallible {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, world.clone(), Door::Plain));
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, world: Arc<World>, door: Door) {
    let broken = CancellationToken::new();
    let breaks = broken.clone();
    let service = service_fn(move |request| {
        let handled = tokio::spawn(serve(world.clone(), door, request, breaks.clone()));
        async move { handled.await.map_err(|error| anyhow!(error)).flatten() }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    // A fault is an error of the service: the exchange breaks, as it should.
    tokio::select! {
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = broken.cancelled() => {}
    }
}

async fn serve(
    world: Arc<World>,
    door: Door,
    request: Request<Incoming>,
    connection: CancellationToken,
) -> Result<Response<Body>> {
    let (asked, query) = read(door, request).await?;
    if door == Door::Plain && asked.path.first().is_some_and(|first| first == "fake") {
        return response(control::answer(&world, &asked));
    }
    let at = world.started.elapsed();
    // Before anything else, so that nothing that is sent escapes.
    let content = if door == Door::Tls { arm::checked(&world, &asked) } else { Ok(Value::Null) };
    // Whoever sees that the fault is taken may release it at once.
    let mut release = world.releases.subscribe();
    let fault = lock(&world.faults).take(asked.method.as_str(), &asked.whole_path());
    let plan = fault.as_ref().and_then(How::plan).unwrap_or_default();
    let asked = Asked { content, plan, ..asked };
    let answer = match &fault {
        Some(How::Hang | How::LoseRequest) => None,
        Some(How::Refuse { status, code, message, retry_after }) => {
            let refusal = refusal(door, &asked, *status, code, message);
            Some(match retry_after {
                Some(seconds) => refusal.header("retry-after", seconds.to_string()),
                None => refusal,
            })
        }
        Some(How::Delay(millis)) => {
            tokio::time::sleep(Duration::from_millis(*millis)).await;
            Some(handle(&world, door, &asked).await)
        }
        Some(How::Hold) => {
            release.changed().await?;
            Some(handle(&world, door, &asked).await)
        }
        _ => Some(handle(&world, door, &asked).await),
    };
    note(&world, &asked, query, at, answer.as_ref(), fault.as_ref());
    match (fault, answer) {
        (Some(How::Hang | How::HoldAnswer), _) => std::future::pending().await,
        (Some(How::BreakConnection), _) => {
            connection.cancel();
            Err(anyhow!("broke the connection"))
        }
        (Some(How::LoseAnswer), _) => Err(anyhow!("lost the answer")),
        (Some(How::BreakBody), Some(answer)) => broken(answer),
        (Some(How::Malformed), Some(answer)) => malformed(answer),
        (_, Some(answer)) => response(answer),
        (_, None) => Err(anyhow!("lost the request")),
    }
}

async fn read(door: Door, request: Request<Incoming>) -> Result<(Asked, String)> {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).map(str::to_owned);
    let host = host.or_else(|| parts.uri.authority().map(ToString::to_string)).unwrap_or_default();
    let scheme = if door == Door::Tls { "https" } else { "http" };
    let segments = parts.uri.path().split('/').filter(|segment| !segment.is_empty());
    let path = segments.map(decoded).collect();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let body = whole(body).await?;
    let asked = Asked {
        method: parts.method,
        path,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers,
        is_too_long: body.is_none(),
        body: body.unwrap_or_default(),
        content: Ok(Value::Null),
        base: format!("{scheme}://{host}"),
        plan: Plan::default(),
    };
    Ok((asked, query))
}

/// A body; none: it is too long. Then too it is read to its end: who still writes does not read the answer.
async fn whole(body: Incoming) -> Result<Option<Bytes>> {
    let (mut body, mut kept, mut length) = (body, BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= MOST {
            kept.extend_from_slice(&data);
        }
    }
    Ok((length <= MOST).then(|| kept.freeze()))
}

/// A segment of a path, in which `+` is itself.
fn decoded(segment: &str) -> String {
    let form = segment.replace('+', "%2B");
    url::form_urlencoded::parse(form.replace(['&', '='], "").as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

async fn handle(world: &Arc<World>, door: Door, asked: &Asked) -> Answer {
    if asked.is_too_long {
        let message = "The request content size exceeds the maximum size of 4 MB.";
        return refusal(door, asked, 413, "RequestContentTooLarge", message);
    }
    let lower = asked.lower();
    let path: Vec<&str> = lower.iter().map(String::as_str).collect();
    match (door, asked.method.as_str(), path.as_slice()) {
        (Door::Plain, "GET", ["metadata", "identity", "oauth2", "token"]) => {
            metadata::token(world, asked).unwrap_or_else(|refused| refused)
        }
        (Door::Plain, ..) => Answer::empty(404),
        (Door::Tls, "GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => entra::metadata(asked, tenant),
        (Door::Tls, "GET", [_, "discovery", "v2.0", "keys"]) => Answer::json(200, serde_json::json!({"keys": []})),
        (Door::Tls, "POST", [tenant, "oauth2", "v2.0", "token"]) => {
            entra::token(world, asked, tenant).unwrap_or_else(|refused| refused)
        }
        (Door::Tls, ..) => arm::answer(world, asked).await,
    }
}

/// A refusal on demand, in the words of whoever is asked.
fn refusal(door: Door, asked: &Asked, status: u16, code: &str, message: &str) -> Answer {
    let signs_in = asked.path.last().is_some_and(|last| last.eq_ignore_ascii_case("token"));
    if door == Door::Plain || signs_in {
        entra::said(status, code, message)
    } else {
        Answer::refusal(status, code, message)
    }
}

fn note(world: &World, asked: &Asked, query: String, at: Duration, answer: Option<&Answer>, fault: Option<&How>) {
    let is_lost = matches!(fault, Some(How::LoseAnswer | How::BreakConnection | How::HoldAnswer));
    let answer = answer.filter(|_| !is_lost);
    let body = answer.and_then(|answer| answer.body.as_ref());
    let code = body.and_then(|body| body.pointer("/error/code").or_else(|| body.get("error"))?.as_str());
    let request = record::Request {
        at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        method: asked.method.to_string(),
        path: asked.whole_path(),
        query,
        status: answer.map_or(0, |answer| answer.status),
        code: code.unwrap_or_default().to_owned(),
        user_agent: asked.header("user-agent").unwrap_or_default().to_owned(),
    };
    lock(&world.record).requests.push(request);
}

fn response(answer: Answer) -> Result<Response<Body>> {
    let text = answer.body.as_ref().map(ToString::to_string).unwrap_or_default();
    built(&answer, Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}

fn built(answer: &Answer, body: Body) -> Result<Response<Body>> {
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status)?);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    if answer.body.is_some() {
        response = response.header("content-type", "application/json; charset=utf-8");
    }
    Ok(response.body(body)?)
}

/// Half of the body, and then the connection breaks.
fn broken(answer: Answer) -> Result<Response<Body>> {
    let text = answer.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let half = Bytes::copy_from_slice(text.as_bytes().get(..text.len() / 2).unwrap_or_default());
    let parts = stream::unfold(Some(half), |state| async move {
        match state {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                tokio::time::sleep(BREAK).await;
                Some((Err(anyhow!("broke off")), None))
            }
        }
    });
    built(&answer, StreamBody::new(parts).boxed_unsync())
}

/// A body of the right length that is no JSON.
fn malformed(answer: Answer) -> Result<Response<Body>> {
    let text = answer.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let text = text.replace([':', '"'], "<");
    built(&answer, Full::new(text.into()).map_err(|never| match never {}).boxed_unsync())
}
