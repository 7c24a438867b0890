//! Logs, and readers of them.

use super::*;

#[test]
fn logs_are_the_same_for_every_reader() {
    testing::reset();
    let pod = pod("log", &[("log-lines", "3"), ("log-every", "2s")]);
    create(&pod);
    testing::advance(seconds(5));
    let all = [
        "calls create=1 update=0 delete=0 workloads=1",
        "line 1 of 3",
        "line 2 of 3",
        "line 3 of 3",
        "tick 1",
        "tick 2",
    ];
    assert_eq!(logs(&pod, Options::default()).unwrap(), all);
    assert_eq!(logs(&pod, Options { tail: Some(2), ..Options::default() }).unwrap(), all[4..]);
    assert_eq!(logs(&pod, Options { tail: Some(0), ..Options::default() }).unwrap(), [""; 0]);
    assert_eq!(
        logs(&pod, Options { since: Some(clock_start() + seconds(2)), ..Options::default() }).unwrap(),
        all[4..]
    );
    let third = clock_start() + Duration::from_nanos(2);
    assert_eq!(logs(&pod, Options { since: Some(third), ..Options::default() }).unwrap(), all[2..]);
    assert_eq!(logs(&pod, Options { limit_bytes: Some(50), ..Options::default() }).unwrap(), all[..2]);
}

#[test]
fn logs_are_followed_to_the_end_of_the_attempt() {
    testing::reset();
    let pod = pod("follow", &[("log-every", "2s"), ("run-for", "5s"), ("restart-backoff", "1s")]);
    create(&pod);
    let follow = Options { follow: true, tail: Some(0), ..Options::default() };
    assert_eq!(logs(&pod, follow).unwrap(), ["tick 1", "tick 2"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
    testing::advance(seconds(3));
    let whole = ["calls create=1 update=0 delete=0 workloads=1", "tick 1", "tick 2"];
    assert_eq!(logs(&pod, Options { previous: true, ..Options::default() }).unwrap(), whole);
    assert_eq!(logs(&pod, Options { attempt: Some(0), follow: true, ..Options::default() }).unwrap(), whole);
    assert_eq!(logs(&pod, Options::default()).unwrap(), whole[..2]);
    let error = logs(&pod, Options { attempt: Some(7), ..Options::default() }).unwrap_err();
    assert_eq!(error.message, "previous terminated container \"web\" in pod \"follow\" not found");
}

#[test]
fn a_follow_ends_with_the_pod_the_reader_or_the_call() {
    testing::reset();
    let pod = pod("end", &[("stop-after", "4s"), ("log-every", "1s")]);
    create(&pod);
    let follow = Options { follow: true, ..Options::default() };
    let id = pod.id.clone();
    testing::after(seconds(2), move || assert_eq!(Mock::delete_pod(id, None, None).unwrap(), Deletion::Stopping));
    assert_eq!(logs(&pod, follow).unwrap().len(), 1 + 6);
    assert_eq!(testing::now().since(clock_start()), seconds(6));

    create(&pod);
    let (sink, reader) = testing::pipe(3);
    Mock::get_container_logs(pod.id.clone(), "web".to_owned(), follow, sink).unwrap();
    assert_eq!(reader.entries().len(), 3);

    testing::cancel_after(seconds(5), Why::ClientGone);
    assert!(!logs(&pod, follow).unwrap().is_empty());
}

#[test]
fn a_follow_outlives_the_stores_history() {
    testing::reset();
    let followed = pod("follow", &[("log-every", "2s"), ("run-for", "5s")]);
    create(&followed);
    testing::after(seconds(1), || {
        create(&pod("other", &[]));
        testing::forget_history();
    });
    let follow = Options { follow: true, tail: Some(0), ..Options::default() };
    assert_eq!(logs(&followed, follow).unwrap(), ["tick 1", "tick 2"]);
    assert_eq!(testing::now().since(clock_start()), seconds(5));
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    testing::reset();
    let pod = pod("slow", &[("log-lines", "1200")]);
    create(&pod);
    let (sink, reader) = testing::pipe(usize::MAX);
    reader.pause(seconds(2));
    Mock::get_container_logs(pod.id.clone(), "web".to_owned(), Options::default(), sink).unwrap();
    assert_eq!(reader.entries().len(), 1201);
    assert_eq!(testing::now().since(clock_start()), seconds(4), "three writes with two pauses between them");
}

#[test]
fn a_log_that_is_not_there_is_explained() {
    testing::reset();
    let late = pod("late", &[("start-after", "9s")]);
    create(&late);
    let error = logs(&late, Options::default()).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "container \"web\" in pod \"late\" is waiting to start: ContainerCreating");
    let ask = |id, container: &str| {
        Mock::get_container_logs(id, container.to_owned(), Options::default(), testing::pipe(9).0).unwrap_err()
    };
    assert_eq!(ask(late.id.clone(), "db").code, Code::NotFound);
    assert_eq!(ask(pod("unknown", &[]).id, "web").code, Code::NotFound);
}

#[test]
fn the_environment_is_printed_and_secrets_are_not() {
    testing::reset();
    let with = |name: &str, reveal: &str| {
        let mut pod = pod(name, &[("log-env", "true"), ("reveal-secrets", reveal)]);
        let env = |name: &str, value: &str, secret| vk_provider::pod::EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
            secret,
        };
        pod.containers[0].env = vec![env("A", "1", false), env("TOKEN", "hunter2", true)];
        pod.containers[0].args = vec!["--x".to_owned(), "y".to_owned()];
        create(&pod);
        let stored =
            format!("{:?}", store::get_bytes(&format!("pods/default/{name}/u-{name}")).unwrap().unwrap().value);
        let secret = format!("{:?}", b"hunter2").trim_matches(['[', ']']).to_owned();
        (logs(&pod, Options::default()).unwrap()[1..].to_vec(), stored.contains(&secret))
    };
    assert_eq!(
        with("hidden", "false"),
        (vec!["command ".into(), "args --x y".into(), "env A=1".into(), "env TOKEN=(secret, 7 bytes)".into()], false)
    );
    let (shown, stored) = with("shown", "true");
    assert_eq!((shown[3].as_str(), stored), ("env TOKEN=hunter2", true));
}
