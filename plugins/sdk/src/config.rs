//! The operator's configuration: the text of `--provider-config`, in TOML or, if it starts with `{`, in JSON.
//!
//! The host reads it anew for each call, so a changed file counts at once, and so do its mistakes. `configure` should tell every one at
//! once: [`Form`] does, with field, line and what would be right. [`parse`] is shorter, fills a serde struct and tells the first one.
//! Any other call must not tell it so, as an invalid argument ends the pod that the call is about, for good: [`read`] and [`first`]
//! say what the pod then waits for.

mod document;
mod form;

use serde::de::DeserializeOwned;

pub use crate::bindings::imports::virtual_kubelet::provider::config::NodeInfo;
pub use document::{Document, Format, Item, Table, Value};
pub use form::Form;

use crate::{Code, Error, Result, acted, sys};

/// The reason of every mistake.
const INVALID: &str = "InvalidConfiguration";

/// The node that the plugin serves. Never changes while the host runs.
pub fn node() -> NodeInfo {
    sys::node()
}

/// The text of `--provider-config`; none: not given.
///
/// # Errors
/// The file cannot be read now. Of effect `none`, unless the call may have changed something before.
pub fn text() -> Result<Option<String>> {
    sys::text().map_err(acted::not)
}

/// A variable of the host's environment that was wanted and granted, as it was when the host started; none: it is not
/// set there, it is empty, or it was not granted.
pub fn variable(name: &str) -> Option<String> {
    sys::variable(name)
}

/// A file that was wanted and granted, by its path there, as it is now.
///
/// `configure` may want what a file says: it first wants the file, and is asked again once that is granted. Until then
/// the error is `permission-denied`, and nothing to report.
///
/// # Errors
/// It was not granted, or cannot be read now. Of effect `none`, unless the call may have changed something before.
pub fn file(name: &str) -> Result<Vec<u8>> {
    sys::file(name).map_err(acted::not)
}

/// The configuration as a struct, for any call; without `--provider-config` its default.
///
/// # Errors
/// As [`first`] of what [`parse`] says, or the file cannot be read.
pub fn read<T: DeserializeOwned + Default>() -> Result<T> {
    text()?.map_or_else(|| Ok(T::default()), |text| parse(&text).map_err(|mistake| first(vec![mistake])))
}

/// What came of reading the configuration, for calls that can tell one error only: the first mistake, of a file that was changed since
/// `configure`. An operator can mend it, so no pod must end for it.
///
/// ```
/// use vk_provider::config::{Form, first};
///
/// let mistakes = Form::parse("cpus = 5").and_then(Form::finish).unwrap_err();
/// let error = first(mistakes);
/// assert_eq!(error.code, vk_provider::Code::FailedPrecondition);
/// assert_eq!((error.field, error.message.as_str()), (None, "cpus: line 1: unknown key; none is known here"));
/// ```
///
/// A mistake becomes `failed-precondition` with its key in the message and no field; whatever else is among them stays as it is.
#[must_use]
pub fn first(mistakes: Vec<Error>) -> Error {
    let nothing = || Error::failed_precondition(INVALID, "it cannot be read");
    let error = mistakes.into_iter().next().unwrap_or_else(nothing);
    if error.code != Code::InvalidArgument {
        return error;
    }
    let Error { reason, message, field, .. } = error;
    let message = field.map_or_else(|| message.clone(), |field| format!("{field}: {message}"));
    Error::failed_precondition(reason, message)
}

/// A configuration text as a struct, for `configure`.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// struct Config { region: String, cores: u32 }
///
/// let error = vk_provider::config::parse::<Config>("region = \"west\"\ncores = \"four\"").unwrap_err();
/// assert_eq!(error.field.as_deref(), Some("cores"));
/// assert_eq!(error.message, "line 2: invalid type: string \"four\", expected u32");
/// ```
///
/// # Errors
/// `invalid-argument` with the field and the line of the first mistake.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    let document = Document::parse(text)
        .map_err(|mistakes| mistakes.into_iter().next().unwrap_or_else(|| mistake(1, "it cannot be read")))?;
    let json = document.root.to_json();
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let line = document.root.line_of(&path);
        let error = mistake(line, &error.into_inner().to_string());
        if path == "." { error } else { error.field(path) }
    })
}

