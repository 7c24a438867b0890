//! Pods are made once, found, changed, listed and removed.

use vk_provider::http::ErrorCode;
use vk_provider::store::{self, Expect};
use vk_provider::testing::Answer;
use vk_provider::{Code, Effect};

use super::arm::refused;
use super::*;

fn get_pods() -> Vec<String> {
    testing::new_call();
    let page = Azure::get_pods(None).unwrap();
    assert_eq!(page.next, None);
    page.items.iter().map(|pod| format!("{} {}", pod.id.uid, status(pod)["phase"].as_str().unwrap_or("?"))).collect()
}

#[test]
fn a_pod_is_made_once_and_says_so_at_once() {
    let arm = azure();
    let made = create(pod("u1")).unwrap();
    let name = arm.name("u1");
    assert_eq!(arm.asked(), [format!("GET /{name}"), format!("PUT /{name}")]);
    assert_eq!((made.id.clone(), made.revision.as_deref()), (id("u1"), Some("1-pod")));
    let told = status(&made);
    assert_eq!(
        (&told["phase"], &told["containerStatuses"][0]["state"]["waiting"]["reason"]),
        (&json!("Pending"), &json!("ContainerCreating"))
    );
    arm.run("u1", "Running", &running());
    let again = create(pod("u1")).unwrap();
    assert_eq!(arm.asked(), [format!("GET /{name}")], "a PUT would start its containers again");
    assert_eq!(status(&again)["phase"], "Running");
}

#[test]
fn what_cannot_run_is_refused_before_anything_is_made() {
    let arm = azure();
    let error = create(pod_of("u1", r#","hostNetwork":true"#)).unwrap_err();
    assert_eq!(
        (error.code, error.effect, error.field.as_deref()),
        (Code::Unimplemented, Effect::None, Some("spec.hostNetwork"))
    );
    assert!(arm.asked().iter().all(|asked| asked.starts_with("GET")));
}

#[test]
fn a_group_that_is_there_is_the_pods_whatever_it_would_be_now() {
    let arm = azure();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    let with_secret = testing::desired(
        r#"{"metadata":{"namespace":"shop","name":"web-u1","uid":"u1"},"spec":{"containers":[{"name":"web","image":"nginx:1",
        "volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v","secret":{"secretName":"gone"}}]}}"#,
    );
    for now in [
        // The Secret is gone that the group was made with.
        with_secret,
        // It would be refused by now.
        pod_of("u1", r#","hostNetwork":true"#),
    ] {
        assert_eq!(status(&create(now).unwrap())["phase"], "Running");
    }
    assert_eq!(arm.0.borrow().put.len(), 1);
}

#[test]
fn a_create_whose_answer_is_lost_is_found_by_a_look() {
    let arm = azure();
    arm.lose("PUT");
    let error = create(pod("u1")).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Unavailable, Effect::Unknown));
    assert_eq!(get("u1").unwrap().unwrap().revision.as_deref(), Some("1-pod"));
    create(pod("u1")).unwrap();
    assert_eq!(arm.0.borrow().put.len(), 1);
}

#[test]
fn a_look_that_fails_before_a_create_has_made_nothing() {
    let arm = azure();
    for _ in 0..3 {
        arm.instead("GET /", Answer::fails(ErrorCode::ConnectionRefused));
    }
    let error = create(pod("u1")).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Unavailable, Effect::None), "{error}");
    arm.instead("GET /", refused(429, "TooManyRequests", "wait").header("retry-after", "17"));
    let error = create(pod("u1")).unwrap_err();
    assert_eq!(
        (error.code, error.retry_after, error.effect),
        (Code::ResourceExhausted, Some(Duration::from_secs(17)), Effect::None)
    );
    arm.instead("PUT", refused(409, "ContainerGroupQuotaReached", "no more"));
    let error = create(pod("u1")).unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_ref(), error.effect),
        (Code::ResourceExhausted, "ContainerGroupQuotaReached", Effect::None)
    );
    assert!(arm.0.borrow().put.is_empty());
}

#[test]
fn a_store_that_fails_after_a_create_does_not_make_it_fail() {
    let arm = azure();
    // A token first: that is kept in the store too.
    create(pod("u0")).unwrap();
    let name = crate::names::group(&vk_provider::config::node(), &id("u1"));
    arm.instead(&format!("PUT /{name}"), Answer::status(202).after(Duration::from_secs(1)));
    testing::after(Duration::from_millis(500), || testing::store_down(true));
    assert!(create(pod("u1")).is_ok());
}

