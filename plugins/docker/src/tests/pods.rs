//! Attempts at containers, images, and what the host sees of them.

use vk_provider::cluster::Credential;
use vk_provider::containers::{Phase, PullPolicy};
use vk_provider::plugin::PodNetwork;
use vk_provider::testing::Answer;
use vk_provider::{Code, Containers as _, Deletion, Effect, Node as _, Plugin as _, Stats as _, store, testing};

use std::time::Duration;

use super::engine::Engine;
use super::{files, plain, pod, sandboxed, start};
use crate::Docker;

#[test]
fn an_attempt_is_made_once() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let id = start(&plain(), "c", 0).unwrap();
    assert_eq!(
        engine.asked(),
        [
            "GET /containers/json",
            "GET /volumes/k8s_pod_u",
            "POST /containers/create?k8s_c_web_default_u_0",
            "POST /containers/id2/start",
        ]
    );
    let spec = &engine.containers("k8s_c_")[0].spec;
    assert_eq!(spec["HostConfig"]["NetworkMode"], "container:id1");
    let mount = &spec["HostConfig"]["Mounts"][0];
    assert_eq!(
        (&mount["Source"], &mount["Target"]),
        (&"/var/k8s_pod_u/_data/termination/c.0".into(), &"/dev/termination-log".into())
    );
    assert_eq!(start(&plain(), "c", 0), Ok(id.clone()));
    engine.end("k8s_c_", 3);
    assert_eq!(start(&plain(), "c", 0), Ok(id), "an attempt that has ended is not made again");
    assert_eq!(engine.asked(), ["GET /containers/json", "GET /containers/json"]);
}

#[test]
fn a_lost_answer_at_any_step_ends_in_one_attempt() {
    for lost in ["POST /containers/create", "POST /containers/id2/start"] {
        let engine = Engine::docker();
        sandboxed(&engine, &plain());
        engine.0.borrow_mut().lost.push(lost.to_owned());
        assert_eq!(start(&plain(), "c", 0).unwrap_err().effect, Effect::Unknown);
        assert_eq!(start(&plain(), "c", 0).unwrap(), "id2");
        assert_eq!(engine.containers("k8s_c_").len(), 1, "{lost}");
        assert_eq!(engine.containers("k8s_c_")[0].status, "running");
    }
}

#[test]
fn two_creates_at_once_are_one_attempt() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    engine.asked();
    // The list was taken before the other call made it.
    let sandbox = serde_json::json!([{"Id": "id1", "State": "running", "Created": 0, "Labels": engine.containers("k8s_POD")[0].spec["Labels"]}]);
    engine.instead("GET /containers/json", Answer::status(200).body(sandbox.to_string()));
    assert_eq!(start(&plain(), "c", 0).unwrap(), "id2");
    assert_eq!(engine.containers("k8s_c_").len(), 1);
}

#[test]
fn a_later_attempt_gets_an_empty_message_of_its_own() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 1).unwrap();
    let (id, path, archive) = engine.0.borrow().archives.last().unwrap().clone();
    assert_eq!((id.as_str(), path.as_str()), ("id1", "/vols"));
    assert_eq!(files(&archive)[1], ("_pod/termination/c.1".to_owned(), Vec::new()));
}

#[test]
fn what_a_container_leaves_is_read_from_the_sandbox() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let message =
        |attempt| Docker::termination_message(plain().id, "c".to_owned(), attempt, "/dev/termination-log".to_owned());
    assert_eq!(message(0), Ok(None), "it is empty");
    let mut pack = vk_engine::archive::Pack::new(testing::now());
    pack.file("_pod/termination/c.0", 0o666, vk_engine::archive::Owner::default(), b"it went wrong").unwrap();
    engine.0.borrow_mut().archives.push(("id1".to_owned(), "/vols".to_owned(), pack.finish().unwrap()));
    assert_eq!(message(0), Ok(Some(b"it went wrong".to_vec())));
    assert_eq!(message(1), Ok(None), "it is not there");
}

#[test]
fn a_container_waits_for_a_sandbox_that_runs() {
    let engine = Engine::docker();
    assert_eq!(start(&plain(), "c", 0).unwrap_err().code, Code::Aborted);
    sandboxed(&engine, &plain());
    engine.end("k8s_POD", 0);
    assert_eq!(start(&plain(), "c", 0).unwrap_err().reason, "SandboxNotReady", "Podman would start it again by itself");
    assert!(engine.containers("k8s_c_").is_empty());
}

