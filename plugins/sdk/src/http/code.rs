//! The words of `wasi:http` for what went wrong, and what each of them means for the caller.

pub use crate::bindings::imports::wasi::http::types::ErrorCode;

use crate::Code;

/// Whether a request may have reached the server when it failed so.
const SENT: bool = true;
const UNSENT: bool = false;

impl ErrorCode {
    /// As the WIT writes it, such as `HTTP-request-denied`.
    pub const fn name(&self) -> &'static str {
        self.facts().0
    }

    /// What the host does about a call that fails for it.
    pub(crate) const fn class(&self) -> Code {
        self.facts().1
    }

    /// Something of the request may have reached the server. What is not known to be before that counts as after it.
    pub(crate) const fn may_be_sent(&self) -> bool {
        self.facts().2
    }

    /// The name as a reason of [`Error`](crate::Error): `HTTPRequestDenied`.
    pub(crate) fn reason(&self) -> String {
        let mut reason = String::new();
        for word in self.name().split('-') {
            let mut letters = word.chars();
            reason.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            reason.push_str(letters.as_str());
        }
        reason
    }

    /// For people: the name, and what the code has with it.
    pub(crate) fn told(&self) -> String {
        let detail = match self {
            Self::DnsError(payload) => payload.rcode.clone(),
            Self::TlsAlertReceived(payload) => payload.alert_message.clone(),
            Self::HttpRequestBodySize(size) | Self::HttpResponseBodySize(size) => {
                size.map(|size| format!("{size} bytes"))
            }
            Self::InternalError(text) => text.clone(),
            _ => None,
        };
        detail.map_or_else(|| self.name().to_owned(), |detail| format!("{} ({detail})", self.name()))
    }

    /// Name, class and whether the request may have been sent.
    const fn facts(&self) -> (&'static str, Code, bool) {
        match self {
            Self::DnsTimeout => ("DNS-timeout", Code::Unavailable, UNSENT),
            Self::DnsError(_) => ("DNS-error", Code::Unavailable, UNSENT),
            Self::DestinationNotFound => ("destination-not-found", Code::Unavailable, UNSENT),
            Self::DestinationUnavailable => ("destination-unavailable", Code::Unavailable, UNSENT),
            Self::DestinationIpProhibited => ("destination-IP-prohibited", Code::PermissionDenied, UNSENT),
            Self::DestinationIpUnroutable => ("destination-IP-unroutable", Code::Unavailable, UNSENT),
            Self::ConnectionRefused => ("connection-refused", Code::Unavailable, UNSENT),
            Self::ConnectionTerminated => ("connection-terminated", Code::Unavailable, SENT),
            Self::ConnectionTimeout => ("connection-timeout", Code::Unavailable, UNSENT),
            Self::ConnectionReadTimeout => ("connection-read-timeout", Code::DeadlineExceeded, SENT),
            Self::ConnectionWriteTimeout => ("connection-write-timeout", Code::DeadlineExceeded, SENT),
            // The host's answer to a request whose turn in a budget would come after the call's end.
            Self::ConnectionLimitReached => ("connection-limit-reached", Code::ResourceExhausted, UNSENT),
            Self::TlsProtocolError => ("TLS-protocol-error", Code::Unavailable, UNSENT),
            Self::TlsCertificateError => ("TLS-certificate-error", Code::PermissionDenied, UNSENT),
            Self::TlsAlertReceived(_) => ("TLS-alert-received", Code::Unavailable, UNSENT),
            Self::HttpRequestDenied => ("HTTP-request-denied", Code::PermissionDenied, UNSENT),
            Self::HttpRequestLengthRequired => ("HTTP-request-length-required", Code::Internal, SENT),
            Self::HttpRequestBodySize(_) => ("HTTP-request-body-size", Code::Internal, SENT),
            Self::HttpRequestMethodInvalid => ("HTTP-request-method-invalid", Code::Internal, UNSENT),
            Self::HttpRequestUriInvalid => ("HTTP-request-URI-invalid", Code::Internal, UNSENT),
            Self::HttpRequestUriTooLong => ("HTTP-request-URI-too-long", Code::Internal, UNSENT),
            Self::HttpRequestHeaderSectionSize(_) => ("HTTP-request-header-section-size", Code::Internal, UNSENT),
            Self::HttpRequestHeaderSize(_) => ("HTTP-request-header-size", Code::Internal, UNSENT),
            Self::HttpRequestTrailerSectionSize(_) => ("HTTP-request-trailer-section-size", Code::Internal, SENT),
            Self::HttpRequestTrailerSize(_) => ("HTTP-request-trailer-size", Code::Internal, SENT),
            Self::HttpResponseIncomplete => ("HTTP-response-incomplete", Code::Unavailable, SENT),
            Self::HttpResponseHeaderSectionSize(_) => ("HTTP-response-header-section-size", Code::Unknown, SENT),
            Self::HttpResponseHeaderSize(_) => ("HTTP-response-header-size", Code::Unknown, SENT),
            Self::HttpResponseBodySize(_) => ("HTTP-response-body-size", Code::Unknown, SENT),
            Self::HttpResponseTrailerSectionSize(_) => ("HTTP-response-trailer-section-size", Code::Unknown, SENT),
            Self::HttpResponseTrailerSize(_) => ("HTTP-response-trailer-size", Code::Unknown, SENT),
            Self::HttpResponseTransferCoding(_) => ("HTTP-response-transfer-coding", Code::Unknown, SENT),
            Self::HttpResponseContentCoding(_) => ("HTTP-response-content-coding", Code::Unknown, SENT),
            Self::HttpResponseTimeout => ("HTTP-response-timeout", Code::DeadlineExceeded, SENT),
            Self::HttpUpgradeFailed => ("HTTP-upgrade-failed", Code::Unavailable, SENT),
            Self::HttpProtocolError => ("HTTP-protocol-error", Code::Unavailable, SENT),
            Self::LoopDetected => ("loop-detected", Code::Unavailable, SENT),
            Self::ConfigurationError => ("configuration-error", Code::Internal, SENT),
            Self::InternalError(_) => ("internal-error", Code::Unavailable, SENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DnsTimeout` and `DNS-timeout` of each arm of the table.
    fn table() -> Vec<(&'static str, &'static str)> {
        let arm = |line: &'static str| {
            let (case, name) = line.trim().strip_prefix("Self::")?.split_once(" => (\"")?;
            Some((case.trim_end_matches("(_)"), name.split_once('"')?.0))
        };
        include_str!("code.rs").lines().filter_map(arm).collect()
    }

    #[test]
    fn codes_are_written_as_the_wit_writes_them() {
        let wit = include_str!("../../../../wit/deps/http/types.wit");
        let (_, rest) = wit.split_once("variant error-code {").unwrap();
        let (cases, _) = rest.split_once("\n  }").unwrap();
        let name = |line: &'static str| line.trim().split(['(', ',']).next().unwrap();
        let wanted: Vec<&str> = cases.lines().map(name).filter(|it| !it.is_empty() && !it.starts_with('/')).collect();
        let names: Vec<&str> = table().into_iter().map(|(_, name)| name).collect();
        assert_eq!((names.len(), names), (39, wanted));
        for (case, name) in table() {
            assert_eq!(case.to_ascii_lowercase(), name.replace('-', "").to_ascii_lowercase());
        }
    }

    #[test]
    fn a_code_is_told_with_what_it_carries() {
        assert_eq!(ErrorCode::DestinationIpProhibited.reason(), "DestinationIPProhibited");
        assert_eq!(ErrorCode::HttpResponseBodySize(Some(9)).told(), "HTTP-response-body-size (9 bytes)");
        assert_eq!(ErrorCode::InternalError(None).told(), "internal-error");
    }

    #[test]
    fn what_fails_before_a_connection_is_there_was_not_sent() {
        for code in [ErrorCode::HttpRequestDenied, ErrorCode::ConnectionRefused, ErrorCode::TlsCertificateError] {
            assert!(!code.may_be_sent(), "{}", code.name());
        }
        for code in [ErrorCode::ConnectionTerminated, ErrorCode::HttpResponseTimeout, ErrorCode::InternalError(None)] {
            assert!(code.may_be_sent(), "{}", code.name());
        }
    }
}
