//! What a pod fetches before it is made, and what its logs say of it.

use std::cell::Cell;
use std::rc::Rc;

use vk_provider::testing::Answer;

use super::*;

/// Counts the requests that come.
fn serve() -> Rc<Cell<u32>> {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    testing::serve(move |_| {
        counted.set(counted.get() + 1);
        Answer::status(200).after(seconds(3)).body("hello world\n")
    });
    count
}

#[test]
fn what_came_of_it_begins_every_log_of_the_pod() {
    testing::reset();
    let requests = serve();
    let spec =
        json!({"initContainers": [{"name": "setup", "image": "s"}], "containers": [{"name": "web", "image": "w"}]});
    let annotations =
        [("fetch", "GET http://a/\nenvironment HOME\nfile /etc/x"), ("log-lines", "1"), ("log-env", "true")];
    let pod = pod_with("curious", &annotations, spec);
    assert_eq!(create(&pod)["startTime"], "2026-11-24T10:00:03Z", "it is made when all is fetched");
    let fetched = [
        "calls create=1 update=0 delete=0 workloads=1",
        "fetch GET http://a/: 200, 12 bytes",
        "fetch environment HOME: unset",
        "fetch file /etc/x: error NotGranted",
    ];
    assert_eq!(logs(&pod, Options::default()).unwrap()[..5], [&fetched[..], &["command "]].concat());
    assert_eq!(logs_of(&pod, "setup", Options::default()).unwrap()[..4], fetched);
    create(&pod);
    Mock::update_pod(pod.clone()).unwrap();
    assert_eq!(requests.get(), 1, "a workload that is there fetches nothing again");
    assert_eq!(logs(&pod, Options::default()).unwrap()[1..4], fetched[1..]);
}

#[test]
fn a_call_that_ends_meanwhile_makes_nothing() {
    testing::reset();
    let requests = serve();
    testing::cancel_after(seconds(1), Why::Deadline);
    let pod = pod("curious", &[("fetch", "POST http://a/")]);
    let error = Mock::create_pod(pod.clone()).unwrap_err();
    assert_eq!((error.code, error.effect, requests.get()), (Code::DeadlineExceeded, Effect::None, 1));
    assert_eq!((get(&pod), testing::writes()), (None, 0));
}

#[test]
fn a_command_that_is_not_understood_refuses_the_pod() {
    testing::reset();
    let requests = serve();
    let error = Mock::create_pod(pod("curious", &[("fetch", "GET http://a/\nfetch http://a/")])).unwrap_err();
    assert_eq!((error.code, requests.get()), (Code::InvalidArgument, 0));
    assert_eq!(error.field.as_deref(), Some("metadata.annotations[mock.virtual-kubelet.io/fetch]"));
}
