//! Calls into the plugin alone, without a cluster: each with an instance of its own, the provider's store on disk.
//!
//! What a pod costs beyond this is Kubernetes' price and the host's. A call that writes waits for the disk, and no way of writing
//! is quicker than the disk's own sync, which is measured beside: `sync` writes and syncs one page of a file.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use vk_host::plugin::grants::Grants;
use vk_host::plugin::{Config, Limits, NodeInfo, Plugin};
use vk_host::provider::{Call, DesiredPod, EnvVar, Network, ObservedPod, PodRef, Provider as _, ResolvedContainer};

use crate::host;

/// Bytes of a pod's manifest: what admission, defaults and `kubectl apply` make of a pod of two containers.
const MANIFEST: usize = 8 << 10;
/// Variables of each of its containers.
const VARIABLES: usize = 16;
/// Calls at once, where they are not one after another.
const AT_ONCE: usize = 16;
/// As many as the host makes in a burst: each waits for the disk, and those that wait share its sync.
const MANY_AT_ONCE: usize = 64;
/// Bytes of a write to a file alone.
const PAGE: usize = 4 << 10;
/// Enough of them to see how long one takes.
const SYNCS: usize = 200;
/// Calls that are not counted: the first ones fault memory in.
const WARM_UP: usize = 200;
/// All pods of a measurement stay.
const PROVIDER_CONFIG: &str = "cpu = \"1000\"\nmemory = \"10Ti\"\npods = \"1000000\"\n";

/// Calls of one kind. Times are microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    operation: &'static str,
    calls: usize,
    at_once: usize,
    /// The time that all of them took, over their number.
    each: f64,
    /// The processor time of the whole process meanwhile, over their number.
    cpu: f64,
    p50: f64,
    p99: f64,
}

/// Measures so many calls of each kind, with files in a folder that is emptied first.
pub async fn measure(folder: &Path, calls: usize) -> Result<Vec<Figures>> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    let plugin = Arc::new(Plugin::load(config(folder)?).await?);
    let pinged = Arc::clone(&plugin);
    let ping = move |()| {
        let plugin = Arc::clone(&pinged);
        async move { plugin.ping().await }
    };
    let created = Arc::clone(&plugin);
    let create = move |pod| {
        let plugin = Arc::clone(&created);
        async move { plugin.create_pod(Call::uncancelled(), pod).await.map(drop::<Option<ObservedPod>>) }
    };
    let file = Arc::new(fs::File::create(folder.join("page"))?);
    let sync = move |()| {
        let file = Arc::clone(&file);
        async move { file.write_all_at(&[1; PAGE], 0).and_then(|()| file.sync_data()) }
    };
    let template = Template::new()?;
    let pods = |prefix: &str, count| (0..count).map(|index| template.pod(&format!("{prefix}-{index}"))).collect();
    time("ping", vec![(); WARM_UP], AT_ONCE, ping.clone()).await?;
    time("create-pod", pods("warm-up", WARM_UP), AT_ONCE, create.clone()).await?;
    let mut figures = vec![time("ping", vec![(); calls], 1, ping.clone()).await?];
    for (prefix, at_once) in [("one", 1), ("some", AT_ONCE), ("many", MANY_AT_ONCE)] {
        figures.push(time("create-pod", pods(prefix, calls), at_once, create.clone()).await?);
    }
    figures.push(time("sync", vec![(); calls.min(SYNCS)], 1, sync).await?);
    plugin.shutdown().await;
    Ok(figures)
}

/// A table for people.
pub fn markdown(figures: &[Figures]) -> String {
    let mut text = format!(
        "calls into the mock, each on an instance of its own, a pod's manifest being {MANIFEST} bytes and the store on disk:\n\n\
         | call | at once | calls | µs a call | p50 / p99 µs | CPU µs a call |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for Figures { operation, calls, at_once, each, cpu, p50, p99 } in figures {
        text.push_str(&format!("| {operation} | {at_once} | {calls} | {each:.0} | {p50:.0} / {p99:.0} | {cpu:.0} |\n"));
    }
    text
}

fn config(folder: &Path) -> Result<Config> {
    let provider_config: PathBuf = folder.join("mock.toml");
    fs::write(&provider_config, PROVIDER_CONFIG)?;
    Ok(Config {
        file: host::plugin("mock")?,
        provider_config: Some(provider_config),
        grants: Grants::default(),
        state_dir: folder.join("state"),
        cache_dir: host::target().join("compiled"),
        node: NodeInfo {
            name: "bench".into(),
            cluster_id: "bench".into(),
            cluster_domain: "cluster.local".into(),
            internal_ip: "127.0.0.1".into(),
            operating_system: "linux".into(),
            ..NodeInfo::default()
        },
        limits: Limits::default(),
    })
}

