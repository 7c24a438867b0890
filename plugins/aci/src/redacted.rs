//! What nobody may see: the types know it, so that no `{:?}` can forget it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A secret. It goes over the wire as it is, and shows as `[redacted]` everywhere else.
///
/// ```
/// use vk_aci::Redacted;
///
/// let key = Redacted::from("s3cret");
/// assert_eq!(format!("{key:?}"), "[redacted]");
/// assert_eq!(key.expose(), "s3cret");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Redacted<T = String>(T);

impl<T> Redacted<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the request that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl From<String> for Redacted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&String> for Redacted {
    fn from(text: &String) -> Self {
        Self(text.clone())
    }
}

impl From<&str> for Redacted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Redacted<T> {
    /// Of a secret the service may give back its name alone, with `null`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_and_never_shown() {
        let secret = Redacted::from("pass");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"pass\"");
        assert_eq!(format!("{:?} {:?}", secret, Some(&secret)), "[redacted] Some([redacted])");
        assert_eq!(serde_json::from_str::<Redacted>("\"pass\"").unwrap(), secret);
        assert_eq!(serde_json::from_str::<Redacted>("null").unwrap(), Redacted::default());
    }

    #[test]
    fn a_secret_may_be_any_json() {
        let secret = Redacted::new(serde_json::json!({"kubeConfig": "x"}));
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_value(&secret).unwrap(), *secret.expose());
    }
}
