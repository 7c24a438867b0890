//! The sandbox: made once, found again, made anew when it is dead.

use vk_provider::containers::Sandbox;
use vk_provider::{Code, Containers as _, Deletion, Effect, Error, Volumes as _, testing};

use super::engine::Engine;
use super::{files, plain, pod, rendered, sandboxed, start};
use crate::Docker;
use crate::context::Context;
use crate::volumes::files::directory;
use crate::volumes::files::tests::told;

fn addresses(sandbox: &Sandbox) -> (bool, Vec<&str>) {
    (sandbox.ready, sandbox.ips.iter().map(String::as_str).collect())
}

/// Where a container's hosts file is on the engine's machine; none: it is the engine's own.
fn hosts_file(engine: &Engine, name: &str) -> Option<String> {
    let mounts = engine.containers(&format!("k8s_{name}_"))[0].spec["HostConfig"]["Mounts"].clone();
    let hosts = mounts.as_array().unwrap().iter().find(|mount| mount["Target"] == "/etc/hosts").cloned();
    hosts.map(|mount| mount["Source"].as_str().unwrap().to_owned())
}

#[test]
fn a_hosts_file_is_ours_where_the_engines_lacks_the_domain() {
    let spec = |host_network: bool| {
        let mut web = pod(&format!(
            r#"{{"hostNetwork":{host_network},"containers":[{{"name":"c","image":"i"}},{{"name":"own","image":"i","volumeMounts":[
            {{"name":"v","mountPath":"/etc/hosts","subPath":"f"}}]}}],"volumes":[{{"name":"v","emptyDir":{{}}}}]}}"#
        ));
        web.network.domain = "web.ns.svc".to_owned();
        web
    };
    let started = |engine: &Engine, host_network: bool, older: bool| {
        sandboxed(engine, &spec(host_network));
        let archives = engine.0.borrow().archives.clone();
        let text = archives.iter().flat_map(|(.., archive)| files(archive)).find(|(path, _)| path == "_pod/hosts");
        if older {
            engine.0.borrow_mut().archives.clear();
        }
        start(&spec(host_network), "c", 0).unwrap();
        (hosts_file(engine, "c"), text.map(|(_, text)| String::from_utf8(text).unwrap()))
    };
    let engine = Engine::podman();
    let (bound, text) = started(&engine, false, false);
    assert_eq!(bound.as_deref(), Some("/var/k8s_pod_u/_data/hosts"));
    assert!(text.unwrap().ends_with("\n172.17.0.2\tweb.web.ns.svc\tweb\n"), "it comes with the volumes");
    start(&spec(false), "own", 0).unwrap();
    assert!(!hosts_file(&engine, "own").unwrap().contains("k8s_pod_u"), "the pod's own");
    assert_eq!(started(&Engine::podman(), false, true).0, None, "an earlier build has put none there");
    assert_eq!(started(&Engine::podman(), true, false), (None, None), "it is the machine's");
    assert_eq!(started(&Engine::docker(), false, false), (None, None), "Docker's own has the domain");
}

