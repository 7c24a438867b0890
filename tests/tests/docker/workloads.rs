//! Workloads of every kind, by the real controllers.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use vk_tests::cluster::{eventually, within};
use vk_tests::engine::{Engine, tagged};

use crate::corner::{change, container, corner, nothing_left, objects, pod, put, template};

/// A job's second try comes ten seconds after the first one's end.
const JOB: Duration = Duration::from_secs(90);

fn image(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.containers.first()?.image.as_deref()
}

/// Available, up to date, and in all.
fn replicas(deployment: &Deployment) -> Option<(i32, i32, i32)> {
    let status = deployment.status.as_ref()?;
    let seen = status.observed_generation == deployment.metadata.generation;
    let count = |count: Option<i32>| count.unwrap_or_default();
    seen.then_some((count(status.available_replicas), count(status.updated_replicas), count(status.replicas)))
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_deployment_rolls_over_to_another_image_and_never_has_less_than_it_should() -> Result<()> {
    let corner = corner("deployment").await?;
    let mut serving = container("main", "mkdir /www; echo ok > /www/index.html; exec httpd -f -p 8080 -h /www");
    serving["readinessProbe"] = json!({"httpGet": {"port": 8080}, "periodSeconds": 1});
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(&corner, "web", serving),
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}},
    });
    put::<Deployment>(&corner, deployment).await?;
    let deployments = objects::<Deployment>(&corner);
    eventually("three replicas are available", || async {
        Ok((replicas(&deployments.get("web").await?) == Some((3, 3, 3))).then_some(()))
    })
    .await?;
    let mut patch =
        json!({"spec": {"template": {"spec": deployments.get("web").await?.spec.context("no spec")?.template.spec}}});
    patch["spec"]["template"]["spec"]["containers"][0]["image"] = json!(tagged(2));
    change::<Deployment>(&corner, "web", patch).await?;
    let least = AtomicI32::new(3);
    within(JOB, "it has rolled over", || async {
        let deployment = deployments.get("web").await?;
        let available = deployment.status.as_ref().and_then(|status| status.available_replicas);
        least.fetch_min(available.unwrap_or_default(), Ordering::Relaxed);
        Ok((replicas(&deployment) == Some((3, 3, 3))).then_some(()))
    })
    .await?;
    let least = least.into_inner();
    ensure!(least == 3, "only {least} were available for a while");
    let pods = eventually("the old ones are gone", || async {
        let pods = corner.pods().list(&ListParams::default()).await?.items;
        Ok((pods.len() == 3).then_some(pods))
    })
    .await?;
    ensure!(pods.iter().all(|pod| image(pod) == Some(tagged(2).as_str())), "{pods:?}");
    deployments.delete("web", &DeleteParams::foreground()).await?;
    eventually("no pod is left", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    nothing_left(&corner, Engine::shared().await?).await
}

/// Waits until a job has this condition.
async fn until_job(jobs: &kube::Api<Job>, name: &str, condition: &str) -> Result<Job> {
    within(JOB, &format!("job {name} is {condition}"), || async {
        let job = jobs.get(name).await?;
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        let is = conditions.into_iter().flatten().any(|c| c.type_ == condition && c.status == "True");
        Ok(is.then_some(job))
    })
    .await
}

