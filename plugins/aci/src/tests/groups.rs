//! What is done with groups.

use vk_provider::testing::Answer;
use vk_provider::{Code, Effect, Error};

use super::*;
use crate::group::{AzureFile, Container, ContainerProperties, EnvironmentVariable, ProvisioningState, Tags, Volume};
use crate::operation::Kind;
use crate::{Group, Operation, Provisioning, Removal, Summary};

const ABSENT: &str =
    "The Resource 'Microsoft.ContainerInstance/containerGroups/web' under resource group 'rg' was not found.";

/// A group with a variable that nobody may see, called `PASSWORD`.
fn with_secret(value: &str) -> Group {
    let variable = EnvironmentVariable {
        name: "PASSWORD".to_owned(),
        secure_value: Some(value.into()),
        ..EnvironmentVariable::default()
    };
    let properties = ContainerProperties { environment_variables: vec![variable], ..ContainerProperties::default() };
    let mut group = Group::default();
    group.properties.containers.push(Container { name: "c".to_owned(), properties });
    group
}

#[test]
fn a_group_is_taken_with_its_operation() {
    let (client, asked) = client(|_| {
        Answer::status(201)
            .header("Azure-AsyncOperation", "https://management.azure.com/subscriptions/sub/operations/1?api-version=x")
            .body(
                r#"{"name":"web","location":"WestUs","properties":{"provisioningState":"Pending","containers":null}}"#,
            )
    });
    let group = Group { location: Some("westus".to_owned()), ..Group::default() };
    let accepted = client.put_group("web", &group).unwrap();
    assert_eq!(accepted.group.properties.provisioning_state, Some(ProvisioningState::Pending));
    assert_eq!(accepted.operation.unwrap().kind, Kind::AsyncOperation);
    assert_eq!(asked_of_arm(&asked), ["PUT /web"]);
    let body = String::from_utf8(asked.borrow()[1].body.clone()).unwrap();
    assert_eq!(body, r#"{"location":"westus","properties":{"containers":[]}}"#);
    let (client, _) = super::client(|_| Answer::status(202));
    assert_eq!(client.put_group("web", &group).unwrap().group, Group::default());
}

#[test]
fn a_field_that_the_version_lacks_is_refused_before_anything_is_sent() {
    let (client, asked) = client(|_| Answer::status(201));
    let file = AzureFile { user_managed_identity_client_id: Some("c".to_owned()), ..AzureFile::default() };
    let mut group = Group::default();
    group.properties.volumes.push(Volume { azure_file: Some(file), ..Volume::default() });
    let error = Error::from(client.put_group("web", &group).unwrap_err());
    assert_eq!((error.code, error.effect), (Code::Unimplemented, Effect::None));
    assert_eq!(error.field.as_deref(), Some("properties.volumes[0].azureFile.userManagedIdentityClientId"));
    assert!(error.message.contains("api-version 2023-05-01 has no") && asked.borrow().is_empty(), "{error}");
}

#[test]
fn a_refusal_repeats_no_secret() {
    let (client, _) = client(|received| {
        let sent = String::from_utf8(received.body.clone()).unwrap();
        let inner = serde_json::json!([{"code": "InvalidX", "message": format!("in {sent}"), "target": sent}]);
        let body =
            serde_json::json!({"error": {"code": "InvalidRequest", "message": sent, "target": sent, "details": inner}});
        Answer::status(400).body(body.to_string())
    });
    let failure = client.put_group("web", &with_secret("s3cret \"quoted\"")).unwrap_err();
    assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    let error = Error::from(failure);
    assert!(!format!("{error:?}").contains("s3cret") && error.message.contains("[redacted]"), "{error:?}");
    assert!(error.message.contains("PASSWORD"), "the rest stays: {error}");
}

#[test]
fn a_refusal_in_a_refusal_repeats_no_secret_either() {
    for nested in
        [r#"{"error":{"code":"InvalidX","message":"key abc\u002Bdef/ghi= no"}}"#, r"it said abc\u002Bdef/ghi="]
    {
        let (client, _) = client(move |_| refused(400, "BadRequest", nested));
        let failure = client.put_group("web", &with_secret("abc+def/ghi=")).unwrap_err();
        let told = format!("{failure:?}");
        assert!(told.contains("[redacted]") && !told.contains("def/ghi"), "{told}");
    }
}

#[test]
fn half_a_secret_is_one_too() {
    let key = "0123456789abcdef".repeat(5);
    let echoed = key.clone();
    let (client, _) = client(move |_| {
        let said = format!("{} {echoed}", "x".repeat(560));
        Answer::status(400).body(serde_json::json!({"error": {"code": "InvalidX", "message": said}}).to_string())
    });
    let error = Error::from(client.put_group("web", &with_secret(&key)).unwrap_err());
    assert!(error.message.contains(" [redacted]") && !error.message.contains("0123"), "{error}");
}

#[test]
fn only_azure_can_say_that_a_group_is_not_there() {
    type Play = fn() -> Answer;
    let (asks, _) = client(|_| refused(404, "ResourceNotFound", ABSENT));
    assert_eq!(asks.get_group("web").unwrap(), None);
    assert_eq!(asks.delete_group("web").unwrap(), Removal::Gone);
    for (play, code, says) in [
        (
            (|| refused(404, "ResourceGroupNotFound", "Resource group 'rg' could not be found.")) as Play,
            Code::FailedPrecondition,
            "az group create",
        ),
        (
            || refused(404, "SubscriptionNotFound", "The subscription 'sub' could not be found."),
            Code::FailedPrecondition,
            "'sub'",
        ),
        (
            || refused(404, "InvalidResourceType", "The resource type could not be found."),
            Code::FailedPrecondition,
            "type",
        ),
        (|| Answer::status(404).body("<html>Not Found</html>"), Code::FailedPrecondition, "no reason is given (404)"),
        (|| Answer::status(404).body("no such page"), Code::FailedPrecondition, "no such page"),
        (|| Answer::status(404), Code::FailedPrecondition, "404"),
        (|| Answer::status(410), Code::FailedPrecondition, "410"),
    ] {
        let (client, _) = client(move |_| play());
        for failure in [client.get_group("web").unwrap_err(), client.delete_group("web").unwrap_err()] {
            let error = Error::from(failure);
            assert_eq!((error.code, error.field.as_deref(), error.effect), (code, None, Effect::None), "{error}");
            assert!(error.message.contains(says), "{error}");
        }
    }
}

#[test]
fn pages_are_followed_within_the_resource_manager() {
    let (client, asked) = client(|received| {
        match received.parameter("$skiptoken").as_deref() {
        None => Answer::status(200).body(
            r#"{"value":[{"name":"a"},{"name":"b"}],"nextLink":"https://management.azure.com/subscriptions/sub/next?$skiptoken=1"}"#,
        ),
        _ => Answer::status(200).body(r#"{"value":[{"name":"c"}],"nextLink":""}"#),
    }
    });
    let first = client.list_groups(None).unwrap();
    let names = |groups: &[Summary]| groups.iter().map(|group| group.name.clone().unwrap()).collect::<String>();
    assert_eq!(names(&first.groups), "ab");
    let second = client.list_groups(first.next.as_deref()).unwrap();
    assert_eq!((names(&second.groups).as_str(), second.next), ("c", None));
    assert_eq!(asked.borrow()[2].query(), "$skiptoken=1", "as Azure gave it");
}

#[test]
fn what_is_odd_in_one_group_of_a_list_hides_no_other() {
    let (client, _) = client(|_| {
        Answer::status(200).body(
            r#"{"value":[
                {"name":"odd","tags":null,"properties":{"provisioningState":"Dreaming","containers":"none","osType":7}},
                {"name":"bare","tags":{"a":null,"b":"c"},"properties":null},
                {"name":"ours","tags":{"UID":"u"},"properties":{"provisioningState":"Succeeded"}},
                {"name":"torn","properties":"none"}, {"name":7}, {"name":"listed","tags":[]}, null
            ]}"#,
        )
    });
    let [odd, bare, ours] = client.list_groups(None).unwrap().groups.try_into().unwrap();
    let state = |group: &Summary| group.properties.provisioning_state.as_ref().unwrap().to_string();
    assert_eq!((odd.tags.len(), state(&odd).as_str()), (0, "Dreaming"));
    assert_eq!((bare.tags, bare.properties), (Tags::from([("b".to_owned(), "c".to_owned())]), Provisioning::default()));
    assert_eq!((ours.tags["UID"].as_str(), state(&ours).as_str()), ("u", "Succeeded"));
}

#[test]
fn a_page_elsewhere_gets_no_token() {
    let (client, asked) = client(|_| {
        let here = "https://management.azure.com/subscriptions/sub/next";
        Answer::status(200).body(format!(r#"{{"value":[],"nextLink":"{here}"}}"#))
    });
    let error = Error::from(client.list_groups(Some("https://management.azure.com.evil.example/next")).unwrap_err());
    assert_eq!((error.code, error.effect), (Code::Unknown, Effect::None));
    assert!(error.message.contains("no token is sent there") && asked.borrow().is_empty(), "{error}");
    let here = "https://management.azure.com/subscriptions/sub/next";
    let error = client.list_groups(Some(here)).unwrap_err();
    assert!(error.to_string().contains("the next page is this page"), "{error}");
}

#[test]
fn a_removal_is_over_or_under_way() {
    type Play = fn() -> Answer;
    let url = "https://management.azure.com/subscriptions/sub/operations/1";
    let operation = || Some(Operation { url: url.to_owned(), kind: Kind::Location });
    for (play, expected) in [
        ((|| Answer::status(204)) as Play, Removal::Gone),
        (|| refused(404, "ResourceNotFound", ABSENT), Removal::Gone),
        (|| Answer::status(200).body("{}"), Removal::Accepted(None)),
        (
            || Answer::status(202).header("Location", "https://management.azure.com/subscriptions/sub/operations/1"),
            Removal::Accepted(operation()),
        ),
    ] {
        let (client, _) = client(move |_| play());
        assert_eq!(client.delete_group("web").unwrap(), expected);
    }
}

#[test]
fn a_group_is_stopped_whether_that_takes_time_or_not() {
    let (client, asked) = client(|received| match received.path().ends_with("/web/stop") {
        true => Answer::status(204),
        false => Answer::status(202).header("location", "https://management.azure.com/subscriptions/sub/operations/1"),
    });
    assert_eq!(client.stop_group("web").unwrap(), None);
    assert!(client.stop_group("db").unwrap().is_some());
    assert_eq!(asked_of_arm(&asked), ["POST /web/stop", "POST /db/stop"]);
    let last = asked.borrow().last().unwrap().clone();
    assert_eq!(last.header("content-length"), Some("0"), "a POST without a body says so");
}

#[test]
fn logs_are_text_or_nothing() {
    let (client, asked) = client(|received| match received.parameter("tail").as_deref() {
        Some("10") => Answer::status(200).body(r#"{"content":"a\nb\n"}"#),
        Some(_) => refused(
            404,
            "ContainerLogNotAvailable",
            "Log of container 'c' in container group 'web' is not available yet.",
        ),
        None => Answer::status(200).body(r#"{"content":null}"#),
    });
    assert_eq!(client.logs("web", "c", Some(10), true).unwrap(), "a\nb\n");
    assert_eq!(client.logs("web", "c", None, false).unwrap(), "");
    let queries: Vec<String> = asked.borrow().iter().skip(1).map(|asked| asked.query().to_owned()).collect();
    assert_eq!(queries, ["api-version=2023-05-01&tail=10&timestamps=true", "api-version=2023-05-01"]);
    let failure = client.logs("web", "c", Some(1), false).unwrap_err();
    assert!(!failure.is_absent(), "{failure}");
    let error = Error::from(failure);
    assert_eq!((error.code, error.reason.as_ref()), (Code::Unavailable, "ContainerLogNotAvailable"));
}

#[test]
fn an_answer_has_a_bound() {
    let (client, _) = client(|_| Answer::status(200).body(vec![b' '; 17 << 20]));
    let error = Error::from(client.get_group("web").unwrap_err());
    assert_eq!((error.code, error.reason.as_ref()), (Code::Unknown, "AnswerTooLong"));
}
