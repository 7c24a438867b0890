//! A container's environment. What comes from a Secret is a secure value, which Azure shows to nobody.

use std::collections::BTreeMap;

use vk_aci::Redacted;
use vk_aci::group::EnvironmentVariable;
use vk_provider::pod::EnvVar;
use vk_provider::{Error, Result};

use super::Notice;
use crate::manifest::Placed;
use crate::refusals::refuse;

/// The longest name that Azure takes.
const LONGEST: usize = 63;
/// The kubelet's reason for names that come from elsewhere and cannot be used.
const REASON: &str = "InvalidEnvironmentVariableNames";

/// # Errors
/// A name that the pod itself gives and Azure does not take. One that comes from a ConfigMap, a Secret or the services of
/// the namespace is left out, and told: nobody wrote it for this pod.
pub(super) fn of(placed: Placed<'_>, env: &[EnvVar], notices: &mut Vec<Notice>) -> Result<Vec<EnvironmentVariable>> {
    let place = |variable: &EnvVar| placed.container.env.iter().position(|own| own.name == variable.name);
    let placed_env = env.iter().map(|variable| (place(variable), variable.name.as_str()));
    let (mut own, others): (Vec<_>, Vec<_>) = placed_env.partition(|(index, _)| index.is_some());
    own.sort_unstable();
    // Azure's names have no case: the first of a kind counts, and the pod's own before others.
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    let mut left_out = Vec::new();
    for (index, name) in own.into_iter().chain(others) {
        let same = taken.get(&name.to_ascii_lowercase()).filter(|same| **same != name);
        match (index, same) {
            (_, None) if fits(name) => drop(taken.insert(name.to_ascii_lowercase(), name)),
            (Some(index), same) => return Err(refused(placed, index, name, same)),
            (None, Some(same)) => left_out.push(format!("{name} (to Azure it is {same})")),
            (None, None) => left_out.push(name.to_owned()),
        }
    }
    if !left_out.is_empty() {
        let (name, names) = (&placed.container.name, left_out.join(", "));
        let message = format!("container {name} goes without variables whose names Azure does not take: {names}");
        notices.push(Notice::new(REASON, message));
    }
    let is_taken = |variable: &&EnvVar| taken.get(&variable.name.to_ascii_lowercase()) == Some(&variable.name.as_str());
    Ok(env.iter().filter(is_taken).map(of_variable).collect())
}

/// Letters, digits and underscores, no underscore at an end.
fn fits(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(letters) && !name.starts_with('_') && !name.ends_with('_')
}

fn refused(placed: Placed<'_>, index: usize, name: &str, same: Option<&&str>) -> Error {
    let why = match same {
        Some(same) => format!("to Azure {name} and {same} are one name, whatever their case: leave one of them out"),
        None => format!(
            "{name:?} is no name that Azure takes: 1 to {LONGEST} letters, digits and underscores, no underscore at an end"
        ),
    };
    refuse(placed.field(&format!("env[{index}].name")), why)
}

fn of_variable(variable: &EnvVar) -> EnvironmentVariable {
    let EnvVar { name, value, secret } = variable;
    let name = name.clone();
    // An empty value is a value; as a secure one it would be no value at all.
    if *secret && !value.is_empty() {
        let secure_value = Some(Redacted::from(value));
        return EnvironmentVariable { name, secure_value, ..EnvironmentVariable::default() };
    }
    EnvironmentVariable { name, value: Some(value.clone()), ..EnvironmentVariable::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    fn variable(name: &str, value: &str, secret: bool) -> EnvVar {
        EnvVar { name: name.to_owned(), value: value.to_owned(), secret }
    }

    fn made(env: &[EnvVar], notices: &mut Vec<Notice>) -> Result<String> {
        let spec = parse(r#"{"containers":[{"name":"c","env":[{"name":"OWN"},{"name":"a.b"},{"name":"Own"}]}]}"#);
        let made = of(spec.ordinary().next().unwrap(), env, notices)?;
        Ok(serde_json::to_string(&made).unwrap())
    }

    #[test]
    fn secrets_are_secure_and_empty_values_are_kept() {
        let env = [
            variable("OWN", "1", false),
            variable("EMPTY", "", false),
            variable("PASS", "s3cret", true),
            variable("NONE", "", true),
        ];
        let mut notices = Vec::new();
        assert_eq!(
            made(&env, &mut notices).unwrap(),
            r#"[{"name":"OWN","value":"1"},{"name":"EMPTY","value":""},{"name":"PASS","secureValue":"s3cret"},{"name":"NONE","value":""}]"#
        );
        assert!(notices.is_empty());
    }

    #[test]
    fn a_name_that_azure_does_not_take_is_refused_where_the_pod_gives_it() {
        let error = made(&[variable("a.b", "1", false)], &mut Vec::new()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("spec.containers[0].env[1].name"));
    }

    #[test]
    fn a_name_that_comes_from_elsewhere_is_left_out_and_told() {
        let long = format!("{}_SERVICE_PORT", "X".repeat(60));
        let names = ["app.conf", "_HIDDEN", "TAIL_", "with-hyphen", &long];
        let mut env: Vec<EnvVar> = names.iter().map(|name| variable(name, "1", false)).collect();
        env.push(variable("OWN", "1", false));
        let mut notices = Vec::new();
        assert_eq!(made(&env, &mut notices).unwrap(), r#"[{"name":"OWN","value":"1"}]"#);
        let [Notice { reason: REASON, message }] = notices.as_slice() else { panic!("{notices:?}") };
        assert!(names.iter().all(|name| message.contains(name)), "{message}");
    }

    #[test]
    fn names_that_differ_in_case_alone_are_one_name_to_azure() {
        let error = made(&[variable("Own", "2", false), variable("OWN", "1", false)], &mut Vec::new()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some("spec.containers[0].env[2].name"), "the later of the two in the pod");
        assert!(error.message.contains("Own and OWN"), "{error}");
        let mut notices = Vec::new();
        let env = [variable("own", "a", true), variable("x", "b", false), variable("X", "c", false)];
        let env: Vec<EnvVar> = env.into_iter().chain([variable("OWN", "1", false)]).collect();
        let sent = made(&env, &mut notices).unwrap();
        assert_eq!(sent, r#"[{"name":"x","value":"b"},{"name":"OWN","value":"1"}]"#);
        let [Notice { reason: REASON, message }] = notices.as_slice() else { panic!("{notices:?}") };
        assert!(message.ends_with("own (to Azure it is OWN), X (to Azure it is x)"), "{message}");
    }
}
