//! What opens volumes that the backend mounts by itself.

use super::*;

#[tokio::test]
async fn a_volume_that_the_backend_mounts_has_the_keys_that_open_it() {
    let expected = [("key", 0o644, "hush"), ("other", 0o644, "hush too")];
    let attribute = |name: &str, more: Value| {
        let mut attributes = json!({name: "s", "shareName": "data"});
        attributes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"csi": {"driver": "file.csi.azure.com", "volumeAttributes": attributes}})
    };
    for volume in [
        json!({"azureFile": {"secretName": "s", "shareName": "data"}}),
        json!({"csi": {"driver": "any.example", "nodePublishSecretRef": {"name": "s"}}}),
        json!({"csi": {"driver": "file.csi.azure.com", "nodePublishSecretRef": {"name": "s"},
            "volumeAttributes": {"secretName": "gone", "secretNamespace": "other"}}}),
        attribute("secretName", json!({})),
        attribute("SECRETNAME", json!({"secretNamespace": "shop"})),
        attribute("secretName", json!({"secretNamespace": ""})),
    ] {
        expect(volume.clone(), &expected);
        let rendered = files(volume.clone()).unwrap();
        assert!(rendered.files.iter().all(|file| file.secret), "{volume}");
        assert!(!format!("{rendered:?}").contains("hush"));
        let pod = with(volume, json!({}));
        assert!(!Plan::of(&pod, "files").unwrap().is_live, "it counts when the volume is mounted");
        assert_eq!(names(&pod.spec).count(), 0, "no container sees it");
    }
    assert!(Plan::of(&with(json!({"secret": {"secretName": "s"}}), json!({})), "files").unwrap().is_live);
}

#[tokio::test]
async fn what_opens_a_volume_and_is_not_there_is_waited_for_and_of_another_namespace_refused() {
    let of_secret = |name: &str| json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": name}}});
    let of_attributes =
        |driver: &str, attributes: Value| json!({"csi": {"driver": driver, "volumeAttributes": attributes}});
    let azure = "file.csi.azure.com";
    let missing = || Error::Missing("secret \"gone\" not found".into());
    let unread =
        |hint: &str| Error::Unread(format!("cannot read secret \"forbidden\": forbidden: no relationship found{hint}"));
    let hint = "; a node may read the Secret that nodePublishSecretRef names, \
        and needs a right of its own for one in an attribute";
    for (volume, expected) in [
        (json!({"azureFile": {"secretName": "gone", "shareName": "data"}}), missing()),
        (of_secret("gone"), missing()),
        (of_attributes(azure, json!({"secretName": "gone"})), missing()),
        (of_secret("forbidden"), unread("")),
        (of_attributes(azure, json!({"secretName": "forbidden"})), unread(hint)),
        (of_secret(""), Error::NoFiles),
        (of_attributes(azure, json!({"shareName": "data", "secretName": ""})), Error::NoFiles),
        (of_attributes("another.example", json!({"secretName": "s"})), Error::NoFiles),
    ] {
        assert_eq!(files(volume.clone()).err(), Some(expected), "{volume}");
    }
    let other = of_attributes(azure, json!({"secretName": "s", "secretNamespace": "other"}));
    let error = files(other).err();
    let place = "spec.volumes[1].csi.volumeAttributes[secretNamespace]";
    assert!(matches!(&error, Some(Error::Refused { field, .. }) if field == place), "{error:?}");
}
