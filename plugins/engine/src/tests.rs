//! Requests and answers, against an engine that the test plays.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use vk_provider::testing::{self, Answer, Received};
use vk_provider::time::Time;
use vk_provider::{Code, Effect, Error, clock};

use crate::container::ContainerSpec;
use crate::exec::ExecSpec;
use crate::image::{Login, Reference, pull_error};
use crate::logs::LogOptions;
use crate::{Engine, Failure};

/// An engine of this version that answers everything else as it is told, and what it was asked.
fn engine(newest: &'static str, mut answer: impl FnMut(&Received) -> Answer + 'static) -> Rc<RefCell<Vec<String>>> {
    testing::reset();
    let asked = Rc::new(RefCell::new(Vec::new()));
    let asks = asked.clone();
    testing::serve(move |received| {
        asks.borrow_mut().push(format!("{} {}", received.method, received.path()));
        match received.path() {
            "/_ping" => Answer::status(200).header("Api-Version", newest),
            _ => answer(&received),
        }
    });
    asked
}

fn reached(answer: impl FnMut(&Received) -> Answer + 'static) -> Engine {
    engine("1.41", answer);
    Engine::reach("engine").unwrap()
}

#[test]
fn the_version_is_agreed_on_once_and_stands_in_each_path() {
    let asked = engine("1.41", |_| Answer::status(200).body("[]"));
    for _ in 0..2 {
        Engine::reach("engine").unwrap().containers(&[("a", "b")]).unwrap();
    }
    assert_eq!(*asked.borrow(), ["GET /_ping", "GET /v1.41/containers/json", "GET /v1.41/containers/json"]);
    testing::advance(Duration::from_secs(600));
    Engine::reach("engine").unwrap();
    assert_eq!(asked.borrow().len(), 4);
}

