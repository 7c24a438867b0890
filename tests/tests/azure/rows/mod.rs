//! Each row of the table "A pod in Azure" of plugins/azure/README.md: from the API server through host and plugin to
//! Azure, and, where Linux containers can show it, back to what a real process sees.
//!
//! | in the pod | shown by |
//! | --- | --- |
//! | name, tags | `names` |
//! | containers, initContainers, restartPolicy | `containers` |
//! | env | `environment` |
//! | resources | `resources` |
//! | ports, DNS label | `network` |
//! | probes | `probes` |
//! | securityContext | `containers` |
//! | subnet, dnsPolicy, dnsConfig | `subnet` |
//! | configMap, secret, projected, downwardAPI, emptyDir | `volumes` |
//! | gitRepo, azureFile, csi | `shares` |
//! | imagePullSecrets | `registry` |
//! | what is changed in place | `updates` |
//! | what no machine here can do | `pretended` |

mod containers;
mod environment;
pub(crate) mod leaks;
mod logs;
mod names;
mod network;
mod pretended;
mod probes;
mod refused;
mod registry;
mod resources;
mod secrets;
mod shares;
mod subnet;
mod updates;
mod volumes;

use anyhow::Result;
use kube::api::LogParams;
use serde_json::Value;

use crate::corner::Ground;

/// The log of one container of several.
async fn log(ground: &Ground, pod: &str, container: &str) -> Result<String> {
    let params = LogParams { container: Some(container.to_owned()), ..LogParams::default() };
    Ok(ground.corner.pods().logs(pod, &params).await?)
}

/// The properties of a group's container, of init containers too.
fn container<'a>(group: &'a Value, name: &str) -> &'a Value {
    let lists = [&group["properties"]["initContainers"], &group["properties"]["containers"]];
    let mut all = lists.into_iter().filter_map(Value::as_array).flatten();
    all.find(|container| container["name"] == name).map_or(&Value::Null, |container| &container["properties"])
}

/// The path of a subnet of the cluster's network.
pub(crate) fn subnet_path(name: &str) -> String {
    format!("/subscriptions/s/resourceGroups/net/providers/Microsoft.Network/virtualNetworks/cluster/subnets/{name}")
}

/// The path of an identity that groups may have.
fn identity_path(name: &str) -> String {
    format!("/subscriptions/s/resourceGroups/ids/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}")
}
