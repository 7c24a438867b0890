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
    fn from(line: &Line) -> Self {
        line.piece(0, line.text.len(), false)
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

    /// Bytes of it. Azure does not tell the two streams apart.
    fn piece(&self, from: usize, to: usize, partial: bool) -> Entry {
        let bytes = self.text.get(from..to).unwrap_or_default().as_bytes().to_vec();
        Entry { time: self.time, source: Source::Stdout, partial, bytes }
    }

    fn up_to(&self, end: usize) -> Self {
        Self { time: self.time, text: self.text.get(..end).unwrap_or_default().to_owned() }
    }

    fn begins_with(&self, other: &Self) -> bool {
        self.time == other.time && self.text.starts_with(&other.text)
    }
}

/// All lines of a text, byte for byte but for the newlines.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let mut before = None;
    let parsed = text.split_inclusive('\n').map(|line| {
        let line = Line::parse(line.strip_suffix('\n').unwrap_or(line), before);
        before = line.time;
        line
    });
    parsed.collect()
}

/// Where a reader is in a log.
///
/// A line that is not written to its end is told as far as the answer before had it too, for an answer may end anywhere,
/// in a time for one; and on from there.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The last lines that were told, or passed over.
    last: Vec<Line>,
    /// Of the last of them more may come.
    is_open: bool,
    /// The line that was not written to its end, as the last answer had it.
    unfinished: Option<Line>,
}

impl Place {
    /// After all of a text, and the lines of it that are written to their ends.
    pub(super) fn after(text: &str, is_over: bool) -> (Self, Vec<Line>) {
        let mut lines = lines(text);
        let unfinished = if is_whole(text, is_over) { None } else { lines.pop() };
        let mut place = Self { unfinished, ..Self::default() };
        lines.iter().for_each(|line| place.pass(line.clone()));
        (place, lines)
    }

    /// Nothing was there so far.
    pub(super) const fn is_start(&self) -> bool {
        self.last.is_empty()
    }

    /// What comes after this place in a text, which is then passed; none: the place is not in it.
    pub(super) fn find(&mut self, text: &str, is_over: bool) -> Option<Vec<Entry>> {
        let lines = lines(text);
        let at = self.position(&lines)?;
        let (at, told) = match self.last.pop_if(|_| self.is_open) {
            Some(open) => (at.saturating_sub(1), open.text.len()),
            None => (at, 0),
        };
        Some(self.take(lines.get(at..).unwrap_or_default(), told, is_whole(text, is_over)))
    }

    /// What comes after this place, or, where it is gone, all that is newer, with a word in front for what is missing.
    pub(super) fn go_on(&mut self, text: &str, is_over: bool, word: &str) -> Vec<Entry> {
        match self.find(text, is_over) {
            Some(new) => new,
            None => self.begin_anew(text, is_over, word),
        }
    }

    fn begin_anew(&mut self, text: &str, is_over: bool, word: &str) -> Vec<Entry> {
        let mut lines = lines(text);
        // What is older than what was told has been told, or was not asked for.
        let newest = self.last.iter().filter_map(|line| line.time).max();
        lines.retain(|line| newest.is_none_or(|newest| line.time.is_none_or(|time| time > newest)));
        let was_open = self.is_open;
        let new = self.take(&lines, 0, is_whole(text, is_over));
        let Some(first) = new.first() else { return new };
        let gap = Line { time: first.time, text: word.to_owned() };
        let end = Line { time: first.time, text: String::new() };
        was_open.then(|| Entry::from(&end)).into_iter().chain([Entry::from(&gap)]).chain(new).collect()
    }

    /// Passes these lines, of which so many bytes of the first were told, and tells what is new.
    fn take(&mut self, lines: &[Line], mut told: usize, is_whole: bool) -> Vec<Entry> {
        let before = self.unfinished.take();
        let mut new = Vec::with_capacity(lines.len());
        for (index, line) in lines.iter().enumerate() {
            if is_whole || index + 1 < lines.len() {
                new.push(line.piece(told, line.text.len(), false));
                self.pass(line.clone());
                told = 0;
                continue;
            }
            let sure = before.as_ref().filter(|before| line.begins_with(before)).map_or(0, |before| before.text.len());
            let sure = sure.max(told);
            if sure > told {
                new.push(line.piece(told, sure, true));
            }
            if sure > 0 {
                self.pass(line.up_to(sure));
                self.is_open = true;
            }
            self.unfinished = Some(line.clone());
        }
        new
    }

    fn pass(&mut self, line: Line) {
        self.is_open = false;
        self.last.push(line);
        let excess = self.last.len().saturating_sub(CONTEXT);
        self.last.drain(..excess);
    }

    /// Behind the last place where the text has the last lines, or, at its beginning, as many of them as it goes back.
    fn position(&self, lines: &[Line]) -> Option<usize> {
        if self.last.is_empty() {
            return Some(0);
        }
        let same = |(back, (there, last)): (usize, (&Line, &Line))| {
            if back == 0 && self.is_open { there.begins_with(last) } else { there == last }
        };
        let fits = |end: usize| {
            let there = lines.get(..end).unwrap_or_default().iter().rev();
            there.zip(self.last.iter().rev()).enumerate().all(same)
        };
        (1..=lines.len()).rev().find(|end| fits(*end))
    }
}

