//! `resources`: what a group has, which is what is paid for.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::container as of;
use crate::corner::{Ground, container};

/// So many of the table's pods are there at once: they take three cores, of which a subscription has few (see `real`).
const AT_ONCE: usize = 2;

/// Pods by name, the resources of their containers, and what the group's containers have: cores and GB, and their
/// limits.
fn table() -> [(&'static str, Value, Value); 6] {
    let of = |cpu: f64, memory: f64| json!({"requests": {"cpu": cpu, "memoryInGB": memory}});
    let limited = |cpu: f64, memory: f64, limits: Value| json!({"requests": {"cpu": cpu, "memoryInGB": memory}, "limits": limits});
    [
        // Azure's own default, and azure-aci's.
        ("nothing", json!([{}]), json!([of(1.0, 1.5)])),
        // Rounded up: to hundredths of a core, and to tenths of 10⁹ bytes.
        ("odd", json!([{"requests": {"cpu": "1501m", "memory": "1Gi"}}]), json!([of(1.51, 1.1)])),
        // The smallest group is larger: the first container has the rest.
        (
            "small",
            json!([{"requests": {"cpu": "100m", "memory": "64Mi"}}, {"requests": {"cpu": "100m", "memory": "128Mi"}}]),
            json!([of(0.9, 0.8), of(0.1, 0.2)]),
        ),
        // What is missing in requests is the limit, as the API server has it.
        (
            "limits",
            json!([{"limits": {"cpu": "2", "memory": "2G"}}]),
            json!([limited(2.0, 2.0, json!({"cpu": 2.0, "memoryInGB": 2.0}))]),
        ),
        // A limit is between the request and what the group has.
        (
            "between",
            json!([{"requests": {"cpu": "1", "memory": "1G"}, "limits": {"cpu": "1500m"}}, {"requests": {"cpu": "1", "memory": "1G"}}]),
            json!([limited(1.0, 1.0, json!({"cpu": 1.5})), of(1.0, 1.0)]),
        ),
        (
            "lowered",
            json!([{"requests": {"cpu": "1", "memory": "1G"}, "limits": {"cpu": "4", "memory": "8G"}}]),
            json!([limited(1.0, 1.0, json!({"cpu": 1.0, "memoryInGB": 1.0}))]),
        ),
    ]
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_group_has_what_its_containers_request_and_no_less_than_the_smallest() -> Result<()> {
    let ground = Ground::new("resources").await?;
    let table = table();
    for part in table.chunks(AT_ONCE) {
        have(&ground, part).await?;
    }
    let told = ground.corner.event("lowered", "LimitLowered").await?.message.unwrap_or_default();
    ensure!(told.contains("1 cores and 1 GB"), "{told}");
    Ok(())
}

/// A part of the table: its pods come, have what they should, and go.
async fn have(ground: &Ground, table: &[(&str, Value, Value)]) -> Result<()> {
    for (name, resources, _) in table {
        let mut pod = ground.pod(name, Value::Null);
        let containers = resources.as_array().into_iter().flatten().enumerate().map(|(index, resources)| {
            let mut container = container("true");
            container["name"] = json!(format!("c{index}"));
            container["resources"] = resources.clone();
            container
        });
        pod["spec"]["containers"] = containers.collect();
        ground.corner.create(pod).await?;
    }
    for (name, _, expected) in table {
        ground.corner.in_phase(name, "Succeeded").await?;
        let group = ground.group(name).await?;
        for (index, expected) in expected.as_array().into_iter().flatten().enumerate() {
            let shown = &of(&group, &format!("c{index}"))["resources"];
            ensure!(shown == expected, "{name}: {shown} and not {expected}");
        }
    }
    let names: Vec<&str> = table.iter().map(|(name, ..)| *name).collect();
    ground.over(&names).await
}
