//! Why a request did not go out, or did not come to its end: for the plugin, the log and the metrics at once.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::AlertDescription as Alert;
use wasmtime_wasi_http::Error;

use super::address::reach;
use super::origin::{Origin, OriginError};
use crate::plugin::grants::{Access, remedy};
use crate::provider::{self, Code, Effect};

/// See the module. `Display` is one line and says what to do where something can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::plugin) enum Failure {
    /// It is for no origin that there is.
    #[error(transparent)]
    Target(#[from] OriginError),
    /// What is asked for is none of HTTP's, or none of the guest's to ask for.
    #[error("{0}")]
    Request(String),
    /// The plugin was not granted it.
    #[error("{target} was not granted: the plugin has to want it in `configure` ({} {target}), and where the host does not grant that by itself, its operator adds {}", access.word(), remedy(access.word(), target))]
    NotGranted {
        /// How it was to be reached.
        access: Access,
        /// Its origin.
        target: String,
    },
    /// The plugin was not granted this endpoint.
    #[error("the endpoint {0:?} was not granted: the plugin has to want it in `configure` (endpoint {0}), and its operator adds {line}", line = remedy("endpoint", .0))]
    EndpointNotGranted(String),
    /// A name stands for nothing but what names may not stand for.
    #[error("{target} is at {address}, {}: if that is meant, add {}", reach(*address), remedy("addresses", &address.to_string()))]
    Address {
        /// Its origin.
        target: String,
        /// The first of its addresses.
        address: IpAddr,
    },
    /// Nobody knows the name.
    #[error("cannot resolve {name}: {message}")]
    Name {
        /// Which.
        name: String,
        /// What the resolver says.
        message: String,
    },
    /// The resolver does not answer.
    #[error("cannot resolve {0} in time")]
    NameTimeout(String),
    /// A proxy would lead there, the host cannot see where that is, and its operator has not named the origin.
    #[error("{target} is reached through a proxy, and the host, which grants by itself only what it has seen to be public, cannot see where it leads ({message}): if the proxy may lead there, add {}", remedy(access.word(), target))]
    Unvetted {
        /// How it was to be reached.
        access: Access,
        /// Its origin.
        target: String,
        /// Why not.
        message: String,
    },
    /// Somebody is there and does not take it.
    #[error("{0} refuses the connection")]
    Refused(String),
    /// There is no way to it.
    #[error("cannot connect to {target}: {message}")]
    Unreachable {
        /// Its origin.
        target: String,
        /// The system's words, or a proxy's.
        message: String,
    },
    /// It takes too long to get there.
    #[error("cannot connect to {target} within {limit:?}")]
    ConnectTimeout {
        /// Its origin.
        target: String,
        /// How long it may take.
        limit: Duration,
    },
    /// One of the two certificates is not accepted.
    #[error(
        "the certificates of {target} and of the host do not fit: {message}; the host trusts the system's authorities and those of [tls] in --config, or those of the endpoint alone"
    )]
    Certificate {
        /// Its origin.
        target: String,
        /// The library's words.
        message: String,
    },
    /// It does not speak TLS as the host does.
    #[error("no TLS with {target}: {message}")]
    Tls {
        /// Its origin.
        target: String,
        /// The library's words.
        message: String,
    },
    /// A certificate, authority or key of the operator's.
    #[error("cannot use {} of --config: {message}", file.display())]
    TlsFile {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A budget that the plugin declared has no room in time.
    #[error("a budget that the plugin declared has room in {} ms, too late for the call", wait.as_millis())]
    Budget {
        /// Until there is room.
        wait: Duration,
    },
    /// The plugin has too many connections.
    #[error("the plugin has {0} connections already, and none of them came free in time")]
    Connections(usize),
    /// The call begins too much at once.
    #[error("the call has {0} connections in the making already")]
    Attempts(usize),
    /// The guest sends more than it may.
    #[error("a request of a short call has more than {0} bytes")]
    RequestSize(u64),
    /// The guest broke off.
    #[error("the request's body breaks off: {0}")]
    RequestBody(String),
    /// The head of an answer does not come.
    #[error("no answer within {0:?}")]
    ResponseTimeout(Duration),
    /// Its body does not go on.
    #[error("nothing came for {0:?} in the middle of an answer")]
    Stalled(Duration),
    /// Too much of a head.
    #[error("an answer's head has more than {bytes} bytes or {count} headers")]
    Head {
        /// In bytes.
        bytes: usize,
        /// Headers.
        count: usize,
    },
    /// Too much of a body.
    #[error("an answer to a short call has more than {limit} bytes")]
    ResponseSize {
        /// In bytes.
        limit: u64,
        /// What it says itself, in bytes.
        length: Option<u64>,
    },
    /// The connection ended in the middle.
    #[error("the connection ended before the answer did: {0}")]
    Terminated(String),
    /// What came is no HTTP.
    #[error("the answer is not HTTP as it should be: {0}")]
    Protocol(String),
}