#[test]
fn a_sandbox_is_made_with_its_volumes_and_the_program_is_uploaded_once() {
    let engine = Engine::docker();
    testing::volume("cm", Ok(rendered("1-a", "key", "value")));
    let web =
        pod(r#"{"volumes":[{"name":"cm","configMap":{"name":"x"}},{"name":"tmp","emptyDir":{"medium":"Memory"}}],
        "containers":[{"name":"c","image":"i","ports":[{"containerPort":80,"hostPort":8080}]}]}"#);
    let sandbox = Docker::ensure_sandbox(web).unwrap();
    assert_eq!(addresses(&sandbox), (true, vec!["172.17.0.2"]));
    assert_eq!((sandbox.revision.as_deref(), sandbox.host_ip.as_deref()), (Some("1-pod"), Some("192.0.2.1")));
    let image = crate::pause::image(&Context::reach().unwrap());
    assert_eq!(
        engine.asked(),
        [
            "GET /containers/json",
            "POST /volumes/create?k8s_pod_u",
            "POST /volumes/create?k8s_vol_u_cm",
            "POST /volumes/create?k8s_vol_u_tmp",
            "POST /containers/create?k8s_POD_web_default_u_0",
            // Another call may have brought it meanwhile.
            &format!("GET /images/{image}/json"),
            "GET /info",
            "POST /images/create",
            "POST /containers/create?k8s_POD_web_default_u_0",
            "POST /containers/id1/start",
            "GET /containers/id1/json",
            "PUT /containers/id1/archive",
        ]
    );
    let (id, path, archive) = engine.0.borrow().archives[0].clone();
    assert_eq!((id.as_str(), path.as_str()), ("id1", "/vols"));
    let entries: Vec<String> = files(&archive).into_iter().map(|(path, _)| path).collect();
    assert_eq!(entries[0], "cm/");
    assert!(
        entries.contains(&"cm/key".to_owned()) && entries.contains(&"_pod/termination/c.0".to_owned()),
        "{entries:?}"
    );
    assert!(entries.last().unwrap().starts_with(".filled-"), "{entries:?}");
    let spec = &engine.containers("k8s_POD")[0].spec;
    assert_eq!(spec["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], "8080");
    assert_eq!(spec["HostConfig"]["IpcMode"], "shareable");
    assert_eq!(spec["Hostname"], "web");
    assert_eq!(spec["User"], "0:0", "whoever an image's user is");
    assert_eq!(spec["Labels"]["io.kubernetes.pod.uid"], "u");
    assert_eq!(engine.0.borrow().volumes["k8s_vol_u_tmp"]["Options"]["type"], "tmpfs");
}

#[test]
fn the_same_again_is_only_looked_at() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let sandbox = Docker::ensure_sandbox(plain()).unwrap();
    assert_eq!(addresses(&sandbox), (true, vec!["172.17.0.2"]));
    assert_eq!(engine.asked(), ["GET /containers/json", "GET /containers/id1/json", "HEAD /containers/id1/archive"]);
}

#[test]
fn what_cannot_be_honoured_is_refused_before_the_engine_is_asked() {
    let engine = Engine::docker();
    let error = Docker::ensure_sandbox(pod(r#"{"volumes":[{"name":"x","hostPath":{"path":"/"}}]}"#)).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Unimplemented, Effect::None));
    assert_eq!(error.field.as_deref(), Some("spec.volumes[0].hostPath"));
    assert!(engine.asked().is_empty());
}

#[test]
fn what_the_engines_machine_cannot_do_is_refused_before_anything_is_made() {
    let engine = Engine::docker();
    let limited = pod(r#"{"containers":[{"name":"c","resources":{"limits":{"memory":"64Mi"}}}]}"#);
    engine.instead("GET /info", testing::Answer::status(200).body(r#"{"MemoryLimit":false,"OSType":"linux"}"#));
    let error = Docker::ensure_sandbox(limited.clone()).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::Unimplemented, Effect::None));
    assert_eq!(error.field.as_deref(), Some("spec.containers[0].resources.limits[memory]"));
    assert_eq!(Docker::ensure_sandbox(limited.clone()).unwrap_err().field, error.field);
    assert_eq!(engine.asked(), ["GET /info"], "it is asked once in a while");
    testing::advance(std::time::Duration::from_secs(600));
    Docker::ensure_sandbox(limited).unwrap();
}

#[test]
fn an_ephemeral_container_that_was_refused_does_not_keep_its_pods_sandbox_from_coming_anew() {
    let engine = Engine::docker();
    let web = pod(
        r#"{"securityContext":{"runAsUser":0},"containers":[{"name":"c","image":"i"}],"ephemeralContainers":[{"name":"debug","image":"i",
        "securityContext":{"runAsNonRoot":true}}]}"#,
    );
    sandboxed(&engine, &web);
    assert_eq!(start(&web, "debug", 0).unwrap_err().field.as_deref(), Some("spec.securityContext.runAsUser"));
    engine.end("k8s_POD", 137);
    assert!(Docker::ensure_sandbox(web).unwrap().ready);
}

#[test]
fn what_containers_made_of_a_volume_outlives_its_sandbox() {
    let engine = Engine::docker();
    let web = pod(
        r#"{"volumes":[{"name":"disk","emptyDir":{}},{"name":"memory","emptyDir":{"medium":"Memory"}}],"containers":[{"name":"c","image":"i"}]}"#,
    );
    sandboxed(&engine, &web);
    start(&web, "c", 0).unwrap();
    let filled = || told(&engine.0.borrow().archives.last().unwrap().2);
    assert!(filled().contains(&"777 0:0 disk/ 0".to_owned()), "{:?}", filled());
    // The volume shows the same to the next sandbox.
    engine.0.borrow_mut().links.insert("/vols/_pod/.ready".to_owned(), String::new());
    engine.end("k8s_POD", 137);
    Docker::ensure_sandbox(web).unwrap();
    let filled = filled();
    assert!(!filled.iter().any(|entry| entry.contains(" disk/")), "it may be somebody's by now: {filled:?}");
    assert!(filled.contains(&"777 0:0 memory/ 0".to_owned()), "{filled:?}");
}

#[test]
fn an_object_that_is_missing_leaves_nothing_behind() {
    let engine = Engine::docker();
    let missing = Error::failed_precondition("ConfigMapNotFound", "configmap \"x\" not found");
    testing::volume("cm", Err(missing));
    let web = pod(r#"{"volumes":[{"name":"cm","configMap":{"name":"x"}}],"containers":[{"name":"c"}]}"#);
    assert_eq!(Docker::ensure_sandbox(web).unwrap_err().reason, "ConfigMapNotFound");
    assert_eq!(engine.asked(), ["GET /containers/json"]);
}

#[test]
fn a_lost_answer_at_any_step_ends_in_one_sandbox() {
    for lost in [
        "POST /volumes",
        "POST /containers/create",
        "POST /containers/id1/start",
        "GET /containers/id1/json",
        "PUT /containers",
    ] {
        let engine = Engine::docker();
        let image = crate::pause::image(&crate::context::Context::reach().unwrap());
        engine.0.borrow_mut().images.insert(image, serde_json::Value::Null);
        engine.0.borrow_mut().lost.push(lost.to_owned());
        let error = Docker::ensure_sandbox(plain()).unwrap_err();
        assert_eq!(error.effect, Effect::Unknown, "{lost}: {error}");
        let sandbox = Docker::ensure_sandbox(plain()).unwrap();
        assert!(sandbox.ready, "{lost}");
        assert_eq!(engine.containers("k8s_POD").len(), 1, "{lost}");
        assert!(!engine.0.borrow().archives.is_empty(), "{lost}");
    }
}

#[test]
fn one_that_runs_and_was_not_filled_is_not_ready() {
    let engine = Engine::docker();
    let image = crate::pause::image(&crate::context::Context::reach().unwrap());
    engine.0.borrow_mut().images.insert(image, serde_json::Value::Null);
    // The host was killed just after the start.
    engine.0.borrow_mut().lost.push("POST /containers/id1/start".to_owned());
    Docker::ensure_sandbox(plain()).unwrap_err();
    let seen = Docker::get_sandbox(plain().id).unwrap().unwrap();
    assert_eq!(addresses(&seen.sandbox), (false, vec![]));
    assert!(Docker::ensure_sandbox(plain()).unwrap().ready);
    assert!(Docker::get_sandbox(plain().id).unwrap().unwrap().sandbox.ready);
}

#[test]
fn a_name_that_somebody_else_has_is_not_taken_over() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    engine.change("k8s_POD", |container| container.spec["Labels"] = serde_json::json!({"com.example": "x"}));
    let error = Docker::ensure_sandbox(plain()).unwrap_err();
    assert_eq!(error.code, Code::Aborted);
    assert!(error.message.contains("is already in use"), "{error}");
}

#[test]
fn a_volume_that_somebody_else_has_is_not_taken_over() {
    let engine = Engine::docker();
    engine
        .0
        .borrow_mut()
        .volumes
        .insert("k8s_pod_u".to_owned(), serde_json::json!({"Name": "k8s_pod_u", "Labels": null}));
    let error = Docker::ensure_sandbox(plain()).unwrap_err();
    assert_eq!((error.reason.as_ref(), error.field), ("VolumeTaken", None));
    assert!(engine.containers("k8s_POD").is_empty());
}

#[test]
fn a_port_that_is_taken_is_tried_again_with_a_new_sandbox() {
    let engine = Engine::docker();
    let image = crate::pause::image(&crate::context::Context::reach().unwrap());
    engine.0.borrow_mut().images.insert(image, serde_json::Value::Null);
    let body = r#"{"message":"driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated"}"#;
    engine.instead("POST /containers/id1/start", testing::Answer::status(500).body(body));
    let error = Docker::ensure_sandbox(plain()).unwrap_err();
    assert_eq!((error.code, error.reason.as_ref()), (Code::ResourceExhausted, "HostPortTaken"));
    assert!(engine.containers("k8s_POD").is_empty());
    assert!(Docker::ensure_sandbox(plain()).unwrap().ready);
}

#[test]
fn a_dead_sandbox_takes_its_containers_with_it_and_comes_anew() {
    for engine in [Engine::docker as fn() -> Engine, Engine::podman] {
        let engine = engine();
        sandboxed(&engine, &plain());
        start(&plain(), "c", 0).unwrap();
        engine.end("k8s_POD", 137);
        assert!(!Docker::get_sandbox(plain().id).unwrap().unwrap().sandbox.ready);
        assert!(Docker::ensure_sandbox(plain()).unwrap().ready);
        let names = || engine.containers("k8s_POD").into_iter().map(|container| container.name).collect::<Vec<_>>();
        assert_eq!(
            names(),
            ["k8s_POD_web_default_u_0", "k8s_POD_web_default_u_1"],
            "the old one stays with its container"
        );
        assert_eq!(engine.containers("k8s_c_")[0].exit_code, 137, "it had no network any more");
        Docker::remove_container(plain().id, "c".to_owned(), 0).unwrap();
        engine.end("k8s_POD_web_default_u_1", 137);
        Docker::ensure_sandbox(plain()).unwrap();
        assert_eq!(names(), ["k8s_POD_web_default_u_2"]);
    }
}

#[test]
fn what_an_engine_finds_dead_has_no_code_also_after_a_new_sandbox() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    engine.end("k8s_POD", 255);
    engine.end("k8s_c_", 255);
    let code = || Docker::get_sandbox(plain().id).unwrap().unwrap().containers[0].exit_code;
    assert_eq!(code(), None);
    Docker::ensure_sandbox(plain()).unwrap();
    assert_eq!(code(), None);
}

