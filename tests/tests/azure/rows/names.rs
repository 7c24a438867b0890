//! A group's name, in letters that Azure takes, and its tags, which say whose it is.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::corner::{Ground, container};

/// Of a group's name (Naming rules and restrictions for Azure resources).
const LONGEST: usize = 63;
/// Letters of the digest at its end.
const DIGEST: usize = 16;

/// Lower-case letters and digits, with single hyphens between them.
fn is_name(name: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= LONGEST && name.split('-').all(is_part)
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_has_a_name_that_azure_takes_and_no_other_has_and_tags_that_say_whose_it_is() -> Result<()> {
    let ground = Ground::with("called", |setup| setup.played()).await?;
    let (corner, space) = (&ground.corner, &ground.corner.namespace);
    let services: Api<Service> = Api::namespaced(corner.client.clone(), "default");
    let cluster = services.get("kubernetes").await?.uid();
    // Of two pods each what there is room for, or what Azure takes, is the same.
    let long = "l".repeat(LONGEST - 1);
    let cut = format!("{space}-{long}").get(..LONGEST - DIGEST - 1).context("too short")?.to_owned();
    let plain = format!("{space}-a-b");
    let table = [
        (format!("{long}1"), &cut),
        (format!("{long}2"), &cut),
        ("a--b".to_owned(), &plain),
        ("a-b".to_owned(), &plain),
    ];
    for (pod, _) in &table {
        corner.create(ground.pod(pod, container("serve"))).await?;
    }
    let mut names = BTreeSet::new();
    for (pod, expected) in &table {
        let pod = corner.running(pod).await?;
        let group = ground.group(&pod.name_any()).await?;
        let name = group["name"].as_str().context("no name")?.to_owned();
        let (stem, digest) = name.rsplit_once('-').context("no digest")?;
        ensure!(is_name(&name) && stem == expected.as_str() && digest.len() == DIGEST, "{name}");
        names.insert(name);
        let revision = &group["tags"]["Revision"];
        ensure!(revision.as_str().is_some_and(|revision| revision.starts_with("1-")), "{revision}");
        let tags = json!({
            "Namespace": space, "PodName": pod.name_any(), "UID": pod.uid(), "NodeName": corner.host.node(),
            "ClusterID": cluster, "CreationTimestamp": pod.creation_timestamp(), "Revision": revision,
        });
        ensure!(group["tags"] == tags, "{} and not {tags}", group["tags"]);
    }
    ensure!(names.len() == table.len(), "{names:?}");
    ground.over(&table.each_ref().map(|(pod, _)| pod.as_str())).await
}
