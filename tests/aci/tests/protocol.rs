//! What tests rely on of a fake whose containers are played, asked from outside. Its protocol is checked by Microsoft's own client
//! (`contract/`).

#![allow(clippy::indexing_slicing, reason = "clippy does not take the helpers of tests for tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use vk_fake_aci::config::RunsOn;
use vk_fake_aci::{Config, Fake, Fault, How};

const AUDIENCE: &str = "https://management.azure.com";
const OLD: &str = "2023-05-01";
const NEW: &str = "2026-05-01";
/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(10);

/// A fake, and somebody who may do everything with groups.
struct Ground {
    fake: Fake,
    client: reqwest::Client,
    token: String,
    /// Of the fake's files.
    _folder: TempDir,
}

impl Ground {
    async fn new() -> Result<Self> {
        // Another test may have done so.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let fake = Fake::start(Config::new(folder.path(), RunsOn::Nothing))?;
        let authority = reqwest::Certificate::from_pem(&std::fs::read(fake.authority())?)?;
        let client = reqwest::Client::builder().add_root_certificate(authority).no_proxy().build()?;
        let token = token(&client, &fake).await?;
        Ok(Self { fake, client, token, _folder: folder })
    }

    /// A request about a group, or about what it has.
    fn request(&self, method: Method, version: &str, group: &str) -> RequestBuilder {
        let account = self.fake.account();
        let url = format!(
            "{}/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ContainerInstance/containerGroups/{group}?api-version={version}",
            self.fake.url(),
            account.subscription,
            account.resource_groups[0],
        );
        self.client.request(method, url).bearer_auth(&self.token)
    }

    /// Puts a group and returns the status of the answer.
    async fn put(&self, version: &str, group: &str, body: &Value) -> Result<u16> {
        Ok(self.request(Method::PUT, version, group).body(body.to_string()).send().await?.status().as_u16())
    }

    fn group(&self, name: &str) -> Option<Value> {
        self.fake.group(&self.fake.account().resource_groups[0], name)
    }

    /// Waits until a group's provisioning is over.
    async fn provisioned(&self, name: &str) -> Result<Value> {
        eventually(|| self.group(name).filter(is_provisioned).map(|_| ())).await?;
        self.group(name).context("it is gone")
    }
}

fn is_provisioned(group: &Value) -> bool {
    ["Succeeded", "Failed"].iter().any(|state| group["properties"]["provisioningState"] == *state)
}

/// Signs in as the application.
async fn token(client: &reqwest::Client, fake: &Fake) -> Result<String> {
    let (account, scope) = (fake.account(), format!("{AUDIENCE}/.default"));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", account.client_id.as_str()),
        ("client_secret", account.client_secret.as_str()),
        ("scope", scope.as_str()),
    ];
    let url = format!("{}/{}/oauth2/v2.0/token", fake.url(), account.tenant);
    access_token(client.post(url).form(&form)).await
}

async fn access_token(request: RequestBuilder) -> Result<String> {
    let answer: Value = serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?;
    Ok(answer["access_token"].as_str().context("no token")?.to_owned())
}

