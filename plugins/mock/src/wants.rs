//! What the mock asks the operator for, the rates that it keeps to, and which pods it takes: as its configuration says, to see
//! what a host makes of it.

use std::str::FromStr;
use std::time::Duration;

use vk_provider::config::{self, Form};
use vk_provider::plugin::{Budget, Settings, Want};
use vk_provider::{Code, Error};

use crate::config::Config;
use crate::script::duration;

const WHY: &str = "its configuration says so";
const WHY_OF_FILE: &str = "a file that its configuration names says so";

/// `ACCESS TARGET`. Which accesses there are is the host's to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    access: String,
    target: String,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().split_once(char::is_whitespace) {
            Some((access, target)) => Ok(Self { access: access.to_owned(), target: target.trim().to_owned() }),
            None => Err(format!("{text:?} is not wanted like that; write it like \"http https://example.com:443\"")),
        }
    }
}

impl Wanted {
    fn want(self, why: &str) -> Want {
        Want::of(self.access, self.target, why)
    }
}

/// A window of time, `1s`, in milliseconds.
struct Window(u64);

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        duration(text).map(Self)
    }
}

/// One entry of `budgets`; none: it has a mistake, which is noted.
pub(crate) fn budget(table: &mut Form) -> Option<Budget> {
    for (key, example) in
        [("origin", "origin = \"http://127.0.0.1:8080\""), ("requests", "requests = 5"), ("window", "window = \"1s\"")]
    {
        table.require(key, example);
    }
    let origin = table.text("origin");
    let methods = table.list::<String>("methods").unwrap_or_default();
    let paths = table.list::<String>("paths").unwrap_or_default();
    let (requests, window) = (table.parsed("requests"), table.parsed("window"));
    let burst = table.parsed("burst");
    let window = window.map(|Window(window)| Duration::from_millis(window));
    Some(Budget { burst, ..Budget::new(origin?, requests?, window?).methods(methods).paths(paths) })
}

impl Config {
    /// What follows from it.
    ///
    /// # Errors
    /// Every mistake in the file of `wants-of-file`.
    pub(crate) fn settings(self) -> Result<Settings, Vec<Error>> {
        let mut wants: Vec<Want> = self.wants.into_iter().map(|wanted| wanted.want(WHY)).collect();
        if let Some(path) = self.wants_of_file {
            let more = of_file(&path)?;
            wants.push(Want::file(path, WHY));
            wants.extend(more);
        }
        Ok(Settings { wants, budgets: self.budgets, resolves_late: self.resolves_late, ..Settings::default() })
    }
}

/// What a file says is wanted; nothing as long as it is not granted itself.
fn of_file(path: &str) -> Result<Vec<Want>, Vec<Error>> {
    let content = match config::file(path) {
        Err(error) if error.code == Code::PermissionDenied => return Ok(Vec::new()),
        content => content.map_err(|error| vec![error])?,
    };
    let (mut wants, mut mistakes) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(String::from_utf8_lossy(&content).lines()) {
        match text.parse::<Wanted>() {
            _ if text.trim().is_empty() => {}
            Ok(wanted) => wants.push(wanted.want(WHY_OF_FILE)),
            Err(why) => mistakes.push(mistake(path, line, &why)),
        }
    }
    if mistakes.is_empty() { Ok(wants) } else { Err(mistakes) }
}

fn mistake(path: &str, line: usize, why: &str) -> Error {
    Error::invalid_argument("InvalidConfiguration", format!("{path}, line {line}: {why}")).field("wants-of-file")
}

#[cfg(test)]
mod tests {
    use vk_provider::testing;

    use super::*;

    fn settings(text: &str) -> Result<Settings, Vec<Error>> {
        testing::configure(text);
        Config::read()?.settings()
    }

    fn wants(settings: Settings) -> Vec<String> {
        settings.wants.into_iter().map(|want| format!("{} {}: {}", want.access, want.target, want.why)).collect()
    }

    fn told(mistakes: Vec<Error>) -> Vec<String> {
        mistakes.into_iter().map(|mistake| mistake.to_string()).collect()
    }

