//! Faults on demand: the next so many requests of a kind go wrong in a certain way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What goes wrong, and with which requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Fault {
    /// `GET`, `PUT` …; none: any.
    #[serde(default)]
    pub method: Option<String>,
    /// What the path has in it, without regard to case; with `$` at its end: how the path ends.
    #[serde(default)]
    pub path: String,
    /// So many that fit are left alone first, those among them with which another fault goes wrong.
    #[serde(default)]
    pub skip: u32,
    /// With so many it goes wrong.
    #[serde(default = "once")]
    pub times: u32,
    /// How.
    pub how: How,
}

fn once() -> u32 {
    1
}

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum How {
    /// It is refused, and nothing is done.
    #[serde(rename_all = "camelCase")]
    Refuse {
        /// Of the answer.
        status: u16,
        /// Of the error.
        code: String,
        /// Of the error.
        message: String,
        /// `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// It is done so many milliseconds later.
    Delay(u64),
    /// It is done once the test says so: [`Fake::release`](crate::Fake::release).
    Hold,
    /// Nothing is done, and no answer comes.
    Hang,
    /// It is done, and no answer comes.
    HoldAnswer,
    /// Nothing is done, and the connection breaks.
    LoseRequest,
    /// It is done, and the connection breaks before a word of the answer.
    LoseAnswer,
    /// The same, and with it all that others wait for on a connection of HTTP/2; the faults beside this end one exchange of such a one.
    BreakConnection,
    /// It is done, and the connection breaks in the middle of the answer's body.
    BreakBody,
    /// It is done, and the answer's body is no JSON.
    Malformed,
    /// The operation that it begins takes so many milliseconds more.
    SlowOperation(u64),
    /// The operation that it begins comes to nothing; the group is `Failed`.
    FailOperation {
        /// Of the error.
        code: String,
        /// Of the error.
        message: String,
    },
    /// The operation that it begins is ended by somebody; the group is `Canceled`.
    CancelOperation,
}

impl Fault {
    /// This, with the next request of a method whose path has `path` in it.
    pub fn next(method: &str, path: &str, how: How) -> Self {
        Self { method: Some(method.to_owned()), path: path.to_owned(), skip: 0, times: 1, how }
    }

    /// With so many.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// After so many.
    #[must_use]
    pub fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    fn fits(&self, method: &str, path: &str) -> bool {
        let (own, path) = (self.path.to_lowercase(), path.to_lowercase());
        self.method.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(method))
            && own.strip_suffix('$').map_or_else(|| path.contains(&own), |end| path.ends_with(end))
    }
}

impl How {
    /// What is made of the operation; none: this is no fault of operations.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let end = |state, code: &str, message: &str| Some(End { state, code: code.into(), message: message.into() });
        match self {
            Self::SlowOperation(millis) => Some(Plan { more: Duration::from_millis(*millis), end: None }),
            Self::FailOperation { code, message } => {
                Some(Plan { more: Duration::ZERO, end: end("Failed", code, message) })
            }
            Self::CancelOperation => {
                let end = end("Canceled", "OperationCanceled", "The operation was canceled.");
                Some(Plan { more: Duration::ZERO, end })
            }
            _ => None,
        }
    }
}

/// What is to become of an operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// It takes so much longer.
    pub(crate) more: Duration,
    /// It comes to this; none: to what it should.
    pub(crate) end: Option<End>,
}

/// How an operation comes to nothing.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Of the group, and of the operation.
    pub(crate) state: &'static str,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// All that are to come.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is left of them.
    pub(crate) fn left(&self) -> Vec<Fault> {
        self.0.clone()
    }

    /// The fault of this request: of those that it fits and that leave it not alone, the earliest.
    pub(crate) fn take(&mut self, method: &str, path: &str) -> Option<How> {
        let mut taken = None;
        let fitting = self.0.iter_mut().enumerate().filter(|(_, fault)| fault.fits(method, path));
        // All of them count it: else the skip of one would depend on what others there are.
        for (index, fault) in fitting {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else {
                taken.get_or_insert(index);
            }
        }
        let index = taken?;
        let fault = self.0.get_mut(index)?;
        fault.times = fault.times.saturating_sub(1);
        let how = fault.how.clone();
        if fault.times == 0 {
            self.0.remove(index);
        }
        Some(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_of_a_method_and_of_what_a_path_has_in_it_or_ends_with() {
        let list = "/subscriptions/S/providers/Microsoft.ContainerInstance/containerGroups";
        let group = format!("{list}/shop-web-x");
        for (method, path, fits) in [
            ("GET", "containergroups", [true, true]),
            ("get", "/containerGroups$", [true, false]),
            ("GET", "/SHOP-web-", [false, true]),
            ("GET", "", [true, true]),
            ("PUT", "containergroups", [false, false]),
        ] {
            let fault = Fault::next(method, path, How::Hang);
            assert_eq!([fault.fits("GET", list), fault.fits("GET", &group)], fits, "{method} {path}");
        }
    }

    #[test]
    fn each_fault_counts_all_requests_that_fit_it_and_is_left_until_it_went_wrong() {
        let mut faults = Faults::default();
        for fault in [
            Fault::next("GET", "", How::LoseRequest).after(1),
            Fault::next("GET", "", How::LoseAnswer).after(2).times(2),
            Fault::next("GET", "", How::BreakBody).after(2),
            Fault::next("PUT", "", How::Malformed).after(1),
            Fault::next("GET", "", How::Hang).after(9),
        ] {
            faults.add(fault);
        }
        let taken: Vec<Option<How>> = (0..6).map(|_| faults.take("GET", "/a")).collect();
        // The fifth is the next that no other one takes.
        let expected =
            [None, Some(How::LoseRequest), Some(How::LoseAnswer), Some(How::LoseAnswer), Some(How::BreakBody), None];
        assert_eq!(taken, expected);
        let left: Vec<(How, u32)> = faults.left().into_iter().map(|fault| (fault.how, fault.skip)).collect();
        assert_eq!(left, [(How::Malformed, 1), (How::Hang, 3)]);
    }
}
