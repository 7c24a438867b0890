//! One container's environment, command and arguments out of what was read from the API server. Pure: no I/O.
//!
//! Order and precedence are the kubelet's: `envFrom` in order (later wins), `env` over it, services only where nothing
//! else has the name; a variable may refer to those before it and to services. (kubelet_pods.go, makeEnvironmentVariables)

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar as EnvSpec, EnvVarSource};

use super::expand::expand;
use super::objects::{Data, Kind, Lookup};
use super::{Notice, Place, Problem, Sources, field};
use crate::pods::object::PodObject;
use crate::provider::EnvVar;

/// What a variable's value may come from.
const SOURCES: &str = "use fieldRef, resourceFieldRef, configMapKeyRef or secretKeyRef";

/// What the environment is made from, beside the container itself.
pub(super) struct Context<'a> {
    pub(super) pod: &'a PodObject,
    /// Where `resourceFieldRef` looks: init and ordinary containers.
    pub(super) containers: &'a [Place<'a>],
    pub(super) node: &'a super::Node,
    /// The pod's IPs, if they are known before the API server knows them.
    pub(super) ips: &'a [String],
    pub(super) sources: &'a Sources,
    pub(super) services: &'a BTreeMap<String, String>,
}

/// Variables in order, with an index by name.
#[derive(Default)]
struct Variables {
    list: Vec<EnvVar>,
    index: HashMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: &str, value: String, secret: bool) {
        let variable = EnvVar { name: name.to_string(), value, secret };
        match self.index.get(name).and_then(|at| self.list.get_mut(*at)) {
            Some(existing) => *existing = variable,
            None => {
                self.index.insert(name.to_string(), self.list.len());
                self.list.push(variable);
            }
        }
    }

    fn get(&self, name: &str) -> Option<(&str, bool)> {
        let variable = self.index.get(name).and_then(|at| self.list.get(*at))?;
        Some((&variable.value, variable.secret))
    }
}

/// A container's environment.
pub(super) struct Environment {
    pub(super) env: Vec<EnvVar>,
    pub(super) late: bool,
    pub(super) command: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) secret_args: bool,
}

/// Works out one container. `path` is its place in the pod, such as `spec.containers[0]`.
pub(super) fn environment(
    context: &Context<'_>,
    container: &Container,
    path: &str,
    notices: &mut Vec<Notice>,
) -> Result<Environment, Problem> {
    let mut variables = Variables::default();
    let mut late = false;
    for from in container.env_from.iter().flatten() {
        add_all(context, from, &mut variables, notices)?;
    }
    for (index, spec) in container.env.iter().flatten().enumerate() {
        let path = format!("{path}.env[{index}]");
        match value(context, container, spec, &path, &variables, notices)? {
            Value::Text(text, secret) => variables.set(&spec.name, text, secret),
            Value::Skip => {}
            Value::Late => late = true,
        }
    }
    for (name, value) in context.services {
        if variables.get(name).is_none() {
            variables.set(name, value.clone(), false);
        }
    }
    let mut secret_args = false;
    let mut expanded = |texts: &Option<Vec<String>>| -> Vec<String> {
        let expand = |text: &String| {
            let result = expand(text, |name| variables.get(name));
            secret_args |= result.secret;
            result.text
        };
        texts.iter().flatten().map(expand).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    Ok(Environment { env: variables.list, late, command, args, secret_args })
}

enum Value {
    Text(String, bool),
    Skip,
    Late,
}

fn value(
    context: &Context<'_>,
    container: &Container,
    spec: &EnvSpec,
    path: &str,
    variables: &Variables,
    notices: &mut Vec<Notice>,
) -> Result<Value, Problem> {
    let Some(source) = &spec.value_from else {
        let text = spec.value.as_deref().unwrap_or_default();
        let lookup =
            |name: &str| variables.get(name).or_else(|| context.services.get(name).map(|v| (v.as_str(), false)));
        let expanded = expand(text, lookup);
        return Ok(Value::Text(expanded.text, expanded.secret));
    };
    let refused = |what: &str, message: String| Problem::Refused { field: format!("{path}.valueFrom{what}"), message };
    match source {
        EnvVarSource { field_ref: Some(reference), .. } => {
            let value = field::field(context.pod, context.node, context.ips, &reference.field_path);
            match value.map_err(|m| refused(".fieldRef", m))? {
                field::Value::Known(text) => Ok(Value::Text(text, false)),
                field::Value::Late => Ok(Value::Late),
            }
        }
        EnvVarSource { resource_field_ref: Some(selector), .. } => {
            field::resource(context.pod, context.containers, &container.name, selector, context.node)
                .map(|text| Value::Text(text, false))
                .map_err(|message| refused(".resourceFieldRef", message))
        }
        EnvVarSource { config_map_key_ref: Some(selector), .. } => {
            let key =
                Key { kind: Kind::ConfigMap, name: &selector.name, key: &selector.key, optional: selector.optional };
            key.value(context.sources, notices)
        }
        EnvVarSource { secret_key_ref: Some(selector), .. } => {
            let key = Key { kind: Kind::Secret, name: &selector.name, key: &selector.key, optional: selector.optional };
            key.value(context.sources, notices)
        }
        EnvVarSource { file_key_ref: Some(_), .. } => {
            Err(refused(".fileKeyRef", format!("a file as the source of a value is not supported: {SOURCES}")))
        }
        _ => Err(refused("", format!("this source of a value is not supported: {SOURCES}"))),
    }
}

impl Kind {
    /// Virtual Kubelet's event reasons, which its users' alerts read.
    fn reason(self, optional: bool, what: What) -> &'static str {
        match (self, optional, what) {
            (Self::ConfigMap, true, What::Object) => "OptionalConfigMapNotFound",
            (Self::ConfigMap, true, What::Key) => "OptionalConfigMapKeyNotFound",
            (Self::ConfigMap, true, What::Read) => "FailedToReadOptionalConfigMap",
            (Self::ConfigMap, false, What::Object) => "MandatoryConfigMapNotFound",
            (Self::ConfigMap, false, What::Key) => "MandatoryConfigMapKeyNotFound",
            (Self::ConfigMap, false, What::Read) => "FailedToReadMandatoryConfigMap",
            (Self::Secret, true, What::Object) => "OptionalSecretNotFound",
            (Self::Secret, true, What::Key) => "OptionalSecretKeyNotFound",
            (Self::Secret, true, What::Read) => "FailedToReadOptionalSecret",
            (Self::Secret, false, What::Object) => "MandatorySecretNotFound",
            (Self::Secret, false, What::Key) => "MandatorySecretKeyNotFound",
            (Self::Secret, false, What::Read) => "FailedToReadMandatorySecret",
        }
    }
}