#[test]
fn a_start_that_fails_is_told_and_seen() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    let body =
        r#"{"message":"OCI runtime create failed: exec: \"nope\": executable file not found in $PATH: unknown"}"#;
    engine.instead("POST /containers/id2/start", Answer::status(400).body(body));
    let error = start(&plain(), "c", 0).unwrap_err();
    assert_eq!(
        (error.code, error.reason.as_ref(), error.field.as_ref()),
        (Code::FailedPrecondition, "StartError", None)
    );
    assert_eq!(error.effect, Effect::Unknown, "the container is there");
    engine.change("k8s_c_", |container| (container.exit_code, container.error) = (127, "no such file".to_owned()));
    let state = Docker::get_sandbox(plain().id).unwrap().unwrap();
    let seen = &state.containers[0];
    assert_eq!(
        (seen.phase, seen.exit_code, seen.engine_error.as_deref()),
        (Phase::Exited, Some(127), Some("no such file"))
    );
}

#[test]
fn only_the_engines_own_no_ends_an_attempt() {
    for (status, message, code) in [
        (400, "client version 1.41 is too old. Minimum supported API version is 1.44", Code::Unavailable),
        (401, "who are you?", Code::Unauthenticated),
        (403, "authorization denied by plugin", Code::PermissionDenied),
        (404, "No such container: id2", Code::Aborted),
        (409, "container is marked for removal and cannot be started", Code::Aborted),
        (429, "slowly", Code::ResourceExhausted),
        (502, "bad gateway", Code::Unavailable),
        (503, "no server is available to handle this request", Code::Unavailable),
        (504, "gateway timeout", Code::Unavailable),
        (500, "OCI runtime create failed: no such file or directory", Code::FailedPrecondition),
    ] {
        let engine = Engine::docker();
        sandboxed(&engine, &plain());
        let answer = Answer::status(status).body(serde_json::json!({ "message": message }).to_string());
        engine.instead("POST /containers/id2/start", answer);
        let error = start(&plain(), "c", 0).unwrap_err();
        assert_eq!(error.code, code, "{status} {message}");
        assert_eq!(error.reason == "StartError", code == Code::FailedPrecondition, "{status} {error}");
        // The same attempt is started again, by the version that is agreed on then.
        assert_eq!(start(&plain(), "c", 0).unwrap(), "id2");
        assert_eq!(engine.containers("k8s_c_").len(), 1);
    }
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    engine.instead("POST /containers/create", Answer::status(503).body("no server"));
    assert_eq!(start(&plain(), "c", 0).unwrap_err().code, Code::Unavailable);
}

#[test]
fn another_prefix_does_not_cut_off_pods_that_run() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    testing::configure("prefix = \"vk\"");
    let stop = || Docker::stop_container(plain().id, "c".to_owned(), 0, Duration::ZERO);
    assert_eq!((stop(), stop()), (Ok(Deletion::Stopping), Ok(Deletion::Gone)));
    start(&plain(), "c", 1).unwrap();
    assert_eq!(engine.containers("k8s_c_web_default_u_1").len(), 1, "names of one pod begin alike");
    Docker::remove_container(plain().id, "c".to_owned(), 0).unwrap();
    assert!(engine.containers("k8s_c_web_default_u_0").is_empty());
    engine.end("k8s_POD", 137);
    assert!(Docker::ensure_sandbox(plain()).unwrap().ready);
    assert_eq!(engine.containers("k8s_POD_web_default_u_1").len(), 1, "its volumes are the same");
    let mut other = plain();
    other.id.uid = "v".to_owned();
    Docker::ensure_sandbox(other).unwrap();
    assert_eq!(engine.containers("vk_POD_web_default_v_0").len(), 1);
}

