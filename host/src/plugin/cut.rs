//! Calls that did not end by an answer of their own, counted by the reason that their caller is told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Reasons that are shown from the start, so that a first one is seen to be one more than none.
const REASONS: [&str; 6] =
    ["CallCancelled", "CallsExhausted", "CpuBudgetExceeded", "DeadlineExceeded", "OutOfMemory", "PluginTrapped"];

/// How often, by reason: a handful, which are all the host's own.
#[derive(Debug)]
pub(super) struct Cut(Mutex<BTreeMap<Cow<'static, str>, u64>>);

impl Default for Cut {
    fn default() -> Self {
        Self(Mutex::new(REASONS.iter().map(|reason| (Cow::Borrowed(*reason), 0)).collect()))
    }
}

impl Cut {
    pub(super) fn count(&self, reason: Cow<'static, str>) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(reason).or_default() += 1;
    }

    pub(super) fn read(&self) -> Vec<(Cow<'static, str>, u64)> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().map(|(reason, calls)| (reason.clone(), *calls)).collect()
    }
}
