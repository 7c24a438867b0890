//! The client against a backend that the test plays.

mod answers;
mod effects;
mod retries;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::testing::{self, Answer};
use crate::{Code, Effect, Error};

const URL: &str = "https://api.example.com/groups";

const FINE: fn() -> Answer = || Answer::status(200);
const MOVED: fn() -> Answer = || Answer::status(307);
const MISSING: fn() -> Answer = || Answer::status(404);
const THROTTLED: fn() -> Answer = || Answer::status(429).header("retry-after", "3");
const BUSY: fn() -> Answer = || Answer::status(503);
const DENIED: fn() -> Answer = || Answer::fails(ErrorCode::HttpRequestDenied);
const REFUSED: fn() -> Answer = || Answer::fails(ErrorCode::ConnectionRefused);
const LOST: fn() -> Answer = || Answer::fails(ErrorCode::ConnectionTerminated);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long the test has played.
fn passed() -> Duration {
    testing::now().since("2026-11-24T10:00:00Z".parse().unwrap())
}

/// Answers each request with the next of these, the last one for good, and counts.
fn serve(answers: Vec<fn() -> Answer>) -> Rc<Cell<usize>> {
    testing::reset();
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    testing::serve(move |_| {
        let number = counted.replace(counted.get() + 1);
        answers[number.min(answers.len() - 1)]()
    });
    count
}
