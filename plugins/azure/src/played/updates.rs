//! Pods are changed in place.

use vk_provider::{Code, Effect};

use super::*;

#[test]
fn an_update_whose_answer_is_lost_is_not_sent_again() {
    let arm = azure();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    get("u1").unwrap();
    let update = || {
        let mut changed = pod("u1");
        changed.revision = "1-new".to_owned();
        testing::new_call();
        Azure::update_pod(changed)
    };
    arm.lose("PUT");
    assert_eq!(update().unwrap_err().effect, Effect::Unknown);
    update().unwrap();
    assert_eq!(arm.0.borrow().put.len(), 2, "its containers would start once more");
    assert_eq!(get("u1").unwrap().unwrap().revision.as_deref(), Some("1-new"));
}

#[test]
fn a_pod_runs_on_until_its_end_though_its_containers_start_again() {
    let arm = azure();
    let mut cursor = listed();
    create(pod_of("u1", r#","restartPolicy":"OnFailure""#)).unwrap();
    arm.run("u1", "Running", &running());
    follow(&mut cursor, 12);
    let mut changed = pod_of("u1", r#","restartPolicy":"OnFailure""#);
    changed.revision = "1-new".to_owned();
    testing::new_call();
    Azure::update_pod(changed).unwrap();
    let told = follow(&mut cursor, 30);
    assert!(phases(&told).iter().all(|told| told == "u1 Running"), "{told:?}");
    let container = &last(&told)["containerStatuses"][0];
    assert_eq!(
        (&container["state"]["waiting"]["reason"], &container["ready"]),
        (&json!("ContainerCreating"), &json!(false))
    );
    arm.run("u1", "Running", &running());
    assert_eq!(last(&follow(&mut cursor, 12))["containerStatuses"][0]["ready"], true);
    arm.run("u1", "Succeeded", &ended(0));
    assert_eq!(phases(&follow(&mut cursor, 12)), ["u1 Succeeded"]);
}

#[test]
fn an_image_is_changed_by_a_put_and_what_azure_cannot_change_is_refused() {
    let arm = azure();
    let changed = |image: &str, resources: &str| {
        let mut changed = testing::desired(&format!(
            r#"{{"metadata":{{"namespace":"shop","name":"web-u1","uid":"u1"}},"spec":{{"containers":[{{"name":"web","image":"{image}"{resources}}}]}}}}"#
        ));
        changed.revision = "1-new".to_owned();
        testing::new_call();
        Azure::update_pod(changed)
    };
    assert_eq!(changed("nginx:2", "").unwrap_err().code, Code::NotFound);
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    get("u1").unwrap();
    let error = changed("nginx:1", r#","resources":{"requests":{"cpu":"2"}}"#).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::Unimplemented, Some("spec.containers[0].resources")));
    changed("nginx:2", "").unwrap();
    let sent = arm.0.borrow().put.last().unwrap().clone();
    assert_eq!(
        (&sent["properties"]["containers"][0]["properties"]["image"], &sent["tags"]["Revision"]),
        (&json!("nginx:2"), &json!("1-new"))
    );
    testing::new_call();
    let page = Azure::get_pods(None).unwrap();
    assert_eq!(
        (page.items[0].revision.as_deref(), &status(&page.items[0])["phase"]),
        (Some("1-new"), &json!("Running")),
        "it goes on as it was"
    );
}

#[test]
fn a_group_stays_where_it_was_made_whatever_is_configured_since() {
    let subnet = |name: &str| {
        format!("/subscriptions/s/resourceGroups/n/providers/Microsoft.Network/virtualNetworks/v/subnets/{name}")
    };
    let before = format!("subnet = \"{}\"\nzone = \"1\"", subnet("aci"));
    let arm = azure_with(&before);
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    get("u1").unwrap();
    // As Azure gives them back.
    arm.change("u1", |group| {
        group.body["location"] = "West Europe".into();
        group.body["properties"]["subnetIds"] = json!([{"id": subnet("ACI")}]);
    });
    let update = |text: &str| {
        testing::configure(text);
        let mut changed = pod("u1");
        changed.revision = "1-new".to_owned();
        testing::new_call();
        Azure::update_pod(changed)
    };
    let (west, north) =
        ("Region = \"westeurope\"\nResourceGroup = \"pods\"", "Region = \"northeurope\"\nResourceGroup = \"pods\"");
    let other = subnet("other");
    for (text, named) in [
        (
            format!("{north}\n{before}"),
            "Region was \"westeurope\" when the container group was made, and is \"northeurope\" now",
        ),
        (format!("{west}\nsubnet = \"{other}\"\nzone = \"1\""), "SubnetName was \"/subscriptions/"),
        (format!("{west}\nzone = \"1\""), "SubnetName was"),
        (format!("{west}\nsubnet = \"{}\"\nzone = \"2\"", subnet("aci")), "zone was \"1\""),
        (format!("{west}\nsubnet = \"{}\"", subnet("aci")), "and is none now"),
    ] {
        let error = update(&text).unwrap_err();
        assert_eq!(
            (error.code, error.reason.as_ref(), error.effect),
            (Code::Unimplemented, "UpdateNotSupported", Effect::None)
        );
        assert!(error.message.contains(named), "{named}: {}", error.message);
    }
    assert_eq!(arm.0.borrow().put.len(), 1);
    update(&format!("{west}\n{before}")).unwrap();
    assert_eq!(arm.0.borrow().put.len(), 2, "the same, however it is spelled");
}
