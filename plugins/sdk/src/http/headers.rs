//! The headers of an answer.

use std::time::Duration;

use crate::clock;
use crate::time::Time;

/// Longer pauses are not believed: a server that means them will say so again.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Names and values as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub(crate) Vec<(String, Vec<u8>)>);

impl Headers {
    /// The first value of a name, in any case; none: it is not there, or no text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(there, _)| there.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// All of them. Names may repeat.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3), an hour at most; none: nothing, or it
    /// is not understood.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.get("retry-after")?.trim();
        let seconds = text.parse().ok().map(Duration::from_secs);
        let pause = seconds.or_else(|| Some(Time::from_http_date(text)?.since(clock::now())))?;
        Some(pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_pause_is_understood_in_seconds_and_as_a_date() {
        testing::reset();
        for (text, pause) in [
            ("7", Some(7)),
            ("Tue, 24 Nov 2026 10:00:30 GMT", Some(30)),
            ("Tue, 24 Nov 2026 09:00:00 GMT", Some(0)),
            ("86400", Some(3600)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = Headers(vec![("Retry-After".to_owned(), text.into())]);
            assert_eq!(headers.retry_after(), pause.map(Duration::from_secs), "{text}");
        }
        assert_eq!(Headers::default().retry_after(), None);
    }

    #[test]
    fn names_have_no_case() {
        let headers = Headers(vec![("X-A".to_owned(), vec![0xff]), ("x-b".to_owned(), "2".into())]);
        assert_eq!((headers.get("x-a"), headers.get("X-B")), (None, Some("2")));
        assert_eq!(headers.iter().count(), 2);
    }
}
