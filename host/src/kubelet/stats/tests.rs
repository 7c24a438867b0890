use serde_json::json;

use super::*;
use crate::pods::object::PodObject;

fn index(names: &[&str]) -> Index {
    let index = Index::default();
    for name in names {
        let pod = json!({"metadata": {"namespace": "a", "name": name, "uid": name}});
        let received = serde_json::from_value(pod).unwrap();
        index.put(PodObject::decode(&received, None).unwrap().into());
    }
    index
}

fn usage(pod: &str, container: Option<&str>, time_ms: u64, cpu_nanoseconds: u64) -> Usage {
    Usage {
        pod: Some(PodRef { namespace: "a".into(), name: pod.into(), uid: pod.into() }),
        container: container.map(str::to_string),
        time_ms,
        cpu_nanoseconds: Some(cpu_nanoseconds),
        memory_working_set_bytes: Some(10),
        ..Usage::default()
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn a_pod_is_its_containers_unless_it_is_told() {
    let index = index(&["p", "q"]);
    let told = vec![
        usage("p", Some("y"), 5, 1),
        usage("p", Some("x"), 6, 2),
        usage("q", Some("x"), 5, 1),
        usage("q", None, 5, 9),
        usage("gone", None, 5, 100),
    ];
    let figures = Meter::default().figures(told, &index, now());
    let [p, q] = &figures.pods[..] else { panic!("{figures:?}") };
    assert_eq!((p.whole.usage.cpu_nanoseconds, p.whole.usage.memory_working_set_bytes), (Some(3), Some(20)));
    assert_eq!(p.whole.usage.time_ms, 6);
    assert_eq!(p.containers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!((q.whole.usage.cpu_nanoseconds, q.whole.usage.memory_working_set_bytes), (Some(9), Some(10)));
}

#[test]
fn a_rate_needs_two_gatherings() {
    let (meter, index) = (Meter::default(), index(&["p"]));
    let rate = |time_ms, cpu| {
        let figures = meter.figures(vec![usage("p", None, time_ms, cpu)], &index, now());
        figures.pods.first().and_then(|pod| pod.whole.nano_cores)
    };
    assert_eq!(rate(1000, 0), None);
    // Half a core for two seconds.
    assert_eq!(rate(3000, 1_000_000_000), Some(500_000_000));
    assert_eq!(rate(3000, 1_000_000_000), Some(500_000_000), "the same figures say the same");
    assert_eq!(rate(4000, 5), Some(5), "the counter began anew");
}

#[test]
fn one_container_that_starts_again_does_not_count_the_other_twice() {
    let (meter, index) = (Meter::default(), index(&["p"]));
    const HOUR: u64 = 3_600_000_000_000;
    let mut time_ms = 1000;
    let mut counted = |a, b, whole: Option<u64>| {
        time_ms += 1000;
        let mut told = vec![usage("p", Some("a"), time_ms, a), usage("p", Some("b"), time_ms, b)];
        told.extend(whole.map(|whole| usage("p", None, time_ms, whole)));
        let figures = meter.figures(told, &index, now());
        let [pod] = &figures.pods[..] else { panic!("{figures:?}") };
        let all = meter.0.lock().unwrap().pods_cpu_nanoseconds;
        assert_eq!(pod.whole.usage.cpu_nanoseconds, Some(all), "of the only pod");
        (all, pod.containers[1].1.usage.cpu_nanoseconds, pod.whole.nano_cores)
    };
    assert_eq!(counted(HOUR, 500, None), (HOUR + 500, Some(500), None));
    assert_eq!(counted(HOUR + 10, 7, None), (HOUR + 517, Some(7), Some(17)), "b began anew");
    // A whole that is told counts what no container does, and does not fall either.
    assert_eq!(counted(HOUR + 20, 7, Some(HOUR + 600)), (HOUR + 600, Some(7), Some(83)));
    assert_eq!(counted(HOUR + 20, 3, Some(HOUR + 30)), (HOUR + 603, Some(3), Some(3)));
}

#[test]
fn figures_that_cannot_be_are_no_overflow() {
    let most = |pod| Usage { memory_working_set_bytes: Some(u64::MAX), ..usage(pod, None, 1, u64::MAX) };
    let node = Meter::default().figures(vec![most("p"), most("q")], &index(&["p", "q"]), now()).node.usage;
    assert_eq!((node.cpu_nanoseconds, node.memory_working_set_bytes), (Some(u64::MAX), Some(u64::MAX)));
}

#[test]
fn the_node_is_its_pods_and_never_falls_or_is_0() {
    let (meter, index) = (Meter::default(), index(&["p", "q"]));
    let mut time = now();
    let mut node = |told| {
        time += jiff::SignedDuration::from_secs(1);
        let node = meter.figures(told, &index, time).node.usage;
        (node.cpu_nanoseconds.unwrap(), node.memory_working_set_bytes.unwrap())
    };
    let (idle, memory) = node(vec![]);
    assert!(idle > 0 && memory > 0, "this process: {idle} {memory}");
    let second = 1_000_000_000;
    let (busy, _) = node(vec![usage("p", None, 1, second), usage("q", None, 1, second)]);
    assert!(busy >= idle.max(2 * second), "{busy}");
    let (after, _) = node(vec![usage("q", None, 2, second)]);
    assert!(after >= busy, "p has ended, what it used was used: {after} {busy}");
    let (restarted, _) = node(vec![usage("q", None, 3, second / 2)]);
    assert!(restarted >= after + second / 2, "{restarted} {after}");
}

#[test]
fn a_provider_that_tells_the_node_is_believed() {
    let told =
        |cpu| Usage { time_ms: 1, cpu_nanoseconds: Some(cpu), memory_working_set_bytes: Some(7), ..Usage::default() };
    let of = |cpu| Meter::default().figures(vec![told(cpu)], &index(&[]), now()).node.usage;
    assert_eq!((of(5).cpu_nanoseconds, of(5).memory_working_set_bytes), (Some(5), Some(7)));
    assert!(of(0).cpu_nanoseconds.unwrap() > 0, "metrics-server would drop the node");
}
