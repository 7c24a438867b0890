//! `kubectl logs` of what Azure keeps.

use vk_provider::call::Why;
use vk_provider::container_logs::Options;
use vk_provider::testing::{Answer, LogReader};
use vk_provider::time::Time;
use vk_provider::{Code, ContainerLogs as _};

use super::arm::refused;
use super::*;

/// Lines a millisecond apart, from the start of all tests.
fn lines(range: std::ops::Range<u64>) -> String {
    range.map(|n| format!("2026-11-24T10:{:02}:{:02}.{:03}Z line {n}\n", n / 60_000, n / 1000 % 60, n % 1000)).collect()
}

fn at(n: u64) -> Time {
    Time::from_millis(1_795_514_400_000 + n)
}

/// A pod that runs and has written this.
fn runs(log: &str) -> Arm {
    let arm = azure();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    arm.0.borrow_mut().logs.insert("web".to_owned(), log.to_owned());
    arm.asked();
    arm
}

fn read(options: Options, takes: usize) -> (Result<()>, Vec<String>) {
    let (sink, reader) = testing::pipe(takes);
    testing::new_call();
    let result = Azure::get_container_logs(id("u1"), "web".to_owned(), options, sink);
    (result, texts(&reader))
}

fn texts(reader: &LogReader) -> Vec<String> {
    reader.entries().into_iter().map(|entry| String::from_utf8(entry.bytes).unwrap()).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("line {n}")).collect()
}

#[test]
fn a_log_is_read_as_it_was_asked_for() {
    let arm = runs(&lines(0..20));
    let read = |options: Options| read(options, 1000).1;
    assert_eq!(read(Options::default()), numbers(0..20));
    assert_eq!(read(Options { tail: Some(3), ..Options::default() }), numbers(17..20));
    assert!(read(Options { tail: Some(0), ..Options::default() }).is_empty());
    assert_eq!(read(Options { since: Some(at(15)), ..Options::default() }), numbers(15..20));
    assert_eq!(read(Options { since: Some(at(10)), tail: Some(2), ..Options::default() }), numbers(18..20));
    assert_eq!(read(Options { limit_bytes: Some(15), ..Options::default() }), numbers(0..3), "about so many");
    let asked: Vec<String> = arm.asked().into_iter().filter(|asked| asked.contains("logs")).collect();
    let tails: Vec<&str> = asked.iter().map(|asked| asked.split_once('?').unwrap().1).collect();
    assert_eq!(tails, ["", "3", "", "", ""]);
}

