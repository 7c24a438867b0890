//! Every kind of credential, and one token for all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use vk_provider::call::Why as End;
use vk_provider::http::ErrorCode;
use vk_provider::testing::{self, Answer, Received};
use vk_provider::{Code, Effect, Error};

use super::*;
use crate::tests::{account, secret};

fn federated() -> Credential {
    Credential::Federated { client_id: "app".to_owned(), token_file: "/token".to_owned() }
}

fn managed(client_id: Option<&str>) -> Credential {
    Credential::Managed { client_id: client_id.map(str::to_owned) }
}

/// Plays whoever gives tokens, and counts.
fn issuer(mut answer: impl FnMut(&Received) -> Answer + 'static) -> Rc<RefCell<Vec<Received>>> {
    testing::reset();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let asks = asked.clone();
    testing::serve(move |received| {
        asks.borrow_mut().push(received.clone());
        answer(&received)
    });
    asked
}

/// Gives a new token each time, for an hour.
fn hourly() -> Rc<RefCell<Vec<Received>>> {
    let mut number = 0;
    issuer(move |_| {
        number += 1;
        Answer::status(200).body(format!(r#"{{"access_token":"token-{number}","expires_in":"3600"}}"#))
    })
}

fn form(received: &Received) -> Vec<String> {
    let body = String::from_utf8(received.body.clone()).unwrap();
    body.split('&').map(str::to_owned).collect()
}

fn taken(account: &Account) -> String {
    get(account).unwrap().expose().to_owned()
}

#[test]
fn a_secret_is_exchanged_for_a_token() {
    let asked = hourly();
    let account = account(secret());
    assert_eq!((taken(&account), taken(&account)), ("token-1".to_owned(), "token-1".to_owned()));
    let asked = asked.borrow();
    let [asked] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(
        (asked.method.as_str(), asked.url.as_str()),
        ("POST", "https://login.microsoftonline.com/tenant/oauth2/v2.0/token")
    );
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    let expected = [
        "grant_type=client_credentials",
        "client_id=app",
        "scope=https%3A%2F%2Fmanagement.azure.com%2F.default",
        "client_secret=app%2Fs3cret",
    ];
    assert_eq!(form(asked), expected);
}

#[test]
fn a_federated_token_is_read_anew_for_each_request() {
    let asked = hourly();
    let account = account(federated());
    for (content, expected) in [("first\n", "client_assertion=first"), ("second", "client_assertion=second")] {
        testing::file("/token", content.as_bytes());
        get(&account).unwrap();
        assert!(form(asked.borrow().last().unwrap()).iter().any(|field| field == expected));
        testing::advance(Duration::from_secs(3600));
    }
    let jwt = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    assert!(asked.borrow().len() == 2 && form(&asked.borrow()[0]).iter().any(|field| field == jwt));
}

#[test]
fn a_federated_token_that_is_not_there_is_told() {
    for (content, code, says) in [
        (None, Code::PermissionDenied, "was not granted"),
        (Some(&b" \n"[..]), Code::Unauthenticated, "/token: the federated token is empty"),
        (Some(b"\xff"), Code::Unauthenticated, "/token: the federated token is no text"),
    ] {
        let asked = hourly();
        content.into_iter().for_each(|content| testing::file("/token", content));
        let error = Error::from(get(&account(federated())).unwrap_err());
        assert!(error.code == code && error.message.contains(says) && error.effect == Effect::None, "{error}");
        assert!(asked.borrow().is_empty());
    }
}

#[test]
fn a_machine_gets_a_token_for_its_own_or_for_another_identity() {
    for (client_id, query) in [
        (None, "api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com"),
        (Some("id"), "api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com&client_id=id"),
    ] {
        let asked = hourly();
        assert_eq!(taken(&account(managed(client_id))), "token-1");
        let asked = asked.borrow()[0].clone();
        assert_eq!((asked.method.as_str(), asked.header("metadata")), ("GET", Some("true")));
        assert_eq!(asked.url, format!("http://169.254.169.254/metadata/identity/oauth2/token?{query}"));
    }
}

#[test]
fn everybody_has_a_token_of_ones_own() {
    let asked = hourly();
    let mut other = account(secret());
    other.tenant = "other".to_owned();
    testing::file("/token", b"t");
    let all = [account(secret()), account(federated()), account(managed(None)), account(managed(Some("id"))), other];
    let tokens: Vec<String> = all.iter().chain(&all).map(taken).collect();
    assert_eq!(tokens, [1, 2, 3, 4, 5, 1, 2, 3, 4, 5].map(|number| format!("token-{number}")));
    assert_eq!(asked.borrow().len(), 5);
}

#[test]
fn a_token_is_renewed_before_its_end_by_one_of_all() {
    let asked = hourly();
    let account = account(secret());
    get(&account).unwrap();
    testing::advance(Duration::from_secs(3299));
    assert_eq!(taken(&account), "token-1");
    testing::advance(Duration::from_secs(1));
    let somebody = store::acquire(&key(&account), TURN);
    assert_eq!(taken(&account), "token-1", "somebody is at it");
    assert_eq!(asked.borrow().len(), 1);
    drop(somebody);
    assert_eq!((taken(&account), taken(&account)), ("token-2".to_owned(), "token-2".to_owned()));
    assert_eq!(asked.borrow().len(), 2);
}

#[test]
fn the_old_token_serves_until_there_is_a_new_one() {
    let fails = Rc::new(Cell::new(false));
    let fails_now = fails.clone();
    let asked = issuer(move |_| match fails_now.get() {
        true => Answer::status(503),
        false => Answer::status(200).body(r#"{"access_token":"token","expires_in":3600}"#),
    });
    let account = account(secret());
    get(&account).unwrap();
    fails.set(true);
    testing::advance(Duration::from_secs(3400));
    let start = clock::now();
    assert_eq!((taken(&account), taken(&account)), ("token".to_owned(), "token".to_owned()));
    assert_eq!((asked.borrow().len(), clock::now()), (2, start), "one try, without a wait, for all");
    testing::advance(Duration::from_secs(31));
    get(&account).unwrap();
    assert_eq!(asked.borrow().len(), 3, "and one more half a minute later");
    testing::advance(Duration::from_secs(170));
    assert_eq!(
        Error::from(get(&account).unwrap_err()).code,
        Code::Unavailable,
        "half a minute before its end it is over"
    );
}

#[test]
fn an_issuer_that_hangs_costs_who_has_a_token_little_time() {
    for credential in [secret(), managed(None)] {
        let hangs = Rc::new(Cell::new(false));
        let hangs_now = hangs.clone();
        let asked = issuer(move |_| match hangs_now.get() {
            true => Answer::hangs(),
            false => Answer::status(200).body(r#"{"access_token":"token","expires_in":3600}"#),
        });
        let account = account(credential);
        get(&account).unwrap();
        hangs.set(true);
        testing::advance(Duration::from_secs(3400));
        // A ping has no more.
        testing::deadline(Duration::from_secs(8));
        let start = clock::now();
        assert_eq!((taken(&account), asked.borrow().len()), ("token".to_owned(), 2));
        let spent = clock::now().since(start);
        assert!(spent <= Duration::from_secs(5), "{spent:?}");
        assert_eq!((taken(&account), asked.borrow().len()), ("token".to_owned(), 2), "nobody asks for a while");
    }
}

#[test]
fn a_short_life_is_renewed_at_its_half() {
    let asked = issuer(|_| Answer::status(200).body(r#"{"access_token":"token","expires_in":20}"#));
    let account = account(secret());
    for (after, requests) in [(0, 1), (9, 1), (1, 2), (9, 2), (11, 3)] {
        testing::advance(Duration::from_secs(after));
        get(&account).unwrap();
        assert_eq!(asked.borrow().len(), requests);
    }
}

#[test]
fn nothing_of_it_stays() {
    hourly();
    let token = get(&account(secret())).unwrap();
    assert!(!format!("{token:?}").contains("token-1"), "{token:?}");
    testing::advance(Duration::from_secs(3600));
    assert!(store::keys("", None).unwrap().is_empty(), "what has a time to live is on no disk, and goes");
}

#[test]
fn who_waits_gets_the_token_of_the_one_who_asked() {
    let asked = hourly();
    let account = account(secret());
    let somebody = store::acquire(&key(&account), TURN);
    let name = key(&account);
    testing::after(Duration::from_secs(2), move || {
        let issued = Issued { token: "theirs".into(), life: Duration::from_secs(3600), renew: None };
        Token::new(issued).keep(&name).unwrap();
        drop(somebody);
    });
    assert_eq!((taken(&account), asked.borrow().len()), ("theirs".to_owned(), 0));
}

#[test]
fn who_waits_gets_the_refusal_of_the_one_who_asked() {
    let asked = issuer(|_| Answer::status(401).body(r#"{"error":"invalid_client"}"#));
    let account = account(secret());
    let first = Error::from(get(&account).unwrap_err());
    assert_eq!(Error::from(get(&account).unwrap_err()), first);
    assert_eq!(asked.borrow().len(), 1);
    testing::advance(REFUSED);
    get(&account).unwrap_err();
    assert_eq!(asked.borrow().len(), 2, "a secret that was mended counts soon");
}

#[test]
fn a_call_that_ends_while_it_waits_has_done_nothing() {
    hourly();
    let account = account(secret());
    let _somebody = store::acquire(&key(&account), TURN);
    testing::cancel_after(Duration::from_secs(1), End::Deadline);
    let error = Error::from(get(&account).unwrap_err());
    assert_eq!((error.code, error.effect), (Code::DeadlineExceeded, Effect::None));
}

#[test]
fn the_end_of_one_call_is_nobody_elses() {
    let mut first = true;
    issuer(move |_| match std::mem::take(&mut first) {
        true => Answer::hangs(),
        false => Answer::status(200).body(r#"{"access_token":"t","expires_in":3600}"#),
    });
    testing::deadline(Duration::from_secs(8));
    let account = account(secret());
    let error = Error::from(get(&account).unwrap_err());
    assert_eq!((error.code, error.effect), (Code::DeadlineExceeded, Effect::None));
    testing::go_on();
    assert_eq!(taken(&account), "t", "at once");
}

#[test]
fn a_first_token_whose_answer_does_not_come_is_asked_for_again() {
    let mut first = true;
    let asked = issuer(move |_| match std::mem::take(&mut first) {
        true => Answer::hangs(),
        false => Answer::status(200).body(r#"{"access_token":"t","expires_in":3600}"#),
    });
    testing::deadline(Duration::from_secs(300));
    let start = clock::now();
    assert_eq!((taken(&account(secret())), asked.borrow().len()), ("t".to_owned(), 2));
    assert!(clock::now().since(start) < TURN, "whoever waits for its turn has one");
}

#[test]
fn a_token_that_was_refused_is_exchanged_unless_somebody_was_quicker() {
    let asked = hourly();
    let account = account(secret());
    let first = get(&account).unwrap();
    assert!(another(&account, &first).unwrap().is_none(), "it is too young");
    testing::advance(YOUNG);
    let second = another(&account, &first).unwrap().unwrap();
    assert_eq!(second.expose(), "token-2");
    assert_eq!(another(&account, &first).unwrap().unwrap().expose(), "token-2", "the newer one stays");
    assert_eq!(asked.borrow().len(), 2);
}

#[test]
fn a_refusal_says_what_would_be_right_and_no_secret() {
    for (status, body, code, reason, says) in [
        (
            401,
            r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is 'app/s3cret'.\r\nTrace ID: 1\r\nCorrelation ID: 2","error_codes":[7000215]}"#,
            Code::Unauthenticated,
            "AzureSignInRefused",
            "it must be the secret's value, not its id",
        ),
        (
            400,
            r#"{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'app' was not found. client_secret=app%2Fs3cret"}"#,
            Code::Unauthenticated,
            "AzureSignInRefused",
            "the tenant knows no such application",
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS65001: The user or administrator has not consented."}"#,
            Code::PermissionDenied,
            "AzureSignInDenied",
            "AADSTS65001: The user",
        ),
        (
            400,
            r#"{"error":"temporarily_unavailable"}"#,
            Code::Unavailable,
            "AzureSignInUnavailable",
            "no reason is given (400)",
        ),
        (400, "<html>", Code::Unknown, "AzureSignInUnreadable", "no reason is given (400)"),
        (404, "", Code::Unknown, "AzureSignInUnreadable", "(404)"),
        (200, r#"{"access_token":"app/s3cret"}"#, Code::Unknown, "TokenUnreadable", "says of no time"),
        (200, "<html>", Code::Unknown, "TokenUnreadable", "not the JSON of a token"),
    ] {
        issuer(move |_| Answer::status(status).body(body));
        let failure = get(&account(secret())).unwrap_err();
        let told = format!("{failure:?}");
        assert!(!told.contains("app/s3cret") && !told.contains("app%2Fs3cret"), "{told}");
        let error = Error::from(failure);
        assert_eq!((error.code, error.reason.as_ref(), error.effect), (code, reason, Effect::None), "{body}");
        assert!(error.message.contains(says), "{error}");
        assert!(error.message.contains("https://login.microsoftonline.com/tenant/oauth2/v2.0/token"), "{error}");
    }
}

#[test]
fn what_passes_is_asked_for_again() {
    type Play = fn() -> Answer;
    for play in [
        (|| Answer::status(503)) as Play,
        || Answer::status(500),
        || Answer::status(429).header("Retry-After", "3"),
        || Answer::fails(ErrorCode::ConnectionTerminated),
        || Answer::fails(ErrorCode::ConnectionRefused),
    ] {
        for credential in [secret(), managed(None)] {
            let mut number = 0;
            let asked = issuer(move |_| {
                number += 1;
                if number < 3 { play() } else { Answer::status(200).body(r#"{"access_token":"t","expires_in":3600}"#) }
            });
            assert_eq!((taken(&account(credential)), asked.borrow().len()), ("t".to_owned(), 3));
        }
    }
}

#[test]
fn what_does_not_pass_ends_within_the_calls_time() {
    for (status, code) in [(503, Code::Unavailable), (429, Code::ResourceExhausted)] {
        issuer(move |_| Answer::status(status).header("Retry-After", "40"));
        testing::deadline(Duration::from_secs(30));
        let start = clock::now();
        let error = Error::from(get(&account(secret())).unwrap_err());
        assert_eq!((error.code, error.retry_after), (code, Some(Duration::from_secs(40))));
        assert_eq!(clock::now(), start, "there is no time for another try");
        testing::go_on();
        testing::advance(Duration::from_secs(39));
        assert_eq!(
            Error::from(get(&account(secret())).unwrap_err()),
            error,
            "it counts for all, as long as was asked for"
        );
    }
}

#[test]
fn a_metadata_service_that_is_updated_is_waited_for() {
    let back = testing::now() + Duration::from_secs(70);
    let mut start = None;
    issuer(move |_| {
        let start = *start.get_or_insert_with(testing::now);
        match testing::now().since(start) < Duration::from_secs(70) {
            true => Answer::status(410),
            false => Answer::status(200).body(r#"{"access_token":"t","expires_in":"3600"}"#),
        }
    });
    assert_eq!(taken(&account(managed(None))), "t");
    assert!(clock::now() >= back);
    let asked = issuer(|_| Answer::status(410));
    let start = clock::now();
    let error = Error::from(get(&account(managed(None))).unwrap_err());
    assert_eq!((error.code, error.reason.as_ref()), (Code::Unavailable, "ManagedIdentityUnavailable"));
    assert!(clock::now().since(start) <= tries::UPDATE && asked.borrow().len() <= 26);
}

#[test]
fn an_identity_that_the_machine_has_not_is_told() {
    let asked = issuer(|_| Answer::status(404));
    let error = Error::from(get(&account(managed(None))).unwrap_err());
    assert_eq!((error.code, asked.borrow().len()), (Code::Unauthenticated, 5), "it may come yet: {error}");
    let asked =
        issuer(|_| Answer::status(400).body(r#"{"error":"invalid_request","error_description":"Identity not found"}"#));
    let error = Error::from(get(&account(managed(Some("id")))).unwrap_err());
    assert_eq!((error.code, asked.borrow().len()), (Code::Unauthenticated, 1));
    assert!(
        error.message.ends_with("invalid_request: Identity not found (400); has this machine the identity id?"),
        "{error}"
    );
}

#[test]
fn a_machine_that_is_not_azures_is_told_how_else_one_signs_in() {
    let asked = issuer(|_| Answer::fails(ErrorCode::ConnectionTimeout));
    let error = Error::from(get(&account(managed(None))).unwrap_err());
    assert_eq!((error.code, error.effect, asked.borrow().len()), (Code::Unavailable, Effect::None, 3));
    assert!(error.message.contains("is this a machine of Azure, with a managed identity? Elsewhere"), "{error}");
    testing::reset();
    let error = Error::from(get(&account(managed(None))).unwrap_err());
    assert_eq!(error.code, Code::PermissionDenied, "the host does not grant it: {error}");
}

#[test]
fn without_the_store_there_is_no_token() {
    let asked = hourly();
    testing::store_down(true);
    let error = Error::from(get(&account(secret())).unwrap_err());
    assert_eq!((error.code, error.effect), (Code::Unavailable, Effect::None));
    assert!(asked.borrow().is_empty());
}
