//! Which line of a log an entry belongs to.

use vk_provider::container_logs::{Entry, Source};

/// Counts lines as their entries come. What the other stream wrote between two pieces of a line does not part it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    count: u64,
    /// The line that goes on, of each stream.
    stdout: Option<u64>,
    stderr: Option<u64>,
}

impl Lines {
    /// The number of the line that the next entry belongs to; the first is 1.
    pub fn number_of(&mut self, entry: &Entry) -> u64 {
        let open = match entry.source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        };
        let number = open.unwrap_or_else(|| {
            self.count = self.count.saturating_add(1);
            self.count
        });
        *open = entry.partial.then_some(number);
        number
    }

    /// Lines so far, one without an end among them.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_line_have_its_number_whatever_comes_between() {
        let mut lines = Lines::default();
        let numbers: Vec<u64> = [
            (Source::Stdout, false),
            (Source::Stdout, true),
            (Source::Stderr, true),
            (Source::Stdout, true),
            (Source::Stdout, false),
            (Source::Stdout, false),
            (Source::Stderr, false),
            (Source::Stdout, true),
        ]
        .map(|(source, partial)| lines.number_of(&Entry { time: None, source, partial, bytes: Vec::new() }))
        .into();
        assert_eq!(numbers, [1, 2, 3, 2, 2, 4, 3, 5]);
        assert_eq!(lines.count(), 5, "the last one has no end");
    }
}
