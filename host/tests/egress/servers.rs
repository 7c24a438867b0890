//! Servers of the tests' own, on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A web server that counts its connections.
pub(crate) struct Web {
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
}

impl Web {
    pub(crate) async fn new() -> Self {
        Self::at("127.0.0.1:0").await
    }

    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let (port, connections) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&connections);
        let counting = listener.tap_io(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
        tokio::spawn(async move { axum::serve(counting, app()).await });
        Self { port, connections }
    }

    /// One that is granted, and one at the same port of another address, which is not.
    pub(crate) async fn beside_a_forbidden_one() -> (Self, Self) {
        loop {
            let granted = Self::new().await;
            let other = ("127.0.0.2", granted.port);
            // Somebody else may have the port there.
            if TcpListener::bind(other).await.is_ok() {
                let forbidden = Self::at(&format!("{}:{}", other.0, other.1)).await;
                return (granted, forbidden);
            }
        }
    }

    /// So far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn app() -> Router {
    Router::new()
        .route("/", get(async || "hello").post(async |body: String| format!("{} bytes", body.len())))
        // A host's name as the guest wrote it.
        .route("/host", get(async |headers: HeaderMap| headers["host"].to_str().unwrap().to_owned()))
        .route("/close", get(async || ([("connection", "close")], "bye")))
        .route("/busy", get(async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")], "busy")))
        .route("/redirect", get(async || Redirect::temporary("http://169.254.169.254/latest/meta-data/")))
}

/// A part of what a server says.
#[derive(Clone, Copy)]
pub(crate) enum Say {
    This(&'static str),
    /// So often.
    Again(&'static str, usize),
    /// For ever, with so many milliseconds between.
    Slowly(&'static str, u64),
    /// Nothing more, and the connection stays.
    Silence,
}

/// A server that says this to everybody who asks anything, over a connection of its own. Returns its origin, and the number of those who
/// asked.
pub(crate) async fn says(script: &'static [Say]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let _some = stream.read(&mut [0; 4 << 10]).await?;
                counted.fetch_add(1, Ordering::SeqCst);
                speak(stream, script).await
            });
        }
    });
    (origin, asked)
}

async fn speak(mut to: TcpStream, script: &[Say]) -> std::io::Result<()> {
    for part in script {
        match part {
            Say::This(text) => to.write_all(text.as_bytes()).await?,
            Say::Again(text, times) => {
                for _ in 0..*times {
                    to.write_all(text.as_bytes()).await?;
                }
            }
            Say::Slowly(text, pause) => loop {
                to.write_all(text.as_bytes()).await?;
                tokio::time::sleep(Duration::from_millis(*pause)).await;
            },
            Say::Silence => std::future::pending().await,
        }
    }
    Ok(())
}

/// Upgrades whoever asks, or takes bytes as they are, and answers a `ping` with a `pong`.
pub(crate) async fn pong(stream: impl AsyncRead + AsyncWrite + Unpin, upgrades: bool) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while upgrades && line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    if upgrades {
        stream.write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").await?;
    }
    line.clear();
    stream.read_line(&mut line).await?;
    let answer = if line == "ping\n" { "pong\n" } else { "what?\n" };
    stream.write_all(answer.as_bytes()).await
}
