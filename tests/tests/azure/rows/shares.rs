//! `gitRepo`, `azureFile` and csi `file.csi.azure.com`: what Azure fetches by itself. The repository and the storage account are
//! such as only a fake has.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vk_tests::cluster::phase;
use vk_tests::control_plane::succeed;
use vk_tests::process::{Tie, start};

use super::identity_path;
use crate::corner::{Ground, container};

/// The share of the fake's account, and the account's key.
const SHARE: &str = "files";
const ACCOUNT: &str = "shares";
const KEY: &str = "ZmFrZS1rZXk=";
/// The machine's identity, which may read the share.
const IDENTITY: &str = "1de00000-0000-4000-8000-000000000004";

/// Where repositories are served. Nobody else listens there: the namespace is these tests' own.
const SERVER: &str = "127.0.0.1:8418";

/// A pod with a volume at `/data`.
fn mounting(ground: &Ground, name: &str, script: &str, volume: Value) -> Value {
    let mut main = container(script);
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut pod = ground.pod(name, main);
    pod["spec"]["volumes"] = json!([volume]);
    pod["spec"]["volumes"][0]["name"] = json!("data");
    pod
}

/// Makes a repository `web.git` with two commits and serves it, as long as what is returned lives. Returns the first
/// commit too.
fn repository(folder: &Path) -> Result<(Child, String)> {
    let (work, served) = (folder.join("work"), folder.join("served"));
    fs::create_dir_all(&work)?;
    fs::create_dir_all(&served)?;
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(&work).args(["-c", "user.name=test", "-c", "user.email=test@test"]).args(arguments);
        succeed(&mut command).map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["init", "--quiet"])?;
    for text in ["one", "two"] {
        fs::write(work.join("page"), text)?;
        git(&["add", "page"])?;
        git(&["commit", "--quiet", "-m", text])?;
    }
    let first = git(&["rev-parse", "HEAD~1"])?;
    git(&["clone", "--quiet", "--bare", ".", &served.join("web.git").display().to_string()])?;
    // As a server of plain files needs it.
    git(&["--git-dir", &served.join("web.git").display().to_string(), "update-server-info"])?;
    let mut server = Command::new("busybox");
    server.args(["httpd", "-f", "-p", SERVER, "-h"]).arg(&served);
    let out = File::create(folder.join("httpd.log"))?;
    Ok((start(&server, Tie::Killed, out.try_clone()?, out)?, first))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_repository_is_cloned_at_its_revision_into_its_directory() -> Result<()> {
    let ground = Ground::new("git").await?;
    let (_server, first) = repository(&ground.fake().folder().join("git"))?;
    let url = format!("http://{SERVER}/web.git");
    let newest = json!({"gitRepo": {"repository": url}});
    ground.corner.create(mounting(&ground, "newest", "cat /data/web/page", newest)).await?;
    let older = json!({"gitRepo": {"repository": url, "revision": first, "directory": "."}});
    ground.corner.create(mounting(&ground, "older", "cat /data/page", older)).await?;
    ensure!(ground.last_words("newest").await? == "two\n");
    ensure!(ground.last_words("older").await? == "one\n");
    let shown = &ground.group("older").await?["properties"]["volumes"][0]["gitRepo"];
    ensure!(*shown == json!({"repository": url, "revision": first, "directory": "."}), "{shown}");
    ground.over(&["newest", "older"]).await
}