#[test]
fn what_a_killed_host_had_put_and_not_noted_is_found() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    follow(&mut cursor, 1);
    // As if it had been killed between Azure's answer and the first write.
    for prefix in ["pods/", "work/", "looks/"] {
        store::remove(&format!("{prefix}{}", id("u1").key()), Expect::Anything).unwrap();
    }
    arm.run("u1", "Running", &running());
    assert_eq!(phases(&follow(&mut cursor, 6)), ["u1 -", "u1 Running"]);
    create(pod("u1")).unwrap();
    assert_eq!(arm.0.borrow().put.len(), 1);
}

#[test]
fn a_group_of_somebody_else_is_left_alone_whatever_it_is_called() {
    let arm = azure();
    create(pod("u1")).unwrap();
    testing::advance(Duration::from_secs(61));
    let name = arm.name("u1");
    let tag = |key: &str, value: Option<&str>| {
        let mut state = arm.0.borrow_mut();
        let tags = state.groups.get_mut(&name).unwrap().body["tags"].as_object_mut().unwrap();
        match value {
            Some(value) => drop(tags.insert(key.to_owned(), value.into())),
            None => drop(tags.remove(key)),
        }
    };
    arm.asked();
    for (key, value) in [("ClusterID", "other"), ("NodeName", "other"), ("UID", "other")] {
        let before = arm.0.borrow().groups[&name].body["tags"][key].as_str().unwrap().to_owned();
        tag(key, Some(value));
        let error = create(pod("u1")).unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref(), error.reason.as_ref()),
            (Code::FailedPrecondition, None, "ContainerGroupNameTaken")
        );
        assert_eq!((get("u1").unwrap(), delete("u1").unwrap()), (None, Deletion::Gone), "{key}");
        assert!(!get_pods().iter().any(|pod| pod.starts_with("u1")), "{key}");
        tag(key, Some(&before));
    }
    tag("UID", None);
    for error in [create(pod("u1")).unwrap_err(), get("u1").unwrap_err(), delete("u1").unwrap_err()] {
        assert_eq!((error.reason.as_ref(), error.field), ("GroupTagsMissing", None), "{}", error.message);
    }
    assert!(arm.asked().iter().all(|asked| asked.starts_with("GET")) && arm.0.borrow().groups.len() == 1);
}

#[test]
fn a_removal_goes_on_and_is_asked_for_once() {
    let arm = azure();
    create(pod("u1")).unwrap();
    let name = arm.name("u1");
    arm.asked();
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    assert_eq!(arm.asked(), [format!("GET /{name}"), format!("DELETE /{name}"), "GET op/1".to_owned()]);
    let error = create(pod("u1")).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Aborted, Effect::None));
    arm.0.borrow_mut().operations[1] = json!({"status": "Failed", "error": {"code": "X", "message": "no"}});
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
    assert_eq!(arm.count("DELETE"), 1, "that came to nothing, so it is removed again");
    arm.gone("u1");
    arm.0.borrow_mut().operations[2] = json!({"status": "Succeeded"});
    assert_eq!((delete("u1").unwrap(), get("u1").unwrap()), (Deletion::Gone, None));
    assert_eq!(delete("u1").unwrap(), Deletion::Gone);
}

#[test]
fn what_is_removed_at_once_is_gone_at_once() {
    let arm = azure();
    arm.0.borrow_mut().quick = true;
    create(pod("u1")).unwrap();
    assert_eq!(delete("u1").unwrap(), Deletion::Gone);
    assert_eq!(delete("never").unwrap(), Deletion::Gone);
    let mut cursor = listed();
    arm.lose("DELETE");
    create(pod("u2")).unwrap();
    let error = delete("u2").unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Unavailable, Effect::Unknown));
    assert_eq!(delete("u2").unwrap(), Deletion::Gone);
    assert_eq!(phases(&follow(&mut cursor, 1)), ["u2 -"]);
}

#[test]
fn a_list_has_what_is_surely_there() {
    let arm = azure();
    for uid in ["u1", "u2", "u3"] {
        create(pod(uid)).unwrap();
    }
    arm.run("u1", "Running", &running());
    get("u1").unwrap();
    arm.0.borrow_mut().page = 2;
    arm.asked();
    assert_eq!(get_pods(), ["u1 Running", "u2 Pending", "u3 Pending"]);
    assert_eq!(arm.asked(), ["GET", "GET"], "pages, and no look at each");
    let (old, young) = (arm.name("u1"), arm.name("u3"));
    arm.0.borrow_mut().hidden = [old.clone(), young.clone()].into();
    assert_eq!(get_pods(), ["u1 Running", "u2 Pending", "u3 Pending"], "a list that lags behind proves nothing");
    assert_eq!(arm.asked()[1..], [format!("GET /{old}"), format!("GET /{young}")]);
    arm.gone("u1");
    arm.gone("u3");
    testing::advance(Duration::from_secs(61));
    assert_eq!(get_pods(), ["u2 Pending"]);
    arm.instead("GET", refused(404, "ResourceGroupNotFound", "no such group"));
    testing::new_call();
    assert_eq!(Azure::get_pods(None).unwrap_err().code, Code::FailedPrecondition, "no part of a list");
}

