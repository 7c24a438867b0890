//! Work that goes on, by either header.

use std::time::Duration;

use vk_provider::testing::Answer;
use vk_provider::{Code, Effect, Error, store};

use super::*;
use crate::failure::Class;
use crate::operation::{self, Kind};
use crate::{Cause, Group, Operation, Progress, Removal};

const URL: &str = "https://management.azure.com/subscriptions/sub/providers/Microsoft.ContainerInstance/locations/westus/operations/1?api-version=2018-06-01";

fn cause(code: &str, message: &str) -> Progress {
    Progress::Failed(Cause { code: code.to_owned(), message: message.to_owned() })
}

fn progress(kind: Kind, play: fn() -> Answer) -> Result<Progress, crate::Failure> {
    let (client, asked) = client(move |_| play());
    let outcome = client.progress(&Operation { url: URL.to_owned(), kind });
    assert!(asked.borrow().iter().all(|asked| !is_arm(asked) || asked.url == URL), "as Azure gave it");
    outcome
}

#[test]
fn the_header_with_a_status_counts_before_the_other() {
    let (client, _) = client(|_| {
        Answer::status(201)
            .header("Location", "https://management.azure.com/l")
            .header("Azure-AsyncOperation", URL)
            .body("{}")
    });
    let operation = client.put_group("web", &Group::default()).unwrap().operation.unwrap();
    assert_eq!(operation, Operation { url: URL.to_owned(), kind: Kind::AsyncOperation });
    let (other, _) =
        super::client(|_| Answer::status(201).header("Azure-AsyncOperation", " ").header("Location", URL).body("{}"));
    let operation_there = other.put_group("web", &Group::default()).unwrap().operation.unwrap();
    assert_eq!(operation_there.kind, Kind::Location, "one that says nothing does not count");
    let kept = serde_json::to_string(&operation).unwrap();
    assert_eq!(serde_json::from_str::<Operation>(&kept).unwrap(), operation);
}

#[test]
fn a_header_that_leads_elsewhere_gets_no_token_and_takes_nothing_back() {
    for header in ["Azure-AsyncOperation", "Location"] {
        for url in
            ["https://evil.example/x?t=secret", "http://management.azure.com/x", "/subscriptions/sub/operations/1"]
        {
            let (client, asked) = client(move |received| {
                let status = if received.method == "PUT" { 201 } else { 202 };
                Answer::status(status).header(header, url).body("{}")
            });
            let accepted = client.put_group("web", &Group::default()).unwrap();
            assert_eq!((accepted.operation, client.stop_group("web").unwrap()), (None, None), "{header}: {url}");
            assert_eq!(client.delete_group("web").unwrap(), Removal::Accepted(None), "{header}: {url}");
            assert_eq!(asked_of_arm(&asked).len(), asked.borrow().len() - 1, "nobody else is asked, but for a token");
            assert!(store::get_bytes(operation::TOLD).unwrap().is_some(), "it is told");
        }
    }
    let (client, _) = client(|_| {
        Answer::status(202).header("Azure-AsyncOperation", "https://evil.example/x").header("Location", URL)
    });
    let operation = client.stop_group("web").unwrap().unwrap();
    assert_eq!(operation, Operation { url: URL.to_owned(), kind: Kind::Location }, "the one that may be asked counts");
    let (client, asked) = super::client(|_| Answer::status(200));
    let elsewhere = |url: &str| {
        let elsewhere = Operation { url: url.to_owned(), kind: Kind::Location };
        Error::from(client.progress(&elsewhere).unwrap_err())
    };
    let error = elsewhere("https://evil.example/x?t=secret");
    assert!(error.message.contains("\"https://evil.example\", which is not the resource manager"), "{error}");
    assert!(!error.message.contains("secret") && error.effect == Effect::None, "{error}");
    assert!(elsewhere("/x").message.contains("leads to a URL without a host"));
    assert!(asked.borrow().is_empty());
}

