//! `GET /metrics`: what the host counts of itself, as OpenMetrics text.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Api;

/// <https://prometheus.io/docs/specs/om/open_metrics_spec/#overall-structure>
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn serve(State(api): State<Api>) -> Response {
    match api.about.metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
