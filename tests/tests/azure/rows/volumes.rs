//! Volumes of files and emptyDir, each read by a real process.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::log;
use crate::corner::{Ground, container};

/// Prints all files below a folder, each with its name.
const PRINT: &str = "cd /files && for file in $(find . -type f -o -type l | grep -v '/\\.\\.' | sort); do echo \"$file: $(cat $file)\"; done";

/// A pod that prints the files of a volume.
fn prints(ground: &Ground, name: &str, volume: Value) -> Value {
    let mut main = container(PRINT);
    main["volumeMounts"] = json!([{"name": "files", "mountPath": "/files"}]);
    let mut pod = ground.pod(name, main);
    pod["spec"]["volumes"] = json!([volume]);
    pod["spec"]["volumes"][0]["name"] = json!("files");
    pod
}

/// The group's volume: exactly one, of this kind.
async fn volume(ground: &Ground, pod: &str, kind: &str) -> Result<()> {
    let group = ground.group(pod).await?;
    let volumes = group["properties"]["volumes"].as_array().cloned().unwrap_or_default();
    ensure!(volumes.len() == 1 && volumes[0][kind].is_object(), "{pod}: {volumes:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn files_of_config_maps_secrets_and_fields_are_read_by_a_process() -> Result<()> {
    let ground = Ground::new("files").await?;
    let corner = &ground.corner;
    ground.config_map("settings", json!({"a.toml": "a = 1", "b": "two\nlines"})).await?;
    ground.secret("keys", json!({"key": "s3cret", "cert": "c3rt"})).await?;
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let fields = json!([
        field("name", "metadata.name"), field("app", "metadata.labels['app']"),
        {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "requests.memory", "divisor": "1M"}},
    ]);
    let table = [
        ("map", json!({"configMap": {"name": "settings"}}), "./a.toml: a = 1\n./b: two\nlines\n".to_owned()),
        (
            "items",
            json!({"configMap": {"name": "settings", "defaultMode": 0o444, "items": [{"key": "b", "path": "renamed"}]}}),
            "./renamed: two\nlines\n".to_owned(),
        ),
        ("secret", json!({"secret": {"secretName": "keys"}}), "./cert: c3rt\n./key: s3cret\n".to_owned()),
        (
            "fields",
            json!({"downwardAPI": {"items": fields.clone()}}),
            "./app: fields\n./memory: 2000\n./name: fields\n".to_owned(),
        ),
        (
            "all",
            json!({"projected": {"sources": [
                {"configMap": {"name": "settings", "items": [{"key": "a.toml", "path": "a"}]}},
                {"secret": {"name": "keys", "items": [{"key": "key", "path": "k"}]}},
                {"downwardAPI": {"items": fields}},
                {"secret": {"name": "absent", "optional": true}},
            ]}}),
            "./a: a = 1\n./app: all\n./k: s3cret\n./memory: 2000\n./name: all\n".to_owned(),
        ),
    ];
    for (name, volume, _) in &table {
        let mut pod = prints(&ground, name, volume.clone());
        pod["metadata"]["labels"] = json!({"app": name});
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "2G"}});
        corner.create(pod).await?;
    }
    for (name, _, expected) in &table {
        let log = ground.last_words(name).await?;
        ensure!(log == *expected, "{name}: {log}");
        volume(&ground, name, "secret").await?;
    }
    ground.over(&["map", "items", "secret", "fields", "all"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn what_is_no_text_comes_as_it_is_and_what_is_optional_may_be_missing() -> Result<()> {
    let ground = Ground::new("bytes").await?;
    let corner = &ground.corner;
    let maps: Api<ConfigMap> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let bytes = ByteString((0..=255).collect());
    let map = json!({"metadata": {"name": "bytes"}, "binaryData": {"all": bytes}});
    maps.create(&PostParams::default(), &serde_json::from_value(map)?).await?;
    let mut pod = prints(&ground, "web", json!({"configMap": {"name": "bytes"}}));
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", "md5sum < /files/all"]);
    corner.create(pod).await?;
    let none = json!({"secret": {"secretName": "absent", "optional": true}});
    corner.create(prints(&ground, "none", none)).await?;
    let log = ground.last_words("web").await?;
    ensure!(log.starts_with("e2c865db4162bed963bfaa9ef6ac18f0"), "{log}");
    ensure!(ground.last_words("none").await?.is_empty());
    // Azure has no volume of no files.
    volume(&ground, "none", "emptyDir").await?;
    ground.over(&["web", "none"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn nobody_writes_files_that_are_rendered() -> Result<()> {
    let ground = Ground::new("read-only").await?;
    ground.config_map("settings", json!({"a": "1"})).await?;
    let mut pod = prints(&ground, "web", json!({"configMap": {"name": "settings"}}));
    pod["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "(echo 2 > /files/a) 2> /dev/null || echo refused; cat /files/a"]);
    ground.corner.create(pod).await?;
    let log = ground.last_words("web").await?;
    ensure!(log == "refused\n1\n", "{log}");
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_empty_directory_is_shared_and_outlives_containers() -> Result<()> {
    let ground = Ground::new("empty").await?;
    let corner = &ground.corner;
    let mut writes = container("[ -e /data/done ] && exit 0; echo written > /data/done; exit 1");
    let mut reads = container(
        "until [ -e /more/done ]; do sleep 0.2; done; cat /more/done; (touch /more/x) 2> /dev/null || echo refused",
    );
    reads["name"] = json!("reads");
    writes["volumeMounts"] = json!([{"name": "d", "mountPath": "/data"}]);
    reads["volumeMounts"] = json!([{"name": "d", "mountPath": "/more", "readOnly": true}]);
    let mut pod = ground.pod("web", reads);
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(writes);
    // Its name is too short for Azure, and one that nobody mounts is not made.
    pod["spec"]["volumes"] =
        json!([{"name": "d", "emptyDir": {"sizeLimit": "1G"}}, {"name": "unused", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    corner.create(pod).await?;
    corner.in_phase("web", "Succeeded").await?;
    let log = log(&ground, "web", "reads").await?;
    ensure!(log == "written\nrefused\n", "{log}");
    volume(&ground, "web", "emptyDir").await?;
    ground.over(&["web"]).await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_service_account_token_is_accepted_by_the_api_server() -> Result<()> {
    let ground = Ground::new("token").await?;
    let corner = &ground.corner;
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let script = format!("cat {folder}/token; echo; cat {folder}/namespace; echo; head -n 1 {folder}/ca.crt");
    let mut pod = ground.pod("web", container(&script));
    pod["spec"]["automountServiceAccountToken"] = json!(true);
    corner.create(pod).await?;
    let log = ground.last_words("web").await?;
    let lines: Vec<&str> = log.lines().collect();
    let [token, namespace, authority] = lines[..] else { anyhow::bail!("{} lines", lines.len()) };
    ensure!(namespace == corner.namespace && authority == "-----BEGIN CERTIFICATE-----", "{namespace} {authority}");
    let reviews: Api<TokenReview> = Api::all(corner.client.clone());
    let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
    let review = reviews.create(&PostParams::default(), &TokenReview { spec, ..TokenReview::default() }).await?;
    let user = review.status.and_then(|status| status.user).and_then(|user| user.username);
    ensure!(user == Some(format!("system:serviceaccount:{}:default", corner.namespace)), "{user:?}");
    ensure!(!ground.group("web").await?.to_string().contains(token), "the token is in the group");
    ensure!(!corner.host.log()?.contains(token), "the token is in the host's log");
    ground.over(&["web"]).await
}