#[test]
fn a_status_tells_how_far_it_is() {
    type Play = fn() -> Answer;
    let running = |after: Option<u64>| Progress::Running { after: after.map(Duration::from_secs) };
    for (play, expected) in [
        ((|| Answer::status(200).body(r#"{"status":"InProgress"}"#)) as Play, running(None)),
        (
            || Answer::status(200).header("Retry-After", "5").body(r#"{"status":"Creating","error":null}"#),
            running(Some(5)),
        ),
        (|| Answer::status(202).header("Retry-After", "7"), running(Some(7))),
        (|| Answer::status(202).header("x-ms-retry-after-ms", "4000"), running(Some(4))),
        (|| Answer::status(202).body("{}"), running(None)),
        (|| Answer::status(200).body(r#"{"status":"Succeeded"}"#), Progress::Succeeded),
        (|| Answer::status(200).body(r#"{"status":"succeeded"}"#), Progress::Succeeded),
        (
            || Answer::status(200).body(r#"{"status":"Failed","error":{"code":"QuotaExceeded","message":"no cores"}}"#),
            cause("QuotaExceeded", "no cores"),
        ),
        (|| Answer::status(200).body(r#"{"status":"Canceled"}"#), cause("Canceled", "Azure does not say why")),
        (
            || {
                Answer::status(200).body(
                    r#"{"id":"x","status":"Failed","startTime":"2025-04-02T16:08:46.1766617Z","properties":{"events":[
                    {"count":1,"name":"Pulling","message":"pulling"},
                    {"count":1,"lastTimestamp":"2025-04-02T16:09:11.8874342Z","name":"InsufficientCapacity.","message":"The requested resource is not available in the location 'uksouth' at this moment."}]},
                    "error":{"code":"Failed","message":"The requested resource is not available in the location 'uksouth' at this moment."}}"#,
                )
            },
            cause(
                "InsufficientCapacity",
                "The requested resource is not available in the location 'uksouth' at this moment.",
            ),
        ),
    ] {
        assert_eq!(progress(Kind::AsyncOperation, play).unwrap(), expected);
    }
    for body in ["{}", "<html>", r#"{"status":null}"#, r#"{"status":"Failed","error":"s3cret"}"#] {
        let (client, _) = client(move |_| Answer::status(200).body(body));
        let error = client.progress(&Operation { url: URL.to_owned(), kind: Kind::AsyncOperation }).unwrap_err();
        let error = Error::from(error);
        assert!(error.code == Code::Unknown && !error.message.contains("s3cret"), "{body}: {error}");
    }
}

#[test]
fn a_location_tells_how_far_it_is() {
    type Play = fn() -> Answer;
    for (play, expected) in [
        (
            (|| Answer::status(202).header("Retry-After", "3")) as Play,
            Progress::Running { after: Some(Duration::from_secs(3)) },
        ),
        (
            || Answer::status(202).header("Retry-After", "3").header("retry-after-ms", "2500"),
            Progress::Running { after: Some(Duration::from_millis(2500)) },
        ),
        (|| Answer::status(200).body(r#"{"properties":{"provisioningState":"Succeeded"}}"#), Progress::Succeeded),
        (|| Answer::status(200), Progress::Succeeded),
        (|| Answer::status(204), Progress::Succeeded),
        (
            || {
                let answer = Answer::status(200).header("Retry-After", "9");
                answer.body(r#"{"properties":{"provisioningState":"Pending"}}"#)
            },
            Progress::Running { after: Some(Duration::from_secs(9)) },
        ),
        (
            || Answer::status(200).body(r#"{"properties":{"provisioningState":"Deleting"}}"#),
            Progress::Running { after: None },
        ),
        (
            || {
                Answer::status(200).body(
                    r#"{"properties":{"provisioningState":"Failed","instanceView":{"events":[{"name":"FailedMount","message":"no"}]}}}"#,
                )
            },
            cause("FailedMount", "no"),
        ),
        (
            || refused(409, "ContainerGroupQuotaReached", "container group quota 'StandardCores' exceeded"),
            cause("ContainerGroupQuotaReached", "container group quota 'StandardCores' exceeded"),
        ),
        (|| refused(409, "SomethingNew", "no"), cause("SomethingNew", "no")),
        (|| refused(409, "OperationPreempted", "a later one"), cause("OperationPreempted", "a later one")),
        (
            || refused(409, "ContainerGroupTransitioning", "wait").header("Retry-After", "4"),
            Progress::Running { after: Some(Duration::from_secs(4)) },
        ),
        (|| refused(412, "AnotherOperationInProgress", "wait"), Progress::Running { after: None }),
    ] {
        assert_eq!(progress(Kind::Location, play).unwrap(), expected);
    }
    let page = progress(Kind::Location, || Answer::status(200).body("<html>s3cret</html>")).unwrap_err();
    let error = Error::from(page);
    assert!(error.code == Code::Unknown && !error.message.contains("s3cret"), "a proxy's page is no end: {error}");
}

#[test]
fn a_question_that_fails_is_no_operation_that_failed() {
    type Play = fn() -> Answer;
    for (play, code) in [
        ((|| Answer::status(503)) as Play, Code::Unavailable),
        (|| refused(429, "TooManyRequests", "later"), Code::ResourceExhausted),
        (|| refused(409, "OperationThrottled", "later"), Code::ResourceExhausted),
        (|| refused(403, "AuthorizationFailed", "no"), Code::PermissionDenied),
        (|| refused(404, "OperationNotFound", "forgotten"), Code::NotFound),
    ] {
        for kind in [Kind::AsyncOperation, Kind::Location] {
            assert_eq!(Error::from(progress(kind, play).unwrap_err()).code, code);
        }
    }
    let refused = || refused(409, "Conflict", "no");
    assert!(progress(Kind::AsyncOperation, refused).is_err(), "its end is a status");
}

#[test]
fn why_it_failed_has_a_meaning() {
    for (code, message, class) in [
        ("InsufficientCapacity", "x", Class::Capacity),
        ("Failed", "The requested resource is not available in the location 'x' at this moment.", Class::Capacity),
        ("ContainerGroupQuotaReached", "x", Class::Quota),
        ("SubnetMissingRequiredDelegation", "x", Class::Setup),
        ("InaccessibleImage", "x", Class::Setup),
        ("Failed", "x", Class::Unknown),
    ] {
        assert_eq!(Cause { code: code.to_owned(), message: message.to_owned() }.class(), class, "{code}");
    }
}

#[test]
fn why_it_failed_is_told_without_secrets() {
    let long = "x".repeat(590);
    for body in [
        r#"{"status":"Failed","error":{"code":"GitCloneFailed","message":"https://me:s3cret@git.example/a.git"}}"#
            .to_owned(),
        r#"{"status":"Failed","properties":{"events":[{"name":"FailedMount","message":"password=s3cret"}]}}"#
            .to_owned(),
        format!(r#"{{"status":"Failed","error":{{"code":"A","message":"{long}https://me:s3cret@x/"}}}}"#),
    ] {
        let (client, _) = client(move |_| Answer::status(200).body(body.clone()));
        let operation = Operation { url: URL.to_owned(), kind: Kind::AsyncOperation };
        let Progress::Failed(cause) = client.progress(&operation).unwrap() else { panic!() };
        assert!(!cause.message.contains("s3c"), "{cause}");
    }
}