/// One mistake of the operator's.
fn mistake(line: usize, message: &str) -> Error {
    Error::invalid_argument(INVALID, format!("line {line}: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        region: String,
        limits: std::collections::BTreeMap<String, u32>,
        zones: Vec<String>,
    }

    #[test]
    fn toml_and_json_fill_the_same_struct() {
        let toml: Sample = parse("region = \"west\"\nzones = [\"a\", \"b\"]\n[limits]\ncpu = 0x10").unwrap();
        let json: Sample =
            parse("{\n\"region\": \"w\\u0065st\", \"limits\": {\"cpu\": 16}, \"zones\": [\"a\", \"b\"]\n}").unwrap();
        assert_eq!(toml, json);
        assert_eq!(toml.limits["cpu"], 16);
    }

    #[test]
    fn a_mistake_names_field_and_line() {
        for (text, field, message) in [
            ("region = 1", Some("region"), "line 1: invalid type: integer `1`, expected a string"),
            (
                "[limits]\ncpu = 1\nmemory = \"x\"",
                Some("limits.memory"),
                "line 3: invalid type: string \"x\", expected u32",
            ),
            ("zones = [\n\"a\",\n2]", Some("zones[1]"), "line 3: invalid type: integer `2`, expected a string"),
            (
                "{\"region\": \"a\",\n\"limits\": {\n\"cpu\": null}}",
                Some("limits.cpu"),
                "line 3: invalid type: null, expected u32",
            ),
            ("{\"zones\":\n[{}]}", Some("zones[0]"), "line 2: invalid type: map, expected a string"),
            (
                "region = \"a\"\nregoin = \"b\"",
                Some("regoin"),
                "line 2: unknown field `regoin`, expected one of `region`, `limits`, `zones`",
            ),
        ] {
            let error = parse::<Sample>(text).unwrap_err();
            assert_eq!((error.field.as_deref(), error.message.as_str()), (field, message), "{text}");
        }
    }

    #[test]
    fn broken_syntax_names_the_line() {
        for (text, line) in
            [("a = 1\nb = = 2", "line 2: "), ("{\"a\": 1,\n\n\"b\" 2}", "line 3: "), ("{\"a\": 1", "line 1: ")]
        {
            let error = parse::<Sample>(text).unwrap_err();
            assert!(error.message.starts_with(line), "{text}: {}", error.message);
        }
    }

    #[test]
    fn half_a_character_in_json_is_a_mistake() {
        let text = "{\n\"region\": \"\\ud800\",\n\"zones\": [\"a\",\n\"\\udc00\"]}";
        let mistakes = Document::parse(text).unwrap_err();
        let lines: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.message.get(..8)).collect();
        assert_eq!(lines, ["line 2: ", "line 4: "], "{mistakes:?}");
    }

    #[test]
    fn a_variable_is_there_if_it_was_granted() {
        crate::testing::reset();
        assert_eq!(variable("REGION"), None);
        crate::testing::variable("REGION", "west");
        assert_eq!(variable("REGION").as_deref(), Some("west"));
    }

    #[test]
    fn without_a_file_the_default_counts() {
        crate::testing::reset();
        assert_eq!(read::<Sample>().unwrap(), Sample::default());
        crate::testing::configure("region = \"x\"");
        assert_eq!(read::<Sample>().unwrap().region, "x");
    }

    #[test]
    fn a_mistake_ends_no_pod() {
        crate::testing::reset();
        crate::testing::configure("[limits]\ncpu = \"x\"");
        let error = read::<Sample>().unwrap_err();
        assert_eq!((error.code, &*error.reason, error.field), (Code::FailedPrecondition, INVALID, None));
        assert_eq!(error.message, "limits.cpu: line 2: invalid type: string \"x\", expected u32");
        let away = first(vec![Error::unavailable("FileAway", "it cannot be read now"), mistake(1, "wrong")]);
        assert_eq!((away.code, &*away.reason), (Code::Unavailable, "FileAway"));
        assert_eq!(first(Vec::new()).code, Code::FailedPrecondition);
    }
}
