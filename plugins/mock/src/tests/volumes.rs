//! What the mock asks the cluster and tells it, and what its logs say of that.

use vk_provider::cluster::{Credential, File, Files};
use vk_provider::pod::{EnvVar, ResolvedContainer};
use vk_provider::testing::Event;

use super::*;

const LINES: (&str, &str) = ("log-volumes", "true");
const CALLS: &str = "calls create=1 update=0 delete=0 workloads=1";
/// SHA-256 of "abc" (FIPS 180-4).
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// SHA-256 of nothing.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn file(path: &str, content: &[u8]) -> File {
    File { path: path.to_owned(), mode: 0o644, uid: None, gid: None, content: content.to_vec(), secret: false }
}

fn holds(volume: &str, files: Vec<File>) {
    testing::volume(volume, Ok(Files { revision: "1".to_owned(), files, expires_ms: None }));
}

/// A pod of one container, `web`, with a volume of each kind that has files, and one that has none.
fn mounts(name: &str, annotations: &[(&str, &str)]) -> DesiredPod {
    let volumes = json!([
        {"name": "conf", "configMap": {"name": "c"}},
        {"name": "keys", "secret": {"secretName": "s"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "about", "downwardAPI": {}},
        {"name": "access", "projected": {"sources": null}},
    ]);
    pod_with(name, annotations, json!({"containers": [{"name": "web", "image": "nginx:1"}], "volumes": volumes}))
}

/// All volumes that have files are empty.
fn all_are_empty() {
    ["conf", "keys", "about", "access"].into_iter().for_each(|volume| holds(volume, Vec::new()));
}

fn update(pod: &DesiredPod, volume: &str) -> Result<(), Error> {
    // As the host does: nothing is resolved for it.
    let pod = DesiredPod { containers: Vec::new(), ..pod.clone() };
    Mock::update_volume(pod, volume.to_owned())
}

fn busy() -> Error {
    Error::unavailable("ApiServerDown", "it does not answer").field("spec.volumes[0]").retry_after(seconds(7))
}

fn volume(pod: &DesiredPod, volume: &str) -> Vec<String> {
    let of =
        |line: &String| [format!("volume {volume} "), format!("file {volume} ")].iter().any(|it| line.starts_with(it));
    logs(pod, Options::default()).unwrap().into_iter().filter(of).collect()
}

#[test]
fn every_log_of_the_pod_shows_its_volumes_in_the_order_of_the_spec() {
    testing::reset();
    all_are_empty();
    holds(
        "conf",
        vec![
            file("b", "abc".as_bytes()),
            File { mode: 0o400, uid: Some(1000), gid: Some(2000), ..file("a/empty", b"") },
        ],
    );
    let expires_ms = Some(1_795_514_400_000);
    testing::volume("access", Ok(Files { revision: "1".to_owned(), files: Vec::new(), expires_ms }));
    let pod = mounts("web", &[LINES, ("log-env", "true"), ("log-lines", "1")]);
    create(&pod);
    let expected = [
        CALLS.to_owned(),
        "command ".to_owned(),
        "args ".to_owned(),
        "volume conf updates=0 expires=- files=2".to_owned(),
        format!("file conf b 0644 - - {ABC} \"abc\""),
        format!("file conf a/empty 0400 1000 2000 {NOTHING} \"\""),
        "volume keys updates=0 expires=- files=0".to_owned(),
        "volume about updates=0 expires=- files=0".to_owned(),
        "volume access updates=0 expires=1795514400000 files=0".to_owned(),
        "line 1 of 1".to_owned(),
    ];
    assert_eq!(logs(&pod, Options::default()).unwrap(), expected);
}

#[test]
fn any_content_is_one_line_and_secrets_are_not_even_stored() {
    testing::reset();
    all_are_empty();
    let files = vec![
        file("text", "a\n\"ü\"".as_bytes()),
        file("bytes", &[0xff, 0x00]),
        File { secret: true, ..file("key", b"hunter2") },
    ];
    holds("keys", files);
    let shown = |name: &str, reveal: &str| {
        let pod = mounts(name, &[LINES, ("reveal-secrets", reveal)]);
        create(&pod);
        update(&pod, "keys").unwrap();
        let contents = volume(&pod, "keys").split_off(1);
        let contents: Vec<String> =
            contents.iter().map(|line| line.splitn(8, ' ').nth(7).unwrap().to_owned()).collect();
        let stored = store::get_bytes(&backend::key("pods/", &pod.id)).unwrap().unwrap().value;
        (contents, String::from_utf8(stored).unwrap().contains("hunter2"))
    };
    let (text, bytes) = (r#""a\n\"ü\"""#, "hex:ff00");
    assert_eq!(shown("hidden", "false"), ([text, bytes, "(secret, 7 bytes)"].map(str::to_owned).to_vec(), false));
    assert_eq!(shown("shown", "true"), ([text, bytes, "\"hunter2\""].map(str::to_owned).to_vec(), true));
}

#[test]
fn a_pod_waits_for_its_volumes_and_the_host_s_error_is_the_answer() {
    testing::reset();
    all_are_empty();
    testing::volume("keys", Err(busy()));
    let pod = mounts("web", &[LINES]);
    assert_eq!(Mock::create_pod(pod.clone()).unwrap_err(), busy().effect_none());
    assert_eq!((get(&pod), testing::writes()), (None, 0));
    all_are_empty();
    create(&pod);
    testing::volume("keys", Err(busy()));
    create(&pod);
    assert_eq!(counted(&pod).made, 1, "for a workload that is there nothing is asked");
}

#[test]
fn a_pod_that_does_not_want_it_asks_for_nothing() {
    testing::reset();
    testing::volume("conf", Err(busy()));
    let pod = mounts("web", &[]);
    create(&pod);
    update(&pod, "conf").unwrap();
    assert_eq!(logs(&pod, Options::default()).unwrap(), [CALLS]);
    assert_eq!(counted(&pod).volume, 0);
}

#[test]
fn an_update_replaces_the_files_of_one_volume() {
    testing::reset();
    all_are_empty();
    let pod = mounts("web", &[LINES]);
    create(&pod);
    holds("conf", vec![file("a", b"abc")]);
    holds("keys", vec![file("a", b"abc")]);
    update(&pod, "conf").unwrap();
    let now = |updates: u32| {
        [format!("volume conf updates={updates} expires=- files=1"), format!("file conf a 0644 - - {ABC} \"abc\"")]
    };
    assert_eq!(volume(&pod, "conf"), now(1));
    assert_eq!(volume(&pod, "keys"), ["volume keys updates=0 expires=- files=0"]);
    update(&pod, "conf").unwrap();
    assert_eq!(volume(&pod, "conf"), now(2), "it is counted, the same or not");
    Mock::update_pod(pod.clone()).unwrap();
    assert_eq!(volume(&pod, "conf"), now(2), "an update of the pod leaves them alone");
    testing::volume("conf", Err(busy()));
    testing::new_call();
    assert_eq!(update(&pod, "conf"), Err(busy().effect_none()));
    assert_eq!(volume(&pod, "conf"), now(2));
}

#[test]
fn an_update_of_what_is_not_there_says_so() {
    testing::reset();
    all_are_empty();
    let pod = mounts("web", &[LINES]);
    let error = update(&pod, "conf").unwrap_err();
    assert_eq!((error.code, error.reason.as_ref()), (Code::NotFound, "PodNotFound"));
    create(&pod);
    testing::volume("scratch", Err(busy()));
    let writes = testing::writes();
    assert_eq!((update(&pod, "scratch"), update(&pod, "none")), (Ok(()), Ok(())));
    assert_eq!(testing::writes(), writes);
    Mock::delete_pod(pod.id.clone(), None, None).unwrap();
    assert_eq!(update(&pod, "conf").unwrap_err().code, Code::NotFound);
}

#[test]
fn faults_strike_updates_of_all_volumes_together() {
    testing::reset();
    all_are_empty();
    let busy = mounts("busy", &[LINES, ("volume-fault", "unavailable times=2")]);
    create(&busy);
    let code = |pod: &DesiredPod, volume: &str| update(pod, volume).map_err(|error| error.code);
    let calls = ["conf", "keys", "conf"].map(|volume| code(&busy, volume));
    assert_eq!(calls, [Err(Code::Unavailable), Err(Code::Unavailable), Ok(())]);
    assert_eq!(volume(&busy, "conf"), ["volume conf updates=1 expires=- files=0"]);
    assert_eq!(counted(&busy).volume, 3);

    let never = mounts("never", &[("volume-fault", "unimplemented")]);
    create(&never);
    assert_eq!(code(&never, "conf"), Err(Code::Unimplemented));

    let lost = mounts("lost", &[LINES, ("volume-fault", "lost")]);
    create(&lost);
    assert_eq!(update(&lost, "conf").unwrap_err().effect, Effect::Unknown);
    assert_eq!(volume(&lost, "conf"), ["volume conf updates=1 expires=- files=0"], "it acts first");
}

#[test]
fn a_pod_that_ends_by_itself_keeps_its_end_over_an_update() {
    testing::reset();
    all_are_empty();
    let pod = mounts("web", &[LINES, ("run-for", "5s")]);
    create(&pod);
    let cursor = listed();
    update(&pod, "conf").unwrap();
    let cursor = next(cursor, 60).cursor;
    assert_eq!(told(&next(cursor, 60)), ["web Running"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
}

#[test]
fn credentials_are_shown_for_each_image_before_the_volumes() {
    testing::reset();
    all_are_empty();
    let credential = |username: &str, password: &str| Credential {
        server: "registry.example:5000".to_owned(),
        username: username.to_owned(),
        password: password.to_owned(),
    };
    testing::credentials(vec![credential("team", "hunter2"), credential("", "token")]);
    let shown = |name: &str, annotations: &[(&str, &str)]| {
        let containers = json!([{"name": "web", "image": "a/b:1"}, {"name": "db", "image": "c"}]);
        let init = json!([{"name": "setup", "image": "none"}]);
        let volumes = json!([{"name": "conf", "configMap": {"name": "c"}}]);
        let spec = json!({"containers": containers, "initContainers": init, "volumes": volumes});
        let pod = pod_with(name, annotations, spec);
        create(&pod);
        Mock::update_pod(pod.clone()).unwrap();
        logs_of(&pod, "db", Options::default()).unwrap().split_off(1)
    };
    assert_eq!(
        shown("hidden", &[("log-credentials", "true"), LINES]),
        [
            "credential a/b:1 registry.example:5000 team (secret, 7 bytes)",
            "credential a/b:1 registry.example:5000 - (secret, 5 bytes)",
            "credential c registry.example:5000 team (secret, 7 bytes)",
            "credential c registry.example:5000 - (secret, 5 bytes)",
            "volume conf updates=0 expires=- files=0",
        ]
    );
    let revealed = shown("shown", &[("log-credentials", "true"), ("reveal-secrets", "true")]);
    assert_eq!(
        revealed[..2],
        ["credential a/b:1 registry.example:5000 team hunter2", "credential a/b:1 registry.example:5000 - token"]
    );
    testing::credentials(Vec::new());
    assert!(shown("none", &[("log-credentials", "true")]).is_empty());
}

#[test]
fn values_that_need_the_ip_are_asked_for_with_it() {
    testing::reset();
    let mut pod = pod("late", &[("log-env", "true"), ("ip", "10.1.2.3")]);
    pod.containers[0].late = true;
    assert_eq!(Mock::create_pod(pod.clone()).unwrap_err().code, Code::NotFound, "the cluster's answer is none");
    assert_eq!(testing::writes(), 0);
    let answer = |ip: &str| {
        let env = vec![EnvVar { name: "IP".to_owned(), value: ip.to_owned(), secret: false }];
        let args = vec![format!("--listen={ip}")];
        testing::resolved(ResolvedContainer { env, args, late: false, ..pod.containers[0].clone() });
    };
    let shown = |ip: &str| ["command ".to_owned(), format!("args --listen={ip}"), format!("env IP={ip}")];
    answer("10.1.2.3");
    create(&pod);
    assert_eq!(logs(&pod, Options::default()).unwrap()[1..], shown("10.1.2.3"));
    answer("10.9.9.9");
    create(&pod);
    assert_eq!(
        logs(&pod, Options::default()).unwrap()[1..],
        shown("10.1.2.3"),
        "a workload that is there has its values"
    );
    Mock::update_pod(pod.clone()).unwrap();
    assert_eq!(logs(&pod, Options::default()).unwrap()[1..], shown("10.9.9.9"), "an update brings new ones");
}

#[test]
fn an_event_is_told_once_for_each_workload() {
    testing::reset();
    let pod =
        pod("web", &[("event", "RackDegraded one of  two disks is gone"), ("create-fault", "unavailable times=1")]);
    assert!(Mock::create_pod(pod.clone()).is_err() && testing::events().is_empty());
    create(&pod);
    create(&pod);
    let (reason, message) = ("RackDegraded".to_owned(), "one of  two disks is gone".to_owned());
    assert_eq!(testing::events(), [Event { pod: pod.id, warning: true, reason, message }]);
}
