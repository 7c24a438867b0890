//! GET requests of probes and hooks: a connection of their own, no proxy, any certificate, redirects to the same host alone.
//! (kubelet: pkg/probe/http)

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{Answer, tcp, tls};
use crate::defaults::machine::{PROBE_OUTPUT, REDIRECTS};
use crate::pods::machine::spec::HttpGet;

/// Who asks: servers tell probes from people by the beginning of this name, and log them apart.
const PROBE_AGENT: &str = "kube-probe/1.36";
const HOOK_AGENT: &str = "kube-lifecycle/1.36";

/// An answer, with the beginning of its body. The connection ends with it.
pub(in crate::pods::machine) struct Got {
    status: StatusCode,
    body: String,
}

/// Whether the server answers with 200 to 399.
pub(super) async fn probe(host: &str, port: u16, get: &HttpGet, limit: Duration) -> Answer {
    match request(host, port, get, PROBE_AGENT, limit).await {
        Ok(Got { status, .. }) if status.is_success() => Answer::Success,
        Ok(Got { status, body }) if status.is_redirection() => {
            Answer::Warning(format!("Probe terminated redirects, Response body: {body}"))
        }
        // Not with the body: it may hold what events should not.
        Ok(Got { status, .. }) => Answer::Failure(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
        Err(error) => Answer::Failure(error),
    }
}

/// The request of a hook, to which any answer is a good one. A server that speaks no TLS where it should is asked without.
pub(in crate::pods::machine) async fn get(host: &str, port: u16, get: &HttpGet, limit: Duration) -> Result<(), String> {
    match request(host, port, get, HOOK_AGENT, limit).await {
        Err(error) if get.tls && error.contains("tls: ") => {
            let headers = get.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
            let plain = HttpGet { tls: false, headers: headers.cloned().collect(), ..get.clone() };
            request(host, port, &plain, HOOK_AGENT, limit).await.map(drop)
        }
        result => result.map(drop),
    }
}

async fn request(host: &str, port: u16, get: &HttpGet, agent: &str, limit: Duration) -> Result<Got, String> {
    let url = url(host, port, get)?;
    let headers = headers(get, agent)?;
    let shown = url.to_string();
    match timeout(limit, follow(url, headers, limit)).await {
        Ok(result) => result.map_err(|error| format!("Get {shown:?}: {error}")),
        Err(_) => {
            Err(format!("Get {shown:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        }
    }
}

/// The path may have a query; whatever it looks like, it cannot lead to another host.
fn url(host: &str, port: u16, get: &HttpGet) -> Result<Url, String> {
    let scheme = if get.tls { "https" } else { "http" };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let mut url = Url::parse(&format!("{scheme}://{host}:{port}/")).map_err(|error| error.to_string())?;
    let path = get.path.split('#').next().unwrap_or_default();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(path);
    url.set_query(query);
    Ok(url)
}

fn headers(get: &HttpGet, agent: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &get.headers {
        let wrong = |_| format!("invalid header field {name:?}");
        let name: HeaderName = name.parse().map_err(wrong)?;
        headers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
    }
    let text = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
    headers.entry(USER_AGENT).or_insert(text(agent)?);
    if headers.entry(ACCEPT).or_insert(text("*/*")?).is_empty() {
        headers.remove(ACCEPT);
    }
    Ok(headers)
}

/// Asks, and asks again where the same host says so.
async fn follow(mut url: Url, mut headers: HeaderMap, limit: Duration) -> Result<Got, String> {
    for _ in 0..REDIRECTS {
        let response = ask(&url, &headers, limit).await?;
        let status = response.status();
        let moved = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        // One that does not say where to is taken as it is, as Go's client does.
        let location = response.headers().get(LOCATION).filter(|location| moved && !location.is_empty());
        let Some(location) = location else { return Ok(Got { status, body: beginning(response).await }) };
        let location = location.to_str().map_err(|error| error.to_string())?.to_string();
        let next = url.join(&location).map_err(|error| error.to_string())?;
        if next.host() != url.host() || !matches!(next.scheme(), "http" | "https") {
            return Ok(Got { status, body: beginning(response).await });
        }
        if Url::parse(&location).is_ok() {
            headers.remove(HOST);
        }
        url = next;
    }
    Err(format!("stopped after {REDIRECTS} redirects"))
}

/// An answer's head, and the connection that its body comes on.
struct Answered {
    response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

impl std::ops::Deref for Answered {
    type Target = Response<Incoming>;

    fn deref(&self) -> &Response<Incoming> {
        &self.response
    }
}

async fn ask(url: &Url, headers: &HeaderMap, limit: Duration) -> Result<Answered, String> {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    let stream = tcp::connect(host, port, limit).await?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = Request::get(format!("{}{query}", url.path())).body(Empty::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers.clone();
    if !headers.contains_key(HOST) {
        let authority = format!("{}:{port}", url.host_str().unwrap_or_default());
        request.headers_mut().insert(HOST, HeaderValue::from_str(&authority).map_err(|error| error.to_string())?);
    }
    if url.scheme() == "https" {
        send(tls::connect(host, stream).await?, request).await
    } else {
        send(stream, request).await
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answered, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    TokioIo<S>: Read + Write,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| innermost(&error))?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // The request tells what went wrong.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await.map_err(|error| innermost(&error))?;
    Ok(Answered { response, _connection: connection })
}

/// What an error says that only wraps another one.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// As much of the body as is read.
async fn beginning(answered: Answered) -> String {
    let Answered { mut response, _connection } = answered;
    let mut body = Vec::new();
    while body.len() < PROBE_OUTPUT
        && let Some(Ok(frame)) = response.body_mut().frame().await
    {
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(data);
        }
    }
    body.truncate(PROBE_OUTPUT);
    String::from_utf8_lossy(&body).into_owned()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn to(path: &str, headers: &[(&str, &str)]) -> HttpGet {
        let headers = headers.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        HttpGet { tls: false, host: None, port: Ok(0), path: path.into(), headers }
    }

    /// A server that answers each connection with the next of these, and its port; what it was asked comes through the channel.
    async fn server(answers: Vec<String>) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, asks) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.send(String::from_utf8(head).unwrap()).unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (port, asks)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn answers_count_by_their_status() {
        let statuses = ["200 OK", "204 No Content", "304 Not Modified", "404 Not Found", "500 Error"];
        let (port, _asks) = server(statuses.iter().map(|status| answer(status, "", "x")).collect()).await;
        let mut answers = Vec::new();
        for _ in statuses {
            answers.push(probe("127.0.0.1", port, &to("/", &[]), LIMIT).await);
        }
        assert_eq!(answers[..2], [Answer::Success, Answer::Success]);
        assert!(matches!(answers[2], Answer::Warning(_)));
        let failed = |code| Answer::Failure(format!("HTTP probe failed with statuscode: {code}"));
        assert_eq!(answers[3..], [failed(404), failed(500)]);
    }

    #[tokio::test]
    async fn what_is_asked_is_what_the_kubelet_asks() {
        let (port, mut asks) = server(vec![answer("200 OK", "", ""), answer("200 OK", "", "")]).await;
        probe("127.0.0.1", port, &to("/a/b?c=1", &[("X-A", "1"), ("X-A", "2"), ("Accept", "")]), LIMIT).await;
        let asked = asks.recv().await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /a/b?c=1 http/1.1\r\n"), "{asked}");
        for header in ["x-a: 1\r\n", "x-a: 2\r\n", "user-agent: kube-probe/", &format!("host: 127.0.0.1:{port}\r\n")] {
            assert!(asked.contains(header), "{header} in {asked}");
        }
        assert!(!asked.contains("accept:"), "{asked}");
        probe("127.0.0.1", port, &to("//elsewhere.example/x", &[("Host", "a.example")]), LIMIT).await;
        let asked = asks.recv().await.unwrap().to_lowercase();
        assert!(
            asked.starts_with("get //elsewhere.example/x http/1.1\r\n") && asked.contains("host: a.example\r\n"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_redirect_is_followed_to_the_same_host_alone() {
        let (port, mut asks) =
            server(vec![answer("302 Found", "location: /next\r\n", ""), answer("200 OK", "", "")]).await;
        assert_eq!(probe("127.0.0.1", port, &to("/", &[]), LIMIT).await, Answer::Success);
        asks.recv().await.unwrap();
        assert!(asks.recv().await.unwrap().starts_with("GET /next "));
        let (port, _asks) = server(vec![answer("302 Found", "location: http://169.254.169.254/x\r\n", "gone")]).await;
        let answer = probe("127.0.0.1", port, &to("/", &[]), LIMIT).await;
        assert_eq!(answer, Answer::Warning("Probe terminated redirects, Response body: gone".into()));
    }

    #[tokio::test]
    async fn a_redirect_that_does_not_say_where_to_is_taken_as_it_is() {
        let statuses = ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"];
        let (port, _asks) = server(statuses.iter().map(|status| answer(status, "", "here")).collect()).await;
        for status in statuses {
            let answer = probe("127.0.0.1", port, &to("/", &[]), LIMIT).await;
            let told = Answer::Warning("Probe terminated redirects, Response body: here".into());
            assert_eq!(answer, told, "{status}");
        }
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_a_failure_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = probe("127.0.0.1", port, &to("/", &[]), Duration::from_millis(50)).await;
        assert!(matches!(&answer, Answer::Failure(said) if said.contains("deadline exceeded")), "{answer:?}");
    }
}