#[test]
fn who_asked_for_less_goes_first_when_memory_runs_out() {
    for (resources, score) in [
        ("{}", serde_json::json!(1000)),
        (r#"{"requests":{"memory":"4M"}}"#, serde_json::json!(500)),
        (r#"{"limits":{"memory":"64Mi","cpu":"1"}}"#, serde_json::Value::Null),
    ] {
        let engine = Engine::docker();
        let web = pod(&format!(r#"{{"containers":[{{"name":"c","image":"i","resources":{resources}}}]}}"#));
        sandboxed(&engine, &web);
        start(&web, "c", 0).unwrap();
        assert_eq!(engine.containers("k8s_c_")[0].spec["HostConfig"]["OomScoreAdj"], score, "{resources}");
        assert_eq!(engine.containers("k8s_POD")[0].spec["HostConfig"].get("OomScoreAdj"), None);
    }
}

#[test]
fn an_image_of_root_is_refused_to_who_must_not_be_root() {
    let engine = Engine::docker();
    let web = pod(r#"{"securityContext":{"runAsNonRoot":true},"containers":[{"name":"c","image":"i"}]}"#);
    sandboxed(&engine, &web);
    let error = start(&web, "c", 0).unwrap_err();
    assert_eq!((error.reason.as_ref(), error.field.as_ref()), ("CreateContainerConfigError", None));
    let image = serde_json::json!({"Id": "sha256:1d", "Config": {"User": "1000"}});
    engine.0.borrow_mut().images.insert("busybox@1".to_owned(), image);
    start(&web, "c", 0).unwrap();
}

#[test]
fn an_ephemeral_container_sees_its_targets_processes() {
    let engine = Engine::docker();
    let web = pod(
        r#"{"containers":[{"name":"c","image":"i"}],"ephemeralContainers":[{"name":"debug","image":"i","targetContainerName":"c"}]}"#,
    );
    sandboxed(&engine, &web);
    assert_eq!(start(&web, "debug", 0).unwrap_err().reason, "TargetNotRunning");
    let target = start(&web, "c", 0).unwrap();
    start(&web, "debug", 0).unwrap();
    assert_eq!(engine.containers("k8s_debug_")[0].spec["HostConfig"]["PidMode"], format!("container:{target}"));
    assert_eq!(engine.0.borrow().archives.len(), 2, "its message was not there before");
}

#[test]
fn a_stop_is_the_containers_own_signal_and_then_a_kill() {
    let engine = Engine::docker();
    let web = pod(r#"{"containers":[{"name":"c","image":"i","lifecycle":{"stopSignal":"SIGQUIT"}}]}"#);
    sandboxed(&engine, &web);
    start(&web, "c", 0).unwrap();
    engine.asked();
    let stop = |seconds| Docker::stop_container(web.id.clone(), "c".to_owned(), 0, Duration::from_secs(seconds));
    assert_eq!((stop(30), stop(0), stop(0)), (Ok(Deletion::Stopping), Ok(Deletion::Stopping), Ok(Deletion::Gone)));
    let kills: Vec<String> = engine.asked().into_iter().filter(|asked| asked.contains("/kill")).collect();
    assert_eq!(kills, ["POST /containers/id2/kill?SIGQUIT", "POST /containers/id2/kill?SIGKILL"]);
    let absent = Docker::stop_container(web.id.clone(), "x".to_owned(), 0, Duration::ZERO);
    assert_eq!(absent, Ok(Deletion::Gone));
}

#[test]
fn only_what_has_ended_is_removed() {
    for engine in [Engine::docker as fn() -> Engine, Engine::podman] {
        let engine = engine();
        sandboxed(&engine, &plain());
        start(&plain(), "c", 0).unwrap();
        let remove = || Docker::remove_container(plain().id, "c".to_owned(), 0);
        assert_eq!(remove().unwrap_err().code, Code::FailedPrecondition);
        engine.end("k8s_c_", 0);
        assert_eq!((remove(), remove()), (Ok(()), Ok(())));
        assert!(engine.containers("k8s_c_").is_empty());
    }
}

#[test]
fn a_pod_is_seen_with_all_its_attempts() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    engine.end("k8s_c_", 3);
    start(&plain(), "c", 1).unwrap();
    let state = Docker::get_sandbox(plain().id).unwrap().unwrap();
    assert!(state.sandbox.ready);
    let seen: Vec<_> = state.containers.iter().map(|seen| (seen.attempt, seen.phase, seen.exit_code)).collect();
    assert_eq!(seen, [(0, Phase::Exited, Some(3)), (1, Phase::Running, None)]);
    assert_eq!(state.containers[1].image, "busybox:1");
    assert_eq!(state.containers[1].image_id.as_deref(), Some("busybox@1"));
    assert_eq!(state.containers[1].revision.as_deref(), Some("1-container"));
}

#[test]
fn all_that_a_node_owns_is_listed_and_nothing_else() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    let mut other = plain();
    other.id.uid = "v".to_owned();
    Docker::ensure_sandbox(other.clone()).unwrap();
    testing::node(|node| node.name = "other".to_owned());
    assert_eq!(Docker::list_containers(None).unwrap().sandboxes, []);
    testing::node(|node| node.name = "vk".to_owned());
    let page = Docker::list_containers(None).unwrap();
    let uids: Vec<&str> = page.sandboxes.iter().map(|sandbox| sandbox.id.uid.as_str()).collect();
    assert_eq!((uids, page.containers.len(), page.next), (vec!["u", "v"], 1, None));
    assert_eq!(Docker::list_containers(Some("u".to_owned())).unwrap().sandboxes.len(), 1);
}

#[test]
fn a_list_comes_in_pages() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    for number in 0..60 {
        let mut pod = plain();
        pod.id.uid = format!("v{number:02}");
        Docker::ensure_sandbox(pod).unwrap();
    }
    let first = Docker::list_containers(None).unwrap();
    assert_eq!((first.sandboxes.len(), first.next.as_deref()), (50, Some("v48")));
    let second = Docker::list_containers(first.next).unwrap();
    assert_eq!((second.sandboxes.len(), second.next), (11, None));
}

#[test]
fn a_pod_of_which_only_volumes_are_left_is_not_forgotten() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    engine.0.borrow_mut().containers.clear();
    let state = Docker::get_sandbox(plain().id).unwrap().unwrap();
    assert!(!state.sandbox.ready && state.containers.is_empty());
    assert_eq!(Docker::list_containers(None).unwrap().sandboxes.len(), 1);
    Docker::remove_sandbox(plain().id).unwrap();
    assert_eq!(Docker::get_sandbox(plain().id), Ok(None));
}

#[test]
fn images_are_pulled_as_the_policy_says() {
    let pull = |policy| Docker::pull_image(plain().id, "r.example/app:1".to_owned(), policy);
    let engine = Engine::docker();
    let error = pull(PullPolicy::Never).unwrap_err();
    assert_eq!((error.code, error.reason.as_ref()), (Code::NotFound, "ErrImageNeverPull"));
    assert_eq!(pull(PullPolicy::IfNotPresent).unwrap(), "sha256:1d");
    assert_eq!(
        engine.asked(),
        [
            "GET /images/r.example/app:1/json",
            "GET /images/r.example/app:1/json",
            "POST /images/create?r.example/app anonymous",
            "GET /images/r.example/app:1/json",
        ]
    );
    assert_eq!((pull(PullPolicy::IfNotPresent).is_ok(), pull(PullPolicy::Never).is_ok()), (true, true));
    assert_eq!(engine.asked().len(), 2, "it is there");
    pull(PullPolicy::Always).unwrap();
    assert_eq!(engine.asked()[0], "POST /images/create?r.example/app anonymous");
    let error = Docker::pull_image(plain().id, "No Image".to_owned(), PullPolicy::Always).unwrap_err();
    assert_eq!((error.code, error.reason.as_ref()), (Code::InvalidArgument, "InvalidImageName"));
}

#[test]
fn credentials_are_tried_one_after_the_other() {
    let engine = Engine::docker();
    let credential =
        |user: &str| Credential { server: "r.example".to_owned(), username: user.to_owned(), password: "p".to_owned() };
    testing::credentials(vec![credential("a"), credential("b")]);
    let refused = r#"{"message":"unauthorized: authentication required"}"#;
    engine.instead("POST /images/create", Answer::status(500).body(refused));
    let pull = || Docker::pull_image(plain().id, "r.example/app:1".to_owned(), PullPolicy::Always);
    pull().unwrap();
    assert_eq!(engine.asked()[..2], ["POST /images/create", "POST /images/create?r.example/app with a login"]);
    for _ in 0..2 {
        engine.instead("POST /images/create", Answer::status(500).body(refused));
    }
    assert_eq!(pull().unwrap_err().code, Code::Unauthenticated);
    assert_eq!(engine.asked().len(), 2, "it is not tried without");
}

#[test]
fn a_pull_that_fails_on_the_way_is_no_success() {
    let engine = Engine::podman();
    let body = "{\"status\":\"pulling\"}\n{\"errorDetail\":{\"message\":\"manifest unknown\"},\"error\":\"manifest unknown\"}\n";
    engine.instead("POST /images/create", Answer::status(200).body(body));
    let error = Docker::pull_image(plain().id, "app:1".to_owned(), PullPolicy::Always).unwrap_err();
    assert_eq!((error.code, error.effect), (Code::NotFound, Effect::None));
}

#[test]
fn the_node_is_the_engines_machine() {
    let engine = Engine::docker();
    let details = Docker::node_details().unwrap();
    assert_eq!(
        (details.architecture.as_deref(), details.runtime_version.as_deref()),
        (Some("amd64"), Some("docker://20.10.24"))
    );
    let capacity = || {
        Docker::capacity()
            .unwrap()
            .into_iter()
            .map(|amount| format!("{}={}", amount.resource, amount.capacity))
            .collect::<Vec<_>>()
    };
    assert_eq!(capacity(), ["cpu=2", "memory=8000000", "pods=110"]);
    testing::configure("cpu = 1\npods = 5");
    assert_eq!(capacity(), ["cpu=1", "memory=8000000", "pods=5"]);
    assert_eq!((Docker::operating_system().unwrap().as_str(), Docker::ping()), ("linux", Ok(())));
    assert!(engine.containers("").is_empty());
}

#[test]
fn the_engine_is_asked_for_its_version_once_in_a_while() {
    let _engine = Engine::docker();
    Docker::ping().unwrap();
    assert_eq!(store::keys("engine/", None).unwrap(), ["engine/engine"]);
    testing::advance(Duration::from_secs(600));
    assert!(store::keys("engine/", None).unwrap().is_empty());
}

#[test]
fn the_engine_is_asked_what_it_is_once_in_a_while() {
    let engine = Engine::podman();
    let ask = || {
        Docker::node_details().unwrap();
        assert_eq!(Docker::capacity().unwrap()[0].capacity, "2");
        assert_eq!(Docker::operating_system().unwrap(), "linux");
    };
    ask();
    ask();
    assert_eq!(engine.asked(), ["GET /info"]);
    testing::advance(Duration::from_secs(600));
    ask();
    assert_eq!(engine.asked(), ["GET /info"]);
}

#[test]
fn an_engine_that_was_exchanged_is_asked_anew() {
    let engine = Engine::docker();
    Docker::ping().unwrap();
    let body = r#"{"message":"client version 1.41 is too old. Minimum supported API version is 1.44"}"#;
    engine.instead("GET /info", Answer::status(400).body(body));
    let error = Docker::capacity().unwrap_err();
    assert_eq!((error.code, error.reason.as_ref()), (Code::Unavailable, "EngineChanged"));
    assert!(store::keys("engine/", None).unwrap().is_empty());
}

#[test]
fn the_endpoint_is_all_that_is_wanted() {
    testing::reset();
    let settings = Docker::configure().unwrap();
    assert_eq!((settings.wants.len(), settings.wants[0].target.as_str()), (1, "engine"));
    assert_eq!(settings.pod_network, PodNetwork::FromHost);
    testing::configure("endpoint = \"far\"\npod-network = \"unreachable\"");
    let settings = Docker::configure().unwrap();
    assert_eq!((settings.wants[0].target.as_str(), settings.pod_network), ("far", PodNetwork::Unreachable));
}

#[test]
fn figures_are_of_containers_and_of_the_pod() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    let page = Docker::get_stats_summary(None).unwrap();
    let told: Vec<_> = page
        .items
        .iter()
        .map(|usage| {
            (usage.container.as_deref(), usage.memory_working_set_bytes, usage.cpu, usage.network_received_bytes)
        })
        .collect();
    let second = Duration::from_secs(1);
    assert_eq!(told, [(Some("c"), Some(2000), Some(second), None), (None, Some(4000), Some(second * 2), Some(7))]);
    assert!(page.items.iter().all(|usage| usage.started.is_some()));
}

#[test]
fn a_container_without_figures_does_not_hide_those_of_others() {
    let engine = Engine::docker();
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    let containers = || {
        let items = Docker::get_stats_summary(None).map(|page| page.items);
        items.map(|items| items.into_iter().map(|usage| usage.container).collect::<Vec<_>>())
    };
    let broken =
        || Answer::status(500).body(r#"{"message":"unable to obtain cgroup stats: no such file or directory"}"#);
    engine.instead("GET /containers/id2/stats", broken());
    assert_eq!(containers(), Ok(vec![None]));
    engine.instead("GET /containers/id1/stats", broken());
    assert_eq!(containers(), Ok(vec![Some("c".to_owned()), None]));
    engine.instead("GET /containers/id1/stats", Answer::status(503).body("starting"));
    assert_eq!(containers().unwrap_err().code, Code::Unavailable, "nothing is known");
}