/// What is missing.
#[derive(Clone, Copy)]
enum What {
    Object,
    Key,
    Read,
}

/// The event's reason where a value cannot be that of a variable.
const NOT_TEXT: &str = "InvalidEnvironmentVariableValues";

/// One key of one object.
struct Key<'a> {
    kind: Kind,
    name: &'a str,
    key: &'a str,
    optional: Option<bool>,
}

impl Key<'_> {
    fn value(&self, sources: &Sources, notices: &mut Vec<Notice>) -> Result<Value, Problem> {
        let optional = self.optional.unwrap_or(false);
        let Some(data) = object(self.kind, self.name, optional, sources, notices)? else { return Ok(Value::Skip) };
        match data.values.get(self.key).map(|value| std::str::from_utf8(value)) {
            Some(Ok(text)) => Ok(Value::Text(text.to_string(), self.kind == Kind::Secret)),
            // Whoever made it can mend it, and the pod waits for that, even where an absent key would do.
            Some(Err(_)) => {
                let message = format!(
                    "key {:?} of {} {:?} is no UTF-8 text, which variables must be; mount it as a file instead",
                    self.key,
                    self.kind.name(),
                    self.name
                );
                Err(Problem::Missing { reason: NOT_TEXT, message })
            }
            None => {
                let message = format!("{} {:?} has no key {:?}", self.kind.name(), self.name, self.key);
                missing(self.kind.reason(optional, What::Key), message, optional, notices).map(|()| Value::Skip)
            }
        }
    }
}

