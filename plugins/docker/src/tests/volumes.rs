//! What containers mount of a pod's volumes, and how much may be in them.

use std::time::Duration;

use vk_provider::testing::Answer;
use vk_provider::{Containers as _, testing};

use super::engine::Engine;
use super::{plain, pod, rendered, sandboxed, start};
use crate::Docker;

#[test]
fn a_part_of_a_volume_is_what_is_there_when_its_container_starts() {
    let engine = Engine::docker();
    let web = pod(r#"{"volumes":[{"name":"work","emptyDir":{}}],
        "initContainers":[{"name":"makes","image":"i","volumeMounts":[{"name":"work","mountPath":"/work"}]}],
        "containers":[{"name":"c","image":"i","volumeMounts":[{"name":"work","mountPath":"/etc/app.yaml","subPath":"app.yaml"}]},
        {"name":"all","image":"i","volumeMounts":[{"name":"work","mountPath":"/work","readOnly":true}]}]}"#);
    sandboxed(&engine, &web);
    let mounts = |name: &str| {
        let spec = engine.containers(&format!("k8s_{name}_"))[0].spec["HostConfig"].clone();
        let one = |mount: &serde_json::Value| {
            let (source, target) = (mount["Source"].as_str().unwrap(), mount["Target"].as_str().unwrap());
            format!("{source} at {target}{}", if mount["ReadOnly"] == true { " read-only" } else { "" })
        };
        let all: Vec<String> = spec["Mounts"].as_array().unwrap().iter().map(one).collect();
        assert_eq!(spec.get("Binds"), None);
        all.into_iter().filter(|mount| !mount.contains("k8s_pod_u")).collect::<Vec<_>>()
    };
    start(&web, "makes", 0).unwrap();
    assert_eq!(mounts("makes"), ["/var/k8s_vol_u_work/_data/data at /work"], "nothing is in the way of what it makes");
    assert!(!engine.asked().iter().any(|asked| asked.contains("/exec")), "it is not time");
    let digest = crate::names::digest(b"app.yaml");
    let part = format!("/var/k8s_vol_u_work/_data/parts/{digest}");
    engine.0.borrow_mut().commands.insert("/vk-pause".to_owned(), (2, Vec::new()));
    start(&web, "c", 0).unwrap();
    assert_eq!(engine.commanded(), [format!("/vk-pause part /vols/work  app.yaml {digest}")]);
    assert_eq!(mounts("c"), [format!("{part} at /etc/app.yaml")]);
    start(&web, "all", 0).unwrap();
    assert_eq!(mounts("all"), ["/var/k8s_vol_u_work/_data/data at /work read-only"]);
    // What is not a file is a directory, which all see.
    engine.0.borrow_mut().commands.insert("/vk-pause".to_owned(), (0, Vec::new()));
    for name in ["c", "all"] {
        engine.end(&format!("k8s_{name}_"), 0);
        Docker::remove_container(web.id.clone(), name.to_owned(), 0).unwrap();
        start(&web, name, 0).unwrap();
    }
    assert_eq!(mounts("c"), [format!("{part} at /etc/app.yaml")]);
    assert_eq!(
        mounts("all"),
        ["/var/k8s_vol_u_work/_data/data at /work read-only".to_owned(), format!("{part} at /work/app.yaml read-only")]
    );
}

#[test]
fn what_cannot_be_a_part_is_told_to_who_mounts_it_alone() {
    let engine = Engine::docker();
    let web = pod(r#"{"volumes":[{"name":"work","emptyDir":{}}],
        "containers":[{"name":"c","image":"i","volumeMounts":[{"name":"work","mountPath":"/x","subPath":"planted"}]},
        {"name":"all","image":"i","volumeMounts":[{"name":"work","mountPath":"/work"}]}]}"#);
    sandboxed(&engine, &web);
    let words = [&[2, 0, 0, 0, 0, 0, 0, 7][..], b"a link\n"].concat();
    engine.0.borrow_mut().commands.insert("/vk-pause".to_owned(), (1, words));
    let error = start(&web, "c", 0).unwrap_err();
    assert_eq!((error.reason.as_ref(), error.field.as_ref()), ("CreateContainerConfigError", None));
    assert_eq!(error.message, "failed to prepare subPath \"planted\" of volume \"work\": a link");
    assert!(engine.containers("k8s_c_").is_empty());
    start(&web, "all", 0).unwrap();
}

