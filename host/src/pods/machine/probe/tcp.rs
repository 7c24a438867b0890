//! A probe that is content with a connection.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Answer;

/// Connects, and closes at once.
pub(super) async fn probe(host: &str, port: u16, limit: Duration) -> Answer {
    match connect(host, port, limit).await {
        Ok(_) => Answer::Success,
        Err(error) => Answer::Failure(error),
    }
}

/// A connection, or why there is none, as Go's dialer says it.
pub(super) async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let at = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match timeout(limit, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {at}: {}", in_go(&error))),
        Err(_) => Err(format!("dial tcp {at}: i/o timeout")),
    }
}

/// An error of connect(2): `connect: connection refused`.
fn in_go(error: &io::Error) -> String {
    let said = error.to_string();
    said.split_once(" (os error").map_or(said.clone(), |(what, _)| format!("connect: {}", what.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_port_that_listens_is_a_success_and_one_that_does_not_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(probe("127.0.0.1", port, LIMIT).await, Answer::Success);
        drop(listener);
        let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(probe("127.0.0.1", port, LIMIT).await, Answer::Failure(refused));
    }
}
