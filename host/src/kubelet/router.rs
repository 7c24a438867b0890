//! Which path is whose: the kubelet's own paths and methods (pkg/kubelet/server/server.go).

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any, get};
use http::StatusCode;

use super::{Api, configz, healthz, logs, metrics, pods, stats};

/// All that is answered, and what is not answered by a sentence.
pub(super) fn new() -> Router<Api> {
    // The kubelet takes both forms of these, and clients use both.
    let list = || get(pods::list);
    let running = || get(pods::list_running);
    Router::new()
        .route("/pods", list())
        .route("/pods/", list())
        .route("/runningpods", running())
        .route("/runningpods/", running())
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs::serve))
        .route("/stats/summary", get(stats::summary::serve).post(stats::summary::serve))
        .route("/metrics", get(metrics::serve))
        .route("/metrics/resource", get(stats::resource::serve))
        .route("/healthz", get(healthz::serve))
        .route("/healthz/{check}", get(healthz::serve_one))
        .route("/configz", get(configz::serve))
        .route("/exec/{*target}", unserved("exec"))
        .route("/attach/{*target}", unserved("attach"))
        .route("/portForward/{*target}", unserved("port-forward"))
        .route("/run/{*target}", unserved("run"))
        .route("/checkpoint/{*target}", unserved("checkpoint"))
}

/// What the kubelet has and this host does not, whatever the method: kubectl shows the sentence.
fn unserved(what: &'static str) -> MethodRouter<Api> {
    any(move || async move { not_implemented(format!("{what} is not served by this version of vk-host")) })
}

/// 501 with its reason.
pub(super) fn not_implemented(sentence: String) -> Response {
    (StatusCode::NOT_IMPLEMENTED, sentence).into_response()
}
