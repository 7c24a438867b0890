//! What Microsoft's schema says of requests beside their bodies: which paths there are, with which methods and parameters.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use super::VERSIONS;

/// What a list's `nextLink` has besides: it is the service's own, and the schema does not tell it.
const PAGE: &str = "$skiptoken";
const LIST: &str = "/containerGroups";

/// All paths.
pub(super) struct Paths(Vec<Path>);

struct Path {
    /// In lower case; none: a parameter.
    segments: Vec<Option<String>>,
    /// By method, in lower case: the parameters of the query.
    methods: BTreeMap<String, Vec<Parameter>>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    r#in: String,
    #[serde(default)]
    required: bool,
    schema: Type,
}

#[derive(Deserialize)]
struct Type {
    r#type: String,
}

impl Paths {
    /// Reads them.
    pub(super) fn of(document: &Value) -> Result<Self> {
        let paths = document.get("paths").and_then(Value::as_object).context("no paths")?;
        paths.iter().map(|(template, item)| Path::of(template, item)).collect::<Result<_>>().map(Self)
    }

    /// What is wrong with a request, whose path is in lower case: `path`, `method` or the parameter, and what is wrong with it.
    pub(super) fn mistakes(&self, method: &str, path: &[&str], query: &[(String, String)]) -> Vec<(String, String)> {
        let one = |place: &str, what: &str| vec![(place.to_owned(), what.to_owned())];
        let Some(known) = self.0.iter().find(|known| known.fits(path)) else {
            return one("path", "there is none such");
        };
        let Some(parameters) = known.methods.get(&method.to_lowercase()) else {
            return one("method", "the path has none such");
        };
        let is_there = |known: &Parameter| query.iter().any(|(name, _)| *name == known.name);
        let missing = parameters.iter().filter(|known| known.required && !is_there(known));
        let missing = missing.map(|known| (known.name.as_str(), "it is missing"));
        let wrong = query.iter().enumerate().filter_map(|(index, (name, value))| {
            let why = match parameters.iter().find(|known| known.name == *name) {
                None => Some("there is none such"),
                Some(_) if query.iter().take(index).any(|(earlier, _)| earlier == name) => Some("it is there twice"),
                Some(known) => known.mistake(value),
            };
            Some((name.as_str(), why?))
        });
        missing.chain(wrong).map(|(name, what)| (format!("query parameter {name}"), what.to_owned())).collect()
    }
}

impl Path {
    fn of(template: &str, item: &Value) -> Result<Self> {
        let segments = template.split('/').filter(|segment| !segment.is_empty());
        let segments = segments.map(|segment| (!segment.starts_with('{')).then(|| segment.to_lowercase())).collect();
        // Beside its methods a path has the parameters that are in it: all of them are texts.
        let methods = item.as_object().context("a path is no object")?.iter().filter(|(name, _)| *name != "parameters");
        let methods = methods.map(|(method, operation)| {
            let all = operation.get("parameters").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
            let mut parameters: Vec<Parameter> =
                serde_json::from_value(all).with_context(|| format!("parameters of {method} {template}"))?;
            parameters.retain(|parameter| parameter.r#in == "query");
            if method == "get" && template.ends_with(LIST) {
                parameters.push(Parameter::page());
            }
            Ok((method.clone(), parameters))
        });
        Ok(Self { segments, methods: methods.collect::<Result<_>>()? })
    }

    fn fits(&self, path: &[&str]) -> bool {
        let is = |(own, given): (&Option<String>, &&str)| own.as_deref().is_none_or(|own| own == *given);
        self.segments.len() == path.len() && self.segments.iter().zip(path).all(is)
    }
}

impl Parameter {
    fn page() -> Self {
        let schema = Type { r#type: "string".to_owned() };
        Self { name: PAGE.to_owned(), r#in: "query".to_owned(), required: false, schema }
    }

    /// Why a value is none of this parameter's.
    fn mistake(&self, value: &str) -> Option<&'static str> {
        match self.schema.r#type.as_str() {
            // The schema's is the version that it describes.
            _ if self.name == "api-version" => (!VERSIONS.contains(&value)).then_some("it is no version known here"),
            "integer" => value.parse::<i64>().is_err().then_some("it is no integer"),
            "boolean" => (!["true", "false"].contains(&value)).then_some("it is neither true nor false"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PUBLISHED;
    use super::*;

    const GROUPS: &str = "/subscriptions/s/resourcegroups/g/providers/microsoft.containerinstance/containergroups";

    /// The places of what is wrong.
    fn places(request: &str) -> Vec<String> {
        let (method, rest) = request.split_once(' ').unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.replace("GROUPS", GROUPS);
        let path: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let paths = Paths::of(&serde_json::from_str(PUBLISHED).unwrap()).unwrap();
        paths.mistakes(method, &path, &query).into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn what_the_schema_does_not_have_of_paths_methods_and_parameters_is_told() {
        for (request, expected) in [
            ("GET GROUPS?api-version=2023-05-01", None),
            ("GET GROUPS?api-version=2026-05-01&%24skiptoken=2", None),
            ("PUT GROUPS/web?api-version=2023-05-01", None),
            ("DELETE GROUPS/web?api-version=2023-05-01", None),
            ("POST GROUPS/web/stop?api-version=2023-05-01", None),
            ("GET GROUPS/web/containers/main/logs?api-version=2023-05-01&tail=10&timestamps=true", None),
            ("GET GROUPS/web/logs?api-version=2023-05-01", Some("path")),
            ("GET /tenants?api-version=2023-05-01", Some("path")),
            ("DELETE GROUPS?api-version=2023-05-01", Some("method")),
            ("POST GROUPS/web?api-version=2023-05-01", Some("method")),
            ("GET GROUPS/web", Some("query parameter api-version")),
            ("GET GROUPS/web?api-version=2020-01-01", Some("query parameter api-version")),
            ("GET GROUPS/web?api-version=2023-05-01&api-version=2023-05-01", Some("query parameter api-version")),
            ("GET GROUPS?api-version=2023-05-01&$top=3", Some("query parameter $top")),
            ("GET GROUPS/web?api-version=2023-05-01&$skiptoken=2", Some("query parameter $skiptoken")),
            ("GET GROUPS/web/containers/main/logs?api-version=2023-05-01&tail=all", Some("query parameter tail")),
            (
                "GET GROUPS/web/containers/main/logs?api-version=2023-05-01&timestamps=1",
                Some("query parameter timestamps"),
            ),
        ] {
            assert_eq!(places(request), Vec::from_iter(expected), "{request}");
        }
    }
}
