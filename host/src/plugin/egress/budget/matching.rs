//! Which requests a budget counts.

use http::Method;
use http::request::Parts;

use crate::plugin::bindings::exports::virtual_kubelet::provider::plugin as wit;
use crate::plugin::egress::ENDPOINTS;
use crate::plugin::egress::origin::{Host, Origin, Pattern};
use crate::plugin::grants::endpoint_name;
use crate::provider::{Code, Error};

/// By origin, method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matching {
    origin: Counted,
    /// Empty: all.
    methods: Vec<Method>,
    /// Empty: all.
    paths: Vec<Path>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Counted {
    Origin(Pattern),
    /// The name that stands for it.
    Endpoint(String),
}

/// `/a/*/b/**`, by its segments.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Path(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    This(String),
    Any,
    /// And all that follow it.
    Rest,
}

/// What is wrong with one field of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    field: &'static str,
    message: String,
}

impl Wrong {
    pub(super) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }

    /// Of the plugin's budget with this number.
    pub(super) fn of(self, number: usize) -> Error {
        let Self { field, message } = self;
        let error = Error::new(Code::InvalidArgument, "BudgetInvalid", message);
        Error { field: Some(format!("budgets[{number}].{field}")), ..error }
    }
}

impl Matching {
    pub(super) fn new(budget: &wit::Budget) -> Result<Self, Wrong> {
        let methods = budget.methods.iter().map(|method| method_of(method)).collect::<Result<_, _>>()?;
        let paths = budget.paths.iter().map(|path| Path::new(path)).collect::<Result<_, _>>()?;
        Ok(Self { origin: Counted::new(&budget.origin)?, methods, paths })
    }

    pub(super) fn matches(&self, request: &Parts) -> bool {
        let path = request.uri.path();
        self.origin.matches(&request.uri)
            && (self.methods.is_empty() || self.methods.contains(&request.method))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path)))
    }
}

fn method_of(text: &str) -> Result<Method, Wrong> {
    let upper = text.bytes().all(|byte| !byte.is_ascii_lowercase());
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| upper);
    method.ok_or_else(|| Wrong::new("methods", format!("{text:?} is no method: they are written as in GET")))
}

impl Counted {
    fn new(text: &str) -> Result<Self, Wrong> {
        if endpoint_name(text).is_ok() {
            return Ok(Self::Endpoint(format!("{text}{ENDPOINTS}")));
        }
        Pattern::parse(text).map(Self::Origin).map_err(|error| Wrong::new("origin", error.to_string()))
    }

    fn matches(&self, uri: &http::Uri) -> bool {
        let Some(origin) = Origin::of_uri(uri) else { return false };
        match self {
            Self::Origin(pattern) => pattern.matches(&origin),
            // However it is spoken to.
            Self::Endpoint(name) => matches!(origin.host, Host::Name(host) if host == *name),
        }
    }
}

impl Path {
    fn new(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("paths", format!("{text:?} is no path as in /a/*/b or /a/**, whose ** is its end"));
        let segments: Vec<Segment> = text.strip_prefix('/').ok_or_else(wrong)?.split('/').map(Segment::new).collect();
        let odd = |segment: &Segment| match segment {
            Segment::Rest => true,
            Segment::This(text) => text.contains('*'),
            Segment::Any => false,
        };
        let front = segments.split_last().map_or(&[][..], |(_, front)| front);
        let last_is_odd = matches!(segments.last(), Some(Segment::This(text)) if text.contains('*'));
        if front.iter().any(odd) || last_is_odd { Err(wrong()) } else { Ok(Self(segments)) }
    }

    fn matches(&self, path: &str) -> bool {
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        for segment in &self.0 {
            let fits = match segment {
                Segment::Rest => return true,
                Segment::Any => segments.next().is_some_and(|segment| !segment.is_empty()),
                Segment::This(text) => segments.next() == Some(text),
            };
            if !fits {
                return false;
            }
        }
        segments.next().is_none()
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        match text {
            "*" => Self::Any,
            "**" => Self::Rest,
            text => Self::This(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(origin: &str, methods: &[&str], paths: &[&str]) -> Result<Matching, Wrong> {
        let [methods, paths] = [methods, paths].map(|texts| texts.iter().map(ToString::to_string).collect());
        Matching::new(&wit::Budget { origin: origin.into(), methods, paths, requests: 1, window_ms: 1, burst: None })
    }

    fn request(method: &str, uri: &str) -> Parts {
        http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_path_is_matched_by_its_segments() {
        for (pattern, path, matches) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/A", false),
            ("/a/", "/a/", true),
            ("/*", "/a", true),
            ("/*", "/", false),
            ("/*", "/a/b", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a//c", false),
            ("/a/*/c", "/a/b/d", false),
            ("/a/**", "/a/b", true),
            ("/a/**", "/a/b/c/d", true),
            ("/a/**", "/a", true),
            ("/a/**", "/ab", false),
            ("/**", "/", true),
            ("/a/*/**", "/a/b/c", true),
            ("/a/*/**", "/a", false),
        ] {
            assert_eq!(Path::new(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        for pattern in ["", "a", "/**/a", "/a*", "/*a/b", "/***"] {
            assert!(Path::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_request_is_counted_by_origin_method_and_path() {
        let all = budget("https://*.a.example", &[], &[]).unwrap();
        let creates = budget("https://*.a.example", &["PUT"], &["/groups/*", "/pods/**"]).unwrap();
        for (method, uri, by_all, by_creates) in [
            ("GET", "https://x.a.example/groups/1?api-version=2", true, false),
            ("PUT", "https://x.a.example/groups/1?api-version=2", true, true),
            ("PUT", "https://X.A.example:443/pods/1/2", true, true),
            ("PUT", "https://x.a.example/groups", true, false),
            ("PUT", "https://x.b.example/groups/1", false, false),
        ] {
            let request = request(method, uri);
            assert_eq!((all.matches(&request), creates.matches(&request)), (by_all, by_creates), "{method} {uri}");
        }
    }

    #[test]
    fn an_endpoint_is_counted_by_its_name() {
        let engine = budget("engine", &[], &[]).unwrap();
        assert!(engine.matches(&request("GET", "http://engine.endpoint.internal/v1.41/info")));
        assert!(engine.matches(&request("GET", "https://Engine.endpoint.internal:2376/v1.41/info")));
        assert!(!engine.matches(&request("GET", "http://other.endpoint.internal/v1.41/info")));
    }

    #[test]
    fn a_mistake_names_its_field() {
        for (origin, methods, paths, field) in [
            ("https://*.io", &[][..], &[][..], "budgets[3].origin"),
            ("https://a.example", &["get"], &[], "budgets[3].methods"),
            ("https://a.example", &["G T"], &[], "budgets[3].methods"),
            ("https://a.example", &[], &["groups"], "budgets[3].paths"),
        ] {
            let error = budget(origin, methods, paths).unwrap_err().of(3);
            assert_eq!(error.field.as_deref(), Some(field), "{error}");
        }
    }
}
