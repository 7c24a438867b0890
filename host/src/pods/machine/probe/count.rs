//! How results of a probe count: so many in a row.

/// What one probe said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pods::machine) enum Answer {
    Success,
    /// A success that people should know of.
    Warning(String),
    /// With what it put out.
    Failure(String),
    /// It could not be done, and says nothing of the container.
    Error(String),
}

impl Answer {
    /// Whether it counts as a success; none: it does not count.
    pub(in crate::pods::machine) const fn counts(&self) -> Option<bool> {
        match self {
            Self::Success | Self::Warning(_) => Some(true),
            Self::Failure(_) => Some(false),
            Self::Error(_) => None,
        }
    }
}

/// The same results in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pods::machine) struct Counter {
    last: Option<bool>,
    run: u32,
}

impl Counter {
    /// Counts a result. Returns whether there are so many in a row now that it holds.
    pub(in crate::pods::machine) fn count(&mut self, success: bool, successes: u32, failures: u32) -> bool {
        if self.last != Some(success) {
            *self = Self { last: Some(success), run: 0 };
        }
        self.run = self.run.saturating_add(1);
        self.run >= if success { successes } else { failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_holds_after_so_many_in_a_row() {
        let mut counter = Counter::default();
        let mut count = |success| counter.count(success, 2, 3);
        let results = [false, false, true, false, false, false, false, true, true, false];
        let held: Vec<bool> = results.into_iter().map(&mut count).collect();
        assert_eq!(held, [false, false, false, false, false, true, true, false, true, false]);
    }

    #[test]
    fn a_probe_that_could_not_be_done_says_nothing() {
        let of = |answer: Answer| answer.counts();
        assert_eq!(of(Answer::Error("x".into())), None);
        assert_eq!(of(Answer::Warning("x".into())), Some(true));
        assert_eq!(of(Answer::Failure("x".into())), Some(false));
    }
}
