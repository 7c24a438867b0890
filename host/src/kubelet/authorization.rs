//! Whether they may: the API server's own word.
//!
//! Being somebody is not enough: the cluster's authority signs every user's and every node's certificate. As the kubelet's webhook
//! mode, each request is put to the API server as a SubjectAccessReview on a subresource of this node
//! (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>).

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::future::Cache;

use super::access::Refusal;
use super::authentication::User;
use super::reviews::{self, Kept};

/// Subresources of paths and of all below them, tried in this order: the finer one first, so that a monitor needs no right to run
/// commands (KEP-2862; `GetRequestAttributes` of the kubelet's server/auth.go). `proxy` is all that is left.
const PATHS: [(&str, &[&str]); 10] = [
    ("/pods", &["pods", "proxy"]),
    ("/runningpods", &["pods", "proxy"]),
    ("/healthz", &["healthz", "proxy"]),
    ("/configz", &["configz", "proxy"]),
    ("/stats", &["stats"]),
    ("/metrics", &["metrics"]),
    ("/logs", &["log"]),
    ("/checkpoint", &["checkpoint"]),
    ("/statusz", &["statusz"]),
    ("/flagz", &["configz"]),
];

/// How long answers are kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--authorization-webhook-cache-authorized-ttl`.
    pub allowed_ttl: Duration,
    /// `--authorization-webhook-cache-unauthorized-ttl`.
    pub denied_ttl: Duration,
}

/// What a request does to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    verb: &'static str,
    /// One of them is enough.
    subresources: &'static [&'static str],
}

impl Attributes {
    /// Of a request for this path, as it was sent: the router does not decode it before it chooses either.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let verb = match *method {
            // HEAD is answered as GET is, without the body.
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            // Allowed to those who may do everything, as the kubelet has it.
            _ => "",
        };
        let below = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let found = PATHS.iter().find(|(root, _)| below(root));
        Self { verb, subresources: found.map_or(&["proxy"] as &[_], |(_, subresources)| *subresources) }
    }
}

/// May this user do that to this node?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    user: Arc<User>,
    verb: &'static str,
    subresource: &'static str,
}

/// Asks the API server who may do what on this node.
pub(super) struct Authorizer {
    reviews: Api<SubjectAccessReview>,
    node: String,
    answers: Cache<Question, bool>,
}

impl Config {
    /// One for the node of this name.
    pub(super) fn build(self, client: Client, node: &str) -> Authorizer {
        let kept = Kept { yes: self.allowed_ttl, no: self.denied_ttl };
        Authorizer { reviews: Api::all(client), node: node.to_string(), answers: kept.cache() }
    }
}

impl Authorizer {
    /// An error unless the user may.
    pub(super) async fn check(&self, user: &Arc<User>, attributes: Attributes) -> Result<(), Refusal> {
        let Attributes { verb, subresources } = attributes;
        let name = &user.name;
        for subresource in subresources {
            let question = Question { user: user.clone(), verb, subresource };
            match self.answers.try_get_with(question.clone(), self.review(&question)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(user = name, verb, subresource, %error, "SubjectAccessReview failed");
                    return Err(Refusal::Unknown(format!(
                        "Authorization error (user={name}, verb={verb}, resource=nodes, subresource={subresource})"
                    )));
                }
            }
        }
        let tried = subresources.join(" ");
        tracing::debug!(user = name, verb, subresources = tried, "forbidden");
        Err(Refusal::Forbidden(format!(
            "Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{tried}])\n"
        )))
    }

    async fn review(&self, question: &Question) -> kube::Result<bool> {
        let Question { user, verb, subresource } = question;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                uid: user.uid.clone(),
                groups: Some(user.groups.clone()),
                extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some((*verb).into()),
                    version: Some("v1".into()),
                    resource: Some("nodes".into()),
                    subresource: Some((*subresource).into()),
                    name: Some(self.node.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let params = PostParams::default();
        let review = reviews::ask(|| self.reviews.create(&params, &review)).await?;
        Ok(review.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_asks_for_the_finest_right_first() {
        let table: [(&str, &[&str]); 16] = [
            ("/pods", &["pods", "proxy"]),
            ("/pods/", &["pods", "proxy"]),
            ("/podsandmore", &["proxy"]),
            ("/runningpods/", &["pods", "proxy"]),
            ("/healthz", &["healthz", "proxy"]),
            ("/healthz/log", &["healthz", "proxy"]),
            ("/configz", &["configz", "proxy"]),
            ("/stats/summary", &["stats"]),
            ("/metrics", &["metrics"]),
            ("/metrics/resource", &["metrics"]),
            ("/metrics%2fresource", &["proxy"]),
            ("//metrics", &["proxy"]),
            ("/containerLogs/default/web/main", &["proxy"]),
            ("/exec/default/web/main", &["proxy"]),
            ("/containerLogs/metrics/stats/pods", &["proxy"]),
            ("/", &["proxy"]),
        ];
        for (path, subresources) in table {
            assert_eq!(Attributes::of(&Method::GET, path), Attributes { verb: "get", subresources }, "{path}");
        }
    }

    #[test]
    fn a_method_is_a_verb() {
        let table = [
            (Method::GET, "get"),
            (Method::HEAD, "get"),
            (Method::POST, "create"),
            (Method::PUT, "update"),
            (Method::PATCH, "patch"),
            (Method::DELETE, "delete"),
            (Method::OPTIONS, ""),
        ];
        for (method, verb) in table {
            assert_eq!(Attributes::of(&method, "/").verb, verb, "{method}");
        }
    }
}
