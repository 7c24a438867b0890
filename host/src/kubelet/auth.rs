//! Who asks, and whether they may: client certificates, then the API server's own word.
//!
//! A certificate alone is not enough: the cluster's authority signs every user's and node's. As the kubelet's webhook mode, each
//! request is put to the API server as a SubjectAccessReview on `nodes/proxy` of this node.
//! (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>)

use std::time::Duration;

use crate::apiserver::timed;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long an answer is remembered: the kubelet's figures for yes and no.
const ALLOWED_FOR: Duration = Duration::from_secs(300);
/// See [`ALLOWED_FOR`].
const DENIED_FOR: Duration = Duration::from_secs(30);
/// Answers remembered at most.
const ANSWERS: u64 = 1000;
/// One review.
const REVIEW_TIMEOUT: Duration = Duration::from_secs(10);

/// A user by client certificate: common name and organizations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// The subject's common name.
    pub name: String,
    /// The subject's organizations, and `system:authenticated` as for every user who is known.
    pub groups: Vec<String>,
}

/// How a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is known: 401.
    Unauthenticated,
    /// The user may not: 403.
    Forbidden(String),
    /// It could not be found out: 500.
    Unknown(String),
}

impl User {
    /// The user of a verified certificate; none: it names nobody.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
        let organizations = subject.iter_organization().filter_map(|group| group.as_str().ok());
        let groups = organizations.chain(["system:authenticated"]).map(str::to_string).collect();
        Some(Self { name, groups })
    }
}

/// Asks the API server who may do what on this node.
#[derive(Clone)]
pub struct Authorizer {
    reviews: Api<SubjectAccessReview>,
    node: String,
    allowed: moka::future::Cache<(User, &'static str), ()>,
    denied: moka::future::Cache<(User, &'static str), ()>,
}

impl Authorizer {
    /// For the node of this name.
    pub fn new(client: Client, node: &str) -> Self {
        let cache = |life| moka::future::Cache::builder().max_capacity(ANSWERS).time_to_live(life).build();
        Self {
            reviews: Api::all(client),
            node: node.to_string(),
            allowed: cache(ALLOWED_FOR),
            denied: cache(DENIED_FOR),
        }
    }

    /// Whether the user may use `verb` (`get`, `create` …) on this node's proxy subresource.
    pub async fn check(&self, user: Option<&User>, verb: &'static str) -> Result<(), Refusal> {
        let user = user.ok_or(Refusal::Unauthenticated)?;
        let key = (user.clone(), verb);
        if self.allowed.get(&key).await.is_some() {
            return Ok(());
        }
        let forbidden = || {
            Refusal::Forbidden(format!(
                "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[proxy])",
                user.name
            ))
        };
        if self.denied.get(&key).await.is_some() {
            return Err(forbidden());
        }
        if self.review(user, verb).await? {
            self.allowed.insert(key, ()).await;
            Ok(())
        } else {
            self.denied.insert(key, ()).await;
            Err(forbidden())
        }
    }

    async fn review(&self, user: &User, verb: &str) -> Result<bool, Refusal> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                groups: Some(user.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb.into()),
                    version: Some("v1".into()),
                    resource: Some("nodes".into()),
                    subresource: Some("proxy".into()),
                    name: Some(self.node.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let params = PostParams::default();
        match timed(REVIEW_TIMEOUT, self.reviews.create(&params, &review)).await {
            Ok(review) => Ok(review.status.is_some_and(|status| status.allowed)),
            Err(error) => Err(Refusal::Unknown(format!("SubjectAccessReview failed: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_user_and_groups() {
        let mut parameters = rcgen::CertificateParams::default();
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(rcgen::DnType::CommonName, "kube-apiserver-kubelet-client");
        subject.push(rcgen::DnType::OrganizationName, "system:masters");
        parameters.distinguished_name = subject;
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let user = User::of(certificate.der()).unwrap();
        assert_eq!(
            user,
            User {
                name: "kube-apiserver-kubelet-client".into(),
                groups: vec!["system:masters".into(), "system:authenticated".into()]
            }
        );
    }
}