/// Whether the last line of a text is written to its end, or nothing more comes.
fn is_whole(text: &str, is_over: bool) -> bool {
    is_over || text.is_empty() || text.ends_with('\n')
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

    /// What is told; `…` at the end of what goes on.
    fn told(entries: Vec<Entry>) -> Vec<String> {
        let text = |entry: Entry| String::from_utf8(entry.bytes).unwrap() + if entry.partial { "…" } else { "" };
        entries.into_iter().map(text).collect()
    }

    fn after(text: &str) -> Place {
        Place::after(text, false).0
    }

    fn find(place: &mut Place, text: &str) -> Option<Vec<String>> {
        place.find(text, false).map(told)
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
    fn only_newlines_end_lines() {
        let read = lines("2026-11-24T10:00:00Z a\rb\r\n\n2026-11-24T10:00:00Z \r\nc\r");
        assert_eq!(texts(&read), ["a\rb\r", "", "\r", "c\r"]);
    }

    #[test]
    fn what_was_told_is_found_again_and_told_on_from() {
        let mut place = after(&log(&["1.0 a", "1.1 b", "1.2 b"]));
        assert_eq!(find(&mut place, &log(&["1.0 a", "1.1 b", "1.2 b"])), Some(vec![]));
        let more = log(&["1.1 b", "1.2 b", "1.3 b", "1.4 c"]);
        let why = "though it begins later, and lines are alike";
        assert_eq!(find(&mut place, &more).unwrap(), ["b", "c"], "{why}");
        assert_eq!(find(&mut place, &log(&["1.4 c"])), Some(vec![]));
        assert_eq!(find(&mut place, &log(&["1.6 e"])), None);
    }

    #[test]
    fn lines_without_times_are_told_apart_by_their_neighbours() {
        let mut place = after("x\na\na\n");
        assert_eq!(find(&mut place, "x\na\na\na\n").unwrap(), ["a"]);
        assert_eq!(find(&mut place, "x\na\na\na\ny\n").unwrap(), ["y"]);
    }

    #[test]
    fn where_the_place_is_gone_all_that_is_newer_is_told() {
        let mut place = after(&log(&["1.0 a", "2.0 b"]));
        let text = log(&["1.5 lost", "4.0 d", "5.0 e"]);
        assert_eq!(told(place.go_on(&text, false, "gap")), ["gap", "d", "e"]);
        assert_eq!(told(place.go_on(&log(&["4.0 d", "5.0 e", "6.0 f"]), false, "gap")), ["f"]);
        assert!(place.go_on(&log(&["1.5 lost"]), false, "gap").is_empty(), "nothing is newer");
    }

    #[test]
    fn a_line_is_told_once_it_is_whole_or_as_far_as_it_was_there_before() {
        let (mut place, lines) = Place::after("a\nb", false);
        assert_eq!(texts(&lines), ["a"]);
        assert_eq!(find(&mut place, "a\nbc\n").unwrap(), ["bc"]);
        assert_eq!(find(&mut place, "a\nbc\nd"), Some(vec![]));
        assert_eq!(find(&mut place, "a\nbc\nd").unwrap(), ["d…"], "it was the same twice");
        assert_eq!(find(&mut place, "a\nbc\nd"), Some(vec![]));
        assert_eq!(find(&mut place, "a\nbc\nd\ne").unwrap(), [""], "it ends");
        assert_eq!(told(place.find("a\nbc\nd\ne", true).unwrap()), ["e"], "nothing more comes");
    }

    #[test]
    fn a_line_that_grows_is_told_piece_by_piece_and_nothing_of_it_twice() {
        let start = log(&["1.0 a"]);
        let (mut place, dots) = (after(&start), |dots: &str| format!("{start}2026-11-24T10:00:02.0Z {dots}"));
        for (text, new) in [
            (dots("."), vec![]),
            (dots("..."), vec![".…"]),
            (dots("....."), vec!["..…"]),
            (dots("....."), vec!["..…"]),
            (dots("......"), vec![]),
            (dots("....... done\n") + "b\n", vec![".. done", "b"]),
        ] {
            assert_eq!(find(&mut place, &text).unwrap(), new, "{text}");
        }
        assert_eq!(find(&mut place, "2026-11-24T10:00:02.0Z ....... done\nb\n"), Some(vec![]));
    }

    #[test]
    fn an_answer_may_end_in_a_time_and_a_line_whose_end_is_lost_ends() {
        let mut place = after(&log(&["1.0 a"]));
        let cut = |rest: &str| log(&["1.0 a"]) + rest;
        assert_eq!(find(&mut place, &cut("2026-11-24T1")), Some(vec![]));
        assert_eq!(find(&mut place, &cut("2026-11-24T10:00:02Z b")), Some(vec![]));
        assert_eq!(find(&mut place, &cut("2026-11-24T10:00:02Z b")).unwrap(), ["b…"]);
        assert_eq!(told(place.go_on(&log(&["4.0 d"]), false, "gap")), ["", "gap", "d"]);
    }
}
