//! A log as Azure gives it: lines, each with its time in front. Pure.

use vk_provider::container_logs::{Entry, Source};
use vk_provider::time::Time;

/// Lines that are looked for together: enough for them to be in one place alone.
const CONTEXT: usize = 16;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// none: it has none in front.
    pub(super) time: Option<Time>,
    pub(super) text: String,
}

impl From<&Line> for Entry {
    /// Azure does not tell the two streams apart.
    fn from(line: &Line) -> Self {
        Self { time: line.time, source: Source::Stdout, partial: false, bytes: line.text.clone().into_bytes() }
    }
}

impl Line {
    /// `2026-11-24T10:00:00.123456789Z text`; `before`: of the line before, where this has no time of its own.
    fn parse(line: &str, before: Option<Time>) -> Self {
        let (stamp, text) = line.split_once(' ').unwrap_or((line, ""));
        match stamp.parse() {
            Ok(time) => Self { time: Some(time), text: text.to_owned() },
            Err(_) => Self { time: before, text: line.to_owned() },
        }
    }
}

/// All lines of a text.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut before = None;
    let parsed = text.lines().map(|line| {
        let line = Line::parse(line, before);
        before = line.time;
        line
    });
    parsed.collect()
}

/// The lines of a text that are written to their ends, and the one that is not: it is held back until it is, until the next
/// answer has the same (`held`), or until nothing more comes.
pub(super) fn whole_lines(text: &str, is_over: bool, held: Option<&Line>) -> (Vec<Line>, Option<Line>) {
    let mut lines = lines(text);
    if is_over || text.is_empty() || text.ends_with('\n') || (held.is_some() && lines.last() == held) {
        return (lines, None);
    }
    let rest = lines.pop();
    (lines, rest)
}

/// Where a reader is in a log.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The last lines that were told, or passed over.
    last: Vec<Line>,
    held: Option<Line>,
}

impl Place {
    /// After all of these.
    pub(super) fn after(lines: &[Line], held: Option<Line>) -> Self {
        let mut place = Self { last: Vec::new(), held };
        place.pass(lines);
        place
    }

    /// Nothing was there so far.
    pub(super) const fn is_start(&self) -> bool {
        self.last.is_empty()
    }

    /// What comes after this place in a text, which is then passed; none: the place is not in it.
    pub(super) fn find(&mut self, text: &str, is_over: bool) -> Option<Vec<Line>> {
        let (lines, held) = whole_lines(text, is_over, self.held.as_ref());
        let at = self.position(&lines)?;
        self.held = held;
        let new = lines.get(at..).unwrap_or_default().to_vec();
        self.pass(&new);
        Some(new)
    }

    /// All of a text, where the place is gone.
    pub(super) fn begin_anew(&mut self, text: &str, is_over: bool) -> Vec<Line> {
        let (lines, held) = whole_lines(text, is_over, self.held.as_ref());
        // What is older than what was told has been told, or was not asked for.
        let newest = self.last.iter().filter_map(|line| line.time).max();
        let is_new = |line: &Line| newest.is_none_or(|newest| line.time.is_none_or(|time| time > newest));
        let new: Vec<Line> = lines.into_iter().filter(is_new).collect();
        self.held = held;
        self.pass(&new);
        new
    }

    fn pass(&mut self, lines: &[Line]) {
        self.last.extend_from_slice(lines.get(lines.len().saturating_sub(CONTEXT)..).unwrap_or_default());
        let excess = self.last.len().saturating_sub(CONTEXT);
        self.last.drain(..excess);
    }

    /// Behind the last place where the text has the last lines, or, at its beginning, as many of them as it goes back.
    fn position(&self, lines: &[Line]) -> Option<usize> {
        if self.last.is_empty() {
            return Some(0);
        }
        let fits = |end: usize| {
            let there = lines.get(..end).unwrap_or_default().iter().rev();
            there.zip(self.last.iter().rev()).all(|(there, last)| there == last)
        };
        (1..=lines.len()).rev().find(|end| fits(*end))
    }
}

