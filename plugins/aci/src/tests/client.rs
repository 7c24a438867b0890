//! What every request has, tokens that are refused, and what a failure leaves open.

use std::time::Duration;

use vk_provider::call::Why;
use vk_provider::http::ErrorCode;
use vk_provider::testing::{self, Answer};
use vk_provider::{Code, Effect, Error, clock};

use super::*;
use crate::failure::Failure;
use crate::{Group, Removal};

const GROUP: &str = r#"{"name":"web","properties":{"provisioningState":"Pending"}}"#;

/// What an error says: code, reason, effect.
fn told(failure: Failure) -> (Code, String, Effect) {
    let error = Error::from(failure);
    (error.code, error.reason.into_owned(), error.effect)
}

#[test]
fn every_request_says_who_asks_in_which_version() {
    let asked = azure(|received| is_arm(received).then(|| Answer::status(200).body(GROUP)));
    let client = |extra: Option<&str>| {
        Client::new(account(secret()), "r g".to_owned(), Version::V2026_05_01, extra.map(str::to_owned))
    };
    client(Some("ours/1\r\nX-Evil: 1")).get_group("we/b").unwrap().unwrap();
    client(None).get_group("web").unwrap();
    let asked = asked.borrow();
    let [_, first, second] = &asked[..] else { panic!("{asked:?}") };
    let groups = "/subscriptions/sub/resourceGroups/r%20g/providers/Microsoft.ContainerInstance/containerGroups";
    assert_eq!(first.path(), format!("{groups}/we%2Fb"));
    assert_eq!(first.query(), "api-version=2026-05-01");
    assert_eq!(first.header("authorization"), Some("Bearer token-1"));
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(first.header("user-agent"), Some(format!("vk-host/{own} azure/{own} ours/1X-Evil: 1").as_str()));
    assert_eq!(second.header("user-agent"), Some(format!("vk-host/{own} azure/{own}").as_str()));
    assert_eq!(first.header("accept"), Some("application/json"));
    assert_ne!(first.header("x-ms-client-request-id"), second.header("x-ms-client-request-id"));
}

#[test]
fn a_token_that_is_refused_is_exchanged_once() {
    let (client, asked) = client(|received| match received.header("authorization") {
        Some("Bearer token-1") => refused(401, "ExpiredAuthenticationToken", "The access token has expired."),
        _ => Answer::status(200).body(GROUP),
    });
    crate::token::get(&account(secret())).unwrap();
    testing::advance(Duration::from_secs(61));
    assert!(client.get_group("web").unwrap().is_some());
    assert_eq!(asked_of_arm(&asked), ["GET /web", "GET /web"]);
    assert_eq!(asked.borrow().len(), 4, "two tokens");
    assert!(client.get_group("web").unwrap().is_some());
    assert_eq!(asked.borrow().len(), 5, "the new one serves all");
}

#[test]
fn a_token_that_was_issued_just_now_is_not_what_is_wrong() {
    let (client, asked) =
        client(|_| refused(401, "InvalidAuthenticationTokenTenant", "The access token is from the wrong issuer."));
    let failure = client.get_group("web").unwrap_err();
    assert_eq!(asked.borrow().len(), 2, "one token, one question");
    let reason = "InvalidAuthenticationTokenTenant".to_owned();
    assert_eq!(told(failure), (Code::Unauthenticated, reason, Effect::None));
    testing::advance(Duration::from_secs(61));
    client.get_group("web").unwrap_err();
    assert_eq!(asked.borrow().len(), 5, "then one token more, and no other");
}

#[test]
fn a_refusal_says_what_support_asks_for() {
    let (client, _) = client(|_| {
        refused(
            409,
            "ContainerGroupTransitioning",
            "The container group 'web' is still transitioning,\r\n please retry later.",
        )
        .header("x-ms-request-id", "r-1")
        .header("x-ms-correlation-request-id", "c-1")
    });
    let error = Error::from(client.stop_group("web").unwrap_err());
    assert_eq!((error.code, error.effect), (Code::Aborted, Effect::None));
    assert!(error.message.starts_with("POST https://management.azure.com/subscriptions/sub/"), "{error}");
    let ends = "/web/stop: ContainerGroupTransitioning: The container group 'web' is still transitioning, please retry \
                later. (409, request c-1)";
    assert!(error.message.ends_with(ends), "{error}");
}

