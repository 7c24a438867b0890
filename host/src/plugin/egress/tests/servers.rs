//! Servers on loopback: one that answers as it should, and one that says whatever it is told to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What it was asked: version, path and headers.
type Asked = Arc<Mutex<Vec<(Version, String, HeaderMap)>>>;

/// More than fits on the way to somebody who does not read, in bytes.
pub(super) const LARGE: usize = 16 << 20;

/// Answers `hello`, at length, or with a redirect to a cloud's metadata.
pub(super) struct Server {
    pub(super) port: u16,
    pub(super) asked: Asked,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    pub(super) async fn new() -> Self {
        Self::at("127.0.0.1:0", None).await
    }

    pub(super) async fn with_tls(tls: TlsAcceptor) -> Self {
        Self::at("127.0.0.1:0", Some(tls)).await
    }

    pub(super) async fn at(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, connections) = (Asked::default(), Arc::<Mutex<usize>>::default());
        let server = Self { port, asked: asked.clone(), connections: connections.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *connections.lock().unwrap() += 1;
                tokio::spawn(accepted(stream, tls.clone(), asked.clone()));
            }
        });
        server
    }

    /// So far.
    pub(super) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn accepted(stream: TcpStream, tls: Option<TlsAcceptor>, asked: Asked) {
    match tls {
        None => serve(stream, asked).await,
        // A client that does not like the server, or that the server does not like, goes.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve(stream, asked).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, asked: Asked) {
    let service = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(request, &asked))));
    // An error is the client's to see.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: Request<Incoming>, asked: &Asked) -> Response<Full<Bytes>> {
    let (head, _) = request.into_parts();
    let mut answer = Response::new(Full::new(Bytes::from_static(b"hello")));
    if head.uri.path() == "/redirect" {
        *answer.status_mut() = StatusCode::FOUND;
        answer.headers_mut().insert(LOCATION, HeaderValue::from_static("http://169.254.169.254/latest/meta-data/"));
    }
    if head.uri.path() == "/large" {
        *answer.body_mut() = Full::new(vec![0; LARGE].into());
    }
    asked.lock().unwrap().push((head.version, head.uri.to_string(), head.headers));
    answer
}

/// A part of what is said.
#[derive(Clone, Copy)]
pub(super) enum Say {
    This(&'static str),
    /// So often.
    Again(&'static str, usize),
    /// Nothing more, and the connection stays.
    Silence,
}

/// A server that hears one read's worth of a request and says this, to everybody. Returns its origin.
pub(super) async fn says(script: &'static [Say]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(speak(stream, script));
        }
    });
    origin
}

async fn speak(mut stream: TcpStream, script: &'static [Say]) -> std::io::Result<()> {
    let _some = stream.read(&mut [0; 1 << 10]).await?;
    for part in script {
        match part {
            Say::This(text) => stream.write_all(text.as_bytes()).await?,
            Say::Again(text, times) => {
                for _ in 0..*times {
                    stream.write_all(text.as_bytes()).await?;
                }
            }
            Say::Silence => std::future::pending().await,
        }
    }
    Ok(())
}
