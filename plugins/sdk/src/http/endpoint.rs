//! Where a backend's API is.

use super::request::Request;

/// The start of all URLs of one API.
///
/// ```
/// use vk_provider::http::Endpoint;
///
/// let engine = Endpoint::named("engine");
/// assert_eq!(engine.url("/_ping"), "http://engine.endpoint.internal/_ping");
/// let cloud = Endpoint::at("https://api.example.com/v1/");
/// assert_eq!(cloud.url("groups"), "https://api.example.com/v1/groups");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
}

impl Endpoint {
    /// One that the operator named, and that [`Want::endpoint`](crate::plugin::Want::endpoint) asks for: a unix socket,
    /// a URL with a client certificate. Where it leads is the host's business: plain `http:` on this side, whatever it
    /// is on the other.
    pub fn named(name: &str) -> Self {
        Self { base: format!("http://{name}{}", super::url::ENDPOINTS) }
    }

    /// An absolute URL, with or without a path.
    pub fn at(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned() }
    }

    /// The URL of a path. Segments that are data go through [`encode`](super::encode).
    pub fn url(&self, path: &str) -> String {
        [&self.base, "/", path.trim_start_matches('/')].concat()
    }

    /// `GET` of a path.
    pub fn get(&self, path: &str) -> Request {
        Request::get(self.url(path))
    }

    /// `HEAD` of a path.
    pub fn head(&self, path: &str) -> Request {
        Request::head(self.url(path))
    }

    /// `POST` to a path.
    pub fn post(&self, path: &str) -> Request {
        Request::post(self.url(path))
    }

    /// `PUT` to a path.
    pub fn put(&self, path: &str) -> Request {
        Request::put(self.url(path))
    }

    /// `PATCH` of a path.
    pub fn patch(&self, path: &str) -> Request {
        Request::patch(self.url(path))
    }

    /// `DELETE` of a path.
    pub fn delete(&self, path: &str) -> Request {
        Request::delete(self.url(path))
    }
}
