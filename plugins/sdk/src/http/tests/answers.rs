//! What is sent, and what comes of it.

use std::task::Poll;

use super::*;
use crate::call::Why;
use crate::serde_json::{Value, json};
use crate::wait::Wait;

#[test]
fn a_request_is_sent_as_it_was_made() {
    testing::reset();
    testing::serve(|asked| {
        assert_eq!((asked.method.as_str(), asked.path(), asked.query()), ("POST", "/groups", "name=a%20b&v=1"));
        assert_eq!(asked.header("Authorization"), Some("Bearer t"));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        assert_eq!(asked.header("content-length"), Some("7"));
        assert_eq!(asked.body, b"{\"a\":1}");
        Answer::status(201).header("Location", "/groups/1").body("{\"id\":").body("7}")
    });
    let request = Request::post(URL).query("name", "a b").query("v", "1").bearer("t").json(&json!({"a": 1}));
    let response = request.send().unwrap();
    assert_eq!((response.status, response.headers.get("location")), (201, Some("/groups/1")));
    assert_eq!(response.json::<Value>().unwrap(), json!({"id": 7}));
    assert_eq!(format!("{request:?}"), "POST https://api.example.com/groups", "no secrets in a log");
}

#[test]
fn a_body_has_the_length_that_is_known() {
    testing::reset();
    testing::serve(|asked| Answer::status(200).body(asked.header("content-length").unwrap_or("none").to_owned()));
    let length = |request: Request| request.send().unwrap().body.text(99).unwrap();
    assert_eq!(length(Request::get(URL)), "none");
    assert_eq!(length(Request::post(URL)), "0");
    assert_eq!(length(Request::delete(URL).body("abc")), "3");
    assert_eq!(length(Request::post(URL).header("Content-Length", "0")), "0");
    let mut upload = Request::put(URL).upload().unwrap();
    upload.write(b"abc").unwrap();
    assert_eq!(upload.finish().unwrap().body.text(99).unwrap(), "none", "it was not known when it began");
}

#[test]
fn a_large_body_is_written_piece_by_piece() {
    testing::reset();
    testing::serve(|asked| Answer::status(200).body(asked.body.len().to_string()));
    let mut upload = Request::put(URL).upload().unwrap();
    for _ in 0..3 {
        upload.write(&[7; 100_000]).unwrap();
    }
    assert_eq!(upload.finish().unwrap().body.text(99).unwrap(), "300000");
}

#[test]
fn a_server_that_answers_while_it_reads_gets_the_whole_body() {
    testing::reset();
    let (taken, whole) = (Rc::new(Cell::new(0)), vec![7; 500_000]);
    let count = taken.clone();
    testing::answer_early(|_| Some(Answer::status(200).body("loading ").then(seconds(9), "done")));
    testing::serve(move |asked| {
        count.set(asked.body.len());
        Answer::status(500)
    });
    testing::pause_uploads(seconds(1));
    let response = Request::post(URL).body(whole.clone()).send().unwrap();
    assert_eq!((response.status, taken.get()), (200, whole.len()));
    assert_eq!(response.body.text(99).unwrap(), "loading done");
}

#[test]
fn a_server_that_refuses_while_it_reads_is_sent_no_more() {
    testing::reset();
    testing::answer_early(|asked| (asked.path() == "/groups").then(|| Answer::status(413).body("too large")));
    testing::serve(|_| panic!("the body came to its end"));
    testing::pause_uploads(seconds(1));
    let mut upload = Request::put(URL).upload().unwrap();
    for _ in 0..3 {
        upload.write(&[7; 100_000]).unwrap();
    }
    let response = upload.finish().unwrap();
    assert_eq!((response.status, passed()), (413, seconds(0)), "it was told while the first piece was on its way");
    assert_eq!(response.body.text(99).unwrap(), "too large");
}

#[test]
fn what_is_no_request_is_not_sent() {
    testing::reset();
    testing::serve(|_| panic!("it was sent"));
    let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
    for request in
        [Request::get("/groups"), Request::post(URL).json(&unwritable), Request::get(URL).header("Host", "b.example")]
    {
        let failure = request.send().unwrap_err();
        assert_eq!((failure.name(), failure.effect), ("invalid-request", Effect::None), "{failure}");
        assert_eq!(Error::from(failure).code, Code::Internal);
    }
    assert_eq!(Request::new("GET ALL", URL).send().unwrap_err().name(), "HTTP-request-method-invalid");
}

#[test]
fn without_a_grant_nothing_leaves() {
    testing::reset();
    let failure = Request::get("https://user:pw@api.example.com/groups?sig=s3cret").send().unwrap_err();
    assert_eq!(failure.name(), "HTTP-request-denied");
    assert_eq!(failure.to_string(), "GET https://api.example.com/groups: HTTP-request-denied");
    let error = Error::from(failure);
    assert_eq!((error.code, error.reason.as_ref()), (Code::PermissionDenied, "HTTPRequestDenied"));
}