#[test]
fn a_sandbox_that_was_started_again_has_lost_its_containers() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    testing::advance(std::time::Duration::from_secs(60));
    let later = testing::now().to_string();
    engine.change("k8s_POD", |container| container.started = later);
    let state = Docker::get_sandbox(plain().id).unwrap().unwrap();
    assert_eq!(addresses(&state.sandbox), (false, vec![]));
    Docker::ensure_sandbox(plain()).unwrap();
    let sandboxes: Vec<String> = engine.containers("k8s_POD").into_iter().map(|container| container.status).collect();
    assert_eq!(sandboxes, ["exited", "running"], "one alone holds the pod's ports");
}

#[test]
fn a_sandbox_that_was_started_again_without_containers_is_filled_again() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    testing::advance(std::time::Duration::from_secs(60));
    let later = testing::now().to_string();
    engine.change("k8s_POD", |container| container.started = later);
    assert!(!Docker::get_sandbox(plain().id).unwrap().unwrap().sandbox.ready, "what was in memory is gone");
    Docker::ensure_sandbox(plain()).unwrap();
    assert!(Docker::get_sandbox(plain().id).unwrap().unwrap().sandbox.ready);
    assert_eq!((engine.containers("k8s_POD").len(), engine.0.borrow().archives.len()), (1, 2));
}