impl Failure {
    /// All reasons: shown from the start, so that a first one is seen to be one more than none.
    pub(super) const REASONS: [&'static str; 24] = [
        "TargetInvalid",
        "RequestInvalid",
        "NotGranted",
        "AddressForbidden",
        "NameNotFound",
        "NameTimeout",
        "NameUnvetted",
        "ConnectionRefused",
        "Unreachable",
        "ConnectTimeout",
        "CertificateRefused",
        "TlsFailed",
        "TlsFileUnusable",
        "BudgetSpent",
        "ConnectionsExhausted",
        "AttemptsExhausted",
        "RequestTooLarge",
        "RequestBrokeOff",
        "ResponseTimeout",
        "ResponseStalled",
        "ResponseHeadTooLarge",
        "ResponseTooLarge",
        "ConnectionTerminated",
        "ProtocolError",
    ];

    /// The error's reason, the metric's label and the log's field.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Target(_) => "TargetInvalid",
            Self::Request(_) => "RequestInvalid",
            Self::NotGranted { .. } | Self::EndpointNotGranted(_) => "NotGranted",
            Self::Address { .. } => "AddressForbidden",
            Self::Name { .. } => "NameNotFound",
            Self::NameTimeout(_) => "NameTimeout",
            Self::Unvetted { .. } => "NameUnvetted",
            Self::Refused(_) => "ConnectionRefused",
            Self::Unreachable { .. } => "Unreachable",
            Self::ConnectTimeout { .. } => "ConnectTimeout",
            Self::Certificate { .. } => "CertificateRefused",
            Self::Tls { .. } => "TlsFailed",
            Self::TlsFile { .. } => "TlsFileUnusable",
            Self::Budget { .. } => "BudgetSpent",
            Self::Connections(_) => "ConnectionsExhausted",
            Self::Attempts(_) => "AttemptsExhausted",
            Self::RequestSize(_) => "RequestTooLarge",
            Self::RequestBody(_) => "RequestBrokeOff",
            Self::ResponseTimeout(_) => "ResponseTimeout",
            Self::Stalled(_) => "ResponseStalled",
            Self::Head { .. } => "ResponseHeadTooLarge",
            Self::ResponseSize { .. } => "ResponseTooLarge",
            Self::Terminated(_) => "ConnectionTerminated",
            Self::Protocol(_) => "ProtocolError",
        }
    }

    /// The host's doing, not the network's: an operator should hear of it.
    pub(super) const fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Name { .. }
                | Self::NameTimeout(_)
                | Self::Refused(_)
                | Self::Unreachable { .. }
                | Self::ConnectTimeout { .. }
                | Self::RequestBody(_)
                | Self::Terminated(_)
                | Self::Protocol(_)
        )
    }

    /// What the host does next with a call that fails so.
    const fn code(&self) -> Code {
        match self {
            Self::Target(_) | Self::Request(_) | Self::RequestSize(_) | Self::RequestBody(_) => Code::Internal,
            Self::NotGranted { .. }
            | Self::EndpointNotGranted(_)
            | Self::Address { .. }
            | Self::Unvetted { .. }
            | Self::Certificate { .. }
            | Self::TlsFile { .. } => Code::PermissionDenied,
            Self::Budget { .. } | Self::Connections(_) | Self::Attempts(_) => Code::ResourceExhausted,
            _ => Code::Unavailable,
        }
    }

    /// Whether the server may have acted. What fails before there is a connection surely did nothing.
    const fn effect(&self) -> Effect {
        match self {
            Self::RequestSize(_)
            | Self::RequestBody(_)
            | Self::ResponseTimeout(_)
            | Self::Stalled(_)
            | Self::Head { .. }
            | Self::ResponseSize { .. }
            | Self::Terminated(_)
            | Self::Protocol(_) => Effect::Unknown,
            _ => Effect::None,
        }
    }

    /// What it means for an origin that a proxy is asked for by its name: that the host cannot resolve it is no news of the origin then.
    pub(super) fn behind_proxy(self, access: Access, origin: &Origin) -> Self {
        match self {
            Self::Name { .. } | Self::NameTimeout(_) => {
                Self::Unvetted { access, target: origin.to_string(), message: self.to_string() }
            }
            other => other,
        }
    }

    /// What an error of a client's means: the first of its causes that the host itself brought about, else the library's words.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let found = causes(error).find_map(|cause| {
            if let Some(failure) = cause.downcast_ref::<Self>() {
                return Some(failure.clone());
            }
            if let Some(error) = cause.downcast_ref::<hyper::Error>() {
                return of_hyper(error);
            }
            of_tls(cause)
        });
        found.unwrap_or_else(|| Self::Terminated(innermost(error)))
    }
}

