//! The node, and what its pods use.

use super::*;

#[test]
fn usage_grows_with_time() {
    testing::reset();
    let spec = json!({"containers": [{"name": "web", "image": "w", "resources": {"requests": {"cpu": "500m", "memory": "64Mi"}}}]});
    create(&pod_with("busy", &[], spec));
    create(&pod("late", &[("start-after", "1h")]));
    testing::advance(seconds(10));
    let usage = Mock::get_stats_summary(None).unwrap().items;
    assert_eq!(usage.len(), 2);
    assert_eq!(usage[0].container.as_deref(), Some("web"));
    assert_eq!((usage[0].cpu, usage[0].memory_working_set_bytes), (Some(Duration::from_millis(2500)), Some(32 << 20)));
    assert_eq!((usage[1].cpu, usage[1].network_received_bytes), (usage[0].cpu, Some(2000)));
}

#[test]
fn what_a_pod_has_used_does_not_fall_when_a_container_starts_again() {
    testing::reset();
    let spec = json!({"containers": [{"name": "web", "image": "w", "resources": {"requests": {"cpu": "500m"}}}]});
    create(&pod_with("crash", &[("run-for", "6s"), ("exit-code", "1")], spec));
    testing::advance(seconds(10));
    let usage = Mock::get_stats_summary(None).unwrap().items;
    // The first restart is at once: it runs for the fourth second of its second attempt.
    let cpu: Vec<_> = usage.iter().map(|usage| usage.cpu.unwrap()).collect();
    assert_eq!(cpu, [Duration::from_secs(1), Duration::from_millis(2500)]);
}

#[test]
fn the_node_is_what_the_file_says_and_faults_follow_it() {
    testing::reset();
    assert!(Mock::configure().is_ok() && Mock::ping().is_ok());
    let capacity: Vec<String> =
        Mock::capacity().unwrap().into_iter().map(|it| format!("{}={}", it.resource, it.capacity)).collect();
    assert_eq!(capacity, ["cpu=20", "memory=100Gi", "pods=20"]);
    testing::node(|node| node.operating_system = "Windows".to_owned());
    assert_eq!(Mock::operating_system().unwrap(), "windows");
    testing::configure("cpu = \"x\"\npods = []");
    assert_eq!(Mock::configure().unwrap_err().len(), 2);
    testing::configure(
        "providerID = \"mock://r\"\n[faults]\nping = \"unavailable\"\nget-pods = \"internal\"\nchanges = \"unavailable\"",
    );
    assert_eq!(Mock::node_details().unwrap().provider_id.as_deref(), Some("mock://r"));
    assert_eq!(Mock::ping().unwrap_err().code, Code::Unavailable);
    assert_eq!(Mock::get_pods(None).unwrap_err().code, Code::Internal);
    assert_eq!(Mock::next(None, seconds(1)).unwrap_err().code, Code::Unavailable);
    assert!(Mock::stop().is_ok() && clock::now() == clock_start());
}