#[test]
fn what_there_is_not_is_said_as_the_kubelet_says_it() {
    let arm = azure();
    let error = |options| read(options, 10).0.unwrap_err();
    assert_eq!(error(Options::default()).code, Code::NotFound);
    create(pod("u1")).unwrap();
    let waits = error(Options::default());
    assert_eq!(
        (waits.code, waits.message.as_str()),
        (Code::InvalidArgument, r#"container "web" in pod "web-u1" is waiting to start: ContainerCreating"#)
    );
    arm.run("u1", "Running", &running());
    let previous = Options { previous: true, ..Options::default() };
    let none = error(previous);
    assert_eq!(
        (none.code, none.message.as_str()),
        (Code::InvalidArgument, r#"previous terminated container "web" in pod "web-u1" not found"#)
    );
    let mut again = running();
    again["restartCount"] = 2.into();
    arm.run("u1", "Running", &again);
    assert_eq!(error(previous).code, Code::Unimplemented);
    let (sink, _) = testing::pipe(1);
    let other = Azure::get_container_logs(id("u1"), "db".to_owned(), Options::default(), sink).unwrap_err();
    assert_eq!((other.code, other.message.as_str()), (Code::NotFound, r#"container "db" in pod "web-u1" not found"#));
}

#[test]
fn a_container_that_has_not_written_anything_has_an_empty_log() {
    let arm = runs("");
    arm.0.borrow_mut().logs.clear();
    assert_eq!(read(Options::default(), 10), (Ok(()), Vec::new()));
    arm.instead("GET /", refused(404, "ResourceNotFound", "no"));
    assert_eq!(read(Options::default(), 10).0.unwrap_err().code, Code::NotFound, "anything else is told");
}

#[test]
fn a_reader_who_follows_gets_every_line_once_until_the_attempt_ends() {
    let arm = runs(&lines(0..5));
    let grow = |after: u64, log: String| {
        let arm = arm.clone();
        testing::after(Duration::from_secs(after), move || drop(arm.0.borrow_mut().logs.insert("web".to_owned(), log)));
    };
    grow(3, lines(0..8));
    grow(4, lines(0..8) + "2026-11-24T10:00:00.008Z li");
    grow(5, lines(0..2500));
    grow(40, lines(2400..2600));
    let end = arm.clone();
    testing::after(Duration::from_secs(60), move || end.run("u1", "Running", &ended(0)));
    let (result, told) = read(Options { follow: true, tail: Some(2), ..Options::default() }, 10_000);
    assert_eq!((result, told), (Ok(()), numbers(3..2600)));
    assert!(testing::now() < at(90_000));
}

#[test]
fn a_reader_is_told_where_lines_are_missing() {
    let arm = runs(&lines(0..5));
    let grown = arm.clone();
    testing::after(Duration::from_secs(3), move || {
        drop(grown.0.borrow_mut().logs.insert("web".to_owned(), lines(100..102)))
    });
    let end = arm.clone();
    testing::after(Duration::from_secs(20), move || end.gone("u1"));
    let (result, told) = read(Options { follow: true, ..Options::default() }, 10_000);
    assert_eq!(result, Ok(()));
    assert_eq!((&told[..5], &told[6..]), (&numbers(0..5)[..], &numbers(100..102)[..]));
    assert!(told[5].starts_with("[lines are missing here"), "{}", told[5]);
}

#[test]
fn following_outlasts_failures_and_ends_with_its_reader() {
    let arm = runs(&lines(0..5));
    let failing = arm.clone();
    testing::after(Duration::from_millis(500), move || {
        failing.instead("GET /", refused(429, "TooManyRequests", "wait").header("retry-after", "5"));
        failing.instead("GET /", Answer::fails(vk_provider::http::ErrorCode::ConnectionTerminated));
        failing.0.borrow_mut().logs.insert("web".to_owned(), lines(0..9));
    });
    testing::cancel_after(Duration::from_secs(30), Why::ClientGone);
    let (result, told) = read(Options { follow: true, ..Options::default() }, 10_000);
    assert_eq!((result, told), (Ok(()), numbers(0..9)));
    testing::go_on();
    let (result, told) = read(Options { follow: true, ..Options::default() }, 3);
    assert_eq!((result.is_ok(), told.len()), (true, 3));
}

#[test]
fn another_attempt_has_a_log_of_its_own() {
    for (before, log) in [(lines(0..5), lines(100..102)), (String::new(), lines(100..102)), (lines(0..5), lines(0..5))]
    {
        let arm = runs(&before);
        let again = arm.clone();
        testing::after(Duration::from_secs(3), move || {
            let mut next = running();
            next["restartCount"] = 1.into();
            again.run("u1", "Running", &next);
            again.0.borrow_mut().logs.insert("web".to_owned(), log);
        });
        let (result, told) = read(Options { follow: true, ..Options::default() }, 10_000);
        let expected = if before.is_empty() { Vec::new() } else { numbers(0..5) };
        assert_eq!((result, told), (Ok(()), expected));
    }
}

#[test]
fn whose_a_log_is_that_lacks_what_was_told_is_asked_until_it_is_known() {
    let arm = runs(&lines(0..5));
    let failing = arm.clone();
    testing::after(Duration::from_secs(3), move || {
        failing.0.borrow_mut().logs.insert("web".to_owned(), lines(100..102));
        let group = format!("GET /{}", failing.name("u1"));
        for _ in 0..2 {
            let body = json!({"content": lines(100..102)}).to_string();
            failing.instead(&format!("{group}/containers"), Answer::status(200).body(body));
        }
        // A read is tried three times.
        for _ in 0..3 {
            failing.instead(&group, refused(503, "ServerBusy", "wait"));
        }
    });
    let end = arm.clone();
    testing::after(Duration::from_secs(40), move || end.run("u1", "Running", &ended(0)));
    let (result, told) = read(Options { follow: true, ..Options::default() }, 10_000);
    assert_eq!((result, told.len(), &told[6..]), (Ok(()), 8, &numbers(100..102)[..]));
}

#[test]
fn a_reader_of_a_silent_container_asks_ever_more_rarely_whatever_azure_says() {
    let is_log = |asked: &&String| asked.contains("/logs");
    let asked = |arm: &Arm| {
        testing::cancel_after(Duration::from_secs(120), Why::ClientGone);
        assert_eq!(read(Options { follow: true, ..Options::default() }, 10), (Ok(()), Vec::new()));
        testing::go_on();
        let asked = arm.asked();
        asked.iter().filter(is_log).count()
    };
    let arm = runs("");
    let silent = asked(&arm);
    assert!((12..=18).contains(&silent), "{silent} in two minutes");
    let arm = runs("");
    testing::after(Duration::from_millis(500), {
        let arm = arm.clone();
        move || {
            let log = format!("GET /{}/containers", arm.name("u1"));
            arm.instead(&log, refused(503, "ServerBusy", "wait").header("retry-after", "0"));
        }
    });
    let hasty = asked(&arm);
    assert!(hasty <= 18, "{hasty} in two minutes after an answer that asks for no pause");
    let arm = runs("");
    arm.0.borrow_mut().logs.clear();
    let none = asked(&arm);
    assert!((12..=18).contains(&none), "{none} in two minutes while there is no log");
}