#[test]
fn a_sub_path_of_rendered_files_is_bound_by_path_if_it_is_there() {
    let engine = Engine::docker();
    testing::volume("cm", Ok(rendered("1-a", "key", "value")));
    let web = pod(
        r#"{"volumes":[{"name":"cm","configMap":{"name":"x"}}],"containers":[{"name":"c","image":"i","volumeMounts":[
        {"name":"cm","mountPath":"/etc/key","subPath":"key"}]}]}"#,
    );
    sandboxed(&engine, &web);
    let error = start(&web, "c", 0).unwrap_err();
    assert_eq!(
        (error.reason.as_ref(), error.field.as_ref()),
        ("SubPathMissing", None),
        "Podman would make a directory"
    );
    engine.0.borrow_mut().links.insert("/vols/cm/..data/key".to_owned(), String::new());
    start(&web, "c", 0).unwrap();
    let mount = &engine.containers("k8s_c_")[0].spec["HostConfig"]["Mounts"][0];
    assert_eq!(
        (&mount["Source"], &mount["Target"]),
        (&"/var/k8s_vol_u_cm/_data/..data/key".into(), &"/etc/key".into())
    );
    assert_eq!(mount["ReadOnly"], true);
}

#[test]
fn a_pod_that_takes_more_than_it_may_is_ended() {
    let engine = Engine::docker();
    let web =
        pod(r#"{"volumes":[{"name":"d","emptyDir":{"sizeLimit":"1Ki"}}],"containers":[{"name":"c","image":"i"}]}"#);
    sandboxed(&engine, &web);
    start(&web, "c", 0).unwrap();
    let usage = |size: u64| serde_json::json!({"Volumes": [{"Name": "k8s_vol_u_d", "UsageData": {"Size": size}}]});
    let look = || crate::limits::look(&crate::context::Context::reach().unwrap());
    engine.0.borrow_mut().disk_usage = usage(1024);
    look();
    assert_eq!(engine.containers("k8s_c_")[0].status, "running");
    engine.0.borrow_mut().disk_usage = usage(1025);
    look();
    assert_eq!(engine.containers("k8s_c_")[0].status, "running", "it was looked a moment ago");
    testing::advance(Duration::from_secs(60));
    look();
    assert_eq!(engine.containers("k8s_c_")[0].exit_code, 137);
    let error = start(&web, "c", 1).unwrap_err();
    assert_eq!((error.reason.as_ref(), error.field.is_some()), ("Evicted", true));
}

#[test]
fn a_look_that_fails_is_made_again_soon() {
    let engine = Engine::podman();
    let web =
        pod(r#"{"volumes":[{"name":"d","emptyDir":{"sizeLimit":"1Ki"}}],"containers":[{"name":"c","image":"i"}]}"#);
    sandboxed(&engine, &web);
    start(&web, "c", 0).unwrap();
    engine.0.borrow_mut().disk_usage =
        serde_json::json!({"Volumes": [{"Name": "k8s_vol_u_d", "UsageData": {"Size": 1025}}]});
    let look = || crate::limits::look(&crate::context::Context::reach().unwrap());
    let some_go = |times: u32| {
        for _ in 0..times {
            let gone =
                r#"{"cause":"no such container","message":"failed to get state of container 4f: no such container"}"#;
            engine.instead("GET /system/df", Answer::status(500).body(gone));
        }
    };
    some_go(5);
    look();
    assert_eq!(engine.containers("k8s_c_")[0].status, "running", "nothing is known");
    look();
    assert_eq!(engine.containers("k8s_c_")[0].status, "running", "it was looked a moment ago");
    testing::advance(Duration::from_secs(5));
    some_go(4);
    look();
    assert_eq!(engine.containers("k8s_c_")[0].exit_code, 137, "it is asked again at once, and after a few seconds");
}

#[test]
fn an_engine_without_limited_volumes_is_not_asked_for_their_sizes() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    crate::limits::look(&crate::context::Context::reach().unwrap());
    assert_eq!(engine.asked(), ["GET /volumes"]);
}
