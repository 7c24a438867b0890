//! `GET /configz`: the configuration that is in force, as the kubelet's `{"kubeletconfig": {…}}`. No secrets: files by path.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Api;

pub(super) async fn serve(State(api): State<Api>) -> Json<Value> {
    Json(api.about.configuration.clone())
}
