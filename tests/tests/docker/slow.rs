//! What takes longer than anybody waits for it: run where `VK_TEST_SLOW` is set.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use vk_tests::cluster::{eventually, within};

use crate::corner::{container, corner, pod};
use crate::volumes::bearer;

/// The shortest life that the API server gives a token.
const LIFE: Duration = Duration::from_secs(600);

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_token_is_renewed_before_it_ends_and_the_container_has_the_new_one() -> Result<()> {
    let corner = corner("renewed").await?;
    let script = "last=; while true; do now=$(cat /tokens/token); [ \"$now\" = \"$last\" ] || echo \"$now\"; last=$now; sleep 1; done";
    let mut reading = container("main", script);
    reading["volumeMounts"] = json!([{"name": "tokens", "mountPath": "/tokens"}]);
    let mut pod = pod(&corner, "web", reading);
    let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": LIFE.as_secs()}});
    pod["spec"]["volumes"] = json!([{"name": "tokens", "projected": {"sources": [token]}}]);
    corner.create(pod).await?;
    corner.running("web").await?;
    let user = format!("system:serviceaccount:{}:default", corner.namespace);
    let tokens = || async { anyhow::Ok(corner.log("web").await?.lines().map(str::to_owned).collect::<Vec<_>>()) };
    let first = eventually("it has a token", || async { Ok(tokens().await?.first().cloned()) }).await?;
    ensure!(bearer(&corner, &first).await? == user);
    let second = within(LIFE, "it has another one", || async { Ok(tokens().await?.get(1).cloned()) }).await?;
    // The first one still counts: nobody was ever without.
    ensure!(bearer(&corner, &first).await.context("the first")? == user, "the new token came too late");
    within(LIFE, "the first one has ended", || async { Ok(bearer(&corner, &first).await.is_err().then_some(())) })
        .await?;
    ensure!(bearer(&corner, &second).await.context("the second")? == user);
    Ok(())
}
