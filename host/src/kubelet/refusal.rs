//! A provider's error as a status code.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use crate::provider::{Code, Error};

/// The answer to whoever asked for what the provider could not give; the message is the provider's sentence.
pub(super) fn answer(error: &Error) -> Response {
    let status = match error.code {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable | Code::ResourceExhausted => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.message.clone()).into_response()
}

/// The answer to a reader of a log. Of all the statuses that are none of its own the API server keeps the sentence of 400 and 500 alone
/// (`GenericHttpResponseChecker` of k8s.io/apiserver), and says something in general to the rest; the kubelet answers 400.
pub(super) fn answer_reader(error: &Error) -> Response {
    let status = match error.code {
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, error.message.clone()).into_response()
}
