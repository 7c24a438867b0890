//! An API server of a few ConfigMaps and Secrets, and of tokens without end. What it is asked for can be read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use serde_json::{Value, json};

/// See the module.
#[derive(Default)]
pub(in crate::pods) struct ApiServer(Mutex<State>);

#[derive(Default)]
struct State {
    /// By resource and name.
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    watches: Vec<Watch>,
    asked: Vec<String>,
    /// Reason and text of each.
    events: Vec<(String, String)>,
    refuses_watches: bool,
    tokens: u64,
}

struct Watch {
    of: (String, String),
    to: mpsc::UnboundedSender<std::io::Result<Bytes>>,
}

impl Watch {
    fn tell(&self, kind: &str, object: &Value) {
        let _ = self.to.unbounded_send(Ok(format!("{}\n", json!({"type": kind, "object": object})).into()));
    }
}

impl ApiServer {
    pub(in crate::pods) fn client(self: &Arc<Self>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body: Value = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
                Ok::<_, kube::Error>(server.answer(&parts.method, &parts.uri, &body))
            }
        });
        Client::new(service, "default")
    }

    /// Makes an object, or another of it.
    pub(in crate::pods) fn put(&self, resource: &str, name: &str, object: Value) {
        let mut state = self.state();
        state.version += 1;
        let mut object = object;
        object["metadata"] =
            json!({"name": name, "namespace": "default", "resourceVersion": state.version.to_string()});
        let of = (resource.to_string(), name.to_string());
        let kind = if state.objects.insert(of.clone(), object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        state.watches.iter().filter(|watch| watch.of == of).for_each(|watch| watch.tell(kind, &object));
    }

    pub(in crate::pods) fn remove(&self, resource: &str, name: &str) {
        let mut state = self.state();
        let of = (resource.to_string(), name.to_string());
        let removed = state.objects.remove(&of);
        let watches = state.watches.iter().filter(|watch| watch.of == of);
        removed.iter().for_each(|object| watches.clone().for_each(|watch| watch.tell("DELETED", object)));
    }

    pub(in crate::pods) fn refuse_watches(&self) {
        self.state().refuses_watches = true;
    }

    /// What it was asked for since this was asked, such as `get configmaps/cm`.
    pub(in crate::pods) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// The watches that are open.
    pub(in crate::pods) fn watched(&self) -> Vec<String> {
        let state = self.state();
        let open = state.watches.iter().filter(|watch| !watch.to.is_closed());
        open.map(|Watch { of: (resource, name), .. }| format!("{resource}/{name}")).collect()
    }

    /// The events that were written, each as its reason and text.
    pub(in crate::pods) fn events(&self) -> Vec<(String, String)> {
        self.state().events.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, method: &Method, uri: &http::Uri, body: &Value) -> Response<Body> {
        let path: Vec<&str> = uri.path().split('/').skip(3).collect();
        let query = uri.query().unwrap_or_default();
        let watches = query.contains("watch=true");
        let selected = query.split('&').find_map(|part| part.strip_prefix("fieldSelector=metadata.name%3D"));
        match (method, path.as_slice(), selected) {
            (&Method::GET, ["namespaces", _, resource, name], _) => self.get(resource, name),
            (&Method::GET, ["namespaces", _, resource], Some(name)) if watches => self.watch(resource, name, query),
            (&Method::GET, ["namespaces", _, resource], Some(name)) => self.list(resource, name),
            (&Method::POST, ["namespaces", _, "serviceaccounts", _, "token"], _) => self.token(body),
            (&Method::POST, [.., "events"], _) => self.event(body),
            // Of all services there are none, and never will be.
            (&Method::GET, ["services"], _) if watches => {
                Response::new(Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()))
            }
            (&Method::GET, ["services"], _) => ok(&json!({"metadata": {"resourceVersion": "1"}, "items": []})),
            _ => failed(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    fn event(&self, body: &Value) -> Response<Body> {
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_string();
        self.state().events.push((text("reason"), text("note")));
        ok(body)
    }

    fn get(&self, resource: &str, name: &str) -> Response<Body> {
        let mut state = self.state();
        state.asked.push(format!("get {resource}/{name}"));
        match state.objects.get(&(resource.to_string(), name.to_string())) {
            Some(object) => ok(object),
            None => failed(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    fn list(&self, resource: &str, name: &str) -> Response<Body> {
        let mut state = self.state();
        state.asked.push(format!("list {resource}/{name}"));
        let items: Vec<&Value> = state.objects.get(&(resource.to_string(), name.to_string())).into_iter().collect();
        ok(&json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items}))
    }

    fn watch(&self, resource: &str, name: &str, query: &str) -> Response<Body> {
        let mut state = self.state();
        state.asked.push(format!("watch {resource}/{name}"));
        if state.refuses_watches {
            return failed(StatusCode::FORBIDDEN, "Forbidden");
        }
        let (to, events) = mpsc::unbounded();
        let watch = Watch { of: (resource.to_string(), name.to_string()), to };
        // What has changed since the list.
        let since = query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")).unwrap_or_default();
        let number = |version: &str| version.parse::<u64>().unwrap_or_default();
        let later = |object: &&Value| {
            number(object["metadata"]["resourceVersion"].as_str().unwrap_or_default()) > number(since)
        };
        state.objects.get(&watch.of).into_iter().filter(later).for_each(|object| watch.tell("MODIFIED", object));
        state.watches.push(watch);
        Response::new(Body::from_stream(events))
    }

    fn token(&self, body: &Value) -> Response<Body> {
        let mut state = self.state();
        state.tokens += 1;
        let number = state.tokens;
        state.asked.push(format!("token {}", body["spec"]["boundObjectRef"]["uid"].as_str().unwrap_or_default()));
        let status = json!({"token": format!("token {number}"), "expirationTimestamp": "2030-01-01T00:00:00Z"});
        ok(&json!({"spec": body["spec"], "status": status}))
    }
}

fn ok(body: &Value) -> Response<Body> {
    Response::new(Body::from(body.to_string()))
}

fn failed(code: StatusCode, reason: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "status": "Failure", "reason": reason, "code": code.as_u16()});
    let mut response = Response::new(Body::from(status.to_string()));
    *response.status_mut() = code;
    response
}
