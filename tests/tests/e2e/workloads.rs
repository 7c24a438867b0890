//! Pods that controllers make: Deployments, Jobs, and the scheduler's part.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Toleration;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vk_tests::cluster::{Corner, condition, eventually, mock, phase, pod_condition};

/// A pod template that only the corner's node runs.
fn template(corner: &Corner<'_>, annotations: Value) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}, "annotations": mock(annotations)},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": corner.host.node()},
            "tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}],
            "containers": [{"name": "main", "image": "mock:1"}],
        },
    })
}

#[tokio::test]
async fn a_deployment_rolls_out_scales_updates_and_goes() -> Result<()> {
    let corner = Corner::new("deployment").await?;
    let deployments: Api<Deployment> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let deployment = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template(&corner, json!({}))},
    });
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    let ready = |wanted: i32| {
        let deployments = deployments.clone();
        async move {
            eventually(&format!("{wanted} replicas are available and up to date"), || async {
                let deployment = deployments.get("web").await?;
                let generation = deployment.metadata.generation;
                let status = deployment.status.unwrap_or_default();
                let now = (
                    status.available_replicas.unwrap_or(0),
                    status.updated_replicas.unwrap_or(0),
                    status.replicas.unwrap_or(0),
                );
                Ok((status.observed_generation == generation && now == (wanted, wanted, wanted)).then_some(()))
            })
            .await
        }
    };
    ready(3).await?;
    for replicas in [5, 2] {
        let scale = json!({"spec": {"replicas": replicas}});
        deployments.patch("web", &PatchParams::default(), &Patch::Merge(&scale)).await?;
        ready(replicas).await?;
    }
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "mock:2"}]}}}});
    deployments.patch("web", &PatchParams::default(), &Patch::Strategic(&image)).await?;
    ready(2).await?;
    eventually("only pods of the new image are left", || async {
        let pods = corner.pods().list(&kube::api::ListParams::default()).await?.items;
        let new = |pod: &k8s_openapi::api::core::v1::Pod| {
            pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|c| c.image.as_deref())
                == Some("mock:2")
        };
        Ok((pods.len() == 2 && pods.iter().all(new)).then_some(()))
    })
    .await?;
    deployments.delete("web", &DeleteParams::foreground()).await?;
    eventually("no pod is left", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await
}

#[tokio::test]
async fn a_job_runs_to_completion_and_a_failing_one_is_tried_again() -> Result<()> {
    let corner = Corner::new("job").await?;
    let jobs: Api<Job> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let job = |name: &str, code: &str, completions: u32, limit: u32| {
        let mut template = template(&corner, json!({"run-for": "200ms", "exit-code": code}));
        template["spec"]["restartPolicy"] = json!("Never");
        let spec = json!({"completions": completions, "parallelism": 2, "backoffLimit": limit, "template": template});
        json!({"metadata": {"name": name}, "spec": spec})
    };
    // One completion of "bad", so that its second pod can only be another try.
    for (name, code, completions, limit, wanted) in [("good", "0", 3, 0, "Complete"), ("bad", "1", 1, 1, "Failed")] {
        let job = serde_json::from_value(job(name, code, completions, limit))?;
        jobs.create(&PostParams::default(), &job).await?;
        eventually(&format!("job {name} is {wanted}"), || async {
            let status = jobs.get(name).await?.status.unwrap_or_default();
            let is = status.conditions.iter().flatten().any(|c| c.type_ == wanted && c.status == "True");
            Ok(is.then_some(()))
        })
        .await?;
    }
    let status = jobs.get("good").await?.status.context("no status")?;
    assert_eq!(status.succeeded, Some(3));
    let status = jobs.get("bad").await?.status.context("no status")?;
    assert_eq!(status.failed, Some(2), "one pod, and one that tried again");
    Ok(())
}

#[tokio::test]
async fn the_taint_keeps_pods_away_that_do_not_tolerate_it() -> Result<()> {
    let corner = Corner::new("taint").await?;
    let node = corner.node_ready().await?;
    assert_eq!(condition(&node, "Ready").as_deref(), Some("True"));
    let mut pod = json!({"metadata": {"name": "intolerant"}, "spec": template(&corner, json!({}))["spec"]});
    pod["spec"]["tolerations"] = json!([]);
    corner.create(pod).await?;
    let pod = corner
        .until("intolerant", "is not scheduled", |pod| pod_condition(pod, "PodScheduled").as_deref() == Some("False"))
        .await?;
    assert_eq!(phase(&pod), "Pending");
    // Nothing else keeps it away: the scheduler does not name the taint, but a toleration of this one is all that it takes.
    let mut tolerations = pod.spec.and_then(|spec| spec.tolerations).unwrap_or_default();
    let (key, operator) = (Some("virtual-kubelet.io/provider".into()), Some("Exists".into()));
    tolerations.push(Toleration { key, operator, ..Toleration::default() });
    let tolerant = json!({"spec": {"tolerations": tolerations}});
    corner.pods().patch("intolerant", &PatchParams::default(), &Patch::Merge(&tolerant)).await?;
    corner.running("intolerant").await?;
    Ok(())
}
