//! Service account tokens in volumes: the API server takes them for the pod's, and no longer than the pod lives.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use vk_tests::cluster::{Corner, eventually};

use super::volumes::{Shown, files, pod};

async fn review(corner: &Corner<'_>, token: &str, audience: Option<&str>) -> Result<TokenReview> {
    let reviews: Api<TokenReview> = Api::all(corner.client.clone());
    let audiences = audience.map(|audience| vec![audience.to_string()]);
    let spec = TokenReviewSpec { token: token.into(), audiences };
    Ok(reviews.create(&PostParams::default(), &TokenReview { spec, ..TokenReview::default() }).await?)
}

fn is_accepted(review: &TokenReview) -> bool {
    review.status.as_ref().and_then(|status| status.authenticated).unwrap_or(false)
}

#[tokio::test]
async fn a_token_is_accepted_by_the_api_server_and_dies_with_its_pod() -> Result<()> {
    let corner = Corner::new("volumes-token").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let account = json!({"metadata": {"name": "robot"}});
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    let sources = json!([
        {"serviceAccountToken": {"path": "api", "expirationSeconds": 1200}},
        {"serviceAccountToken": {"path": "vault", "audience": "vault", "expirationSeconds": 600}},
    ]);
    let mut manifest = pod(&corner, "web", json!([{"name": "tokens", "projected": {"sources": sources}}]));
    manifest["spec"]["serviceAccountName"] = json!("robot");
    let made = corner.create(manifest).await?;
    corner.running("web").await?;
    let files = files(&corner, "web", "tokens").await?;
    let token = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| file.content.clone()).with_context(|| format!("no {path} in {files:?}"))
    };
    let api = review(&corner, &token("api")?, None).await?;
    assert!(is_accepted(&api), "{:?}", api.status);
    let user = api.status.and_then(|status| status.user).context("no user")?;
    assert_eq!(user.username, Some(format!("system:serviceaccount:{}:robot", corner.namespace)));
    let bound = user.extra.as_ref().and_then(|extra| extra.get("authentication.kubernetes.io/pod-uid"));
    assert_eq!(bound.and_then(|uids| uids.first()), made.metadata.uid.as_ref());
    assert!(is_accepted(&review(&corner, &token("vault")?, Some("vault")).await?));
    assert!(!is_accepted(&review(&corner, &token("vault")?, None).await?), "it is for vault alone");
    assert!(!corner.host.log()?.contains(&token("api")?), "a token reached the host's log");
    corner.delete("web", None).await?;
    corner.gone("web").await?;
    let api = token("api")?;
    eventually("the token is good no more", || async {
        Ok((!is_accepted(&review(&corner, &api, None).await?)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_every_pod_has_of_the_api_server_is_there_and_for_its_own_user() -> Result<()> {
    let corner = Corner::new("volumes-access").await?;
    let mut manifest = pod(&corner, "web", json!([]));
    manifest["spec"]["automountServiceAccountToken"] = json!(true);
    manifest["spec"]["securityContext"] = json!({"runAsUser": 1000, "fsGroup": 2000});
    let made = corner.create(manifest).await?;
    corner.running("web").await?;
    let volumes = made.spec.and_then(|spec| spec.volumes).unwrap_or_default();
    let name = volumes.first().map(|volume| volume.name.clone()).context("admission added no volume")?;
    let files = files(&corner, "web", &name).await?;
    let access: Vec<(&str, &str, &str, &str)> = files
        .iter()
        .map(|Shown { path, mode, user, group, .. }| (path.as_str(), mode.as_str(), user.as_str(), group.as_str()))
        .collect();
    let of = |path: &'static str, mode: &'static str, user: &'static str| (path, mode, user, "2000");
    assert_eq!(access, [of("ca.crt", "0644", "-"), of("namespace", "0644", "-"), of("token", "0640", "1000")]);
    assert!(files[0].content.contains("BEGIN CERTIFICATE"));
    assert_eq!(files[1].content, corner.namespace);
    Ok(())
}
