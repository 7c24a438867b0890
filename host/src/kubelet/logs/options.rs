//! What a reader asks for: the query, decoded and checked as the kubelet does it (k8s.io/apimachinery/pkg/runtime/converter.go,
//! ValidatePodLogOptions), but told what is wrong.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use crate::provider::{LogOptions, Source};

/// Why a query is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Not of its type: the kubelet's 400.
    #[error("{name} is {value:?}, but must be {right}")]
    Undecodable {
        /// The parameter.
        name: &'static str,
        /// What it was.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// Out of range, or at odds with another: the kubelet's 422.
    #[error("{0}")]
    Invalid(String),
}

/// What the reader wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) options: LogOptions,
    pub(super) timestamps: bool,
    /// none: both.
    pub(super) stream: Option<Source>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Undecodable { .. } => StatusCode::BAD_REQUEST,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        (status, self.to_string()).into_response()
    }
}

impl Wanted {
    /// Out of the parameters of the query. Of one that is there twice the first counts; unknown ones are not looked at.
    pub(super) fn read(query: &[(String, String)], now: Timestamp) -> Result<Self, Error> {
        let query = Query(query);
        // `tail` is from before there was `tailLines`, and goes before it.
        let tail = match query.text("tail").filter(|tail| !tail.is_empty()) {
            Some("all") => None,
            Some(_) => query.at_least("tail", 0)?,
            None => query.at_least("tailLines", 0)?,
        };
        let limit_bytes = query.at_least("limitBytes", 1)?;
        let stream = query.stream()?;
        if stream.is_some() && tail.is_some() {
            return Err(Error::Invalid("tailLines and a stream other than All exclude each other".into()));
        }
        let options = LogOptions {
            tail: tail.map(|tail| u32::try_from(tail).unwrap_or(u32::MAX)),
            since_ns: query.since(now)?.map(|since| u64::try_from(since.as_nanosecond()).unwrap_or(0)),
            limit_bytes,
            previous: query.truth("previous"),
            attempt: None,
            follow: query.truth("follow"),
        };
        Ok(Self { options, timestamps: query.truth("timestamps"), stream })
    }
}

struct Query<'a>(&'a [(String, String)]);

impl Query<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Anything but `false` and `0` is true, also nothing.
    fn truth(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    fn at_least(&self, name: &'static str, least: i64) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let undecodable = |_| Error::Undecodable { name, value: text.into(), right: "a whole number" };
        let value: i64 = text.parse().map_err(undecodable)?;
        if value < least {
            return Err(Error::Invalid(format!("{name} is {value}, but must be at least {least}")));
        }
        Ok(u64::try_from(value).ok())
    }

    fn since(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        // Clients of old send an absent time as JSON.
        let time = match self.text("sinceTime").filter(|time| !matches!(*time, "" | "null")) {
            Some(text) => {
                let undecodable = |_| Error::Undecodable {
                    name: "sinceTime",
                    value: text.into(),
                    right: "an RFC 3339 time such as 2026-01-02T15:04:05Z",
                };
                Some(text.parse().map_err(undecodable)?)
            }
            None => None,
        };
        match (self.at_least("sinceSeconds", 1)?, time) {
            (Some(_), Some(_)) => Err(Error::Invalid("sinceSeconds and sinceTime exclude each other".into())),
            (Some(seconds), None) => {
                let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                // Before time began is from the start.
                Ok(now.checked_sub(seconds).ok())
            }
            (None, time) => Ok(time),
        }
    }

    fn stream(&self) -> Result<Option<Source>, Error> {
        match self.text("stream") {
            None | Some("All") => Ok(None),
            Some("Stdout") => Ok(Some(Source::Stdout)),
            Some("Stderr") => Ok(Some(Source::Stderr)),
            Some(other) => Err(Error::Invalid(format!("stream is {other:?}, but must be All, Stdout or Stderr"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<Wanted, Error> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        Wanted::read(&query, "2026-01-01T00:01:00Z".parse().unwrap())
    }

    #[test]
    fn bad_options_are_named_with_the_kubelet_s_status() {
        type Query<'a> = &'a [(&'a str, &'a str)];
        let table: [(Query<'_>, u16, &str); 11] = [
            (&[("tailLines", "-1")], 422, "tailLines is -1"),
            (&[("tailLines", "many")], 400, "tailLines is \"many\""),
            (&[("tailLines", "")], 400, "whole number"),
            (&[("tail", "-2")], 422, "tail is -2"),
            (&[("limitBytes", "0")], 422, "limitBytes is 0, but must be at least 1"),
            (&[("limitBytes", "99999999999999999999")], 400, "limitBytes"),
            (&[("sinceSeconds", "0")], 422, "sinceSeconds"),
            (&[("sinceTime", "yesterday")], 400, "RFC 3339"),
            (&[("sinceTime", "2026-01-01T00:00:00Z"), ("sinceSeconds", "1")], 422, "exclude"),
            (&[("stream", "stdout")], 422, "All, Stdout or Stderr"),
            (&[("stream", "Stderr"), ("tailLines", "1")], 422, "exclude"),
        ];
        for (query, status, says) in table {
            let error = read(query).unwrap_err();
            assert!(error.to_string().contains(says), "{query:?}: {error}");
            assert_eq!(error.into_response().status(), status, "{query:?}");
        }
    }

    #[test]
    fn options_are_read_as_the_kubelet_reads_them() {
        assert_eq!(read(&[("tailLines", "0")]).unwrap().options.tail, Some(0));
        assert_eq!(read(&[("tail", "3"), ("tailLines", "9")]).unwrap().options.tail, Some(3));
        assert_eq!(read(&[("tail", "all"), ("tailLines", "9")]).unwrap().options.tail, None);
        assert_eq!(read(&[("tailLines", "9"), ("tailLines", "1")]).unwrap().options.tail, Some(9));
        assert_eq!(read(&[("stream", "Stderr")]).unwrap().stream, Some(Source::Stderr));
        let follow = |value| read(&[("follow", value)]).unwrap().options.follow;
        assert_eq!(["true", "1", "", "false", "FALSE", "0"].map(follow), [true, true, true, false, false, false]);
        let since = |query: &[(&str, &str)]| read(query).unwrap().options.since_ns;
        let start = Some(1_767_225_600_000_000_000);
        assert_eq!(since(&[("sinceSeconds", "60")]), start);
        assert_eq!(since(&[("sinceTime", "2026-01-01T01:00:00+01:00")]), start);
        assert_eq!(since(&[("sinceTime", "null")]), None);
        assert_eq!(since(&[("sinceSeconds", "9223372036854775807")]), None, "from the start");
    }
}
