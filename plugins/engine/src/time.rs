//! Times as engines write them: RFC 3339 with nanoseconds, Go's zero time for "never", unix seconds in lists.

use serde::{Deserialize, Deserializer};
use vk_provider::time::Time;

/// A time in an answer; none: never, or not said.
///
/// # Errors
/// It is no text.
pub fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    // Go's zero time, 0001-01-01T00:00:00Z, is before 1970 and thus no time.
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Unix seconds with a fraction of nine digits, as `since` and `until` take them.
pub fn parameter(time: Time) -> String {
    let nanos = time.as_nanos();
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Answer {
        #[serde(default, deserialize_with = "moment")]
        at: Option<Time>,
    }

    #[test]
    fn the_zero_time_of_go_is_none() {
        let read = |text: &str| serde_json::from_str::<Answer>(text).unwrap().at;
        assert_eq!(read(r#"{"at":"0001-01-01T00:00:00Z"}"#), None);
        assert_eq!(read(r#"{"at":""}"#), None);
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"at":"2026-11-24T10:00:00.5Z"}"#), Some(Time::from_millis(1_795_514_400_500)));
        assert_eq!(read(r#"{"at":"2026-11-24T11:00:00.5+01:00"}"#), Some(Time::from_millis(1_795_514_400_500)));
    }

    #[test]
    fn a_parameter_keeps_nanoseconds() {
        assert_eq!(parameter(Time::from_nanos(1_795_514_400_000_000_007)), "1795514400.000000007");
        assert_eq!(parameter(Time::default()), "0.000000000");
    }
}