#[test]
fn lines_come_as_they_are_written() {
    testing::reset();
    testing::serve(|_| Answer::status(200).body("on").then(seconds(2), "e\ntwo\n\nthr").then(seconds(3), "ee"));
    let mut lines = Request::get(URL).send().unwrap().body.lines(9);
    let mut next = || lines.read().unwrap().map(|line| (String::from_utf8(line).unwrap(), passed().as_secs()));
    let line = |text: &str, at| Some((text.to_owned(), at));
    assert_eq!([next(), next(), next()], [line("one", 2), line("two", 2), line("", 2)]);
    assert_eq!([next(), next()], [line("three", 5), None], "the last one needs no newline");
}

#[test]
fn lines_are_waited_for_beside_other_things() {
    testing::reset();
    testing::serve(|_| Answer::status(200).body("a\nb\n").then(seconds(9), "c\n").stays_open());
    let mut lines = Request::get(URL).send().unwrap().body.lines(9);
    let poll = |lines: &mut Lines| match lines.poll() {
        Poll::Ready(line) => String::from_utf8(line.unwrap().unwrap()).unwrap(),
        Poll::Pending => "pending".to_owned(),
    };
    let wait = |lines: &Lines| Wait::new().on(1, lines.subscribe()).after(2, seconds(5)).first();
    assert_eq!([poll(&mut lines), poll(&mut lines), poll(&mut lines)], ["a", "b", "pending"]);
    assert!(!wait(&lines).has(1));
    assert!(wait(&lines).has(1));
    assert_eq!([poll(&mut lines), poll(&mut lines)], ["c", "pending"]);
}

#[test]
fn what_is_longer_than_the_caller_takes_is_a_failure() {
    testing::reset();
    testing::serve(|_| Answer::status(200).body("12345").body("67890"));
    let body = || Request::get(URL).send().unwrap().body;
    assert_eq!(body().bytes(10).unwrap().len(), 10);
    assert_eq!(body().bytes(9).unwrap_err().cause, Cause::TooLong(9));
    assert_eq!(body().lines(9).read().unwrap_err().cause, Cause::TooLong(9));
    assert_eq!(body().lines(10).read().unwrap().unwrap().len(), 10);
}

#[test]
fn what_is_not_expected_is_unreadable() {
    testing::reset();
    testing::serve(|_| Answer::status(200).body(vec![b'{', 0xff]));
    let failure = Request::get(URL).send().unwrap().json::<Value>().unwrap_err();
    assert_eq!((failure.name(), Error::from(failure).reason.as_ref()), ("answer-unreadable", "AnswerUnreadable"));
    assert_eq!(Request::get(URL).send().unwrap().body.text(9).unwrap_err().name(), "answer-unreadable");
}

#[test]
fn an_answer_that_never_lets_anybody_wait_ends_with_the_call_too() {
    testing::reset();
    testing::serve(|_| Answer::status(200).body("x").stays_open());
    let mut body = Request::get(URL).send().unwrap().body;
    testing::cancel_after(seconds(0), Why::ClientGone);
    assert_eq!(body.chunk().unwrap_err().cause, Cause::Cancelled);
}

#[test]
fn an_answer_that_breaks_off_is_a_failure() {
    testing::reset();
    testing::serve(|_| Answer::status(200).body("12").breaks(ErrorCode::HttpResponseBodySize(Some(2))));
    let mut body = Request::get(URL).send().unwrap().body;
    assert_eq!(body.chunk().unwrap(), Some(b"12".to_vec()));
    assert_eq!(body.chunk().unwrap_err().name(), "HTTP-response-body-size");
}

#[test]
fn times_of_the_request_are_kept() {
    testing::reset();
    testing::serve(|_| Answer::status(200).after(seconds(3)).body("a").then(seconds(4), "b"));
    let failure = Request::get(URL).answer_within(seconds(2)).send().unwrap_err();
    assert_eq!((failure.name(), passed()), ("HTTP-response-timeout", seconds(2)));
    let mut body = Request::get(URL).answer_within(seconds(4)).bytes_within(seconds(3)).send().unwrap().body;
    assert_eq!((body.chunk().unwrap().unwrap(), passed()), (b"a".to_vec(), seconds(5)));
    assert_eq!((body.chunk().unwrap_err().name(), passed()), ("connection-read-timeout", seconds(8)));
}

#[test]
fn a_call_that_the_host_ends_waits_no_longer() {
    testing::reset();
    testing::serve(|asked| match asked.path() {
        "/hangs" => Answer::hangs(),
        _ => Answer::status(200).stays_open(),
    });
    testing::cancel_after(seconds(2), Why::Deadline);
    let failure = Request::get("https://api.example.com/hangs").send().unwrap_err();
    assert_eq!((failure.cause.clone(), passed()), (Cause::Cancelled, seconds(2)));
    assert_eq!(Error::from(failure).code, Code::DeadlineExceeded);
    let mut answered = Request::get(URL).send().expect("an answer that is there is taken");
    assert_eq!(answered.body.chunk().unwrap_err().cause, Cause::Cancelled);
}
