//! Volumes of each kind.

use vk_provider::{Code, Effect, Error};

use super::*;

/// A pod that mounts one volume, called `vol`, of this kind.
fn mounting(kind: &str) -> DesiredPod {
    let spec = format!(
        r#"{{"volumes":[{{"name":"volume",{kind}}}],"containers":[{{"name":"web","image":"x","volumeMounts":[{{"name":"volume","mountPath":"/x"}}]}}]}}"#
    );
    pod(&[], &spec)
}

fn volume(kind: &str) -> Value {
    properties(&mounting(kind))["volumes"][0].take()
}

#[test]
fn files_are_rendered_by_the_host() {
    node("");
    rendered("volume", &[("a", "1"), ("b", "\u{0}")]);
    for kind in [
        r#""configMap":{"name":"c","defaultMode":420,"items":[{"key":"x","path":"a"}]}"#,
        r#""secret":{"secretName":"s","defaultMode":292}"#,
        r#""downwardAPI":{"items":[{"path":"a","fieldRef":{"fieldPath":"metadata.name"},"mode":420}]}"#,
        r#""projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"token"}},{"configMap":{"name":"c"}},{"secret":{"name":"s"}},
        {"downwardAPI":{"items":[{"path":"a"}]}},{"clusterTrustBundle":{"path":"ca","optional":true}}]}"#,
    ] {
        assert_eq!(volume(kind), json!({"name": "volume", "secret": {"a": "MQ==", "b": "AA=="}}), "{kind}");
        let mounts = &properties(&mounting(kind))["containers"][0]["properties"]["volumeMounts"];
        assert_eq!(*mounts, json!([{"name": "volume", "mountPath": "/x", "readOnly": true}]));
    }
    rendered("volume", &[]);
    assert_eq!(volume(r#""configMap":{"name":"c","optional":true}"#), json!({"name": "volume", "emptyDir": {}}));
}

#[test]
fn what_is_not_there_as_yet_is_waited_for() {
    node("");
    testing::volume("volume", Err(Error::failed_precondition("VolumeNotReady", "configmap \"c\" not found")));
    let error = made(&mounting(r#""configMap":{"name":"c"}"#)).unwrap_err();
    assert_eq!((error.code, error.field, error.effect), (Code::FailedPrecondition, None, Effect::None));
}

#[test]
fn directories_and_modes_that_cannot_be_had_are_refused() {
    node("");
    rendered("volume", &[]);
    for (kind, field) in [
        (r#""configMap":{"defaultMode":493}"#, "configMap.defaultMode"),
        (r#""secret":{"defaultMode":256}"#, "secret.defaultMode"),
        (r#""secret":{"items":[{"key":"a","path":"a"},{"key":"b","path":"b","mode":384}]}"#, "secret.items[1].mode"),
        (r#""configMap":{"items":[{"key":"a","path":"conf.d/a"}]}"#, "configMap.items[0].path"),
        (r#""downwardAPI":{"items":[{"path":"a/b"}]}"#, "downwardAPI.items[0].path"),
        (r#""projected":{"defaultMode":256}"#, "projected.defaultMode"),
        (
            r#""projected":{"sources":[{"secret":{"items":[{"key":"a","path":"a/b"}]}}]}"#,
            "projected.sources[0].secret.items[0].path",
        ),
        (
            r#""projected":{"sources":[{"configMap":{"name":"c"}},{"serviceAccountToken":{"path":"a/token"}}]}"#,
            "projected.sources[1].serviceAccountToken.path",
        ),
    ] {
        assert_eq!(refused(&mounting(kind)), format!("spec.volumes[0].{field}"), "{kind}");
    }
    rendered("volume", &[("a/b", "1")]);
    assert_eq!(refused(&mounting(r#""configMap":{"name":"c"}"#)), "spec.volumes[0]", "whoever put it there");
}

#[test]
fn directories_and_repositories_are_azures() {
    node("");
    for (kind, expected) in [
        (r#""emptyDir":{}"#, json!({"name": "volume", "emptyDir": {}})),
        (r#""emptyDir":{"sizeLimit":"1Gi"}"#, json!({"name": "volume", "emptyDir": {}})),
        (
            r#""gitRepo":{"repository":"https://git.example/a.git"}"#,
            json!({"name": "volume", "gitRepo": {"repository": "https://git.example/a.git"}}),
        ),
        (
            r#""gitRepo":{"repository":"http://git.example/a.git","revision":"abc","directory":"."}"#,
            json!({"name": "volume", "gitRepo": {"repository": "http://git.example/a.git", "directory": ".", "revision": "abc"}}),
        ),
    ] {
        assert_eq!(volume(kind), expected, "{kind}");
    }
    let bare = pod(
        &[],
        r#"{"volumes":[{"name":"volume"}],"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"volume","mountPath":"/x"}]}]}"#,
    );
    assert_eq!(properties(&bare)["volumes"], json!([{"name": "volume", "emptyDir": {}}]));
}

#[test]
fn shares_are_opened_with_the_key_in_the_secret() {
    node("");
    rendered("volume", &[("azurestorageaccountname", "acc\n"), ("azurestorageaccountkey", "s3cret")]);
    let share = |read_only: bool| {
        json!({"name": "volume", "azureFile": {"shareName": "share", "storageAccountName": "acc", "storageAccountKey": "s3cret",
            "readOnly": read_only}})
    };
    for (kind, read_only) in [
        (r#""azureFile":{"secretName":"s","shareName":"share"}"#, false),
        (r#""azureFile":{"secretName":"s","shareName":"share","readOnly":true}"#, true),
        (r#""csi":{"driver":"file.csi.azure.com","volumeAttributes":{"secretName":"s","shareName":"share"}}"#, false),
        (
            r#""csi":{"driver":"file.csi.azure.com","fsType":"SMB","readOnly":true,"volumeAttributes":{"sharename":"share","secretNamespace":"shop"},
            "nodePublishSecretRef":{"name":"s"}}"#,
            true,
        ),
    ] {
        assert_eq!(volume(kind), share(read_only), "{kind}");
    }
    let shown = format!("{:?}", made(&mounting(r#""azureFile":{"secretName":"s","shareName":"share"}"#)).unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
    rendered("volume", &[("azurestorageaccountname", "acc")]);
    let error = made(&mounting(r#""azureFile":{"secretName":"s","shareName":"share"}"#)).unwrap_err();
    assert_eq!((error.code, &error.field), (Code::FailedPrecondition, &None), "it may be mended");
    assert!(error.message.contains("azurestorageaccountkey"), "{error}");
}

#[test]
fn shares_are_opened_by_identities_where_the_version_has_them() {
    let kind = r#""csi":{"driver":"file.csi.azure.com","volumeAttributes":{"shareName":"share","mountWithManagedIdentity":"true",
        "clientID":"id","storageAccount":"acc"}}"#;
    node("");
    assert_eq!(refused(&mounting(kind)), "spec.volumes[0].csi.volumeAttributes[mountWithManagedIdentity]");
    node("api-version = \"2026-05-01\"");
    assert_eq!(
        volume(kind),
        json!({"name": "volume", "azureFile": {"shareName": "share", "storageAccountName": "acc", "readOnly": false,
            "userManagedIdentityClientId": "id"}})
    );
}

#[test]
fn volumes_that_a_group_cannot_have_are_refused() {
    node("api-version = \"2026-05-01\"");
    let csi =
        |attributes: &str| format!(r#""csi":{{"driver":"file.csi.azure.com","volumeAttributes":{{{attributes}}}}}"#);
    for (kind, field) in [
        (r#""persistentVolumeClaim":{"claimName":"c"}"#.to_owned(), "persistentVolumeClaim"),
        (r#""hostPath":{"path":"/"}"#.to_owned(), "hostPath"),
        (r#""ephemeral":{}"#.to_owned(), "ephemeral"),
        (r#""image":{"reference":"x"}"#.to_owned(), "image"),
        (r#""emptyDir":{"medium":"Memory"}"#.to_owned(), "emptyDir.medium"),
        (r#""emptyDir":{"sizeLimit":"60G"}"#.to_owned(), "emptyDir.sizeLimit"),
        (r#""gitRepo":{"repository":"git@git.example:a.git"}"#.to_owned(), "gitRepo.repository"),
        (r#""csi":{"driver":"disk.csi.azure.com"}"#.to_owned(), "csi.driver"),
        (
            r#""csi":{"driver":"file.csi.azure.com","fsType":"nfs","volumeAttributes":{"shareName":"share","secretName":"s"}}"#
                .to_owned(),
            "csi.fsType",
        ),
        (csi(r#""secretName":"s""#), "csi.volumeAttributes[shareName]"),
        (csi(r#""shareName":"share""#), "csi.nodePublishSecretRef"),
        (
            csi(r#""shareName":"share","secretName":"s","secretNamespace":"other""#),
            "csi.volumeAttributes[secretNamespace]",
        ),
        (
            csi(r#""shareName":"share","secretName":"s","mountOptions":"dir_mode=0777""#),
            "csi.volumeAttributes[mountOptions]",
        ),
        (csi(r#""shareName":"share","mountWithManagedIdentity":"true""#), "csi.volumeAttributes[clientID]"),
        (
            csi(r#""shareName":"share","mountWithManagedIdentity":"true","clientID":"i""#),
            "csi.volumeAttributes[storageAccount]",
        ),
    ] {
        assert_eq!(refused(&mounting(&kind)), format!("spec.volumes[0].{field}"), "{kind}");
    }
    for (kind, value) in [
        (r#""csi":{"driver":"disk.csi.azure.com"}"#, "\"disk.csi.azure.com\""),
        (r#""csi":{"driver":"file.csi.azure.com","fsType":"nfs"}"#, "\"nfs\""),
    ] {
        let message = made(&mounting(kind)).unwrap_err().message;
        assert!(message.contains(value), "{message}");
    }
}

#[test]
fn a_group_has_so_many_volumes() {
    node("");
    let spec = |count: usize, mounted: usize| {
        let volumes: Vec<String> =
            (0..count).map(|number| format!(r#"{{"name":"v{number}","emptyDir":{{}}}}"#)).collect();
        let mounts: Vec<String> =
            (0..mounted).map(|number| format!(r#"{{"name":"v{number}","mountPath":"/{number}"}}"#)).collect();
        pod(
            &[],
            &format!(
                r#"{{"volumes":[{}],"containers":[{{"name":"c","image":"i","volumeMounts":[{}]}}]}}"#,
                volumes.join(","),
                mounts.join(",")
            ),
        )
    };
    assert_eq!(properties(&spec(20, 20))["volumes"].as_array().unwrap().len(), 20);
    assert_eq!(refused(&spec(21, 21)), "spec.volumes[20]");
    assert_eq!(
        properties(&spec(21, 1))["volumes"].as_array().unwrap().len(),
        1,
        "those that nobody mounts are not made"
    );
}
