//! `wasi:http/types.http-error-code`: why a body broke off.
//!
//! wasmtime's own function knows an error by its code alone, and bodies fail with what codes are made of: a guest would learn
//! nothing.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::IoError;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::plugin::state::State;

/// In the version that wasmtime links.
const INTERFACE: &str = "wasi:http/types@0.2.12";

/// Takes the place of wasmtime's own.
pub(in crate::plugin) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(INTERFACE)?.func_wrap("http-error-code", http_error_code)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn http_error_code(
    store: StoreContextMut<'_, State>,
    (error,): (Resource<IoError>,),
) -> wasmtime::Result<(Option<ErrorCode>,)> {
    Ok((code(store.data().table.get(&error)?),))
}

fn code(error: &IoError) -> Option<ErrorCode> {
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return Some(code.clone());
    }
    // What bodies fail with; nothing else comes by here.
    Some(match error.downcast_ref::<Error>()? {
        Error::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(*size),
        Error::HttpResponseHeaderSectionSize(size) => ErrorCode::HttpResponseHeaderSectionSize(*size),
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        Error::TlsCertificateError => ErrorCode::TlsCertificateError,
        error => ErrorCode::InternalError(Some(error.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plugin::egress::Failure;

    #[test]
    fn a_guest_learns_why_a_body_broke_off() {
        let code = |failure: Failure| code(&Error::from(failure).into());
        let size = Failure::ResponseSize { limit: 7, length: Some(8) };
        assert!(matches!(code(size), Some(ErrorCode::HttpResponseBodySize(Some(8)))));
        assert!(matches!(code(Failure::Stalled(Duration::ZERO)), Some(ErrorCode::ConnectionReadTimeout)));
        assert!(matches!(code(Failure::Terminated(String::new())), Some(ErrorCode::ConnectionTerminated)));
        assert!(matches!(code(Failure::Protocol(String::new())), Some(ErrorCode::HttpProtocolError)));
        assert!(super::code(&IoError::msg("another one")).is_none());
    }
}