fn add_all(
    context: &Context<'_>,
    from: &EnvFromSource,
    variables: &mut Variables,
    notices: &mut Vec<Notice>,
) -> Result<(), Problem> {
    let (kind, name, optional) = match (&from.config_map_ref, &from.secret_ref) {
        (Some(reference), _) => (Kind::ConfigMap, &reference.name, reference.optional),
        (_, Some(reference)) => (Kind::Secret, &reference.name, reference.optional),
        _ => return Ok(()),
    };
    let Some(data) = object(kind, name, optional.unwrap_or(false), context.sources, notices)? else { return Ok(()) };
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let (mut invalid, mut no_text) = (Vec::new(), Vec::new());
    for (key, value) in &data.values {
        let variable = format!("{prefix}{key}");
        match std::str::from_utf8(value) {
            Err(_) => no_text.push(key.as_str()),
            Ok(_) if !is_variable_name(&variable) => invalid.push(variable),
            Ok(text) => variables.set(&variable, text.to_string(), kind == Kind::Secret),
        }
    }
    if !invalid.is_empty() {
        let message = format!(
            "keys {} of {} {name:?} were skipped: they are no names of variables",
            invalid.join(", "),
            kind.name()
        );
        notices.push(Notice { reason: "InvalidEnvironmentVariableNames", message });
    }
    if !no_text.is_empty() {
        let keys = no_text.join(", ");
        let message = format!("keys {keys} of {} {name:?} were skipped: they are no UTF-8 text", kind.name());
        notices.push(Notice { reason: NOT_TEXT, message });
    }
    Ok(())
}

/// Kubernetes' relaxed rule (KEP-4369, stable since 1.34): printable ASCII without `=`.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

/// The data of an object; none: it is optional and absent.
fn object<'a>(
    kind: Kind,
    name: &str,
    optional: bool,
    sources: &'a Sources,
    notices: &mut Vec<Notice>,
) -> Result<Option<&'a Data>, Problem> {
    match sources.get(&(kind, name.to_string())).map(|lookup| &**lookup) {
        Some(Lookup::Found(data)) => Ok(Some(data)),
        // Not read is not absent: even an optional object is waited for then.
        Some(Lookup::Failed(cause)) => {
            let message = format!("cannot read {} {name:?}: {cause}", kind.name());
            Err(Problem::Unread { reason: kind.reason(optional, What::Read), message })
        }
        Some(Lookup::Absent) | None => {
            let message = format!("{} {name:?} does not exist", kind.name());
            missing(kind.reason(optional, What::Object), message, optional, notices).map(|()| None)
        }
    }
}

