//! What is shown of what was asked for: everything but secrets.

use serde_json::{Map, Value, json};

/// Members that are secrets wherever they stand.
const SECRETS: [&str; 6] =
    ["secureValue", "password", "storageAccountKey", "workspaceKey", "protectedSettings", "workspaceResourceId"];

/// A body without its secrets, and with the defaults that Azure fills in.
pub(crate) fn of(body: &Value) -> Value {
    let mut echo = stripped(body);
    if let Some(object) = echo.as_object_mut() {
        object.entry("tags").or_insert_with(|| json!({}));
    }
    if let Some(properties) = echo.get_mut("properties").and_then(Value::as_object_mut) {
        properties.entry("restartPolicy").or_insert_with(|| json!("Always"));
        properties.entry("osType").or_insert_with(|| json!("Linux"));
        properties.entry("sku").or_insert_with(|| json!("Standard"));
        properties.entry("initContainers").or_insert_with(|| json!([]));
    }
    echo
}

fn stripped(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(stripped).collect(),
        Value::Object(members) => {
            let shown = members.iter().filter(|(name, _)| !SECRETS.contains(&name.as_str()));
            Value::Object(shown.map(|(name, value)| (name.clone(), member(name, value))).collect())
        }
        other => other.clone(),
    }
}

/// A secret volume's files are secrets with names that are none.
fn member(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("secret", Value::Object(_)) => Value::Object(Map::new()),
        // Tags and variables may have any name.
        ("tags", _) => value.clone(),
        _ => stripped(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown_and_everything_else_is() {
        let body = json!({
            "location": "westeurope",
            "tags": {"password": "a tag"},
            "properties": {
                "containers": [{"name": "c", "properties": {"environmentVariables": [
                    {"name": "SAID", "value": "said"}, {"name": "HIDDEN", "secureValue": "one"}]}}],
                "imageRegistryCredentials": [{"server": "s", "username": "u", "password": "two"}],
                "volumes": [
                    {"name": "files", "secret": {"a": "three"}},
                    {"name": "share", "azureFile": {"shareName": "s", "storageAccountKey": "four"}}],
                "diagnostics": {"logAnalytics": {"workspaceId": "w", "workspaceKey": "five"}},
                "extensions": [{"name": "e", "properties": {"settings": {"a": 1}, "protectedSettings": "six"}}],
            },
        });
        let echo = of(&body);
        let text = echo.to_string();
        for secret in ["one", "two", "three", "four", "five", "six"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        assert_eq!(echo.pointer("/tags/password"), Some(&json!("a tag")));
        let variables = echo.pointer("/properties/containers/0/properties/environmentVariables");
        assert_eq!(variables, Some(&json!([{"name": "SAID", "value": "said"}, {"name": "HIDDEN"}])));
        assert_eq!(echo.pointer("/properties/volumes/0"), Some(&json!({"name": "files", "secret": {}})));
    }
}
