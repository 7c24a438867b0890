//! Groups of other people in the same resource group, some of them much like the node's own. Whatever happens, they
//! stay as they are.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use vk_fake_aci::Fake;
use vk_tests::cluster::eventually;

use crate::corner::Ground;

/// A group that says of itself that it is the node's, and not of which pod.
pub(super) const NO_POD: &str = "no-pod";
/// How the provider calls itself in its requests.
const OWN_AGENT: &str = "vk-host/";

/// Somebody else with rights of their own, and the groups that they have made.
pub(super) struct Others {
    client: reqwest::Client,
    groups: BTreeMap<String, Group>,
}

struct Group {
    /// When it was there, as the fake counts.
    since: u64,
    /// It says of which pod it is.
    is_tagged: bool,
}

impl Others {
    /// With groups that nearly are the node's.
    pub(super) async fn beside(ground: &Ground) -> Result<Self> {
        let services: Api<Service> = Api::namespaced(ground.corner.client.clone(), "default");
        let (cluster, node) = (services.get("kubernetes").await?.uid().context("no UID")?, ground.corner.host.node());
        let tags = |of: &str, node: &str, cluster: &str| {
            json!({
                "Namespace": ground.corner.namespace, "PodName": of, "UID": format!("uid-{of}"), "NodeName": node,
                "ClusterID": cluster, "Revision": "1", "CreationTimestamp": "2026-01-01T00:00:00Z",
            })
        };
        let fake = ground.fake();
        let authority = reqwest::Certificate::from_pem(&std::fs::read(fake.authority())?)?;
        let client = reqwest::Client::builder().add_root_certificate(authority).build()?;
        let mut others = Self { client, groups: BTreeMap::new() };
        others.put(fake, "other-cluster", tags("other-cluster", node, "another-cluster")).await?;
        others.put(fake, "other-node", tags("other-node", "another-node", &cluster)).await?;
        others.put(fake, "no-tags", json!({})).await?;
        // Of this node, says somebody; but nobody can tell which pod's.
        others.put(fake, NO_POD, json!({"NodeName": node, "ClusterID": cluster})).await?;
        eventually("what is others' runs", || async { Ok(others.all_run(fake).ok()) }).await?;
        Ok(others)
    }

    /// Anew for each request: tests end tokens.
    async fn token(&self, fake: &Fake) -> Result<String> {
        let account = fake.account();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", account.client_id.as_str()),
            ("client_secret", account.client_secret.as_str()),
            ("scope", "https://management.azure.com/.default"),
        ];
        let url = format!("{}/{}/oauth2/v2.0/token", fake.url(), account.tenant);
        let answer = self.client.post(url).form(&form).send().await?.error_for_status()?.text().await?;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    }

    async fn send(&self, fake: &Fake, method: Method, group: &str, body: Option<&Value>) -> Result<()> {
        let account = fake.account();
        let url = format!(
            "{}/subscriptions/{}/resourceGroups/{}/providers/Microsoft.ContainerInstance/containerGroups/{group}?api-version=2023-05-01",
            fake.url(),
            account.subscription,
            account.resource_groups[0],
        );
        let mut request = self.client.request(method, url).bearer_auth(self.token(fake).await?);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{group}: {status} {text}");
        Ok(())
    }

    /// Makes a group.
    pub(super) async fn put(&mut self, fake: &Fake, name: &str, tags: Value) -> Result<()> {
        let is_tagged = tags["UID"].is_string();
        let container = json!({"name": "main", "properties": {
            "image": vk_tests::engine::tagged(1), "command": ["sh", "-c", "exec sleep 100000"],
            "resources": {"requests": {"cpu": 1.0, "memoryInGB": 1.0}},
        }});
        let group = json!({"location": "westeurope", "tags": tags, "properties": {
            "osType": "Linux", "restartPolicy": "Always", "containers": [container],
        }});
        self.send(fake, Method::PUT, name, Some(&group)).await?;
        let since = u64::try_from(fake.elapsed().as_millis())?;
        self.groups.insert(name.to_owned(), Group { since, is_tagged });
        Ok(())
    }

    /// Removes a group, whoever has made it.
    pub(super) async fn remove(&mut self, fake: &Fake, name: &str) -> Result<()> {
        self.send(fake, Method::DELETE, name, None).await?;
        self.groups.remove(name);
        Ok(())
    }

    /// Stops a group, whoever has made it.
    pub(super) async fn stop(&self, fake: &Fake, name: &str) -> Result<()> {
        self.send(fake, Method::POST, &format!("{name}/stop"), None).await
    }

    /// Those that are there run as when they were made.
    fn all_run(&self, fake: &Fake) -> Result<()> {
        for name in self.groups.keys() {
            let group = fake.group(&fake.account().resource_groups[0], name);
            let group = group.with_context(|| format!("{name} is gone"))?;
            let properties = &group["properties"];
            let view = &properties["containers"][0]["properties"]["instanceView"];
            ensure!(
                properties["provisioningState"] == "Succeeded"
                    && properties["instanceView"]["state"] == "Running"
                    && view["restartCount"] == 0
                    && view["currentState"]["state"] == "Running",
                "{group}"
            );
        }
        Ok(())
    }

    /// How many of them say of which pod they are.
    pub(super) fn tagged(&self) -> usize {
        self.groups.values().filter(|group| group.is_tagged).count()
    }

    /// They run as when they were made, and the host has asked nothing of them.
    pub(super) fn were_left_alone(&self, fake: &Fake) -> Result<()> {
        self.all_run(fake)?;
        let mut requests = fake.requests();
        requests.retain(|request| {
            let touches = |(name, group): (&String, &Group)| {
                request.at >= group.since && request.path.contains(&format!("/containerGroups/{name}"))
            };
            request.method != "GET" && request.user_agent.starts_with(OWN_AGENT) && self.groups.iter().any(touches)
        });
        ensure!(requests.is_empty(), "{requests:?}");
        Ok(())
    }

    /// They go too.
    pub(super) async fn go(&self, fake: &Fake) -> Result<()> {
        for name in self.groups.keys() {
            self.send(fake, Method::DELETE, name, None).await?;
        }
        Ok(())
    }
}
