//! Servers of the test's own, on loopback, that misbehave.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const GIB: usize = 1 << 30;
const STATUS: &str = "HTTP/1.1 200 OK\r\n";

/// What a server does to who asks.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// A body of a byte a second, without end.
    Trickle,
    /// A body of a gigabyte.
    Gigabyte {
        /// Its head says so.
        announced: bool,
    },
    /// A gigabyte of headers.
    Headers,
    /// No answer.
    Silence,
    /// The end of the connection, by force.
    Reset,
    /// The answer is there.
    Redirect(String),
}

/// It runs as long as the test.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
}

/// What it has seen so far.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// In bytes, of one connection.
    most_taken: AtomicUsize,
}

/// One of its connections, until its end.
struct Open(Arc<Seen>);

impl Open {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.connections.fetch_add(1, Ordering::SeqCst);
        let open = seen.open.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_open.fetch_max(open, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    pub(super) async fn new(deed: Deed) -> Result<Self> {
        Self::at("127.0.0.1", deed).await
    }

    /// At any port of this address.
    pub(super) async fn at(ip: &str, deed: Deed) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await?;
        let (address, seen) = (listener.local_addr()?, Arc::<Seen>::default());
        let counted = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (open, deed) = (Open::new(&counted), deed.clone());
                tokio::spawn(async move { misbehave(stream, &deed, &open.0).await });
            }
        });
        Ok(Self { address, seen })
    }

    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that there were.
    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Connections whose other end has not closed them.
    pub(super) fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// The most of them at once.
    pub(super) fn most_open(&self) -> usize {
        self.seen.most_open.load(Ordering::SeqCst)
    }

    /// What the other end took of the longest answer, with what the kernel holds for it, in bytes.
    pub(super) fn most_taken(&self) -> usize {
        self.seen.most_taken.load(Ordering::SeqCst)
    }
}

/// Ends when the other end of the connection has gone, whatever is being sent.
async fn misbehave(mut stream: TcpStream, deed: &Deed, seen: &Seen) -> io::Result<()> {
    let _request = stream.read(&mut [0; 4 << 10]).await?;
    if matches!(deed, Deed::Reset) {
        return stream.set_zero_linger();
    }
    let ((mut from, mut to), mut nothing) = (stream.split(), [0]);
    tokio::select! {
        end = from.read(&mut nothing) => end.map(drop),
        failed = answer(&mut to, deed, seen) => failed,
    }
}

async fn answer(to: &mut (impl AsyncWrite + Unpin), deed: &Deed, seen: &Seen) -> io::Result<()> {
    match deed {
        Deed::Trickle => {
            to.write_all(format!("{STATUS}\r\n").as_bytes()).await?;
            loop {
                to.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Deed::Gigabyte { announced } => {
            let length = if *announced { format!("Content-Length: {GIB}\r\n") } else { String::new() };
            to.write_all(format!("{STATUS}{length}\r\n").as_bytes()).await?;
            pour(to, &[b'x'; 64 << 10], seen).await?;
        }
        Deed::Headers => {
            to.write_all(STATUS.as_bytes()).await?;
            pour(to, "A: b\r\n".repeat(10 << 10).as_bytes(), seen).await?;
        }
        Deed::Redirect(there) => {
            let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {there}\r\n");
            to.write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        }
        Deed::Silence | Deed::Reset => {}
    }
    pending().await
}

/// A gigabyte of it, or what the other end takes.
async fn pour(to: &mut (impl AsyncWrite + Unpin), text: &[u8], seen: &Seen) -> io::Result<()> {
    let mut taken = 0;
    while taken < GIB {
        to.write_all(text).await?;
        taken += text.len();
        seen.most_taken.fetch_max(taken, Ordering::SeqCst);
    }
    Ok(())
}
