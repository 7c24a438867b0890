//! Microsoft's own schema, and whether a request keeps to it.

mod paths;

use anyhow::{Context as _, Result, anyhow};
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use paths::Paths;

const PUBLISHED: &str = include_str!("../schema/aci-2023-05-01.openapi.json");
/// Ours, see its comment.
const OVERLAY: &str = include_str!("../schema/overlay-2026-05-01.json");

/// Versions of the API that are spoken here. The first has the published schema, the other the overlay over it.
pub(crate) const VERSIONS: [&str; 2] = ["2023-05-01", "2026-05-01"];

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// `PUT` of a group.
    Group,
    /// `PATCH` of one.
    Tags,
    /// `POST …/exec`.
    Command,
}

/// The schemas of all versions.
pub(crate) struct Schemas {
    bodies: Vec<(&'static str, Schema)>,
    /// Those of all versions, as far as they are known here.
    paths: Paths,
}

struct Schema {
    group: Validator,
    tags: Validator,
    command: Validator,
}

impl Schemas {
    /// Reads them.
    pub(crate) fn load() -> Result<Self> {
        let published: Value = serde_json::from_str(PUBLISHED)?;
        let overlay: Value = serde_json::from_str(OVERLAY)?;
        let mut newer = published.clone();
        merge(newer.pointer_mut("/components/schemas").context("no schemas")?, &overlay);
        let [first, second] = VERSIONS;
        let paths = Paths::of(&published)?;
        Ok(Self { bodies: vec![(first, Schema::of(published)?), (second, Schema::of(newer)?)], paths })
    }

    /// What is wrong with a body: places, as JSON pointers, and what is wrong there. No value is repeated.
    pub(crate) fn mistakes(&self, version: &str, sent: Sent, body: &Value) -> Vec<(String, String)> {
        let Some((_, schema)) = self.bodies.iter().find(|(known, _)| *known == version) else { return Vec::new() };
        let validator = match sent {
            Sent::Group => &schema.group,
            Sent::Tags => &schema.tags,
            Sent::Command => &schema.command,
        };
        let place = |place: String| if place.is_empty() { "/".to_owned() } else { place };
        validator
            .iter_errors(body)
            .map(|error| (place(error.instance_path().to_string()), error.masked().to_string()))
            .collect()
    }

    /// What is wrong with where a request goes, its path being in lower case: `path`, `method` or the parameter, and what is wrong
    /// with it. No value is repeated.
    pub(crate) fn misaddressed(
        &self,
        method: &str,
        path: &[&str],
        query: &[(String, String)],
    ) -> Vec<(String, String)> {
        self.paths.mistakes(method, path, query)
    }
}

impl Schema {
    fn of(document: Value) -> Result<Self> {
        let mut document = document;
        forbid_read_only(&mut document);
        let of = |name: &str| -> Result<Validator> {
            let mut root = document.clone();
            let object = root.as_object_mut().context("the schema is no object")?;
            object.insert("$ref".to_owned(), json!(format!("#/components/schemas/{name}")));
            jsonschema::draft202012::new(&root).map_err(|error| anyhow!("{name}: {error}"))
        };
        Ok(Self { group: of("ContainerGroup")?, tags: of("Resource")?, command: of("ContainerExecRequest")? })
    }
}

/// What only answers have is forbidden in requests.
fn forbid_read_only(value: &mut Value) {
    let is_read_only = |value: &Value| value.get("readOnly") == Some(&Value::Bool(true));
    match value {
        Value::Array(items) => items.iter_mut().for_each(forbid_read_only),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if name == "properties"
                    && let Some(properties) = member.as_object_mut()
                {
                    properties
                        .values_mut()
                        .filter(|schema| is_read_only(schema))
                        .for_each(|schema| *schema = json!(false));
                }
                forbid_read_only(member);
            }
        }
        _ => {}
    }
}

/// A JSON merge patch (RFC 7386).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(properties: Value) -> Value {
        json!({"location": "westeurope", "properties": properties})
    }

    fn container(more: Value) -> Value {
        let mut properties = json!({"image": "i", "resources": {"requests": {"cpu": 1, "memoryInGB": 1.5}}});
        merge(&mut properties, &more);
        json!({"name": "c", "properties": properties})
    }

    #[test]
    fn what_the_schema_forbids_is_found_where_it_stands() {
        let schemas = Schemas::load().unwrap();
        let with = |more| group(json!({"osType": "Linux", "containers": [container(more)]}));
        for (body, old, new) in [
            (with(json!({})), None, None),
            (group(json!({"containers": [container(json!({}))]})), Some("/properties"), None),
            (
                group(json!({"osType": "Linux", "containers": [{"name": "c"}]})),
                Some("/properties/containers/0"),
                Some("/properties/containers/0"),
            ),
            (
                with(json!({"ports": [{"port": "80"}]})),
                Some("/properties/containers/0/properties/ports/0/port"),
                Some("/properties/containers/0/properties/ports/0/port"),
            ),
            (
                with(json!({"instanceView": {}})),
                Some("/properties/containers/0/properties/instanceView"),
                Some("/properties/containers/0/properties/instanceView"),
            ),
            (
                with(json!({"tcpSocket": {}})),
                Some("/properties/containers/0/properties"),
                Some("/properties/containers/0/properties"),
            ),
            (
                with(json!({"configMap": {"keyValuePairs": {"a": "b"}}})),
                Some("/properties/containers/0/properties"),
                None,
            ),
            (
                with(json!({"environmentVariables": [{"name": "A", "secureValueReference": "r"}]})),
                Some("/properties/containers/0/properties/environmentVariables/0"),
                None,
            ),
        ] {
            for (version, place) in VERSIONS.into_iter().zip([old, new]) {
                let mistakes = schemas.mistakes(version, Sent::Group, &body);
                let places: Vec<&str> = mistakes.iter().map(|(place, _)| place.as_str()).collect();
                assert_eq!(places, Vec::from_iter(place), "{version} {body}: {mistakes:?}");
            }
        }
    }

    #[test]
    fn no_mistake_repeats_a_secret() {
        let body = group(json!({"osType": "Linux", "containers": [container(
            json!({"environmentVariables": [{"name": "A", "secureValue": ["hidden"]}]}))]}));
        let mistakes = Schemas::load().unwrap().mistakes("2023-05-01", Sent::Group, &body);
        assert!(mistakes.len() == 1 && !format!("{mistakes:?}").contains("hidden"), "{mistakes:?}");
    }
}
