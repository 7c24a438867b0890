//! Wrong usage in one line, as all other errors of the program are.

use clap::error::Error;

/// What clap says over several lines, in one: what is wrong, with flag and value, and what would be right.
pub fn line(error: &Error) -> String {
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
    format!("{line}; see --help")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::parse;

    fn line(words: &[&str]) -> String {
        super::line(&parse(std::iter::once("vk-host").chain(words.iter().copied()).map(OsString::from)).unwrap_err())
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
}