fn job(corner: &vk_tests::cluster::Corner<'_>, name: &str, policy: &str, script: &str, spec: Value) -> Value {
    let mut template = template(corner, name, container("main", script));
    template["spec"]["restartPolicy"] = json!(policy);
    let mut job = json!({"metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] = template;
    job
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_job_that_fails_is_tried_again_until_its_limit() -> Result<()> {
    let corner = corner("job").await?;
    put::<Job>(&corner, job(&corner, "bad", "Never", "exit 7", json!({"backoffLimit": 1}))).await?;
    // In the pod itself: each try is an attempt of its container.
    put::<Job>(&corner, job(&corner, "again", "OnFailure", "exit 1", json!({"backoffLimit": 1}))).await?;
    let jobs = objects::<Job>(&corner);
    let bad = until_job(&jobs, "bad", "Failed").await?;
    ensure!(bad.status.context("no status")?.failed == Some(2), "one pod, and one that tried again");
    let params = ListParams::default().labels("app=bad");
    for pod in corner.pods().list(&params).await?.items {
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let code = statuses.first().and_then(|status| Some(status.state.as_ref()?.terminated.as_ref()?.exit_code));
        ensure!(code == Some(7), "{statuses:?}");
    }
    until_job(&jobs, "again", "Failed").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn an_indexed_job_runs_each_index_once() -> Result<()> {
    let corner = corner("indexed").await?;
    let spec = json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2, "backoffLimit": 0});
    let script = "echo index $JOB_COMPLETION_INDEX of $(hostname)";
    put::<Job>(&corner, job(&corner, "each", "Never", script, spec)).await?;
    let done = until_job(&objects::<Job>(&corner), "each", "Complete").await?;
    ensure!(done.status.context("no status")?.completed_indexes.as_deref() == Some("0-3"));
    let mut said = Vec::new();
    for pod in corner.pods().list(&ListParams::default()).await?.items {
        said.push(corner.log(&pod.name_any()).await?.trim().to_owned());
    }
    said.sort();
    let expected: Vec<String> = (0..4).map(|index| format!("index {index} of each-{index}")).collect();
    ensure!(said == expected, "{said:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_stateful_set_comes_up_in_order_and_its_pods_keep_their_names() -> Result<()> {
    let corner = corner("stateful").await?;
    let service = json!({"metadata": {"name": "db"}, "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]}});
    put::<Service>(&corner, service).await?;
    let script = "echo $(hostname) $(hostname -f 2>/dev/null); cat /etc/hosts; touch /tmp/ready; exec sleep 100000";
    let mut serving = container("main", script);
    // A busy engine takes seconds for a command.
    serving["readinessProbe"] =
        json!({"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "timeoutSeconds": 10});
    let set = json!({
        "metadata": {"name": "db"},
        "spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template(&corner, "db", serving)},
    });
    put::<StatefulSet>(&corner, set).await?;
    let (first, second) = (corner.running("db-0").await?, corner.running("db-1").await?);
    let conditions = first.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready").and_then(|c| c.last_transition_time);
    ensure!(ready <= second.metadata.creation_timestamp, "the second was made before the first was ready");
    corner.delete("db-0", None).await?;
    let again = corner.until("db-0", "is another one and Ready", |pod| {
        pod.uid() != first.uid() && vk_tests::cluster::pod_condition(pod, "Ready").as_deref() == Some("True")
    });
    again.await?;
    let log = corner.log("db-0").await?;
    ensure!(log.starts_with("db-0 "), "{log}");
    let fqdn = format!("db-0.db.{}.svc.cluster.local", corner.namespace);
    ensure!(log.contains(&fqdn), "{fqdn}: {log}");
    Ok(())
}

#[tokio::test]
#[ignore = "in a namespace"]
async fn a_daemon_set_has_a_pod_on_the_node_if_it_tolerates_the_taint() -> Result<()> {
    let corner = corner("daemon").await?;
    for (name, tolerations) in
        [("tolerates", json!([{"key": "virtual-kubelet.io/provider", "operator": "Exists"}])), ("does-not", json!([]))]
    {
        let mut template = template(&corner, name, container("main", "exec sleep 100000"));
        template["spec"]["tolerations"] = tolerations;
        let set = json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}});
        put::<DaemonSet>(&corner, set).await?;
    }
    let sets = objects::<DaemonSet>(&corner);
    let state = |set: &DaemonSet| {
        set.status.as_ref().map(|s| (s.desired_number_scheduled, s.number_ready, s.observed_generation))
    };
    eventually("its pod is ready", || async {
        Ok((state(&sets.get("tolerates").await?) == Some((1, 1, Some(1)))).then_some(()))
    })
    .await?;
    eventually("the other one is not wanted there", || async {
        Ok((state(&sets.get("does-not").await?) == Some((0, 0, Some(1)))).then_some(()))
    })
    .await?;
    // The node takes what was put on it by name all the same, and nothing of the other set.
    corner.create(pod(&corner, "by-name", crate::corner::idle())).await?;
    corner.running("by-name").await?;
    ensure!(corner.count(|pod| pod.name_any().starts_with("does-not")).await? == 0);
    Ok(())
}
