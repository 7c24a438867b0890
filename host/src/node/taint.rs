//! `--taint KEY[=VALUE][:EFFECT]`.

use std::str::FromStr;

use k8s_openapi::api::core::v1::Taint as Object;

/// A taint of the node; pods that do not tolerate it stay away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// A qualified name such as `virtual-kubelet.io/provider`.
    pub key: String,
    /// May be empty.
    pub value: String,
    /// What happens to pods that do not tolerate it.
    pub effect: Effect,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// They are not scheduled here.
    #[default]
    NoSchedule,
    /// They are scheduled here only if nothing else is left.
    PreferNoSchedule,
    /// They are evicted too.
    NoExecute,
}

/// What is wrong with a taint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no taint: {problem}; use KEY[=VALUE][:EFFECT], such as example.com/burst=yes:NoSchedule")]
pub struct Error {
    text: String,
    problem: String,
}

impl Effect {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl FromStr for Effect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "NoSchedule" => Ok(Self::NoSchedule),
            "PreferNoSchedule" => Ok(Self::PreferNoSchedule),
            "NoExecute" => Ok(Self::NoExecute),
            _ => Err(format!("effect {text:?} is none of NoSchedule, PreferNoSchedule and NoExecute")),
        }
    }
}

impl FromStr for Taint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fail = |problem: String| Error { text: text.to_string(), problem };
        let (rest, effect) = match text.rsplit_once(':') {
            Some((rest, effect)) => (rest, effect.parse().map_err(fail)?),
            None => (text, Effect::default()),
        };
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        check_key(key).map_err(fail)?;
        if !value.is_empty() && !is_name(value, 63) {
            return Err(fail(format!("value {value:?} is not at most 63 letters, digits, '-', '_' or '.'")));
        }
        Ok(Self { key: key.into(), value: value.into(), effect })
    }
}

/// Whether a key is a qualified name, as labels, annotations, taints and resources have.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let dns = |prefix: &str| is_name(prefix, 253) && !prefix.contains('_') && !prefix.contains(char::is_uppercase);
    if !is_name(name, 63) {
        return Err(format!(
            "key {key:?} is not at most 63 letters, digits, '-', '_' or '.', with an optional DNS name and '/' before it"
        ));
    }
    if prefix.is_some_and(|prefix| !dns(prefix)) {
        return Err(format!("the part before '/' of key {key:?} is no DNS name"));
    }
    Ok(())
}

/// A Kubernetes name: begins and ends with a letter or digit.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= longest
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl From<&Taint> for Object {
    fn from(taint: &Taint) -> Self {
        let value = Some(taint.value.clone()).filter(|value| !value.is_empty());
        Self { key: taint.key.clone(), value, effect: taint.effect.name().into(), time_added: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_taint() {
        let table = [
            ("a", "a", "", Effect::NoSchedule),
            ("a=b", "a", "b", Effect::NoSchedule),
            ("a:NoExecute", "a", "", Effect::NoExecute),
            ("example.com/a=b:PreferNoSchedule", "example.com/a", "b", Effect::PreferNoSchedule),
        ];
        for (text, key, value, effect) in table {
            assert_eq!(text.parse(), Ok(Taint { key: key.into(), value: value.into(), effect }), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_what_would_be_right() {
        for (text, says) in
            [("a:Never", "Never"), ("=b", "key"), ("a b", "key"), ("A_B/c", "DNS"), ("a=b c", "value"), ("", "key")]
        {
            let error = text.parse::<Taint>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("KEY[=VALUE][:EFFECT]"), "{text}: {error}");
        }
    }
}
