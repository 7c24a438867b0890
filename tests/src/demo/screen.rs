//! What the person in front of the demo sees: headings, the commands that run, what they say.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Instant;

/// The screen, and the number of the current step.
pub struct Screen {
    step: u32,
    colour: bool,
    began: Instant,
}

impl Screen {
    /// Nothing on it yet. Colours only on a terminal whose user does not mind (no-color.org).
    pub fn new() -> Self {
        let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { step: 0, colour, began: Instant::now() }
    }

    /// The heading of the next step.
    pub fn step(&mut self, heading: &str) -> io::Result<()> {
        self.step += 1;
        let text = format!("{}. {heading}", self.step);
        self.line(&format!("\n{}", self.paint("1;36", &text)))
    }

    /// A command that runs now.
    pub fn command(&self, words: &[&str]) -> io::Result<()> {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.line(&format!("   {} {}", self.paint("2", "$"), self.paint("1", &words.join(" "))))
    }

    /// Something that a command said.
    pub fn output(&self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| self.line(&format!("   {line}")))
    }

    /// Something that was checked.
    pub fn verified(&self, what: &str) -> io::Result<()> {
        self.line(&format!("   {} {what}", self.paint("32", "✓")))
    }

    /// A line as it is.
    pub fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.trim_end_matches(' '))?;
        out.flush()
    }

    /// How many steps there were, and how many seconds they took.
    pub fn so_far(&self) -> (u32, u64) {
        (self.step, self.began.elapsed().as_secs())
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A path as short as it can be said here.
pub fn short(path: &Path) -> String {
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_read_otherwise_is_quoted() {
        assert_eq!(quoted("--replicas=5"), "--replicas=5");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
