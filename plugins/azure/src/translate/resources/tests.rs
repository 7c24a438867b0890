use super::*;
use crate::limits::{MOST_CONFIDENTIAL, MOST_SPOT, MOST_STANDARD};
use crate::manifest::parse;

/// Requests and limits as JSON, of a pod whose containers have these resources.
fn sized(containers: &[&str], notices: &mut Vec<Notice>) -> Result<Vec<String>> {
    let containers: Vec<String> = containers
        .iter()
        .enumerate()
        .map(|(index, resources)| format!(r#"{{"name":"c{index}","resources":{resources}}}"#))
        .collect();
    let spec = parse(&format!(r#"{{"containers":[{}]}}"#, containers.join(",")));
    let sizes = of(&spec, MOST_STANDARD, notices)?;
    Ok(sizes.iter().map(|size| serde_json::to_string(size).unwrap().replace('"', "")).collect())
}

#[test]
fn requests_are_rounded_up_to_what_azure_counts_in() {
    for (resources, expected) in [
        ("{}", "{requests:{cpu:1.0,memoryInGB:1.5}}"),
        ("null", "{requests:{cpu:1.0,memoryInGB:1.5}}"),
        (r#"{"requests":{"cpu":"2","memory":"4G"}}"#, "{requests:{cpu:2.0,memoryInGB:4.0}}"),
        (r#"{"requests":{"cpu":"1001m","memory":"4Gi"}}"#, "{requests:{cpu:1.01,memoryInGB:4.3}}"),
        (r#"{"requests":{"cpu":"1290m","memory":"1.1G"}}"#, "{requests:{cpu:1.29,memoryInGB:1.1}}"),
        (r#"{"requests":{"cpu":"4"}}"#, "{requests:{cpu:4.0,memoryInGB:1.5}}"),
        (
            r#"{"requests":{"cpu":"2","memory":"4Gi"},"limits":{"cpu":"2","memory":"4Gi"}}"#,
            "{requests:{cpu:2.0,memoryInGB:4.3},limits:{cpu:2.0,memoryInGB:4.3}}",
        ),
        (
            r#"{"requests":{"cpu":"2","memory":"4Gi"},"limits":{"memory":"4Gi"}}"#,
            "{requests:{cpu:2.0,memoryInGB:4.3},limits:{memoryInGB:4.3}}",
        ),
    ] {
        let mut notices = Vec::new();
        assert_eq!(sized(&[resources], &mut notices).unwrap(), [expected], "{resources}");
        assert!(notices.is_empty(), "{resources}");
    }
}

#[test]
fn the_smallest_group_is_filled_up() {
    let small = r#"{"requests":{"cpu":"100m","memory":"128Mi"}}"#;
    for (containers, expected) in [
        (vec![small], vec!["{requests:{cpu:1.0,memoryInGB:1.0}}"]),
        (vec![small, small], vec!["{requests:{cpu:0.9,memoryInGB:0.8}}", "{requests:{cpu:0.1,memoryInGB:0.2}}"]),
        (vec![r#"{"requests":{"cpu":"0","memory":"0"}}"#], vec!["{requests:{cpu:1.0,memoryInGB:1.0}}"]),
        (
            vec![r#"{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"cpu":"100m","memory":"128Mi"}}"#],
            vec!["{requests:{cpu:1.0,memoryInGB:1.0},limits:{cpu:1.0,memoryInGB:1.0}}"],
        ),
        (vec![small, "{}"], vec!["{requests:{cpu:0.1,memoryInGB:0.2}}", "{requests:{cpu:1.0,memoryInGB:1.5}}"]),
    ] {
        let mut notices = Vec::new();
        assert_eq!(sized(&containers, &mut notices).unwrap(), expected, "{containers:?}");
        assert!(notices.is_empty(), "{containers:?}");
    }
}

#[test]
fn a_limit_lies_between_the_request_and_the_group() {
    let mut notices = Vec::new();
    let burst = r#"{"requests":{"cpu":"500m","memory":"1G"},"limits":{"cpu":"2","memory":"8G"}}"#;
    let other = r#"{"requests":{"cpu":"1","memory":"2G"}}"#;
    assert_eq!(
        sized(&[burst, other], &mut notices).unwrap(),
        ["{requests:{cpu:0.5,memoryInGB:1.0},limits:{cpu:1.5,memoryInGB:3.0}}", "{requests:{cpu:1.0,memoryInGB:2.0}}"]
    );
    let [Notice { reason: "LimitLowered", message }] = notices.as_slice() else { panic!("{notices:?}") };
    assert!(message.starts_with("container c0 is limited") && message.contains("1.5 cores and 3 GB"), "{message}");
}

#[test]
fn what_azure_does_not_give_is_refused() {
    for (resources, field) in [
        (r#"{"limits":{"nvidia.com/gpu":"1"}}"#, "limits[nvidia.com/gpu]"),
        (r#"{"requests":{"hugepages-2Mi":"2Mi"}}"#, "requests[hugepages-2Mi]"),
        (r#"{"limits":{"ephemeral-storage":"60G"}}"#, "limits[ephemeral-storage]"),
        (r#"{"requests":{"ephemeral-storage":"60G"}}"#, "requests[ephemeral-storage]"),
        (r#"{"claims":[{"name":"x"}]}"#, "claims"),
        (r#"{"requests":{"cpu":"32"}}"#, "requests[cpu]"),
        (r#"{"requests":{"memory":"241G"}}"#, "requests[memory]"),
        (r#"{"requests":{"memory":"8Ei"}}"#, "requests[memory]"),
    ] {
        let error = sized(&["{}", resources], &mut Vec::new()).unwrap_err();
        assert_eq!(error.field, Some(format!("spec.containers[1].resources.{field}")), "{error}");
    }
    let storage = |list: &str| {
        let half = format!(r#"{{"{list}":{{"ephemeral-storage":"26G"}}}}"#);
        sized(&[&half, &half], &mut Vec::new())
    };
    let field = storage("requests").unwrap_err().field;
    assert_eq!(field.as_deref(), Some("spec.containers[1].resources.requests[ephemeral-storage]"), "of all together");
    assert!(storage("limits").is_ok());
    assert!(
        sized(&[r#"{"requests":{"ephemeral-storage":"1Gi"},"limits":{"ephemeral-storage":"2Gi"}}"#], &mut Vec::new())
            .is_ok()
    );
}

#[test]
fn an_init_container_has_what_the_group_has() {
    // Of two cores and 4 GB.
    let sized = |resources: &str| {
        let spec = parse(&format!(
            r#"{{"initContainers":[{{"name":"first"}},{{"name":"second","resources":{resources}}}],"containers":[{{"name":"a","resources":
            {{"requests":{{"cpu":"1500m","memory":"3G"}}}}}},{{"name":"b","resources":{{"requests":{{"cpu":"500m","memory":"1G"}}}}}}]}}"#
        ));
        let sizes = of(&spec, MOST_STANDARD, &mut Vec::new()).map_err(|error| error.field.unwrap())?;
        Ok::<_, String>(sizes.iter().map(|size| size.requests.cpu).collect::<Vec<_>>())
    };
    for resources in [
        // As a LimitRange fills them in.
        r#"{"requests":{"cpu":"500m","memory":"512Mi"},"limits":{"cpu":"1","memory":"1Gi"}}"#,
        r#"{"requests":{"cpu":"2","memory":"4G","ephemeral-storage":"50G"}}"#,
        r#"{"limits":{"cpu":"8","memory":"32G"}}"#,
    ] {
        assert_eq!(sized(resources), Ok(vec![1.5, 0.5]), "{resources}");
    }
    for (resources, field) in [
        (r#"{"requests":{"cpu":"2001m"}}"#, "requests[cpu]"),
        (r#"{"requests":{"memory":"4Gi"}}"#, "requests[memory]"),
        (r#"{"requests":{"ephemeral-storage":"51G"}}"#, "requests[ephemeral-storage]"),
        (r#"{"limits":{"nvidia.com/gpu":"1"}}"#, "limits[nvidia.com/gpu]"),
        (r#"{"claims":[{"name":"x"}]}"#, "claims"),
    ] {
        assert_eq!(sized(resources), Err(format!("spec.initContainers[1].resources.{field}")));
    }
}

#[test]
fn the_largest_group_depends_on_its_kind() {
    for (requests, most, fits) in [
        (r#"{"cpu":"31","memory":"240G"}"#, MOST_STANDARD, true),
        (r#"{"cpu":"31","memory":"180G"}"#, MOST_CONFIDENTIAL, true),
        (r#"{"cpu":"31","memory":"181G"}"#, MOST_CONFIDENTIAL, false),
        (r#"{"cpu":"4","memory":"16G"}"#, MOST_SPOT, true),
        (r#"{"cpu":"4010m","memory":"16G"}"#, MOST_SPOT, false),
    ] {
        let spec = parse(&format!(r#"{{"containers":[{{"name":"c","resources":{{"requests":{requests}}}}}]}}"#));
        assert_eq!(of(&spec, most, &mut Vec::new()).is_ok(), fits, "{requests}");
    }
}
