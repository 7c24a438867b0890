//! Volumes of every kind, as a process in a container sees them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, Client};
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, eventually, phase, within};
use vk_tests::engine::{self, Engine, tagged};

use crate::corner::{at_engine, change, container, corner, last_words, log_until, once, pod, put, restarts, waits_for};

/// The kubelet's own promise for changes of a ConfigMap or a Secret.
const UPDATE: Duration = Duration::from_secs(60);

/// Lists files as `path mode user group content`, one a line: what a mount holds beside what makes its updates atomic.
const LIST: &str = "cd $1 && for f in $(find -L . -type f ! -path './..*' | sort); do echo \"$f $(stat -L -c '%a %u %g' $f) $(cat $f)\"; done";

/// A container that lists these folders and ends.
fn lister(mounts: Value) -> Value {
    let folders: Vec<&str> =
        mounts.as_array().into_iter().flatten().filter_map(|mount| mount["mountPath"].as_str()).collect();
    let calls: String = folders.iter().map(|folder| format!("echo \"== {folder}\"; list {folder}; ")).collect();
    let mut container = container("main", &format!("list() {{ ({LIST}); }}; {calls}"));
    container["volumeMounts"] = mounts;
    container
}

async fn put_sources(corner: &Corner<'_>) -> Result<()> {
    // Two bytes that are no UTF-8 would be no line: binary data is text here too.
    let map =
        json!({"metadata": {"name": "cm"}, "data": {"a.conf": "one", "b": "two"}, "binaryData": {"c": "dGhyZWU="}});
    put::<ConfigMap>(corner, map).await?;
    put::<Secret>(corner, json!({"metadata": {"name": "s"}, "stringData": {"key": "hush", "other": "x"}})).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn every_kind_of_volume_has_its_content_modes_and_owners() -> Result<()> {
    let corner = corner("kinds").await?;
    put_sources(&corner).await?;
    let item = |key: &str, path: &str, mode: u32| json!({"key": key, "path": path, "mode": mode});
    let field = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
    let memory = json!({"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}});
    let sources = json!([
        {"configMap": {"name": "cm", "items": [item("b", "deep/er/b", 0o440)]}},
        {"secret": {"name": "s", "items": [item("key", "key", 0o400)]}},
        {"downwardAPI": {"items": [field("name", "metadata.name")]}},
        {"configMap": {"name": "none", "optional": true}},
    ]);
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/v/{name}")});
    let mut main = lister(json!(["plain", "secret", "about", "all"].map(mount)));
    main["resources"] = json!({"limits": {"memory": "64Mi"}});
    let mut pod = once(&corner, "web", main);
    pod["metadata"]["labels"] = json!({"team": "blue"});
    pod["spec"]["volumes"] = json!([
        {"name": "plain", "configMap": {"name": "cm"}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "about", "downwardAPI": {"items": [field("labels", "metadata.labels"), memory]}},
        {"name": "all", "projected": {"defaultMode": 0o640, "sources": sources}},
    ]);
    // As root, and as somebody else whose group the files then have.
    let mut user = pod.clone();
    user["metadata"]["name"] = json!("user");
    user["spec"]["securityContext"] = json!({"runAsUser": 1000, "fsGroup": 2000});
    corner.create(pod).await?;
    corner.create(user).await?;
    let root = "== /v/plain\n./a.conf 644 0 0 one\n./b 644 0 0 two\n./c 644 0 0 three\n\
                == /v/secret\n./key 400 0 0 hush\n./other 400 0 0 x\n\
                == /v/about\n./labels 644 0 0 team=\"blue\"\n./memory 644 0 0 64\n\
                == /v/all\n./deep/er/b 440 0 0 two\n./key 400 0 0 hush\n./name 640 0 0 web\n";
    let log = last_words(&corner, "web").await?;
    ensure!(log == root, "{log}");
    // With a group, the group may read (the kubelet's SetVolumeOwnership).
    let grouped = "== /v/plain\n./a.conf 644 0 2000 one\n./b 644 0 2000 two\n./c 644 0 2000 three\n\
                   == /v/secret\n./key 440 0 2000 hush\n./other 440 0 2000 x\n\
                   == /v/about\n./labels 644 0 2000 team=\"blue\"\n./memory 644 0 2000 64\n\
                   == /v/all\n./deep/er/b 440 0 2000 two\n./key 440 0 2000 hush\n./name 640 0 2000 user\n";
    let log = last_words(&corner, "user").await?;
    ensure!(log == grouped, "{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_empty_dir_is_shared_kept_over_a_restart_and_bounded_in_memory() -> Result<()> {
    let corner = corner("empty-dir").await?;
    let mounts = json!([{"name": "disk", "mountPath": "/disk"}, {"name": "memory", "mountPath": "/memory"}]);
    let mut writer = container(
        "main",
        "echo x >> /disk/lines; echo x >> /memory/lines; [ $(wc -l < /disk/lines) -ge 2 ] || exit 1; \
         dd if=/dev/zero of=/memory/big bs=1M count=4 2>&1 | grep -o 'No space left' > /disk/full; \
         stat -c '%a %u %g' /disk /memory > /disk/modes; touch /disk/done; exec sleep 100000",
    );
    let mut reader = container(
        "other",
        "until [ -e /disk/done ]; do sleep 0.1; done; echo $(cat /disk/lines | wc -l) $(cat /memory/lines | wc -l); \
         grep ' /memory ' /proc/mounts | cut -d' ' -f3; cat /disk/full /disk/modes; exec sleep 100000",
    );
    writer["volumeMounts"] = mounts.clone();
    reader["volumeMounts"] = mounts;
    let mut pod = pod(&corner, "web", writer);
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(reader);
    pod["spec"]["volumes"] = json!([{"name": "disk", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}}]);
    pod["spec"]["securityContext"] = json!({"fsGroup": 2000});
    corner.create(pod).await?;
    let restarted = corner.until("web", "was started again and runs", |pod| {
        restarts(pod, "main") == 1 && vk_tests::cluster::pod_condition(pod, "Ready").as_deref() == Some("True")
    });
    restarted.await?;
    let log = eventually("the other container has read it", || async {
        let params = kube::api::LogParams { container: Some("other".into()), ..Default::default() };
        let log = corner.pods().logs("web", &params).await?;
        Ok((log.lines().count() == 5).then_some(log))
    })
    .await?;
    let expected = ["2 2", "tmpfs", "No space left", "2777 0 2000", "2777 0 2000"];
    ensure!(log.lines().collect::<Vec<_>>() == expected, "{log}");
    Ok(())
}

/// The provider looks once a minute.
const LOOKED_AT: Duration = Duration::from_secs(150);

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_pod_that_puts_more_into_a_volume_than_may_be_there_is_evicted() -> Result<()> {
    let corner = corner("evicted").await?;
    let mut full = container("main", "dd if=/dev/zero of=/data/big bs=1M count=3; exec sleep 100000");
    full["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut pod = pod(&corner, "web", full);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}]);
    corner.create(pod).await?;
    corner.running("web").await?;
    let evicted = within(LOOKED_AT, "it has failed", || async {
        let pod = corner.pods().get("web").await?;
        Ok((phase(&pod) == "Failed").then_some(pod.status))
    });
    let status = evicted.await?.context("no status")?;
    let said = status.message.as_deref().unwrap_or_default();
    ensure!(status.reason.as_deref() == Some("Evicted"), "{status:?}");
    ensure!(said.contains("Usage of EmptyDir volume \"data\" exceeds the limit"), "{said}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_change_is_seen_within_a_minute_without_a_gap_and_never_by_a_sub_path() -> Result<()> {
    let corner = corner("update").await?;
    put::<ConfigMap>(&corner, json!({"metadata": {"name": "cm"}, "data": {"a": "1", "goes": "x"}})).await?;
    put::<Secret>(&corner, json!({"metadata": {"name": "s"}, "stringData": {"b": "1"}})).await?;
    // Says each thing that it sees once, and when it sees nothing. Names are the shell's to find: `ls` looks again at each that it has read,
    // which may be gone by then.
    let script = "last=; while true; do now=\"$(cat /cm/a 2>&1) $(cat /s/b 2>&1) $(cat /about/team 2>&1) $(cat /sub/a 2>&1) $(cd /cm && echo *)\"; \
                  [ \"$now\" = \"$last\" ] || echo \"$now\"; last=\"$now\"; done";
    let mut main = container("main", script);
    main["volumeMounts"] = json!([
        {"name": "cm", "mountPath": "/cm"}, {"name": "s", "mountPath": "/s"}, {"name": "about", "mountPath": "/about"},
        {"name": "cm", "mountPath": "/sub/a", "subPath": "a"},
    ]);
    let mut pod = pod(&corner, "web", main);
    pod["metadata"]["labels"] = json!({"team": "blue"});
    let team = json!({"path": "team", "fieldRef": {"fieldPath": "metadata.labels['team']"}});
    pod["spec"]["volumes"] = json!([
        {"name": "cm", "configMap": {"name": "cm"}}, {"name": "s", "secret": {"secretName": "s"}},
        {"name": "about", "downwardAPI": {"items": [team]}},
    ]);
    // It reads all the time.
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "200m"}});
    corner.create(pod).await?;
    log_until(&corner, "web", "shows the first state", |log| log == "1 1 blue 1 a goes\n").await?;
    let began = Instant::now();
    change::<ConfigMap>(&corner, "cm", json!({"data": {"a": "2", "goes": null}})).await?;
    change::<Secret>(&corner, "s", json!({"stringData": {"b": "2"}})).await?;
    change::<Pod>(&corner, "web", json!({"metadata": {"labels": {"team": "red"}}})).await?;
    let log = within(UPDATE, "all changes are seen", || async {
        let log = corner.log("web").await?;
        Ok(log.ends_with("2 2 red 1 a\n").then_some(log))
    })
    .await?;
    ensure!(began.elapsed() < UPDATE);
    ensure!(!log.contains("No such file") && !log.contains("can't open"), "there was a gap: {log}");
    Ok(())
}

/// How often a source changes while somebody reads all the time. An engine that replaces a link takes it away for a moment, which such a
/// reader sees in about every second change.
const CHANGES: u32 = 60;

#[tokio::test]
#[ignore = "in a namespace"]
async fn many_changes_never_take_a_file_away() -> Result<()> {
    let corner = corner("many-updates").await?;
    let data = |number: u32| json!({"data": {"a": format!("{number}\n"), format!("only-{}", number % 3): "x\n"}});
    let mut map = data(0);
    map["metadata"] = json!({"name": "cm"});
    put::<ConfigMap>(&corner, map).await?;
    // All of it is the shell's own: no process is made for a read. It says each change that it sees, and at the end how often it could
    // not read.
    let script = format!(
        "fails=0; last=; until [ \"$last\" = {CHANGES} ]; do \
         if read -r now < /cm/a; then [ \"$now\" = \"$last\" ] || echo $now; last=$now; else fails=$((fails + 1)); fi; \
         done 2> /dev/null; echo failed $fails"
    );
    let mut main = container("main", &script);
    main["volumeMounts"] = json!([{"name": "cm", "mountPath": "/cm"}]);
    let mut pod = once(&corner, "web", main);
    pod["spec"]["volumes"] = json!([{"name": "cm", "configMap": {"name": "cm"}}]);
    corner.create(pod).await?;
    log_until(&corner, "web", "shows the first state", |log| log == "0\n").await?;
    for number in 1..=CHANGES {
        let mut change_to = data(number);
        // A key goes and another one comes.
        change_to["data"][format!("only-{}", (number + 2) % 3)] = Value::Null;
        change::<ConfigMap>(&corner, "cm", change_to).await?;
        log_until(&corner, "web", "shows the change", |log| log.lines().any(|line| line == number.to_string())).await?;
    }
    let log = last_words(&corner, "web").await?;
    ensure!(log.ends_with("\nfailed 0\n"), "{log}");
    Ok(())
}

/// What a container says that has the root of the engine's machine, which no pod gets.
async fn led_out(secret: &str) -> Result<String> {
    let api = Engine::shared().await?.api();
    let spec = json!({"Image": tagged(1), "Cmd": ["cat", format!("/m{secret}")], "HostConfig": {"Binds": ["/:/m:ro"]}});
    let json = [("content-type", "application/json")];
    api.send(Method::POST, "/containers/create?name=led-out", &json, spec.to_string().into_bytes()).await?;
    api.send(Method::POST, "/containers/led-out/start", &[], Vec::new()).await?;
    eventually("it has read", || async {
        let log = api.send(Method::GET, "/containers/led-out/logs?stdout=1&stderr=1", &[], Vec::new()).await?;
        Ok((!log.is_empty()).then_some(log))
    })
    .await
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_planted_link_never_leads_a_sub_path_out_of_its_volume() -> Result<()> {
    let corner = corner("escape").await?;
    // A file of the engine's machine: whoever can read it is out.
    let secret = engine::folder()?.join("secret-of-the-machine");
    fs::write(&secret, "escaped")?;
    let secret = secret.to_str().context("no text")?;
    ensure!(led_out(secret).await?.contains("escaped"), "what would be seen cannot be seen");
    let looking = |name: &str, mount: &str, sub: &str| {
        let script = format!("cat /m{secret} /m/..{secret} 2>&1; ls -a /m | tr '\\n' ' '; echo; echo end");
        let mut container = container(name, &script);
        container["volumeMounts"] = json!([{"name": "shared", "mountPath": mount, "subPath": sub}]);
        container
    };
    // What is planted is there before anybody mounts it: a link instead of the last folder, and of one on the way.
    let mut plants = container(
        "plants",
        "cd /shared; rm -rf sub way; ln -s / sub; mkdir -p way; rm -rf way; ln -s / way; ls -la; true",
    );
    plants["volumeMounts"] = json!([{"name": "shared", "mountPath": "/shared"}]);
    let mut pod = once(&corner, "before", looking("main", "/m", "sub"));
    pod["spec"]["containers"].as_array_mut().context("no list")?.push(looking("other", "/m", "way/etc"));
    pod["spec"]["initContainers"] = json!([plants]);
    pod["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    corner.create(pod).await?;
    // And while it is mounted, for the next attempt.
    let mut swaps = looking("main", "/m", "sub");
    swaps["command"][2] = json!(format!(
        "cat /m{secret} 2>&1; cd /shared; rm -rf sub; mv sub old; ln -s / sub; ls -a /m | tr '\\n' ' '; echo end; [ -e /shared/again ] || {{ touch /shared/again; exit 1; }}"
    ));
    swaps["volumeMounts"].as_array_mut().context("no list")?.push(json!({"name": "shared", "mountPath": "/shared"}));
    let mut again = once(&corner, "again", swaps);
    again["spec"]["restartPolicy"] = json!("OnFailure");
    again["spec"]["volumes"] = json!([{"name": "shared", "emptyDir": {}}]);
    corner.create(again).await?;
    for (name, container) in [("before", "main"), ("before", "other"), ("again", "main")] {
        // Refusing to run is as good as not being led out.
        let refused = |pod: &Pod| waits_for(pod, container).as_deref() == Some("CreateContainerConfigError");
        let ended = |pod: &Pod| ["Succeeded", "Failed"].contains(&phase(pod)) || refused(pod);
        corner.until(name, "has ended or is refused", ended).await?;
        let params = kube::api::LogParams { container: Some(container.into()), ..Default::default() };
        let log = corner.pods().logs(name, &params).await.unwrap_or_default();
        ensure!(!log.contains("escaped"), "{name} {container}: {log}");
        for folder in [" proc ", " sys ", " work "] {
            ensure!(!log.contains(folder), "{name} {container} shows a root: {log}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_writable_sub_path_is_a_part_of_its_volume() -> Result<()> {
    let corner = corner("sub-path").await?;
    let mut writer = container("writer", "echo hello > /logs/app");
    writer["volumeMounts"] = json!([{"name": "data", "mountPath": "/logs", "subPath": "a/logs"}]);
    let mut reader = lister(json!([{"name": "data", "mountPath": "/data"}]));
    reader["name"] = json!("main");
    let mut pod = once(&corner, "web", reader);
    pod["spec"]["initContainers"] = json!([writer]);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    corner.create(pod).await?;
    let log = last_words(&corner, "web").await?;
    ensure!(log == "== /data\n./a/logs/app 644 0 0 hello\n", "{log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_writable_sub_path_is_the_file_or_the_folder_that_is_there() -> Result<()> {
    let corner = corner("sub-path-there").await?;
    for (name, source) in [("disk", json!({})), ("memory", json!({"medium": "Memory"}))] {
        let mount = |path: &str, sub: &str| json!({"name": "work", "mountPath": path, "subPath": sub});
        let whole = json!([{"name": "work", "mountPath": "/work"}]);
        let mut makes = container(
            "makes",
            "cd /work; echo one > app.yaml; mkdir -p conf/deep; echo two > conf/deep/x; chmod 750 conf",
        );
        makes["volumeMounts"] = whole.clone();
        let mut main = container(
            "main",
            "cat /etc/app.yaml /conf/deep/x /x; stat -c '%F %a' /etc/app.yaml /conf /new; \
             echo three >> /etc/app.yaml; echo four > /conf/y; echo five > /new/z",
        );
        main["volumeMounts"] = json!([
            mount("/etc/app.yaml", "app.yaml"),
            mount("/conf", "conf"),
            mount("/new", "a/new"),
            mount("/x", "conf/deep/x")
        ]);
        let mut other = container(
            "other",
            "until [ -s /work/a/new/z ]; do sleep 0.1; done; cd /work; cat app.yaml conf/deep/x conf/y a/new/z; ls",
        );
        other["volumeMounts"] = whole;
        let mut pod = once(&corner, name, main);
        pod["spec"]["initContainers"] = json!([makes]);
        pod["spec"]["containers"].as_array_mut().context("no list")?.push(other);
        pod["spec"]["volumes"] = json!([{"name": "work", "emptyDir": source}]);
        corner.create(pod).await?;
        corner.until(name, "has ended", |pod| ["Succeeded", "Failed"].contains(&phase(pod))).await?;
        for (container, expected) in [
            ("main", "one\ntwo\ntwo\nregular file 644\ndirectory 750\ndirectory 777\n"),
            ("other", "one\nthree\ntwo\nfour\nfive\na\napp.yaml\nconf\n"),
        ] {
            let params = kube::api::LogParams { container: Some(container.into()), ..Default::default() };
            let log = corner.pods().logs(name, &params).await?;
            ensure!(log == expected, "{name} {container}: {log}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_empty_dir_is_its_containers_own_also_after_a_new_sandbox() -> Result<()> {
    let corner = corner("kept").await?;
    let script = "[ -e /data/x ] || { chown 999 /data; chmod 700 /data; touch /data/x; }; stat -c '%a %u' /data; exec sleep 100000";
    let mut main = container("main", script);
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    let mut pod = pod(&corner, "web", main);
    pod["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    corner.create(pod).await?;
    log_until(&corner, "web", "shows whose it is", |log| log == "700 999\n").await?;
    let made = at_engine(&corner).await?;
    let sandbox = made.iter().find(|container| !container.is_attempt()).context("no sandbox")?;
    let api = Engine::shared().await?.api();
    api.send(Method::POST, &format!("/containers/{}/kill", sandbox.id), &[], Vec::new()).await?;
    corner.until("web", "was started again", |pod| restarts(pod, "main") == 1).await?;
    log_until(&corner, "web", "shows the same again", |log| log == "700 999\n").await?;
    Ok(())
}

/// Who the API server takes the bearer of a token for.
pub(crate) async fn bearer(corner: &Corner<'_>, token: &str) -> Result<String> {
    let mut config = vk_tests::cluster::config(corner.control_plane.admin_kubeconfig()).await?;
    config.auth_info = kube::config::AuthInfo { token: Some(token.to_owned().into()), ..Default::default() };
    let reviews: Api<k8s_openapi::api::authentication::v1::SelfSubjectReview> = Api::all(Client::try_from(config)?);
    let review = reviews.create(&Default::default(), &Default::default()).await?;
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    user.context("nobody")
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn the_token_in_a_container_is_accepted_by_the_api_server_until_the_pod_is_gone() -> Result<()> {
    let corner = corner("token").await?;
    let script = "cd /var/run/secrets/kubernetes.io/serviceaccount; cat namespace; echo; head -c 27 ca.crt; echo; cat token; echo; exec sleep 100000";
    let mut pod = pod(&corner, "web", container("main", script));
    pod["spec"]["automountServiceAccountToken"] = json!(true);
    pod["spec"]["securityContext"] = json!({"runAsUser": 1000});
    corner.create(pod).await?;
    let log = log_until(&corner, "web", "has three lines", |log| log.lines().count() == 3).await?;
    let lines: Vec<&str> = log.lines().collect();
    ensure!(lines[..2] == [corner.namespace.as_str(), "-----BEGIN CERTIFICATE-----"], "{log}");
    let user = bearer(&corner, lines[2]).await?;
    ensure!(user == format!("system:serviceaccount:{}:default", corner.namespace), "{user}");
    corner.delete("web", Some(0)).await?;
    corner.gone("web").await?;
    eventually("its token is worth nothing", || async { Ok(bearer(&corner, lines[2]).await.is_err().then_some(())) })
        .await
}