    #[test]
    fn nothing_is_wanted_unless_it_is_written() {
        testing::reset();
        assert_eq!(settings("").unwrap(), Settings::default());
    }

    #[test]
    fn pods_that_need_their_ip_are_taken_where_it_is_written() {
        testing::reset();
        assert!(settings("resolvesLate = true").unwrap().resolves_late);
        assert!(!settings("resolvesLate = false").unwrap().resolves_late);
        assert!(told(settings("resolvesLate = 1").unwrap_err())[0].ends_with("(resolvesLate)"));
    }

    #[test]
    fn what_is_wanted_is_passed_on_as_it_is_written() {
        testing::reset();
        let text = "wants = [\"http http://10.0.0.7:5000\", \"endpoint engine\", \"file  /a b\", \"moon *\"]";
        let expected = ["http http://10.0.0.7:5000", "endpoint engine", "file /a b", "moon *"];
        assert_eq!(wants(settings(text).unwrap()), expected.map(|want| format!("{want}: {WHY}")));
        assert_eq!(
            told(settings("wants = [\"http\",\n\"http x\",\n7]").unwrap_err()),
            [
                "InvalidConfiguration: line 1: \"http\" is not wanted like that; write it like \
                 \"http https://example.com:443\" (wants[0])",
                "InvalidConfiguration: line 3: \"7\" is not wanted like that; write it like \
                 \"http https://example.com:443\" (wants[2])",
            ]
        );
    }

    #[test]
    fn a_file_that_is_granted_says_what_else_is_wanted() {
        testing::reset();
        let text = "wants = [\"endpoint engine\"]\nwants-of-file = \"/etc/wants\"";
        let engine = format!("endpoint engine: {WHY}");
        let file = format!("file /etc/wants: {WHY}");
        assert_eq!(wants(settings(text).unwrap()), [engine.as_str(), &file]);
        testing::file("/etc/wants", b"http http://10.0.0.7:5000\n\nenvironment HOME\n");
        let more = ["http http://10.0.0.7:5000", "environment HOME"].map(|want| format!("{want}: {WHY_OF_FILE}"));
        assert_eq!(wants(settings(text).unwrap()), [engine, file, more[0].clone(), more[1].clone()]);
        testing::file("/etc/wants", b"environment HOME\nhttp");
        let mistakes = settings(text).unwrap_err();
        assert_eq!(mistakes[0].field.as_deref(), Some("wants-of-file"));
        assert!(
            mistakes[0].message.starts_with("/etc/wants, line 2: \"http\" is not wanted like that"),
            "{mistakes:?}"
        );
    }

    #[test]
    fn budgets_are_read_and_every_mistake_in_them_is_told() {
        testing::reset();
        let text = "budgets = [{ origin = \"http://a:1\", methods = [\"PUT\"], paths = [\"/x/**\"], requests = 5, window = \"1s\", \
                    burst = 1 }, { origin = \"http://b:2\", requests = 9, window = \"1m\" }]";
        let first = Budget::new("http://a:1", 5, Duration::from_secs(1)).methods(["PUT"]).paths(["/x/**"]).burst(1);
        let second = Budget::new("http://b:2", 9, Duration::from_secs(60));
        assert_eq!(settings(text).unwrap().budgets, [first, second]);
        assert_eq!(
            told(settings("budgets = [{ requests = -1, window = \"soon\", bust = 1 }]").unwrap_err()),
            [
                "InvalidConfiguration: line 1: it is missing; write it like origin = \"http://127.0.0.1:8080\" (budgets[0].origin)",
                "InvalidConfiguration: line 1: invalid digit found in string (budgets[0].requests)",
                "InvalidConfiguration: line 1: \"soon\" is no duration; write it like 500ms, 5s or 1m30s (budgets[0].window)",
                "InvalidConfiguration: line 1: unknown key; known are origin, methods, paths, requests, window, burst \
                 (budgets[0].bust)",
            ]
        );
    }
}