#[test]
fn a_pod_on_the_machines_own_network_has_its_address() {
    let engine = Engine::docker();
    testing::configure("address = \"10.0.0.7\"");
    sandboxed(&engine, &plain());
    Docker::remove_sandbox(plain().id).unwrap();
    let sandbox = Docker::ensure_sandbox(pod(r#"{"hostNetwork":true,"containers":[{"name":"c"}]}"#)).unwrap();
    assert_eq!((addresses(&sandbox), sandbox.host_ip.as_deref()), ((true, vec!["10.0.0.7"]), Some("10.0.0.7")));
    assert!(engine.containers("k8s_POD")[0].spec.get("Hostname").is_none());
}

#[test]
fn an_image_of_the_operators_gets_the_program_as_a_file() {
    let engine = Engine::docker();
    testing::configure("pause-image = \"registry.example/busybox:1\"");
    Docker::ensure_sandbox(plain()).unwrap();
    let asked = engine.asked();
    assert!(asked.contains(&"POST /images/create?registry.example/busybox anonymous".to_owned()), "{asked:?}");
    let (_, path, archive) = engine.0.borrow().archives[0].clone();
    assert_eq!(path, "/");
    assert!(told(&archive)[0].starts_with("755 0:0 vk-pause "));
}

#[test]
fn files_of_a_volume_change_at_one_moment() {
    let engine = Engine::docker();
    testing::volume("cm", Ok(rendered("1-a", "key", "old")));
    let web = pod(
        r#"{"volumes":[{"name":"cm","configMap":{"name":"x"}},{"name":"d","emptyDir":{}}],"containers":[{"name":"c"}]}"#,
    );
    sandboxed(&engine, &web);
    testing::volume("cm", Ok(rendered("1-b", "key", "new")));
    let directory = directory(&rendered("1-b", "key", "new"));
    engine.0.borrow_mut().links.insert("/vols/cm/..data".to_owned(), "/vols/cm/..older".to_owned());
    Docker::update_volume(web.clone(), "cm".to_owned()).unwrap();
    assert_eq!(
        engine.asked(),
        [
            "GET /containers/json",
            "HEAD /containers/id1/archive",
            "PUT /containers/id1/archive",
            "POST /containers/id1/exec",
            "POST /exec/0/start",
            "GET /exec/0/json",
        ]
    );
    let paths: Vec<String> = files(&engine.0.borrow().archives[1].2).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [format!("cm/{directory}/"), format!("cm/{directory}/key")], "no link is replaced");
    // The same again is only looked at.
    engine.0.borrow_mut().links.insert("/vols/cm/..data".to_owned(), format!("/vols/cm/{directory}"));
    Docker::update_volume(web.clone(), "cm".to_owned()).unwrap();
    assert_eq!(engine.asked(), ["GET /containers/json", "HEAD /containers/id1/archive"]);
    assert_eq!(Docker::update_volume(web, "d".to_owned()).unwrap_err().code, Code::Unimplemented);
}

#[test]
fn a_switch_that_fails_is_told_in_the_programs_words() {
    let engine = Engine::docker();
    testing::volume("cm", Ok(rendered("1-a", "key", "old")));
    let web = pod(r#"{"volumes":[{"name":"cm","configMap":{"name":"x"}}],"containers":[{"name":"c"}]}"#);
    sandboxed(&engine, &web);
    let words = [&[2, 0, 0, 0, 0, 0, 0, 9][..], b"no space\n"].concat();
    engine.0.borrow_mut().commands.insert("/vk-pause".to_owned(), (1, words));
    let error = Docker::update_volume(web, "cm".to_owned()).unwrap_err();
    assert!(error.message.ends_with(" ended with 1: no space"), "{error}");
}

#[test]
fn a_pod_that_has_ended_gives_its_network_back_and_keeps_its_attempts() {
    for engine in [Engine::docker as fn() -> Engine, Engine::podman] {
        let engine = engine();
        sandboxed(&engine, &plain());
        start(&plain(), "c", 0).unwrap();
        // The second time it does not run any more.
        for _ in 0..2 {
            assert_eq!(Docker::stop_sandbox(plain().id), Ok(()));
            let seen = Docker::get_sandbox(plain().id).unwrap().unwrap();
            assert_eq!((addresses(&seen.sandbox), seen.containers.len()), ((false, vec![]), 1));
        }
        assert_eq!(Docker::remove_sandbox(plain().id), Ok(Deletion::Gone));
        assert_eq!(Docker::stop_sandbox(plain().id), Ok(()));
    }
}

#[test]
fn nothing_is_left_of_a_pod_that_is_removed() {
    for engine in [Engine::docker as fn() -> Engine, Engine::podman] {
        let engine = engine();
        sandboxed(&engine, &plain());
        start(&plain(), "c", 0).unwrap();
        assert_eq!(Docker::remove_sandbox(plain().id), Ok(Deletion::Gone));
        assert!(engine.0.borrow().containers.is_empty() && engine.0.borrow().volumes.is_empty());
        assert_eq!(Docker::remove_sandbox(plain().id), Ok(Deletion::Gone));
        assert_eq!(Docker::get_sandbox(plain().id), Ok(None));
    }
}