async fn eventually(is_so: impl Fn() -> Option<()>) -> Result<()> {
    let began = Instant::now();
    while is_so().is_none() {
        ensure!(began.elapsed() < PATIENCE, "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A group of a container that goes on, with this of its own.
fn body(uid: &str, properties: Value) -> Value {
    let container = json!({"name": "main", "properties": {
        "image": "image", "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.0}}}});
    let mut body = json!({"location": "westeurope", "tags": {"UID": uid}, "properties": {
        "osType": "Linux", "restartPolicy": "Always", "containers": [container]}});
    for (name, value) in properties.as_object().into_iter().flatten() {
        body["properties"][name] = value.clone();
    }
    body
}

#[tokio::test]
async fn puts_are_counted_by_what_they_find() -> Result<()> {
    let ground = Ground::new().await?;
    let (web, other) = (body("u-1", json!({})), body("u-2", json!({})));
    let counts = |uid: &str| {
        let of = |counts: BTreeMap<String, u32>| counts.get(uid).copied().unwrap_or_default();
        [of(ground.fake.made()), of(ground.fake.changed()), of(ground.fake.conflicts())]
    };
    ensure!(ground.put(OLD, "web", &web).await? == 201);
    ensure!(ground.put(OLD, "web", &web).await? == 409, "it is being made");
    ground.provisioned("web").await?;
    ensure!(ground.put(OLD, "web", &web).await? == 200);
    ensure!(counts("u-1") == [1, 1, 1], "{:?}", counts("u-1"));
    ground.provisioned("web").await?;
    ensure!(ground.put(OLD, "web", &body("u-1", json!({"restartPolicy": "Never"}))).await? == 400);
    ensure!(counts("u-1") == [1, 1, 2], "{:?}", counts("u-1"));
    // Whoever's it is: what counts is who puts.
    ensure!(ground.put(OLD, "web", &other).await? == 200);
    ensure!(counts("u-1") == [1, 1, 2] && counts("u-2") == [0, 1, 0], "{:?}", counts("u-2"));
    let busy = How::Refuse { status: 409, code: "Busy".to_owned(), message: "later".to_owned(), retry_after: None };
    ground.fake.fault(Fault::next("PUT", "/web", busy));
    ensure!(ground.put(OLD, "web", &other).await? == 409);
    ensure!(counts("u-2") == [0, 1, 0], "a fault proves nothing: {:?}", counts("u-2"));
    Ok(())
}

#[tokio::test]
async fn what_only_a_new_group_can_have_otherwise_is_refused_of_one_that_is_there() -> Result<()> {
    let ground = Ground::new().await?;
    let container = |cpu: f64, image: &str| {
        json!({"name": "main", "properties": {
            "image": image, "resources": {"requests": {"cpu": cpu, "memoryInGB": 1.0}}}})
    };
    let subnet = |id: &str| json!({"subnetIds": [{"id": id}]});
    let zone = |zones: Value| {
        let mut body = body("u-1", json!({}));
        body["zones"] = zones;
        body
    };
    let plain = body("u-1", json!({}));
    let (inside, moved) = (body("u-1", subnet("/subnets/One")), body("u-1", subnet("/subnets/two")));
    for (name, first, second, expected) in [
        ("image", &plain, body("u-1", json!({"containers": [container(1.0, "another")]})), 200),
        ("policy", &plain, body("u-1", json!({"restartPolicy": "Never"})), 400),
        ("cores", &plain, body("u-1", json!({"containers": [container(2.0, "image")]})), 400),
        ("joins", &plain, inside.clone(), 400),
        ("moves", &inside, moved, 400),
        ("leaves", &inside, plain.clone(), 400),
        ("stays", &inside, body("u-1", subnet("/SUBNETS/one")), 200),
        ("zoned", &plain, zone(json!(["1"])), 400),
        ("rezoned", &zone(json!(["1"])), zone(json!(["2"])), 400),
        ("unzoned", &zone(json!(["1"])), plain.clone(), 400),
        ("rezoned-alike", &zone(json!(["1"])), zone(json!(["1"])), 200),
        ("zoneless", &plain, zone(json!([])), 200),
    ] {
        ensure!(ground.put(OLD, name, first).await? == 201, "{name}");
        ground.provisioned(name).await?;
        let status = ground.put(OLD, name, &second).await?;
        ensure!(status == expected, "{name}: {status}");
    }
    ensure!(ground.fake.conflicts() == BTreeMap::from([("u-1".to_owned(), 8)]), "{:?}", ground.fake.conflicts());
    Ok(())
}

#[tokio::test]
async fn bodies_are_checked_whatever_becomes_of_their_requests() -> Result<()> {
    let ground = Ground::new().await?;
    let wrong = json!({"location": "westeurope", "nonsense": 1, "properties": {"osType": "Linux", "containers": []}});
    let refusal =
        How::Refuse { status: 500, code: "Error".to_owned(), message: "Sorry.".to_owned(), retry_after: None };
    let url = ground.request(Method::PUT, OLD, "web").build()?.url().to_string();
    let elsewhere = ground.client.put(url.replace("/pods/", "/nowhere/")).bearer_auth(&ground.token);
    let put = || ground.request(Method::PUT, OLD, "web").body(wrong.to_string());
    for (what, request, fault) in [
        ("taken", put(), None),
        ("refused", put(), Some(refusal)),
        ("unheard", put(), Some(How::LoseRequest)),
        ("silent", put(), Some(How::Hang)),
        ("unsigned", ground.client.put(url).body(wrong.to_string()), None),
        ("elsewhere", elsewhere.body(wrong.to_string()), None),
        ("no JSON", ground.request(Method::PUT, OLD, "web").body("{"), None),
        ("tags", ground.request(Method::PATCH, OLD, "web").body(json!({"tags": 1}).to_string()), None),
        ("exec", ground.request(Method::POST, OLD, "web/containers/main/exec").body(json!([]).to_string()), None),
    ] {
        let before = ground.fake.violations().len();
        if let Some(how) = fault {
            ground.fake.fault(Fault { method: None, ..Fault::next("", "/web", how) });
        }
        // What comes of it is no matter here.
        let _ = request.timeout(Duration::from_millis(500)).send().await;
        ensure!(ground.fake.violations().len() > before, "{what}: nobody noticed");
        ensure!(ground.fake.faults().is_empty(), "{what}");
    }
    ensure!(ground.put(OLD, "web", &body("u-1", json!({}))).await? == 201);
    Ok(())
}

#[tokio::test]
async fn a_providers_requests_go_where_the_schema_and_the_least_roles_let_them() -> Result<()> {
    let ground = Ground::new().await?;
    let account = ground.fake.account().clone();
    let base = format!("{}/subscriptions/{}", ground.fake.url(), account.subscription);
    let groups = "/resourceGroups/pods/providers/Microsoft.ContainerInstance/containerGroups";
    let place = "/providers/Microsoft.ContainerInstance/locations/westeurope";
    ensure!(account.resource_groups[0] == "pods", "{account:?}");
    let ask = async |method: &str, path: &str, agent: &str| -> Result<Vec<String>> {
        let before = ground.fake.violations().len();
        let request = ground.client.request(method.parse()?, format!("{base}{path}")).bearer_auth(&ground.token);
        request.header("user-agent", agent).send().await?;
        Ok(ground.fake.violations().into_iter().skip(before).map(|violation| violation.place).collect())
    };
    for (method, path, places) in [
        ("GET", format!("{groups}?api-version={OLD}"), vec![]),
        ("GET", format!("{groups}?api-version={NEW}&%24skiptoken=1"), vec![]),
        ("GET", format!("{groups}/web?api-version={OLD}"), vec![]),
        ("DELETE", format!("{groups}/web?api-version={OLD}"), vec![]),
        ("POST", format!("{groups}/web/stop?api-version={OLD}"), vec![]),
        ("GET", format!("{groups}/web/containers/main/logs?api-version={OLD}&tail=1&timestamps=true"), vec![]),
        ("GET", format!("{place}/operations/1?api-version=2018-06-01"), vec![]),
        ("GET", format!("{place}/operationResults/1?api-version=2018-06-01"), vec![]),
        ("GET", format!("{groups}/web?api-version=2019-12-01"), vec!["query parameter api-version"]),
        ("GET", format!("{groups}/web?api-version={OLD}&expand=all"), vec!["query parameter expand"]),
        (
            "GET",
            format!("{groups}/web/containers/main/logs?api-version={OLD}&timestamps=yes"),
            vec!["query parameter timestamps"],
        ),
        ("HEAD", format!("{groups}/web?api-version={OLD}"), vec!["method"]),
        ("GET", format!("{groups}/web/events?api-version={OLD}"), vec!["path"]),
        ("GET", format!("/providers/Microsoft.ContainerInstance/containerGroups?api-version={OLD}"), vec!["path"]),
        ("GET", format!("{place}/usages?api-version={OLD}"), vec!["path"]),
        ("DELETE", format!("{place}/operations/1?api-version=2018-06-01"), vec!["path", "path"]),
        ("GET", "/resourceGroups?api-version=2021-04-01".to_owned(), vec!["path", "path"]),
    ] {
        let found = ask(method, &path, "vk-host/1.0 azure/1.0").await?;
        ensure!(found == places, "{method} {path}: {found:?}");
        let found = ask(method, &path, "azsdk-python/1.0").await?;
        ensure!(found.is_empty(), "{method} {path} of somebody else: {found:?}");
    }
    let sign_in = ground.client.post(format!("{}/{}/oauth2/v2.0/token", ground.fake.url(), account.tenant));
    sign_in.header("user-agent", "vk-host/1.0").send().await?;
    ensure!(ground.fake.violations().len() == 11, "{:?}", ground.fake.violations());
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_too_long_is_recorded_and_refused() -> Result<()> {
    let ground = Ground::new().await?;
    let mut long = body("u-1", json!({}));
    let most = 4 << 20;
    long["tags"]["long"] = json!("");
    let rest = most - long.to_string().len();
    long["tags"]["long"] = json!("x".repeat(rest));
    ensure!(ground.put(OLD, "long", &long).await? == 201);
    ensure!(ground.fake.violations().is_empty(), "{:?}", ground.fake.violations());
    for more in [1, 64 << 20] {
        let before = ground.fake.violations().len();
        let put = ground.request(Method::PUT, OLD, "longer").body(" ".repeat(most + more)).send().await?;
        ensure!(put.status().as_u16() == 413, "{more}: {}", put.status());
        let said: Value = serde_json::from_slice(&put.bytes().await?)?;
        ensure!(said["error"]["code"] == "RequestContentTooLarge", "{said}");
        let violations = ground.fake.violations();
        ensure!(violations.len() == before + 1 && violations[before].place == "/", "{violations:?}");
    }
    ensure!(ground.group("longer").is_none());
    Ok(())
}

#[tokio::test]
async fn what_is_held_is_done_once_it_is_released() -> Result<()> {
    let ground = Arc::new(Ground::new().await?);
    ground.fake.fault(Fault::next("PUT", "/web", How::Hold));
    let asking = tokio::spawn({
        let ground = ground.clone();
        async move { ground.put(OLD, "web", &body("u-1", json!({}))).await }
    });
    eventually(|| ground.fake.faults().is_empty().then_some(())).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    ensure!(!asking.is_finished() && ground.group("web").is_none());
    ground.fake.release();
    ensure!(asking.await?? == 201 && ground.group("web").is_some());
    // What nobody waits for is done all the same.
    ground.fake.fault(Fault::next("DELETE", "/web", How::Hold));
    let removal = ground.request(Method::DELETE, OLD, "web").timeout(Duration::from_millis(200)).send().await;
    ensure!(removal.is_err() && ground.group("web").is_some());
    eventually(|| ground.fake.faults().is_empty().then_some(())).await?;
    ground.fake.release();
    eventually(|| ground.group("web").is_none().then_some(())).await
}

#[tokio::test]
async fn a_share_that_cannot_be_mounted_is_told_as_recorded_answers_have_it() -> Result<()> {
    let ground = Ground::new().await?;
    let account = ground.fake.account().clone();
    let share = |more: (&str, &str)| {
        let mut file = json!({"shareName": account.shares[0].name, "storageAccountName": account.shares[0].account, "readOnly": true});
        file[more.0] = json!(more.1);
        body("u-1", json!({"volumes": [{"name": "share", "azureFile": file}]}))
    };
    let (key, client_id) = (("storageAccountKey", "d3Jvbmc="), "userManagedIdentityClientId");
    let own = (client_id, account.identities[0].as_str());
    let with = |mut body: Value| {
        body["identity"] = json!({"type": "UserAssigned", "userAssignedIdentities": {"/identities/web": {}}});
        body
    };
    for (name, version, body, is_mounted) in [
        ("wrong", OLD, share(key), false),
        ("right", OLD, share(("storageAccountKey", account.shares[0].key.as_str())), true),
        ("nobody", NEW, share(own), false),
        ("identity", NEW, with(share(own)), true),
        ("unknown", NEW, with(share((client_id, "another"))), false),
    ] {
        ensure!(ground.put(version, name, &body).await? == 201, "{name}");
        let group = ground.provisioned(name).await?;
        let of = &group["properties"];
        if is_mounted {
            ensure!(of["provisioningState"] == "Succeeded", "{name}: {group}");
            continue;
        }
        let (event, state) =
            (&of["instanceView"]["events"][0], &of["containers"][0]["properties"]["instanceView"]["currentState"]);
        ensure!(of["provisioningState"] == "Failed" && of["instanceView"]["state"] == "Pending", "{name}: {group}");
        ensure!(event["name"] == "FailedMount" && event["type"] == "Normal", "{name}: {event}");
        ensure!(event["message"].as_str().is_some_and(|message| message.contains("Permission denied")), "{event}");
        ensure!(state["state"] == "Waiting" && state["startTime"].is_string(), "{name}: {state}");
    }
    Ok(())
}

#[tokio::test]
async fn all_that_one_can_sign_in_with_is_handed_out() -> Result<()> {
    let ground = Ground::new().await?;
    let machine = format!("{}/metadata/identity/oauth2/token", ground.fake.plain_url());
    let query = [("api-version", "2018-02-01"), ("resource", AUDIENCE)];
    let machines = access_token(ground.client.get(machine).query(&query).header("metadata", "true")).await?;
    let clusters = ground.fake.assertion(PATIENCE).context("no cluster is trusted")?;
    let issued = ground.fake.issued();
    for token in [&ground.token, &machines, &clusters] {
        ensure!(issued.contains(token), "{token} is not among {issued:?}");
    }
    ensure!(issued.len() == 3, "{issued:?}");
    Ok(())
}