/// Lines with a word in front for those that are missing.
pub(super) fn with_gap(word: &str, lines: Vec<Line>) -> Vec<Line> {
    let time = lines.first().and_then(|line| line.time);
    std::iter::once(Line { time, text: word.to_owned() }).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10:00:0N.0000000MZ text` for each `N.M text`.
    fn log(lines: &[&str]) -> String {
        lines
            .iter()
            .map(|line| {
                let (time, text) = line.split_once(' ').unwrap();
                format!("2026-11-24T10:00:0{time}Z {text}\n")
            })
            .collect()
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn a_line_has_the_time_in_front_of_it_or_that_of_the_line_before() {
        let read = lines("plain\n2026-11-24T10:00:00.25Z a b\n  at x\n2026-11-24T10:00:01+00:00 \n");
        assert_eq!(texts(&read), ["plain", "a b", "  at x", ""]);
        let millis: Vec<Option<u64>> = read.iter().map(|line| line.time.map(Time::as_millis)).collect();
        let start = 1_795_514_400_000;
        assert_eq!(millis, [None, Some(start + 250), Some(start + 250), Some(start + 1000)]);
    }

    #[test]
    fn what_was_told_is_found_again_and_told_on_from() {
        let first = lines(&log(&["1.0 a", "1.1 b", "1.2 b"]));
        let mut place = Place::after(&first, None);
        assert_eq!(texts(&place.find(&log(&["1.0 a", "1.1 b", "1.2 b"]), false).unwrap()), Vec::<&str>::new());
        let more = log(&["1.1 b", "1.2 b", "1.3 b", "1.4 c"]);
        assert_eq!(
            texts(&place.find(&more, false).unwrap()),
            ["b", "c"],
            "though it begins later, and lines are alike"
        );
        assert_eq!(texts(&place.find(&log(&["1.4 c"]), false).unwrap()), Vec::<&str>::new());
        assert_eq!(place.find(&log(&["1.6 e"]), false), None);
    }

    #[test]
    fn lines_without_times_are_told_apart_by_their_neighbours() {
        let mut place = Place::after(&lines("x\na\na\n"), None);
        assert_eq!(texts(&place.find("x\na\na\na\n", false).unwrap()), ["a"]);
        assert_eq!(texts(&place.find("x\na\na\na\ny\n", false).unwrap()), ["y"]);
    }

    #[test]
    fn where_the_place_is_gone_all_that_is_newer_is_told() {
        let mut place = Place::after(&lines(&log(&["1.0 a", "2.0 b"])), None);
        let text = log(&["1.5 lost", "4.0 d", "5.0 e"]);
        assert_eq!(place.find(&text, false), None);
        assert_eq!(texts(&place.begin_anew(&text, false)), ["d", "e"]);
        assert_eq!(texts(&place.find(&log(&["4.0 d", "5.0 e", "6.0 f"]), false).unwrap()), ["f"]);
        assert_eq!(texts(&with_gap("gap", lines(&log(&["4.0 d"])))), ["gap", "d"]);
    }

    #[test]
    fn a_line_is_told_once_it_is_whole_or_grows_no_more() {
        let (told, held) = whole_lines("a\nb", false, None);
        assert_eq!((texts(&told), held.as_ref().map(|line| line.text.as_str())), (vec!["a"], Some("b")));
        let mut place = Place::after(&told, held);
        assert_eq!(texts(&place.find("a\nbc\n", false).unwrap()), ["bc"]);
        assert!(place.find("a\nbc\nd", false).unwrap().is_empty());
        assert_eq!(texts(&place.find("a\nbc\nd", false).unwrap()), ["d"], "it was the same twice");
        assert!(place.find("a\nbc\nd\ne", false).unwrap().is_empty());
        assert_eq!(texts(&place.find("a\nbc\nd\ne", true).unwrap()), ["e"], "nothing more comes");
    }
}