fn missing(reason: &'static str, message: String, optional: bool, notices: &mut Vec<Notice>) -> Result<(), Problem> {
    if !optional {
        return Err(Problem::Missing { reason, message });
    }
    notices.push(Notice { reason, message: format!("{message}; it is optional and was skipped") });
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::pods::object::tests::pod;

    fn sources() -> Sources {
        let data = |pairs: &[(&str, &'static [u8])]| {
            let values = pairs.iter().map(|(key, value)| (key.to_string(), Bytes::from_static(value))).collect();
            let binary = [("BINARY".to_string(), Bytes::from_static(b"text"))].into();
            Lookup::Found(Data { values, binary, ..Data::default() }).into()
        };
        HashMap::from([
            ((Kind::ConfigMap, "cm".into()), data(&[("A", b"from-cm"), ("B", b"b")])),
            ((Kind::ConfigMap, "gone".into()), Lookup::Absent.into()),
            ((Kind::ConfigMap, "broken".into()), Lookup::Failed("timeout".into()).into()),
            ((Kind::Secret, "s".into()), data(&[("TOKEN", b"hush"), ("A", b"from-secret")])),
            ((Kind::Secret, "keys".into()), data(&[("TOKEN", b"hush"), ("DER", b"\x30\x82\xff")])),
        ])
    }

    fn resolve(container: serde_json::Value) -> (Result<Environment, Problem>, Vec<Notice>) {
        let pod = pod(json!({"metadata": {"name": "n", "namespace": "ns", "uid": "u"}}));
        let container: Container = serde_json::from_value(container).unwrap();
        let services = BTreeMap::from([("DB_SERVICE_HOST".to_string(), "10.0.0.7".to_string())]);
        let node = super::super::Node::default();
        let sources = sources();
        let context =
            Context { pod: &pod, containers: &[], node: &node, ips: &[], sources: &sources, services: &services };
        let mut notices = Vec::new();
        let result = environment(&context, &container, "spec.containers[0]", &mut notices);
        (result, notices)
    }

    fn pairs(environment: &Environment) -> Vec<(String, String, bool)> {
        environment.env.iter().map(|v| (v.name.clone(), v.value.clone(), v.secret)).collect()
    }

    #[test]
    fn later_sources_win_and_keep_their_place() {
        let (result, notices) = resolve(json!({
            "name": "c",
            "envFrom": [{"configMapRef": {"name": "cm"}}, {"prefix": "P_", "secretRef": {"name": "s"}}, {"secretRef": {"name": "s"}}],
            "env": [{"name": "B", "value": "own"}, {"name": "C", "value": "$(B)-$(TOKEN)-$(DB_SERVICE_HOST)-$(LATER)"}, {"name": "LATER", "value": "x"}],
        }));
        let expected = [
            ("A", "from-secret", true),
            ("B", "own", false),
            ("P_A", "from-secret", true),
            ("P_TOKEN", "hush", true),
            ("TOKEN", "hush", true),
            ("C", "own-hush-10.0.0.7-$(LATER)", true),
            ("LATER", "x", false),
            ("DB_SERVICE_HOST", "10.0.0.7", false),
        ];
        let expected: Vec<_> = expected.iter().map(|(n, v, s)| (n.to_string(), v.to_string(), *s)).collect();
        assert_eq!(pairs(&result.ok().unwrap()), expected);
        assert!(notices.is_empty());
    }

    #[test]
    fn commands_and_arguments_are_expanded_and_marked() {
        let (result, _) = resolve(json!({
            "name": "c", "command": ["run", "$(B)"], "args": ["--token=$(T)", "$$(B)"],
            "env": [{"name": "B", "value": "b"}, {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "TOKEN"}}}],
        }));
        let environment = result.ok().unwrap();
        assert_eq!(environment.command, ["run", "b"]);
        assert_eq!(environment.args, ["--token=hush", "$(B)"]);
        assert!(environment.secret_args);
    }

    #[test]
    fn what_is_missing_waits_or_is_skipped_with_a_notice() {
        let key = |kind: &str, name: &str, key: &str, optional: bool| {
            resolve(
                json!({"name": "c", "env": [{"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}]}),
            )
        };
        let table = [
            ("configMapKeyRef", "gone", "k", "MandatoryConfigMapNotFound", "OptionalConfigMapNotFound"),
            ("configMapKeyRef", "cm", "k", "MandatoryConfigMapKeyNotFound", "OptionalConfigMapKeyNotFound"),
            ("secretKeyRef", "gone", "k", "MandatorySecretNotFound", "OptionalSecretNotFound"),
            ("secretKeyRef", "s", "k", "MandatorySecretKeyNotFound", "OptionalSecretKeyNotFound"),
        ];
        for (kind, name, k, mandatory, optional) in table {
            let (result, _) = key(kind, name, k, false);
            assert!(matches!(result, Err(Problem::Missing { reason, .. }) if reason == mandatory), "{mandatory}");
            let (result, notices) = key(kind, name, k, true);
            assert!(pairs(&result.ok().unwrap()).iter().all(|(n, ..)| n != "X"));
            assert_eq!(notices.iter().map(|n| n.reason).collect::<Vec<_>>(), [optional]);
        }
        let (result, _) = key("configMapKeyRef", "broken", "k", true);
        assert!(
            matches!(result, Err(Problem::Unread { reason: "FailedToReadOptionalConfigMap", .. })),
            "not read is not absent"
        );
    }

    #[test]
    fn a_value_that_is_no_text_is_never_changed_silently() {
        for optional in [false, true] {
            let reference = json!({"name": "keys", "key": "DER", "optional": optional});
            let (result, _) =
                resolve(json!({"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": reference}}]}));
            let problem = result.err().unwrap();
            assert!(matches!(problem, Problem::Missing { reason: NOT_TEXT, .. }), "{problem:?}");
            assert!(problem.to_string().contains("key \"DER\" of Secret \"keys\""), "{problem}");
        }
        let (result, notices) = resolve(json!({"name": "c", "envFrom": [{"secretRef": {"name": "keys"}}]}));
        let names: Vec<String> = pairs(&result.ok().unwrap()).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["TOKEN", "DB_SERVICE_HOST"]);
        assert!(matches!(&notices[..], [notice] if notice.reason == NOT_TEXT && notice.message.contains("DER")));
    }

    #[test]
    fn a_late_value_is_told_and_a_wrong_field_refused_by_its_path() {
        let (result, _) = resolve(
            json!({"name": "c", "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}),
        );
        assert!(result.ok().unwrap().late);
        let (result, _) = resolve(
            json!({"name": "c", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]}),
        );
        assert!(
            matches!(result, Err(Problem::Refused { field, .. }) if field == "spec.containers[0].env[0].valueFrom.fieldRef")
        );
        for (source, expected) in
            [(json!({"fileKeyRef": {"key": "K", "path": "e", "volumeName": "v"}}), ".fileKeyRef"), (json!({}), "")]
        {
            let (result, _) = resolve(json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]}));
            let Err(Problem::Refused { field, .. }) = result else { panic!("{source} is taken") };
            assert_eq!(field, format!("spec.containers[0].env[0].valueFrom{expected}"));
        }
    }
}