#[test]
fn a_group_that_azure_does_not_show_yet_is_not_given_up() {
    let arm = azure();
    create(pod("u1")).unwrap();
    let name = arm.name("u1");
    let group = arm.0.borrow_mut().groups.remove(&name).unwrap();
    assert_eq!(get("u1").unwrap(), None, "the host waits for as long as a new one may be hidden");
    assert_eq!(get_pods(), ["u1 Pending"]);
    arm.0.borrow_mut().groups.insert(name, group);
    arm.run("u1", "Running", &running());
    assert_eq!(status(&get("u1").unwrap().unwrap())["phase"], "Running");
}

#[test]
fn a_group_that_azure_does_not_show_yet_is_removed_before_its_pod_is_gone() {
    let arm = azure();
    let mut cursor = listed();
    create(pod("u1")).unwrap();
    let name = arm.name("u1");
    // Neither way is there anything of it.
    let group = arm.0.borrow_mut().groups.remove(&name).unwrap();
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping, "the host would let it go, and the group would run on");
    assert_eq!(arm.count("DELETE"), 1);
    // By now it may be removed, though it is not shown.
    arm.0.borrow_mut().groups.insert(name.clone(), group);
    arm.instead(&format!("GET /{name}"), refused(404, "ResourceNotFound", "no"));
    assert_eq!((delete("u1").unwrap(), arm.count("DELETE")), (Deletion::Stopping, 2));
    arm.gone("u1");
    arm.0.borrow_mut().operations[1] = json!({"status": "Succeeded"});
    assert_eq!((delete("u1").unwrap(), arm.count("DELETE")), (Deletion::Gone, 2));
    create(pod("u2")).unwrap();
    follow(&mut cursor, 1);
    arm.gone("u2");
    assert_eq!(delete("u2").unwrap(), Deletion::Stopping);
    assert_eq!(phases(&follow(&mut cursor, 90)), ["u2 -"], "not for ever");
    assert_eq!(delete("u2").unwrap(), Deletion::Gone);
    create(pod("u3")).unwrap();
    arm.change("u3", |group| group.body["tags"]["UID"] = "other".into());
    arm.asked();
    assert_eq!((delete("u3").unwrap(), arm.count("DELETE")), (Deletion::Gone, 0), "what is another's is left alone");
}

#[test]
fn after_a_loss_of_the_store_all_is_found_by_its_tags() {
    let arm = azure();
    create(pod("u1")).unwrap();
    arm.run("u1", "Running", &running());
    store_lost(&arm);
    let batch = next(&None, 0).unwrap();
    assert_eq!(
        (batch.changed.len(), batch.changed[0].status.as_str()),
        (1, "{}"),
        "it is there: how it is, is to be seen"
    );
    assert_eq!((batch.changed[0].id.clone(), batch.changed[0].revision.as_deref()), (id("u1"), Some("1-pod")));
    let mut cursor = batch.cursor;
    assert_eq!(phases(&follow(&mut cursor, 1)), ["u1 Running"]);
    assert_eq!(delete("u1").unwrap(), Deletion::Stopping);
}

#[test]
fn the_node_says_what_it_is_and_whether_azure_answers() {
    use vk_provider::Node as _;
    let arm = azure_with("CPU = \"8\"\nPods = \"20\"");
    let details = Azure::node_details().unwrap();
    assert_eq!(details.runtime_version.as_deref(), Some("aci://2023-05-01"));
    assert_eq!(details.labels, [("topology.kubernetes.io/region".to_owned(), "westeurope".to_owned())]);
    let capacity: Vec<String> =
        Azure::capacity().unwrap().into_iter().map(|it| format!("{} {}", it.resource, it.capacity)).collect();
    assert_eq!(capacity, ["cpu 8", "memory 4Ti", "pods 20", "ephemeral-storage 1000G"]);
    Azure::ping().unwrap();
    assert_eq!(arm.asked(), ["GET /vk-host-ping"]);
    arm.instead("GET", refused(404, "ResourceGroupNotFound", "no such group"));
    assert_eq!(Azure::ping().unwrap_err().code, Code::FailedPrecondition);
}