fn of_hyper(error: &hyper::Error) -> Option<Failure> {
    use crate::defaults::egress::{HEAD, HEADERS};
    if error.is_parse_too_large() {
        return Some(Failure::Head { bytes: HEAD, count: HEADERS });
    }
    error.is_parse().then(|| Failure::Protocol(error.to_string()))
}

/// A server of TLS 1.3 refuses the host's certificate when the host believes that the handshake is over, and before it looks at
/// anything that was sent.
pub(super) fn of_tls(cause: &(dyn StdError + 'static)) -> Option<Failure> {
    let io = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = io.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| cause.downcast_ref())?;
    certificate(tls).then(|| Failure::Certificate { target: "the server".into(), message: tls.to_string() })
}

fn certificate(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::CertificateRequired
        ),
        _ => false,
    }
}

/// What a failed handshake means.
pub(super) fn of_handshake(target: &impl fmt::Display, error: &io::Error) -> Failure {
    let (target, message) = (target.to_string(), innermost(error));
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) if certificate(tls) => Failure::Certificate { target, message },
        _ => Failure::Tls { target, message },
    }
}

/// What a failed attempt to connect means.
pub(super) fn of_connect(target: &impl fmt::Display, error: &(dyn StdError + 'static)) -> Failure {
    let kind = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => Failure::Refused(target.to_string()),
        _ => Failure::Unreachable { target: target.to_string(), message: innermost(error) },
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| StdError::source(*error))
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::of(&error)
    }
}

/// Of a body that the guest writes.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::HttpRequestBodySize(_) => Self::RequestBody("it has not the length that its headers say".into()),
            error => Self::RequestBody(error.to_string()),
        }
    }
}

/// As `upgrade` tells it.
impl From<Failure> for provider::Error {
    fn from(failure: Failure) -> Self {
        let retry_after = match failure {
            Failure::Budget { wait } => Some(wait),
            _ => None,
        };
        let effect = failure.effect();
        Self { retry_after, effect, ..Self::new(failure.code(), failure.reason(), failure.to_string()) }
    }
}

