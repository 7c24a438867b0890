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
