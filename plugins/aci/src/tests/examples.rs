//! Microsoft's own examples: what its clients send is what is sent here, and what its service answers is read.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vk_provider::testing::{self, Answer, Received};

use super::account;
use crate::group::{GroupState, IpAddressType, OsType, ProvisioningState, RunState};
use crate::{Account, Client, Credential, Failure, Group, Version};

fn data(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(kind)
}

fn read(kind: &str, name: &str) -> Value {
    let text = std::fs::read_to_string(data(kind).join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Without lists that are empty, which mean the same as none, and with all numbers as fractions.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.into_iter().filter(|(_, value)| *value != json!([]));
            Value::Object(kept.map(|(key, value)| (key, plain(value))).collect::<Map<_, _>>())
        }
        Value::Array(list) => list.into_iter().map(plain).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other => other,
    }
}

fn client(resource_group: &str) -> Client {
    let account = Account { subscription: "subid".to_owned(), ..account(Credential::Managed { client_id: None }) };
    Client::new(account, resource_group.to_owned(), Version::V2023_05_01, None)
}

/// What goes to the resource manager when something is done.
fn sent(resource_group: &str, act: impl FnOnce(&Client)) -> Received {
    testing::reset();
    let sent = std::rc::Rc::new(std::cell::RefCell::new(None));
    let sees = sent.clone();
    testing::serve(move |received| {
        if received.url.starts_with("http://169.254.169.254/") {
            return Answer::status(200).body(r#"{"access_token":"t","expires_in":"3600"}"#);
        }
        sees.replace(Some(received));
        Answer::status(200).body(r#"{"value":[],"content":"","properties":{}}"#)
    });
    act(&client(resource_group));
    sent.take().unwrap()
}

/// What goes to the resource manager is what Microsoft's client sends.
fn check(name: &str, act: impl FnOnce(&Client)) {
    let example = read("requests", name);
    let resource_group = example["url"].as_str().unwrap().split('/').nth(6).unwrap();
    let received = sent(resource_group, act);
    assert_eq!(received.method, example["method"].as_str().unwrap(), "{name}");
    assert_eq!(received.url, example["url"].as_str().unwrap(), "{name}");
    let body = if received.body.is_empty() { Value::Null } else { serde_json::from_slice(&received.body).unwrap() };
    assert_eq!(plain(body), plain(example.get("body").cloned().unwrap_or_default()), "{name}");
}

#[test]
fn what_is_sent_is_what_microsofts_client_sends() {
    let ok = |done: Result<(), Failure>| done.unwrap();
    let mut checked = 0;
    let mut check = |name: &str, act: &dyn Fn(&Client)| {
        check(name, act);
        checked += 1;
    };
    for name in [
        "ContainerGroupCreateConfidential",
        "ContainerGroupEncryptionProperties",
        "ContainerGroupExtensions",
        "ContainerGroupsCreateOrUpdate",
        "ContainerGroupsCreatePriority",
    ] {
        let group: Group = serde_json::from_value(read("requests", name)["body"].clone()).unwrap();
        check(name, &|client| ok(client.put_group("demo1", &group).map(drop)));
    }
    check("ContainerGroupsGet_Succeeded", &|client| ok(client.get_group("demo1").map(drop)));
    check("ContainerGroupsListByResourceGroup", &|client| ok(client.list_groups(None).map(drop)));
    check("ContainerGroupsDelete", &|client| ok(client.delete_group("demo1").map(drop)));
    check("ContainerGroupsStop", &|client| ok(client.stop_group("demo1").map(drop)));
    check("ContainerListLogs", &|client| ok(client.logs("demo1", "container1", Some(10), false).map(drop)));
    assert_eq!(checked, std::fs::read_dir(data("requests")).unwrap().count(), "every example");
}

#[test]
fn a_group_that_failed_is_read() {
    let group: Group = serde_json::from_value(read("answers", "ContainerGroupsGet_Failed")).unwrap();
    let properties = &group.properties;
    assert_eq!((group.name.as_deref(), group.location.as_deref()), (Some("demo1"), Some("WestUs")));
    assert_eq!(properties.provisioning_state, Some(ProvisioningState::Failed));
    assert_eq!(properties.os_type, Some(OsType::Linux));
    let address = properties.ip_address.as_ref().unwrap();
    assert_eq!((address.r#type.clone(), address.ip.as_deref()), (IpAddressType::Public, Some("10.0.0.1")));
    let view = properties.instance_view.as_ref().unwrap();
    assert_eq!(view.state, Some(GroupState::Pending));
    assert_eq!((view.events[0].name.as_str(), view.events[0].r#type.as_str()), ("FailedMount", "Normal"));
    let container = &properties.containers[0].properties;
    let view = container.instance_view.as_ref().unwrap();
    let state = view.current_state.as_ref().unwrap();
    assert_eq!((&state.state, view.restart_count, state.exit_code), (&RunState::Waiting, 0, None));
    assert_eq!(state.start_time.unwrap().to_string(), "2017-08-08T00:09:10Z");
    assert_eq!((view.events.len(), view.previous_state.is_none()), (2, true));
    assert_eq!(properties.image_registry_credentials[0].password, None);
    assert_eq!(properties.volumes[0].azure_file.as_ref().unwrap().storage_account_key, None);
}

#[test]
fn a_group_without_an_instance_view_is_read() {
    let group: Group = serde_json::from_value(read("answers", "ContainerGroupsGet_Succeeded")).unwrap();
    assert_eq!(group.properties.provisioning_state, Some(ProvisioningState::Succeeded));
    assert_eq!((group.zones, group.properties.instance_view), (vec!["1".to_owned()], None));
    assert_eq!(group.properties.containers[0].properties.resources.as_ref().unwrap().requests.memory_in_gb, 1.5);
}

#[test]
fn what_the_service_alone_says_is_never_written() {
    for name in ["ContainerGroupsGet_Failed", "ContainerGroupsGet_Succeeded"] {
        let mut answer = read("answers", name);
        let group: Group = serde_json::from_value(answer.clone()).unwrap();
        for pointer in ["", "/properties", "/properties/containers/0/properties"] {
            let object = answer.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            for read_only in ["id", "type", "provisioningState", "instanceView"] {
                object.remove(read_only);
            }
        }
        answer.as_object_mut().unwrap().remove("name");
        assert_eq!(plain(serde_json::to_value(&group).unwrap()), plain(answer), "{name}");
    }
}

#[test]
fn a_running_group_is_read_in_the_spellings_that_are_documented() {
    let group: Group = serde_json::from_value(json!({
        "tags": null,
        "identity": {"principalId": "p", "tenantId": "t", "type": "SystemAssigned, UserAssigned",
            "userAssignedIdentities": {"/x": {"principalId": "p", "clientId": "c"}}},
        "properties": {
            "provisioningState": "succeeded",
            "isCustomProvisioningTimeout": false,
            "osType": "Linux",
            "initContainers": [{"name": "i", "properties": {"image": "b", "instanceView": {"restartCount": 0,
                "currentState": {"state": "Terminated", "exitCode": 0, "finishTime": "2026-01-01T00:00:01.5+00:00"}}}}],
            "containers": [{"name": "c", "properties": {
                "image": "a",
                "environmentVariables": [{"name": "A", "value": "b"}, {"name": "SECRET"}, {"name": "S", "secureValue": null}],
                "instanceView": {
                    "restartCount": 3,
                    "currentState": {"state": "Waiting", "detailStatus": "CrashLoopBackOff: Back-off restarting failed"},
                    "previousState": {"state": "Terminated", "exitCode": 3221225786_i64, "detailStatus": "Error",
                        "startTime": "2026-01-01T00:00:00+00:00", "finishTime": "soon"},
                },
            }}],
            "volumes": [{"name": "emptyd", "emptyDir": {}}, {"name": "secret", "secret": {}}, {"name": "nulls", "secret": {"f": null}}],
            "ipAddress": {"ports": [{"port": 53, "protocol": "udp"}], "type": "public", "fqdn": "x.westus.azurecontainer.io",
                "autoGeneratedDomainNameLabelScope": "NoReuse"},
            "instanceView": {"events": null, "state": "Repairing-ish"},
        },
    }))
    .unwrap();
    let properties = &group.properties;
    assert_eq!(properties.provisioning_state, Some(ProvisioningState::Succeeded));
    assert_eq!(properties.instance_view.as_ref().unwrap().state, Some(GroupState::Other("Repairing-ish".to_owned())));
    let view = properties.containers[0].properties.instance_view.as_ref().unwrap();
    let before = view.previous_state.as_ref().unwrap();
    assert_eq!((view.restart_count, before.exit_code, before.finish_time), (3, Some(3_221_225_786), None));
    assert_eq!(before.start_time.unwrap().to_string(), "2026-01-01T00:00:00Z");
    let init = properties.init_containers[0].properties.instance_view.as_ref().unwrap();
    assert_eq!(init.current_state.as_ref().unwrap().finish_time.unwrap().as_millis() % 1000, 500);
    assert!(properties.volumes[0].empty_dir.is_some());
    let identity = serde_json::to_value(group.identity).unwrap();
    assert_eq!(identity, json!({"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {"/x": {}}}));
}

#[test]
fn what_2026_05_01_adds_is_written_as_its_examples_show_it() {
    let file = json!({"shareName": "s", "storageAccountName": "a", "userManagedIdentityClientId": "c"});
    let whole = json!({"properties": {"volumes": [{"name": "vol03", "azureFile": file}]}});
    let group: Group = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(plain(serde_json::to_value(&group).unwrap()), plain(whole));
}
