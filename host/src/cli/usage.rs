//! Wrong usage in one line, as all other errors of the program are.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, Error};

use super::Cli;

/// What clap says over several lines, in one: what is wrong, with flag, variable and value, and what would be right.
pub fn line(error: &Error) -> String {
    with(error, |name| std::env::var_os(name))
}

fn with(error: &Error, variable: impl Fn(&OsStr) -> Option<OsString>) -> String {
    let text = error.to_string();
    let mut line = String::new();
    let said = text.lines().map(str::trim).filter(|part| !part.is_empty());
    for part in said.take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more information")) {
        // Values and tips are clap's own lines; after a colon comes what was announced.
        let between = match line.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) if part.starts_with('[') => " ",
            Some(_) => "; ",
        };
        line.push_str(between);
        line.push_str(part.strip_prefix("error: ").unwrap_or(part));
    }
    let from = source(error, variable).map(|name| format!("; it is from ${name}")).unwrap_or_default();
    format!("{line}{from}; see --help")
}

/// The variable that a wrong value is from, which clap does not tell.
fn source(error: &Error, variable: impl Fn(&OsStr) -> Option<OsString>) -> Option<String> {
    let context = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.as_str()),
        _ => None,
    };
    let (flag, value) = (context(ContextKind::InvalidArg)?, context(ContextKind::InvalidValue)?);
    let mut command = Cli::command();
    command.build();
    let name = command.get_arguments().find(|argument| argument.to_string() == flag)?.get_env()?;
    // A list is told by the one that is wrong.
    let held = variable(name)?.to_str()?.split(',').any(|part| part == value);
    held.then(|| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::{OsStr, OsString};

    use super::super::parse;

    fn words(words: &[&str]) -> Vec<OsString> {
        std::iter::once("vk-host").chain(words.iter().copied()).map(OsString::from).collect()
    }

    fn line(flags: &[&str]) -> String {
        super::line(&parse(words(flags)).unwrap_err())
    }

    #[test]
    fn one_line_names_flag_and_value_and_what_is_right() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &["--plugin <FILE>", "--provider <NAME>"]),
            (&["--plugin", "x", "--provider", "y"], &["--plugin <FILE>", "--provider <NAME>", "cannot be used"]),
            (&["--plugin", "x", "--os", "plan9"], &["--os", "plan9", "Linux", "Windows"]),
            (&["--plugin", "x", "--log-format", "xml"], &["--log-format", "xml", "text", "json"]),
            (&["--plugin", "x", "--log-level", "loud"], &["--log-level", "loud", "info"]),
            (&["--plugin", "x", "--taint", "a:Never"], &["--taint", "a:Never", "NoSchedule"]),
            (&["--plugin", "x", "--port", "70000"], &["--port", "70000", "65535"]),
            (&["--plugin", "x", "--startup-timeout", "soon"], &["--startup-timeout", "soon", "90s"]),
            (&["--plugin", "x", "--tls-cert-file", "c"], &["--tls-private-key-file"]),
            (&["--plugin", "x", "--no-such-flag"], &["--no-such-flag"]),
            (&["--plugin", "x", "--nodenam", "y"], &["--nodenam", "--nodename"]),
            (&["--plugin", "x", "--trace-exporter", "jaeger"], &["--trace-exporter", "--log-format json"]),
            (&["completions", "dish"], &["dish", "bash", "zsh"]),
        ];
        for (words, says) in table {
            let line = line(words);
            assert!(line.ends_with("; see --help") && !line.contains('\n') && !line.contains("Usage"), "{line}");
            for part in *says {
                assert!(line.contains(part), "{words:?} should be answered with {part}: {line}");
            }
        }
    }

    #[test]
    fn a_wrong_value_of_a_variable_names_it() {
        let flags = words(&["--plugin", "x", "--cluster-dns", "10.0.0.10,there"]);
        let error = parse(flags).unwrap_err();
        let variable = |value: &'static str| move |name: &OsStr| (name == "KUBE_DNS_IP").then(|| OsString::from(value));
        assert!(super::with(&error, variable("10.0.0.10,there")).contains("$KUBE_DNS_IP"));
        assert!(!super::with(&error, variable("10.0.0.10")).contains("KUBE_DNS_IP"), "it is from the flag");
    }
}
