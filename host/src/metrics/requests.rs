//! Requests to the API server, counted by a layer around every client: status writes, deletes, events and the lease are among
//! them, told apart by resource and subresource.

use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::Registrar;

/// Upper ends in seconds, client-go's own.
const BUCKETS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// A label and its value.
type Label = (&'static str, String);

/// All requests of all clients.
#[derive(Clone, Debug)]
pub struct Requests {
    ended: Family<[Label; 4], Counter>,
    durations: Family<[Label; 2], Histogram>,
}

impl Default for Requests {
    fn default() -> Self {
        Self { ended: Family::default(), durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)) }
    }
}

impl Requests {
    /// Shows them.
    pub fn register(&self, registrar: &mut Registrar) {
        registrar.register(
            "rest_client_requests",
            "Requests to the API server by method, resource, subresource and status code; <error>: there was no answer",
            self.ended.clone(),
        );
        registrar.register(
            "rest_client_request_duration_seconds",
            "Time to the head of the API server's answer",
            self.durations.clone(),
        );
    }
}

/// One request that runs. Dropped before its end, it is counted as one without an answer.
struct Running {
    requests: Requests,
    method: Method,
    target: Target,
    began: Instant,
    answer: Option<StatusCode>,
}

impl Running {
    /// Ends with this answer, if there was one.
    fn end(mut self, answer: Option<StatusCode>) {
        self.answer = answer;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let method = self.method.as_str().to_string();
        let code = self.answer.map_or_else(|| "<error>".to_string(), |status| status.as_str().to_string());
        let Target { resource, subresource } = std::mem::take(&mut self.target);
        self.requests
            .durations
            .get_or_create(&[("verb", method.clone()), ("resource", resource.clone())])
            .observe(self.began.elapsed().as_secs_f64());
        self.requests
            .ended
            .get_or_create(&[("method", method), ("resource", resource), ("subresource", subresource), ("code", code)])
            .inc();
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Target {
    resource: String,
    subresource: String,
}

impl Target {
    /// Out of the path: `/api/v1[/namespaces/NAMESPACE]/RESOURCE[/NAME[/SUBRESOURCE]]`, and `/apis/GROUP/VERSION` likewise.
    fn of(path: &str) -> Self {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        match parts.next() {
            Some("api") => drop(parts.next()),
            Some("apis") => drop(parts.nth(1)),
            _ => return Self::default(),
        }
        let rest: Vec<&str> = parts.collect();
        let rest = match rest.as_slice() {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let part = |at: usize| rest.get(at).map(|part| (*part).to_string()).unwrap_or_default();
        Self { resource: part(0), subresource: part(2) }
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, requests: self.clone() }
    }
}

/// A client whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<A>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let running = Running {
            requests: self.requests.clone(),
            method: request.method().clone(),
            target: Target::of(request.uri().path()),
            began: Instant::now(),
            answer: None,
        };
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            running.end(answer.as_ref().ok().map(Response::status));
            answer
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_the_resource() {
        let table = [
            ("/api/v1/namespaces/a/pods/b/status", "pods", "status"),
            ("/api/v1/pods", "pods", ""),
            ("/api/v1/nodes/n/status", "nodes", "status"),
            ("/api/v1/namespaces/a", "namespaces", ""),
            ("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n", "leases", ""),
            ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "subjectaccessreviews", ""),
            ("/version", "", ""),
        ];
        for (path, resource, subresource) in table {
            let expected = Target { resource: resource.into(), subresource: subresource.into() };
            assert_eq!(Target::of(path), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn answers_and_their_absence_are_counted() {
        let mut registrar = Registrar::default();
        let requests = Requests::default();
        requests.register(&mut registrar);
        let service = tower::service_fn(|request: Request<()>| async move {
            match request.uri().path().rsplit('/').next() {
                Some("lost") => Err("lost"),
                Some("hangs") => std::future::pending().await,
                _ => Ok(Response::new(())),
            }
        });
        let mut service = requests.layer(service);
        for name in ["found", "lost"] {
            let request = Request::patch(format!("/api/v1/namespaces/a/pods/{name}")).body(()).unwrap();
            assert_eq!(service.call(request).await.is_ok(), name == "found");
        }
        let hangs = service.call(Request::patch("/api/v1/namespaces/a/pods/hangs").body(()).unwrap());
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), hangs).await.is_err());
        let text = registrar.finish().text().unwrap();
        for (code, count) in [("200", 1), ("<error>", 2)] {
            let line = format!(
                r#"rest_client_requests_total{{method="PATCH",resource="pods",subresource="",code="{code}"}} {count}"#
            );
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
