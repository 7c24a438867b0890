//! A bad way to an engine: a proxy on a unix socket that delays and loses what a test tells it to, and counts what the engine made.
//!
//! ```text
//!           ┌ Fault::LoseRequest ✗                    ┌ Fault::LoseAnswer ✗   (the engine has acted)
//! vk-host ──┴──────────────────────── proxy ──────────┴──────────────────── engine
//!                                       └─▶ containers made, by name
//! ```
//!
//! Contract: a request that the engine has got is answered by it, and counted, whether anybody still waits for the answer or not.
//! It works on a thread of its own, so that a test that blocks does not stand in its way.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io, thread};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::Engine;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The engine gets it at once, and the answer takes this long.
    Late(Duration),
    /// The engine never gets it; the connection breaks.
    LoseRequest,
    /// The engine gets it and does what it says; the connection breaks before a word of the answer.
    LoseAnswer,
}

/// A request, as a test decides on it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Counts from 0, over all requests.
    pub number: u64,
    /// HTTP's.
    pub method: Method,
    /// Without the API's version: `/containers/create`.
    pub path: String,
}

impl Asked {
    /// It makes, changes or removes something.
    pub fn acts(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }
}

type Faults = Box<dyn Fn(&Asked) -> Fault + Send + Sync>;
type Body = BoxBody<Bytes, hyper::Error>;

/// A running proxy. It ends when it is dropped.
pub struct Proxy {
    socket: PathBuf,
    way: Arc<Way>,
    _end: oneshot::Sender<Infallible>,
}

/// What all requests share.
struct Way {
    engine: PathBuf,
    faults: Faults,
    seen: Mutex<Seen>,
}

/// What went by.
#[derive(Default)]
struct Seen {
    requests: u64,
    faults: u64,
    created: Vec<String>,
}

impl Proxy {
    /// A proxy before this engine. `faults` is asked once for each request.
    ///
    /// # Errors
    ///
    /// It cannot listen.
    pub fn before(
        engine: &Engine,
        name: &str,
        faults: impl Fn(&Asked) -> Fault + Send + Sync + 'static,
    ) -> Result<Self> {
        let socket = engine.socket().with_file_name(format!("{name}.proxy.sock"));
        let way = Way { engine: engine.socket(), faults: Box::new(faults), seen: Mutex::default() };
        Self::start(socket, Arc::new(way))
    }

    fn start(socket: PathBuf, way: Arc<Way>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let listener = {
            let _within = runtime.enter();
            UnixListener::bind(&socket).with_context(|| format!("listen at {}", socket.display()))?
        };
        let serving = serve(listener, way.clone());
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { socket, way, _end: end })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Names of the containers that the engine has made through it, each as often as it was made.
    pub fn created(&self) -> Vec<String> {
        self.way.seen().created.clone()
    }

    /// How many requests there were, and to how many of them something happened.
    pub fn counts(&self) -> (u64, u64) {
        let seen = self.way.seen();
        (seen.requests, seen.faults)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

impl Way {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, request: &Request<Incoming>) -> Fault {
        let number = {
            let mut seen = self.seen();
            seen.requests += 1;
            seen.requests - 1
        };
        let asked =
            Asked { number, method: request.method().clone(), path: unversioned(request.uri().path()).to_owned() };
        let fault = (self.faults)(&asked);
        self.seen().faults += u64::from(fault != Fault::None);
        fault
    }
}

async fn serve(listener: UnixListener, way: Arc<Way>) {
    while let Ok((stream, _)) = listener.accept().await {
        let way = way.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let way = way.clone();
                // Of its own: a client that leaves does not take back what it has sent.
                let forwarded = tokio::spawn(async move { forward(&way, request).await });
                async move { forwarded.await.map_err(|error| anyhow!(error)).flatten() }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A fault is an error of the service: the connection breaks, as it should.
            let _ = connection.with_upgrades().await;
        });
    }
}

/// Sends a request on and returns the engine's answer; an error breaks the client's connection.
async fn forward(way: &Way, mut request: Request<Incoming>) -> Result<Response<Body>> {
    let fault = way.ask(&request);
    if fault == Fault::LoseRequest {
        return Err(anyhow!("lost the request"));
    }
    let created = created(&request);
    let client = hyper::upgrade::on(&mut request);
    let stream = UnixStream::connect(&way.engine).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let answer = sender.send_request(request).await?;
    if answer.status() == StatusCode::CREATED {
        way.seen().created.extend(created);
    }
    match fault {
        Fault::LoseAnswer => {
            // It acts until it has said all.
            answer.into_body().collect().await?;
            Err(anyhow!("lost the answer"))
        }
        Fault::Late(time) => {
            tokio::time::sleep(time).await;
            Ok(answered(client, answer))
        }
        Fault::None | Fault::LoseRequest => Ok(answered(client, answer)),
    }
}

/// The answer for the client. Where its connection becomes another protocol's, the two are coupled.
fn answered(client: OnUpgrade, mut answer: Response<Incoming>) -> Response<Body> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let engine = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move { couple(client.await?, engine.await?).await });
    }
    answer.map(|body| body.boxed())
}

async fn couple(client: Upgraded, engine: Upgraded) -> Result<()> {
    let (mut client, mut engine) = (TokioIo::new(client), TokioIo::new(engine));
    match tokio::io::copy_bidirectional(&mut client, &mut engine).await {
        Ok(_) => Ok(()),
        // One that goes without a word.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `/v1.41/containers/create` as `/containers/create`.
fn unversioned(path: &str) -> &str {
    let rest = path.strip_prefix("/v1.").and_then(|rest| rest.find('/').and_then(|end| rest.get(end..)));
    rest.unwrap_or(path)
}

/// The name of the container that this request wants to be made.
fn created(request: &Request<Incoming>) -> Option<String> {
    let is_create = request.method() == Method::POST && unversioned(request.uri().path()) == "/containers/create";
    let name = request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("name="));
    name.filter(|_| is_create).map(str::to_owned)
}