#[test]
fn a_refusal_repeats_no_secret_that_its_request_did_not_have() {
    let said = "mount of https://me:s3cret@git.example/a with AccountKey=s3cret== failed";
    let (client, _) = client(move |_| refused(409, "ContainerGroupTransitioning", said));
    for failure in [
        client.get_group("web").unwrap_err(),
        client.stop_group("web").unwrap_err(),
        client.delete_group("web").unwrap_err(),
        client.put_group("web", &Group::default()).unwrap_err(),
    ] {
        let error = Error::from(failure);
        assert!(error.message.contains("AccountKey=[redacted] failed") && !error.message.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_pause_that_azure_asks_for_is_the_hosts_to_keep() {
    for (header, value, after) in [
        ("Retry-After", "17", Some(Duration::from_secs(17))),
        ("retry-after-ms", "1500", Some(Duration::from_millis(1500))),
        ("x-ms-retry-after-ms", "99999999", Some(Duration::from_secs(3600))),
        ("x-ms-ratelimit-remaining-subscription-reads", "0", None),
    ] {
        let (client, asked) = client(move |_| {
            refused(429, "SubscriptionRequestsThrottled", "Number of 'read' requests exceeded.").header(header, value)
        });
        let start = clock::now();
        let error = Error::from(client.list_groups(None).unwrap_err());
        assert_eq!((error.code, error.retry_after), (Code::ResourceExhausted, after), "{header}");
        assert_eq!((error.reason.as_ref(), error.effect), ("SubscriptionRequestsThrottled", Effect::None));
        assert_eq!((asked_of_arm(&asked).len(), clock::now()), (1, start), "it is not asked again here");
    }
}

#[test]
fn a_question_is_asked_again_and_an_act_is_not() {
    let failing = |_: &Received| Answer::status(503);
    let (asks, asked) = client(failing);
    assert_eq!(told(asks.get_group("web").unwrap_err()).0, Code::Unavailable);
    assert_eq!(asked_of_arm(&asked).len(), 3);
    let (client, asked) = client(failing);
    let (code, reason, effect) = told(client.put_group("web", &Group::default()).unwrap_err());
    assert_eq!((code, reason.as_str(), effect), (Code::Unavailable, "AzureUnavailable", Effect::Unknown));
    assert_eq!(asked_of_arm(&asked).len(), 1);
}

#[test]
fn a_question_is_not_asked_again_before_the_time_that_azure_names() {
    for (header, value, after) in [("Retry-After", "1", 1000), ("retry-after-ms", "1500", 1500)] {
        let (client, asked) = client(move |_| Answer::status(503).header(header, value));
        let error = Error::from(client.get_group("web").unwrap_err());
        assert_eq!((error.retry_after, asked_of_arm(&asked).len()), (Some(Duration::from_millis(after)), 1));
    }
}

#[test]
fn nobody_waits_for_an_answer_for_as_long_as_a_call_may_last() {
    let (client, asked) = client(|_| Answer::hangs());
    testing::deadline(Duration::from_secs(300));
    let waited = |ask: &dyn Fn() -> Failure| {
        let start = clock::now();
        let (code, ..) = told(ask());
        (code, clock::now().since(start).as_secs())
    };
    assert_eq!(waited(&|| client.get_group("web").unwrap_err()), (Code::DeadlineExceeded, 20));
    assert_eq!(asked_of_arm(&asked).len(), 1, "whoever took so long takes as long again");
    assert_eq!(waited(&|| client.stop_group("web").unwrap_err()), (Code::DeadlineExceeded, 30));
}

#[test]
fn a_question_gets_its_answer_at_the_second_time() {
    let mut first = true;
    let (client, asked) = client(move |_| match std::mem::take(&mut first) {
        true => Answer::fails(ErrorCode::ConnectionTerminated),
        false => Answer::status(200).body(GROUP),
    });
    assert!(client.get_group("web").unwrap().is_some());
    assert_eq!(asked_of_arm(&asked).len(), 2);
}

#[test]
fn what_was_lost_on_the_way_may_have_been_done() {
    type Play = fn() -> Answer;
    for (play, code, effect) in [
        ((|| Answer::fails(ErrorCode::ConnectionTerminated)) as Play, Code::Unavailable, Effect::Unknown),
        (|| Answer::fails(ErrorCode::HttpResponseTimeout), Code::DeadlineExceeded, Effect::Unknown),
        (|| Answer::status(201).body("{").breaks(ErrorCode::ConnectionTerminated), Code::Unavailable, Effect::Unknown),
        (|| Answer::status(201).body("{\"properties\":"), Code::Unknown, Effect::Unknown),
        (|| Answer::status(201).body("<html>"), Code::Unknown, Effect::Unknown),
        (|| Answer::status(500), Code::Unavailable, Effect::Unknown),
        (|| Answer::status(408), Code::DeadlineExceeded, Effect::Unknown),
        (|| Answer::status(302), Code::Unknown, Effect::Unknown),
        (|| Answer::fails(ErrorCode::ConnectionRefused), Code::Unavailable, Effect::None),
        (|| Answer::fails(ErrorCode::ConnectionLimitReached), Code::ResourceExhausted, Effect::None),
        (|| refused(409, "Conflict", "no"), Code::Aborted, Effect::None),
    ] {
        let (client, _) = client(move |_| play());
        let failure = client.put_group("web", &Group::default()).unwrap_err();
        assert_eq!((told(failure).0, effect), (code, effect), "{:?}", play());
        let (client, _) = super::client(move |_| play());
        assert_eq!(told(client.put_group("web", &Group::default()).unwrap_err()).2, effect, "{:?}", play());
    }
}

#[test]
fn a_call_that_is_cut_off_may_have_acted() {
    let (client, _) = client(|_| Answer::hangs());
    testing::deadline(Duration::from_secs(30));
    let (code, _, effect) = told(client.put_group("web", &Group::default()).unwrap_err());
    assert_eq!((code, effect), (Code::DeadlineExceeded, Effect::Unknown));
    let (client, _) = super::client(|_| Answer::hangs());
    testing::cancel_after(Duration::from_secs(1), Why::Shutdown);
    assert_eq!(told(client.get_group("web").unwrap_err()).2, Effect::None, "a question changes nothing");
}

#[test]
fn what_was_done_before_counts_for_what_follows() {
    let (client, _) = client(|received| match received.method.as_str() {
        "PUT" => Answer::status(201).body(GROUP),
        "GET" => Answer::status(200).body("<html>"),
        _ => refused(403, "AuthorizationFailed", "no"),
    });
    assert_eq!(told(client.stop_group("web").unwrap_err()).2, Effect::None);
    client.put_group("web", &Group::default()).unwrap();
    assert_eq!(told(client.stop_group("web").unwrap_err()).2, Effect::Unknown);
    assert_eq!(told(client.get_group("web").unwrap_err()).2, Effect::Unknown);
}

#[test]
fn a_token_that_was_fetched_does_not_count_as_an_act() {
    let (client, _) = client(|_| refused(400, "InvalidContainerName", "no"));
    assert_eq!(told(client.put_group("web", &Group::default()).unwrap_err()).2, Effect::None);
}

#[test]
fn without_a_token_nothing_was_done() {
    let asked = azure(|received| {
        let refusal = r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}"#;
        Some(if is_arm(received) { Answer::status(204) } else { Answer::status(401).body(refusal) })
    });
    let client = Client::new(account(secret()), "rg".to_owned(), Version::default(), None);
    let (code, reason, effect) = told(client.put_group("web", &Group::default()).unwrap_err());
    assert_eq!((code, reason.as_str(), effect), (Code::Unauthenticated, "AzureSignInRefused", Effect::None));
    assert!(asked_of_arm(&asked).is_empty());
    testing::store_down(true);
    assert_eq!(told(client.delete_group("web").unwrap_err()).2, Effect::None);
}

#[test]
fn after_an_act_a_token_that_is_missing_is_of_unknown_effect() {
    let mut tokens = 0;
    azure(move |received| {
        if is_arm(received) {
            return Some(Answer::status(204));
        }
        tokens += 1;
        (tokens > 1).then(|| Answer::status(400).body(r#"{"error":"invalid_client"}"#))
    });
    let client = Client::new(account(secret()), "rg".to_owned(), Version::default(), None);
    assert_eq!(client.delete_group("web").unwrap(), Removal::Gone);
    testing::advance(Duration::from_secs(7200));
    assert_eq!(told(client.delete_group("web").unwrap_err()).2, Effect::Unknown);
}
