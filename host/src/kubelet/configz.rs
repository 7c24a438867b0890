//! `GET /configz`: the configuration that is in force, as the kubelet's `{"kubeletconfig": {…}}`. No secrets: files by path.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Api;
use crate::provider::Identity;

pub(super) async fn serve(State(api): State<Api>) -> Json<Value> {
    let mut configuration = api.about.configuration.clone();
    // A swap brings another version.
    if let Some(provider) = configuration.pointer_mut("/vk-host/provider") {
        let Identity { name, version, .. } = api.provider.identity();
        *provider = json!({"name": name, "version": version});
    }
    Json(configuration)
}