/// As `wasi:http` tells it.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Target(_) => Self::HttpRequestUriInvalid,
            Failure::Request(_) => Self::HttpRequestMethodInvalid,
            Failure::NotGranted { .. } | Failure::EndpointNotGranted(_) | Failure::Unvetted { .. } => {
                Self::HttpRequestDenied
            }
            Failure::Address { .. } => Self::DestinationIpProhibited,
            Failure::Name { message, .. } => Self::DnsError { rcode: Some(message), info_code: None },
            Failure::NameTimeout(_) => Self::DnsTimeout,
            Failure::Refused(_) => Self::ConnectionRefused,
            Failure::Unreachable { .. } => Self::DestinationUnavailable,
            Failure::ConnectTimeout { .. } => Self::ConnectionTimeout,
            Failure::Certificate { .. } | Failure::TlsFile { .. } => Self::TlsCertificateError,
            Failure::Tls { .. } => Self::TlsProtocolError,
            Failure::Budget { .. } | Failure::Connections(_) | Failure::Attempts(_) => Self::ConnectionLimitReached,
            Failure::RequestSize(limit) => Self::HttpRequestBodySize(Some(limit)),
            Failure::RequestBody(_) | Failure::Protocol(_) => Self::HttpProtocolError,
            Failure::ResponseTimeout(_) => Self::HttpResponseTimeout,
            Failure::Stalled(_) => Self::ConnectionReadTimeout,
            Failure::Head { .. } => Self::HttpResponseHeaderSectionSize(None),
            Failure::ResponseSize { length, .. } => Self::HttpResponseBodySize(length),
            Failure::Terminated(_) => Self::ConnectionTerminated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(alert: Alert) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert))
    }

    #[test]
    fn a_refusal_says_what_to_add() {
        let target = "http://10.0.0.7:5000".to_owned();
        let text = Failure::NotGranted { access: Access::Http, target: target.clone() }.to_string();
        assert!(text.contains("--grant http=http://10.0.0.7:5000"), "{text}");
        let text = Failure::EndpointNotGranted("engine".into()).to_string();
        assert!(text.contains("--endpoint engine="), "{text}");
        let text = Failure::Address { target, address: "10.0.0.7".parse().unwrap() }.to_string();
        assert!(text.contains("a private network") && text.contains("--grant addresses=10.0.0.7"), "{text}");
    }

    #[test]
    fn an_alert_about_certificates_is_told_from_other_ones() {
        for (alert, certificate) in
            [(Alert::UnknownCA, true), (Alert::CertificateRequired, true), (Alert::HandshakeFailure, false)]
        {
            let failure = of_handshake(&"x", &refused(alert));
            assert_eq!(failure.reason() == "CertificateRefused", certificate, "{failure}");
            // The same after the handshake, where the client had begun to read.
            let failure = Failure::of(&refused(alert));
            assert_eq!(failure.reason() == "CertificateRefused", certificate, "{failure}");
        }
    }

    #[test]
    fn what_the_host_brought_about_is_found_below_what_a_library_says() {
        #[derive(Debug, thiserror::Error)]
        #[error("client error")]
        struct Wrapped(#[source] Failure);
        let inner = Failure::RequestSize(7);
        assert_eq!(Failure::of(&Wrapped(inner.clone())), inner);
    }

    #[test]
    fn who_is_not_there_is_told_from_who_cannot_be_reached() {
        let origin = Origin::parse("tcp://10.0.0.7:80").unwrap();
        let of = |kind: io::ErrorKind| of_connect(&origin, &io::Error::from(kind)).reason();
        assert_eq!(of(io::ErrorKind::ConnectionRefused), "ConnectionRefused");
        assert_eq!(of(io::ErrorKind::HostUnreachable), "Unreachable");
    }

    #[test]
    fn every_reason_is_shown_from_the_start() {
        let distinct: std::collections::HashSet<_> = Failure::REASONS.into_iter().collect();
        assert_eq!(distinct.len(), Failure::REASONS.len());
        for failure in [Failure::Request(String::new()), Failure::Connections(1), Failure::Protocol(String::new())] {
            assert!(distinct.contains(failure.reason()));
        }
    }
}