#[test]
fn an_engine_that_is_newer_is_asked_how_far_back_it_goes() {
    let asked = engine("1.60", |_| Answer::status(200).body(r#"{"MinAPIVersion":"1.44"}"#));
    assert_eq!(Engine::reach("engine").unwrap().dialect().version.to_string(), "1.51");
    assert_eq!(*asked.borrow(), ["GET /_ping", "GET /version"]);
    engine("1.70", |_| Answer::status(200).body(r#"{"MinAPIVersion":"1.60"}"#));
    let error = Error::from(Engine::reach("engine").unwrap_err());
    assert_eq!((error.code, error.reason.as_ref()), (Code::FailedPrecondition, "EngineNotSupported"));
}

#[test]
fn what_is_no_engine_is_told() {
    engine("", |_| Answer::status(200));
    let error = Engine::reach("engine").unwrap_err();
    assert!(error.to_string().ends_with("is there an engine behind the endpoint?"), "{error}");
    testing::reset();
    assert_eq!(Error::from(Engine::reach("engine").unwrap_err()).code, Code::PermissionDenied, "nothing is granted");
}

#[test]
fn a_refusal_is_in_the_engines_words() {
    let engine = reached(|_| Answer::status(409).body("{\"message\":\"Conflict. The name\\n is taken\"}\n"));
    let failure = engine.create_container("n", &ContainerSpec::default()).unwrap_err();
    assert!(failure.is_conflict() && !failure.is_not_found());
    assert_eq!(failure.refusal().unwrap().message, "Conflict. The name is taken");
    let error = Error::from(failure);
    assert_eq!((error.code, error.effect), (Code::Aborted, Effect::None));
    let engine = reached(|_| Answer::status(502).body("<html>bad gateway</html>"));
    assert_eq!(Error::from(engine.start_container("4f").unwrap_err()).code, Code::Unavailable);
}

#[test]
fn the_same_refusal_is_the_same_text_whatever_the_ids() {
    let told = |id: &str| {
        let words = format!(
            "driver failed programming external connectivity on endpoint k8s_POD_web ({id}): Bind for 0.0.0.0:80 failed: port is \
             already allocated; image app@sha256:{}",
            "1f".repeat(32)
        );
        let engine = reached(move |_| Answer::status(500).body(serde_json::json!({"message": words}).to_string()));
        Error::from(engine.start_container(id).unwrap_err()).message
    };
    let (one, other) = (told(&"4f".repeat(32)), told(&"5a".repeat(32)));
    assert_eq!(one, other);
    assert!(one.contains("k8s_POD_web (…): Bind for 0.0.0.0:80"), "{one}");
    assert!(one.contains(&format!("sha256:{}", "1f".repeat(32))), "a digest stays: {one}");
    assert!(one.ends_with("(POST engine:/containers/…/start: 500)"), "{one}");
}

#[test]
fn a_long_refusal_keeps_its_beginning_and_its_end() {
    let script = "echo ä; ".repeat(4000);
    let body = serde_json::json!({"message": format!("exec: \"{script}\": stat {script}: no such file or directory")});
    let engine = reached(move |_| Answer::status(400).body(body.to_string()));
    let failure = engine.start_container("4f").unwrap_err();
    let message = &failure.refusal().unwrap().message;
    assert!(message.starts_with("exec: \"echo") && message.contains(" … "), "{message}");
    assert!(message.len() < 1000, "{}", message.len());
    let script = "x".repeat(5000);
    let body = serde_json::json!({"message": format!("exec: \"{script}\": stat {script}: no such file or directory")});
    let engine = reached(move |_| Answer::status(400).body(body.to_string()));
    let failure = engine.start_container("4f").unwrap_err();
    assert!(failure.refusal().unwrap().says("no such file or directory"), "{failure}");
}

#[test]
fn what_an_engine_left_out_is_told() {
    let engine = reached(|_| Answer::status(201).body(r#"{"Id":"4f","Warnings":["Limitation discarded."]}"#));
    let created = engine.create_container("n", &ContainerSpec::default()).unwrap();
    assert_eq!(created.warnings, Some(vec!["Limitation discarded.".to_owned()]));
    let engine = reached(|_| Answer::status(201).body(r#"{"Id":"4f","Warnings":null}"#));
    assert_eq!(engine.create_container("n", &ContainerSpec::default()).unwrap().warnings, None);
}

#[test]
fn what_is_not_there_is_none_and_what_is_not_known_is_an_error() {
    let engine = reached(|_| Answer::status(404).body(r#"{"message":"No such container"}"#));
    assert!(engine.container("4f").unwrap().is_none() && engine.volume("v").unwrap().is_none());
    assert!(!engine.remove_container("4f", true).unwrap() && !engine.remove_volume("v").unwrap());
    for words in ["driver failed", "lstat /var/lib/x: no such file or directory"] {
        let engine = reached(move |_| Answer::status(500).body(serde_json::json!({"message": words}).to_string()));
        assert!(engine.container("4f").is_err() && engine.volume("v").is_err(), "{words}");
    }
    let engine = reached(|_| Answer::status(200).body("<html>"));
    assert!(engine.container("4f").is_err());
}

#[test]
fn what_is_so_already_is_done() {
    let engine = reached(|_| Answer::status(304));
    engine.start_container("4f").unwrap();
}

#[test]
fn a_pull_is_asked_for_with_tag_and_login_and_read_to_its_end() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sees = seen.clone();
    let engine = reached(move |received| {
        let all = ["fromImage", "tag"].map(|name| received.parameter(name).unwrap());
        sees.borrow_mut().extend(all.into_iter().chain(received.header("x-registry-auth").map(str::to_owned)));
        Answer::status(200).body("{\"status\":\"Pulling\"}\r\n").then(
            Duration::from_secs(60),
            "{\"status\":\"Digest: sha256:1f\"}\r\n{\"status\":\"Status: Downloaded\"}\r\n",
        )
    });
    let login = Login { server: "r.example", username: "u", password: "p" };
    let digest = engine.pull_image(&Reference::parse("r.example/app").unwrap(), Some(login)).unwrap();
    assert_eq!(digest.as_deref(), Some("sha256:1f"));
    assert_eq!(*seen.borrow(), ["r.example/app".to_owned(), "latest".to_owned(), login.header().unwrap()]);
}

#[test]
fn a_pull_that_fails_in_its_middle_is_a_failure() {
    let engine = reached(|_| {
        Answer::status(200)
            .body("{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{\"message\":\"toomanyrequests: later\"}}\r\n")
    });
    let failure = engine.pull_image(&Reference::parse("app").unwrap(), None).unwrap_err();
    assert!(matches!(&failure, Failure::Refused(refusal) if refusal.status == 200));
    assert_eq!(pull_error(failure).code, Code::ResourceExhausted);
}

#[test]
fn the_end_of_a_command_is_waited_for() {
    let mut looks = 0;
    let engine = reached(move |received| {
        looks += 1;
        match (received.method.as_str(), looks) {
            ("POST", _) => Answer::status(201).body(r#"{"Id":"e"}"#),
            (_, 2..5) => Answer::status(200).body(r#"{"Running":true,"ExitCode":null}"#),
            _ => Answer::status(200).body(r#"{"Running":false,"ExitCode":7}"#),
        }
    });
    let exec = engine.create_exec("4f", &ExecSpec { cmd: vec!["x".to_owned()], ..ExecSpec::default() }).unwrap();
    assert_eq!(engine.exit_code(&exec).unwrap(), Some(7));
    let engine = reached(|_| Answer::status(200).body(r#"{"Running":true,"ExitCode":0}"#));
    let start = clock::now();
    assert_eq!(engine.exit_code("e").unwrap(), None, "0 of what runs is no code");
    assert_eq!(clock::now().since(start), Duration::from_secs(1));
}

#[test]
fn a_log_is_asked_for_with_its_times() {
    let engine = reached(|received| {
        let names = ["stdout", "stderr", "timestamps", "follow", "tail", "since"];
        let all: Vec<String> = names.iter().filter_map(|name| received.parameter(name)).collect();
        Answer::status(200).body(all.join(" "))
    });
    let options = LogOptions { tail: Some(5), since: Some(Time::from_nanos(1_500_000_000)), follow: true };
    assert_eq!(engine.container_logs("4f", options).unwrap().text(99).unwrap(), "1 1 1 1 5 1.500000000");
    assert_eq!(engine.container_logs("4f", LogOptions::default()).unwrap().text(99).unwrap(), "1 1 1 0");
}

#[test]
fn a_long_file_is_not_read_to_its_end() {
    let mut pack = crate::archive::Pack::new(Time::default());
    pack.file("message", 0o644, crate::archive::Owner::default(), &vec![b'x'; 1 << 20]).unwrap();
    let bytes = pack.finish().unwrap();
    let engine = reached(move |_| Answer::status(200).body(bytes[..70_000].to_vec()).stays_open());
    assert_eq!(engine.read_file("4f", "/message", 4096).unwrap().map(|content| content.len()), Some(4096));
}
