use std::time::Duration;

use super::*;
use crate::call::Why;
use crate::http::ErrorCode;
use crate::sessions::Size;
use crate::{Code, Effect, testing};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn passed() -> Duration {
    testing::now().since("2026-11-24T10:00:00Z".parse().unwrap())
}

#[test]
fn a_session_is_over_when_what_decides_is() {
    testing::reset();
    let (stdin, typed) = testing::input();
    let (to_connection, sent) = testing::output();
    let (connection, answers) = testing::input();
    let (stdout, shown) = testing::output();
    typed.send("ls\n");
    answers.send_after(seconds(1), "a\n").send_after(seconds(2), "b\n").end();
    let mut pump = Pump::new()
        .flow(Flow::new(Some(stdin), Some(to_connection)))
        .flow(Flow::new(Some(connection), Some(stdout)).decides());
    assert_eq!(pump.run(None), Ok(Outcome::Over));
    assert_eq!((sent.bytes(), shown.bytes(), passed()), (b"ls\n".to_vec(), b"a\nb\n".to_vec(), seconds(2)));
    assert!(shown.is_ended() && !sent.is_ended(), "stdin was still open");
}

#[test]
fn an_input_that_ends_ends_its_output_and_leaves_the_rest_alone() {
    testing::reset();
    let (stdin, typed) = testing::input();
    let (to_connection, sent) = testing::output();
    let (connection, answers) = testing::input();
    typed.send("all").end();
    answers.send_after(seconds(9), "late").end();
    let check = sent.clone();
    testing::after(seconds(5), move || assert!(check.is_ended() && check.bytes() == b"all"));
    let mut pump =
        Pump::new().flow(Flow::new(Some(stdin), Some(to_connection))).flow(Flow::new(Some(connection), None).decides());
    assert_eq!((pump.run(None), passed()), (Ok(Outcome::Over), seconds(9)));
}

#[test]
fn without_a_flow_that_decides_all_of_them_do() {
    testing::reset();
    let ((one, first), (two, second)) = (testing::input(), testing::input());
    first.send_after(seconds(1), "x").end();
    second.send_after(seconds(3), "y").end();
    let ((out, taken), (other, _other)) = (testing::output(), testing::output());
    let mut pump = Pump::new().flow(Flow::new(Some(one), Some(out))).flow(Flow::new(Some(two), Some(other)));
    assert_eq!((pump.run(None), passed(), taken.bytes()), (Ok(Outcome::Over), seconds(3), b"x".to_vec()));
    assert_eq!(Pump::new().run(None), Ok(Outcome::Over));
}

/// As an engine frames two streams: the output's number, how many bytes, and these. A frame may come in pieces.
fn frames() -> impl FnMut(Vec<u8>) -> Result<Parts> {
    let mut held = Vec::new();
    move |bytes| {
        held.extend(bytes);
        let mut parts = Vec::new();
        while held.len() >= 2 && held.len() >= 2 + usize::from(held[1]) {
            let frame: Vec<u8> = held.drain(..2 + usize::from(held[1])).collect();
            if frame[0] == 9 {
                return Err(Error::internal("NoFrame", "there is no stream 9"));
            }
            parts.push((usize::from(frame[0]), frame[2..].to_vec()));
        }
        Ok(parts)
    }
}

#[test]
fn one_stream_is_sorted_to_several() {
    testing::reset();
    let (connection, answers) = testing::input();
    answers.send([0, 2, b'o', b'u', 1]).send([1, b'e', 0, 1, b't', 7, 1, b'x']).end();
    let ((stdout, out), (stderr, err)) = (testing::output(), testing::output());
    let flow = Flow::sorted(Some(connection), vec![Some(stdout), Some(stderr)], frames()).decides();
    assert_eq!(Pump::new().flow(flow).run(None), Ok(Outcome::Over));
    assert_eq!((out.bytes(), err.bytes()), (b"out".to_vec(), b"e".to_vec()));
    assert!(out.is_ended() && err.is_ended());
}

