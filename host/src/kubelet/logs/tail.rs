//! The last lines of a log that does not go on, held back until its end is known. The contract asks the provider for it; this
//! is for the one that sends more.

use std::collections::VecDeque;

use crate::provider::LogEntry;

/// Bytes held back at most, for each of many readers. Beyond, the oldest go out: of a provider that keeps the contract they are
/// among the last lines anyway.
const HELD: usize = 1 << 20;

/// Holds lines back.
#[derive(Debug)]
pub(super) struct Tail {
    lines: usize,
    held: VecDeque<LogEntry>,
    /// Ends of lines among them.
    ends: usize,
    /// Memory that they take, in bytes.
    weight: usize,
}

impl Tail {
    /// Of so many lines.
    pub(super) fn new(lines: u32) -> Self {
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        Self { lines, held: VecDeque::new(), ends: 0, weight: 0 }
    }

    /// Takes an entry, and gives back what need not wait.
    pub(super) fn take(&mut self, entry: LogEntry, out: &mut Vec<LogEntry>) {
        self.ends += usize::from(!entry.partial);
        self.weight += weight(&entry);
        // The last line has begun, even if its end is not there yet.
        let begun = usize::from(entry.partial);
        self.held.push_back(entry);
        while self.ends + begun > self.lines {
            if self.pop().is_none() {
                break;
            }
        }
        while self.weight > HELD {
            out.extend(self.pop());
        }
    }

    /// What is left at the end.
    pub(super) fn end(self) -> Vec<LogEntry> {
        self.held.into()
    }

    fn pop(&mut self) -> Option<LogEntry> {
        let entry = self.held.pop_front()?;
        self.ends -= usize::from(!entry.partial);
        self.weight -= weight(&entry);
        Some(entry)
    }
}

/// Memory that an entry takes: also an empty line is one.
fn weight(entry: &LogEntry) -> usize {
    entry.bytes.len() + size_of::<LogEntry>()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::provider::Source;

    fn entry(text: &str, partial: bool) -> LogEntry {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        LogEntry { time_ns: None, source: Source::Stdout, partial, bytes }
    }

    fn last(lines: u32, entries: &[(&str, bool)]) -> Vec<String> {
        let (mut tail, mut out) = (Tail::new(lines), Vec::new());
        for (text, partial) in entries {
            tail.take(entry(text, *partial), &mut out);
        }
        out.extend(tail.end());
        out.iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()).collect()
    }

    #[test]
    fn the_last_lines_are_whole_lines() {
        let log = [("a", false), ("b1", true), ("b2", false), ("c", false)];
        assert_eq!(last(2, &log), ["b1", "b2", "c"]);
        assert_eq!(last(9, &log), ["a", "b1", "b2", "c"]);
        assert!(last(0, &log).is_empty());
        let open = [("a", false), ("b", false), ("c1", true)];
        assert_eq!(last(2, &open), ["b", "c1"]);
        assert!(last(0, &open).is_empty());
    }

    #[test]
    fn not_all_of_a_large_log_is_held() {
        let held = |piece: &str, count: usize| {
            let (mut tail, mut out) = (Tail::new(u32::MAX), Vec::new());
            (0..count).for_each(|_| tail.take(entry(piece, false), &mut out));
            (out.len(), tail.end().len())
        };
        assert_eq!(held(&"x".repeat(HELD / 5), 10), (6, 4));
        let empty = HELD / size_of::<LogEntry>();
        assert_eq!(held("", empty + 10), (10, empty));
    }
}
