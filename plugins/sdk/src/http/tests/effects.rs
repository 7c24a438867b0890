//! What an error says of it, and whether the backend may have acted.

use super::*;

fn effect_of(answer: fn() -> Answer, request: &Request) -> Effect {
    serve(vec![answer]);
    match request.send() {
        Ok(response) => response.error(Conflict::Race).effect,
        Err(failure) => Error::from(failure).effect,
    }
}

#[test]
fn what_was_not_sent_and_what_changes_nothing_has_no_effect() {
    let (get, post) = (Request::get(URL), Request::post(URL));
    for (answer, request, effect) in [
        (REFUSED, &post, Effect::None),
        (LOST, &post, Effect::Unknown),
        (LOST, &get, Effect::None),
        (MISSING, &post, Effect::None),
        (THROTTLED, &post, Effect::None),
        (BUSY, &post, Effect::Unknown),
        (BUSY, &get, Effect::None),
        (MOVED, &post, Effect::Unknown),
    ] {
        assert_eq!(effect_of(answer, request), effect, "{request:?} {:?}", answer());
    }
}

#[test]
fn after_something_was_done_no_error_says_that_nothing_was() {
    testing::reset();
    testing::serve(|asked| match asked.path() {
        "/refused" => Answer::fails(ErrorCode::ConnectionRefused),
        "/missing" => Answer::status(404).body("no").breaks(ErrorCode::ConnectionTerminated),
        _ => Answer::status(200).body("{}").breaks(ErrorCode::ConnectionTerminated),
    });
    let at = |path: &str| format!("https://api.example.com{path}");
    let refused = || Error::from(Request::post(at("/refused")).send().unwrap_err()).effect;
    let missing = || Request::post(at("/missing")).send().unwrap().error(Conflict::Race).effect;
    Request::get(at("/look")).send().unwrap();
    assert_eq!((refused(), missing()), (Effect::None, Effect::None), "looking and being refused change nothing");
    Request::post(at("/made")).send().unwrap();
    assert_eq!((refused(), missing()), (Effect::Unknown, Effect::Unknown));
    testing::new_call();
    assert_eq!((refused(), missing()), (Effect::None, Effect::None));
    let half = |path: &str| Error::from(Request::post(at(path)).send().unwrap().body.bytes(99).unwrap_err()).effect;
    assert_eq!((half("/missing"), half("/made")), (Effect::None, Effect::Unknown));
}

#[test]
fn each_status_has_its_code() {
    for (status, code) in [
        (400, Code::FailedPrecondition),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::NotFound),
        (409, Code::Aborted),
        (410, Code::NotFound),
        (412, Code::Aborted),
        (418, Code::FailedPrecondition),
        (429, Code::ResourceExhausted),
        (500, Code::Unavailable),
        (503, Code::Unavailable),
        (507, Code::Unavailable),
        (302, Code::Unknown),
    ] {
        testing::reset();
        testing::serve(move |_| Answer::status(status).header("Retry-After", "7").body(r#"{"message":"because"}"#));
        let error = Request::get(URL).send().unwrap().success().unwrap_err();
        assert_eq!((error.code, error.retry_after), (code, Some(seconds(7))), "{status}");
        assert_eq!(error.message, format!("GET {URL}: the answer was {status}: because"));
        let exists = Request::get(URL).send().unwrap().error(Conflict::Exists).code;
        assert_eq!(exists, if status == 409 { Code::AlreadyExists } else { code }, "{status}");
    }
}

#[test]
fn a_success_is_passed_on() {
    serve(vec![FINE]);
    assert_eq!(Request::delete(URL).send().unwrap().success().unwrap().status, 200);
}