/// The Secret that opens the share.
async fn storage_key(ground: &Ground, name: &str, key: &str) -> Result<()> {
    ground.secret(name, json!({"azurestorageaccountname": ACCOUNT, "azurestorageaccountkey": key})).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_share_is_mounted_in_both_spellings() -> Result<()> {
    let ground = Ground::new("share").await?;
    let corner = &ground.corner;
    let folder = ground.fake().share(ACCOUNT, SHARE);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("here"), "hello")?;
    storage_key(&ground, "storage", KEY).await?;
    let old = json!({"azureFile": {"shareName": SHARE, "secretName": "storage"}});
    corner.create(mounting(&ground, "old", "cat /data/here; echo mine > /data/new", old)).await?;
    ensure!(ground.last_words("old").await? == "hello\n");
    ensure!(fs::read_to_string(folder.join("new"))? == "mine\n");
    let csi = json!({"csi": {"driver": "file.csi.azure.com", "readOnly": true, "volumeAttributes": {"shareName": SHARE},
        "nodePublishSecretRef": {"name": "storage"}}});
    corner.create(mounting(&ground, "csi", "cat /data/new; (touch /data/x) 2> /dev/null || echo refused", csi)).await?;
    ensure!(ground.last_words("csi").await? == "mine\nrefused\n");
    let shown = ground.group("csi").await?["properties"]["volumes"][0]["azureFile"].clone();
    ensure!(shown == json!({"shareName": SHARE, "storageAccountName": ACCOUNT, "readOnly": true}), "{shown}");
    ensure!(!corner.host.log()?.contains(KEY), "the key is in the host's log");
    ground.over(&["old", "csi"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_share_whose_secret_is_missing_is_waited_for_and_a_wrong_key_fails_the_pod() -> Result<()> {
    let ground = Ground::new("share-key").await?;
    let corner = &ground.corner;
    storage_key(&ground, "wrong", "d3Jvbmc=").await?;
    for (name, secret) in [("late", "late"), ("wrong", "wrong")] {
        let share = json!({"azureFile": {"shareName": SHARE, "secretName": secret}});
        corner.create(mounting(&ground, name, "echo mounted", share)).await?;
    }
    corner.event("late", "FailedMount").await?;
    ensure!(phase(&corner.pods().get("late").await?) == "Pending" && ground.group("late").await.is_err());
    storage_key(&ground, "late", KEY).await?;
    ensure!(ground.last_words("late").await? == "mounted\n");
    let failed = corner.in_phase("wrong", "Failed").await?;
    let message = failed.status.and_then(|status| status.message).unwrap_or_default();
    ensure!(message.contains("Permission denied"), "{message}");
    ground.over(&["late", "wrong"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn the_newer_version_of_the_api_opens_shares_with_identities_and_runs_what_the_older_does() -> Result<()> {
    let ground = Ground::with("newer", |setup| setup.provider.push_str("api-version = \"2026-05-01\"\n")).await?;
    let corner = &ground.corner;
    let folder = ground.fake().share(ACCOUNT, SHARE);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("here"), "hello")?;
    ground.secret("keys", json!({"token": "s3cret"})).await?;
    let csi = json!({"csi": {"driver": "file.csi.azure.com", "volumeAttributes": {"shareName": SHARE, "storageAccount": ACCOUNT,
        "mountWithManagedIdentity": "true", "clientID": IDENTITY}}});
    let mut pod = mounting(&ground, "web", "cat /data/here /keys/token; echo $TOKEN", csi);
    pod["metadata"]["annotations"] = json!({"microsoft.containerinstance.virtualnode.identity": identity_path("web")});
    let main = &mut pod["spec"]["containers"][0];
    main["env"] = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]);
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}, {"name": "keys", "mountPath": "/keys"}]);
    main["ports"] = json!([{"containerPort": 80}]);
    let keys = json!({"name": "keys", "secret": {"secretName": "keys"}});
    pod["spec"]["volumes"].as_array_mut().context("no list")?.push(keys);
    corner.create(pod).await?;
    let log = ground.last_words("web").await?;
    ensure!(log == "hellos3crets3cret\n", "{log}");
    let newer = ground.fake().requests().iter().filter(|request| request.query.contains("2026-05-01")).count();
    let older = ground.fake().requests().iter().filter(|request| request.query.contains("2023-05-01")).count();
    ensure!(newer > 0 && older == 0, "{newer} and {older}");
    ground.over(&["web"]).await
}