/// Makes a call with each input, from tasks that each make the next one when one has answered. The inputs are made before, so
/// that they are no part of what is measured.
async fn time<T, F, E>(
    operation: &'static str,
    inputs: Vec<T>,
    at_once: usize,
    call: impl Fn(T) -> F + Clone + Send + 'static,
) -> Result<Figures>
where
    T: Send + 'static,
    F: Future<Output = Result<(), E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let calls = inputs.len();
    let inputs = Arc::new(Mutex::new(inputs.into_iter()));
    let mut tasks = JoinSet::new();
    let (cpu, began) = (processor_time()?, Instant::now());
    for _ in 0..at_once {
        let (inputs, call) = (Arc::clone(&inputs), call.clone());
        tasks.spawn(async move {
            let mut took = Vec::with_capacity(calls);
            while let Some(input) = next(&inputs) {
                let began = Instant::now();
                call(input).await?;
                took.push(began.elapsed());
            }
            Ok::<_, E>(took)
        });
    }
    let mut took: Vec<Duration> = Vec::with_capacity(calls);
    while let Some(task) = tasks.join_next().await {
        took.extend(task?.with_context(|| format!("{operation} failed"))?);
    }
    let (whole, cpu) = (began.elapsed(), processor_time()?.saturating_sub(cpu));
    took.sort();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let at = |percent: usize| {
        let rank = (took.len() * percent).div_ceil(100).saturating_sub(1);
        micros(took.get(rank).copied().unwrap_or_default())
    };
    let over_all = |time| micros(time) / calls.max(1) as f64;
    Ok(Figures { operation, calls, at_once, each: over_all(whole), cpu: over_all(cpu), p50: at(50), p99: at(99) })
}

/// Of all threads of this process; `/proc` counts whole hundredths of a second.
fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn next<T>(inputs: &Mutex<std::vec::IntoIter<T>>) -> Option<T> {
    inputs.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// What all pods have in common, made once: it is no part of what is measured.
struct Template {
    manifest: Value,
    containers: Vec<ResolvedContainer>,
}

impl Template {
    fn new() -> Result<Self> {
        let variables = |value: fn(usize) -> Value| -> Vec<Value> { (0..VARIABLES).map(value).collect() };
        let env = variables(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value of setting {n}")}));
        let probe = json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1});
        let container = |name: &str| {
            json!({
                "name": name, "image": format!("registry.example.com/team/{name}:1.27.3"), "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}], "env": env,
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
                "livenessProbe": probe, "readinessProbe": probe,
                "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}],
            })
        };
        let mut manifest = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "", "namespace": "bench", "uid": "",
                "labels": {"app.kubernetes.io/name": "web", "pod-template-hash": "6d4cf56db6"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": ""},
            },
            "spec": {
                "containers": [container("web"), container("proxy")],
                "nodeName": "bench", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
                "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}}],
                "tolerations": [{"operator": "Exists"}],
            },
        });
        // What `kubectl apply` keeps is the rest.
        let rest = MANIFEST.checked_sub(manifest.to_string().len()).context("the manifest is too large already")?;
        let kept = manifest.pointer_mut("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration");
        *kept.context("the annotation is there")? = "x".repeat(rest).into();
        ensure!(manifest.to_string().len() == MANIFEST, "the manifest is not {MANIFEST} bytes");
        let variable =
            |n| EnvVar { name: format!("SETTING_{n}"), value: format!("value of setting {n}"), secret: false };
        let containers = ["web", "proxy"].map(|name| ResolvedContainer {
            name: name.into(),
            command: Vec::new(),
            args: Vec::new(),
            env: (0..VARIABLES).map(variable).collect(),
            secret_args: false,
            revision: "c1".into(),
            late: false,
        });
        Ok(Self { manifest, containers: containers.into() })
    }

    /// Another pod, of this UID.
    fn pod(&self, uid: &str) -> DesiredPod {
        let mut manifest = self.manifest.clone();
        for field in ["name", "uid"] {
            if let Some(value) = manifest.pointer_mut(&format!("/metadata/{field}")) {
                *value = uid.into();
            }
        }
        DesiredPod {
            id: PodRef { namespace: "bench".into(), name: uid.into(), uid: uid.into() },
            revision: "r1".into(),
            manifest: manifest.to_string().into(),
            containers: self.containers.clone(),
            network: Network::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_pod_is_as_large_as_it_is_said_to_be() {
        let pod = Template::new().unwrap().pod("one-1");
        assert_eq!(pod.manifest.len(), MANIFEST + 2 * "one-1".len());
        let manifest: Value = serde_json::from_str(&pod.manifest).unwrap();
        assert_eq!(manifest.pointer("/metadata/uid"), Some(&json!("one-1")));
        assert_eq!(manifest.pointer("/spec/containers/1/env/15/name"), Some(&json!("SETTING_15")));
    }

    #[tokio::test]
    async fn each_call_is_made_once() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let figures = time("nothing", (0..100).collect(), AT_ONCE, move |index: usize| {
            counted.fetch_add(index, Ordering::Relaxed);
            async { Ok::<_, std::io::Error>(()) }
        });
        let figures = figures.await.unwrap();
        assert_eq!((made.load(Ordering::Relaxed), figures.calls), (99 * 100 / 2, 100));
        assert!(figures.p50 <= figures.p99);
    }
}
