//! Secrets that went out with a request, and must not come back in the words of its refusal.

use std::fmt::Write as _;

use data_encoding::{BASE64, BASE64_NOPAD};
use serde_json::Value;
use vk_provider::http::encode;

use crate::group::{EnvironmentVariable, Group};
use crate::scrub::{self, HIDDEN};

/// What is shorter is no secret, and hiding it would make nonsense of any sentence.
const SHORT: usize = 4;
/// Words of a command are hidden from this length on: most are no secrets, but one may have been put into them.
const WORD: usize = 8;

/// Texts that are to be hidden, in each form that an answer could have them in.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// These.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut secrets = Self::default();
        texts.into_iter().for_each(|text| secrets.add(text));
        secrets
    }

    /// All that a group has.
    pub(crate) fn of_group(group: &Group) -> Self {
        let mut secrets = Self::default();
        let properties = &group.properties;
        let containers = properties.containers.iter().map(|container| &container.properties);
        let inits = properties.init_containers.iter().map(|container| &container.properties);
        let commands = containers.clone().map(|it| &it.command).chain(inits.clone().map(|it| &it.command));
        commands.flatten().filter(|word| word.expose().len() >= WORD).for_each(|word| secrets.add(word.expose()));
        let variables = containers.clone().map(|it| &it.environment_variables);
        variables.chain(inits.map(|it| &it.environment_variables)).for_each(|all| secrets.add_variables(all));
        for probe in containers.flat_map(|it| [&it.liveness_probe, &it.readiness_probe]).flatten() {
            let headers = probe.http_get.iter().flat_map(|get| &get.http_headers);
            headers
                .filter(|header| header.value.expose().len() >= WORD)
                .for_each(|header| secrets.add(header.value.expose()));
        }
        for credential in &properties.image_registry_credentials {
            credential.password.iter().for_each(|password| secrets.add(password.expose()));
        }
        for volume in &properties.volumes {
            let key = volume.azure_file.iter().filter_map(|file| file.storage_account_key.as_ref());
            key.for_each(|key| secrets.add(key.expose()));
            volume.git_repo.iter().for_each(|git| secrets.add_user(git.repository.expose()));
            volume
                .secret
                .iter()
                .flat_map(|files| files.values())
                .for_each(|content| secrets.add_base64(content.expose()));
        }
        let workspace = properties.diagnostics.iter().filter_map(|diagnostics| diagnostics.log_analytics.as_ref());
        workspace.for_each(|workspace| secrets.add(workspace.workspace_key.expose()));
        for extension in &properties.extensions {
            extension.properties.protected_settings.iter().for_each(|settings| secrets.add_json(settings.expose()));
        }
        secrets
    }

    /// A text without them, and without what looks like one.
    pub(crate) fn scrubbed(&self, text: &str) -> String {
        // The longest first: one may be a part of another.
        let mut forms: Vec<&String> = self.0.iter().filter(|form| text.contains(form.as_str())).collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        let known = forms.into_iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), HIDDEN));
        scrub::scrubbed(&known)
    }

    fn add(&mut self, text: &str) {
        let text = text.trim();
        if text.len() < SHORT {
            return;
        }
        let (json, url) = (within_json(text), encode(text));
        // An error within an error is JSON within JSON; forms write a space as a plus.
        let (nested, form) = (within_json(&json), url.replace("%20", "+"));
        let base64 = BASE64_NOPAD.encode(text.as_bytes());
        self.0.extend([text.to_owned(), json, nested, escaped(text), url, form, base64]);
    }

    fn add_variables(&mut self, variables: &[EnvironmentVariable]) {
        variables
            .iter()
            .filter_map(|variable| variable.secure_value.as_ref())
            .for_each(|value| self.add(value.expose()));
    }

    /// A file's content, as it goes over the wire and as it is.
    fn add_base64(&mut self, content: &str) {
        self.add(content);
        let plain = BASE64.decode(content.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        plain.iter().for_each(|plain| self.add(plain));
    }

    /// Of a URL what stands before its host.
    fn add_user(&mut self, url: &str) {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else { return };
        self.add(user);
        user.split(':').for_each(|part| self.add(part));
    }

    fn add_json(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add_base64(text),
            Value::Array(list) => list.iter().for_each(|value| self.add_json(value)),
            Value::Object(object) => object.values().for_each(|value| self.add_json(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// As it stands between the quotes of JSON.
fn within_json(text: &str) -> String {
    let json = Value::from(text).to_string();
    json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// As JSON is written by .NET, which much of Azure is made of: with `\u002B` for `+`, and the like for all that means
/// something in HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if (letter.is_ascii_graphic() || letter == ' ') && !"\"&'+<>`".contains(letter) => escaped.push(letter),
            _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(escaped, "\\u{unit:04X}");
            }),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_as_azure_escapes_it() {
        let secrets = Secrets::of(["a+b&c\\d\"é𝄞 e", "line\none"]);
        assert_eq!(
            secrets.scrubbed(r"in a\u002Bb\u0026c\\d\u0022\u00E9\uD834\uDD1E e, line\none"),
            "in [redacted], [redacted]"
        );
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secrets = Secrets::of(["p\"s/ s3cret", "abc"]);
        let url = encode("p\"s/ s3cret");
        let base64 = BASE64.encode(b"p\"s/ s3cret");
        let text = format!(
            "plain p\"s/ s3cret, json p\\\"s/ s3cret, nested p\\\\\\\"s/ s3cret, url {url}, form p%22s%2F+s3cret, base64 {base64}, abc"
        );
        assert_eq!(
            secrets.scrubbed(&text),
            "plain [redacted], json [redacted], nested [redacted], url [redacted], form [redacted], base64 [redacted]=, abc"
        );
        assert_eq!(Secrets::of(["s3cret", "s3cret-and-more"]).scrubbed("a s3cret-and-more"), "a [redacted]");
    }

    #[test]
    fn every_secret_of_a_group_is_among_them() {
        let kubeconfig = BASE64.encode(b"kube-s3cret");
        let file = BASE64.encode(b"file-s3cret");
        let group: Group = serde_json::from_value(serde_json::json!({"properties": {
            "containers": [{"properties": {
                "command": ["sh", "--password=cmd-s3cret"],
                "environmentVariables": [{"name": "A", "value": "plain-value"}, {"name": "B", "secureValue": "env-s3cret"}],
                "livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "Authorization", "value": "probe-s3cret"}]}},
            }}],
            "initContainers": [{"properties": {
                "command": ["init-s3cret"], "environmentVariables": [{"name": "B", "secureValue": "initenv-s3cret"}],
            }}],
            "imageRegistryCredentials": [{"server": "r.example", "username": "user", "password": "pull-s3cret"}],
            "volumes": [
                {"azureFile": {"shareName": "s", "storageAccountName": "a", "storageAccountKey": "share-s3cret"}},
                {"secret": {"f": file}},
                {"gitRepo": {"repository": "https://me:git-s3cret@git.example/r"}},
            ],
            "diagnostics": {"logAnalytics": {"workspaceId": "w", "workspaceKey": "log-s3cret"}},
            "extensions": [{"properties": {"protectedSettings": {"kubeConfig": kubeconfig}}}],
        }}))
        .unwrap();
        assert!(!format!("{group:?}").contains("s3cret"), "{group:?}");
        let secrets = Secrets::of_group(&group);
        let text = format!(
            "--password=cmd-s3cret init-s3cret env-s3cret initenv-s3cret probe-s3cret pull-s3cret share-s3cret {file} file-s3cret \
             git-s3cret log-s3cret {kubeconfig} kube-s3cret"
        );
        assert_eq!(secrets.scrubbed(&text), vec![HIDDEN; 13].join(" "));
        assert_eq!(secrets.scrubbed("sh plain-value user r.example"), "sh plain-value user r.example");
    }
}