#[test]
fn what_cannot_be_sorted_ends_the_session() {
    testing::reset();
    let (connection, answers) = testing::input();
    answers.send([9, 0]);
    let flow = Flow::sorted(Some(connection), vec![None], frames()).decides();
    let error = Pump::new().flow(flow).run(None).unwrap_err();
    assert_eq!((error.reason.as_ref(), error.effect), ("NoFrame", Effect::Unknown));
}

#[test]
fn an_input_is_read_only_while_what_came_before_is_taken() {
    testing::reset();
    let (connection, answers) = testing::input();
    for _ in 0..4 {
        answers.send(vec![7; 64 << 10]);
    }
    answers.end();
    let (stdout, shown) = testing::output();
    shown.pause(seconds(2));
    let check = shown.clone();
    testing::after(seconds(3), move || assert_eq!(check.bytes().len(), 128 << 10));
    let mut pump = Pump::new().flow(Flow::new(Some(connection), Some(stdout)).decides());
    assert_eq!((pump.run(None), passed(), shown.bytes().len()), (Ok(Outcome::Over), seconds(8), 256 << 10));
}

#[test]
fn what_nobody_takes_is_read_to_its_end_if_it_decides_and_not_otherwise() {
    testing::reset();
    let (connection, answers) = testing::input();
    answers.send("x").send_after(seconds(4), "y").end();
    let (stdout, shown) = testing::output();
    shown.hang_up();
    let (stdin, typed) = testing::input();
    typed.send("a").send_after(seconds(1), "b");
    let (to_connection, sent) = testing::output();
    sent.hang_up();
    let mut pump = Pump::new()
        .flow(Flow::new(Some(stdin), Some(to_connection)))
        .flow(Flow::new(Some(connection), Some(stdout)).decides());
    assert_eq!((pump.run(None), passed()), (Ok(Outcome::Over), seconds(4)));
}

#[test]
fn a_window_that_changes_is_told_in_between() {
    testing::reset();
    let (connection, answers) = testing::input();
    answers.send_after(seconds(5), "x").end();
    let size = |cols| Size { cols, rows: 24 };
    let window = testing::resizes(&[(seconds(0), size(80)), (seconds(2), size(90)), (seconds(2), size(100))]);
    let mut pump = Pump::new().flow(Flow::new(Some(connection), None).decides());
    let mut told = Vec::new();
    loop {
        let changed = window.subscribe();
        match pump.run(Some(&changed)).unwrap() {
            Outcome::Woken => told.extend(window.next().map(|size| (size.cols, passed()))),
            outcome => break assert_eq!(outcome, Outcome::Over),
        }
    }
    assert_eq!(told, [(80, seconds(0)), (100, seconds(2))]);
}

#[test]
fn a_session_hears_that_the_host_wants_it_to_end() {
    testing::reset();
    let (connection, answers) = testing::input();
    answers.send("x");
    testing::cancel_after(seconds(3), Why::ClientGone);
    let mut pump = Pump::new().flow(Flow::new(Some(connection), None).decides());
    assert_eq!((pump.run(None), passed()), (Ok(Outcome::Cancelled), seconds(3)));
}

#[test]
fn a_connection_that_breaks_is_an_error_and_a_client_that_breaks_is_none() {
    testing::reset();
    let (stdin, typed) = testing::input();
    typed.fail(ErrorCode::ConnectionTerminated);
    let (connection, answers) = testing::input();
    answers.send_after(seconds(1), "x").fail(ErrorCode::ConnectionTerminated);
    let (to_connection, _sent) = testing::output();
    let mut pump =
        Pump::new().flow(Flow::new(Some(stdin), Some(to_connection))).flow(Flow::new(Some(connection), None).decides());
    let error = pump.run(None).unwrap_err();
    assert_eq!((error.code, error.effect, passed()), (Code::Unavailable, Effect::Unknown, seconds(1)));
}
