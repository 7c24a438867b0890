//! Servers that misbehave, all at once: what asks them is cut with its class and says so, and nothing else notices.
//!
//! It takes a little more than a minute: an answer that goes on, a byte a second, is cut by nothing but the end of the call, and a
//! create has 60 s.

mod servers;

use std::fs;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::{Either, select};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use vk_tests::cluster::{Corner, condition, eventually, phase, waiting_reason, within};
use vk_tests::host::{Host, HostConfig};
use vk_tests::process::Process;

use self::servers::{Deed, Server};
use super::endpoints::Kubelet;

/// Pods that ask the same server.
const PODS: usize = 3;
/// Until all have told how they were cut: the 60 s of a create, and what a busy machine adds.
const CUT: Duration = Duration::from_secs(120);
/// Until pods are gone whose creates hang: less than those would take by themselves.
const GONE: Duration = Duration::from_secs(30);
/// A short call takes 32 MiB of a body; the kernel's buffers hold some more of it.
const TAKEN: usize = 128 << 20;
/// Resident memory of the host at its peak, in MiB: a quarter of one body.
const PEAK: f64 = 256.0;

/// One kind of misbehaviour.
struct Case {
    name: &'static str,
    server: Server,
    /// What its pods wait for.
    reason: &'static str,
    /// What is cut.
    url: String,
}

/// All of them, and the servers that nobody may reach.
struct Cases {
    all: Vec<Case>,
    forbidden: [Server; 2],
    /// The second one by its name, which is granted; its address is not.
    by_name: String,
}

impl Cases {
    async fn new() -> Result<Self> {
        let address = Server::at("127.0.0.2", Deed::Silence).await?;
        let name = Server::new(Deed::Silence).await?;
        let by_name = format!("http://localhost:{}", name.address.port());
        let mut all = Vec::new();
        for (name, deed, reason) in [
            ("trickle", Deed::Trickle, "DeadlineExceeded"),
            ("announced", Deed::Gigabyte { announced: true }, "HTTPResponseBodySize"),
            ("gigabyte", Deed::Gigabyte { announced: false }, "HTTPResponseBodySize"),
            ("headers", Deed::Headers, "HTTPResponseHeaderSectionSize"),
            ("silence", Deed::Silence, "HTTPResponseTimeout"),
            ("reset", Deed::Reset, "ConnectionTerminated"),
            ("address", Deed::Redirect(format!("{}/", address.origin())), "HTTPRequestDenied"),
            ("name", Deed::Redirect(format!("{by_name}/")), "DestinationIPProhibited"),
        ] {
            let there = if let Deed::Redirect(there) = &deed { Some(there.clone()) } else { None };
            let server = Server::new(deed).await?;
            let url = there.unwrap_or_else(|| format!("{}/", server.origin()));
            all.push(Case { name, server, reason, url });
        }
        Ok(Self { all, forbidden: [address, name], by_name })
    }

    /// A host that may ask all of them, and go on to the name.
    fn granted(&self, mut config: HostConfig) -> HostConfig {
        let origins = self.all.iter().map(|case| case.server.origin()).chain([self.by_name.clone()]);
        let origins: Vec<String> = origins.collect();
        let wants: Vec<String> = origins.iter().map(|origin| format!("http {origin}")).collect();
        config.provider_config.get_or_insert_default().push_str(&format!("wants = {wants:?}\n"));
        origins.iter().fold(config, |config, origin| config.flag("--grant").flag(format!("http={origin}")))
    }

    fn of(&self, name: &str) -> Result<&Server> {
        Ok(&self.all.iter().find(|case| case.name == name).context("no such case")?.server)
    }
}

impl Case {
    fn pods(&self) -> impl Iterator<Item = String> {
        (0..PODS).map(|number| format!("{}-{number}", self.name))
    }

    fn command(&self) -> String {
        format!("follow {}/", self.server.origin())
    }

    fn is_told_in(&self, text: &str) -> bool {
        text.contains(self.reason) && text.contains(&format!("GET {}", self.url))
    }

    fn is_told_by(&self, pod: &Pod) -> bool {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let waits = conditions.iter().find(|condition| condition.type_ == "PodReadyToStartContainers");
        phase(pod) == "Pending"
            && waiting_reason(pod).as_deref() == Some(self.reason)
            && waits.and_then(|condition| condition.reason.as_deref()) == Some(self.reason)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_misbehave_are_cut_and_stop_neither_heartbeat_nor_other_pods() -> Result<()> {
    let cases = Cases::new().await?;
    let corner = Corner::with("hostile", |config| cases.granted(config)).await?;
    let began = Timestamp::now();
    for case in &cases.all {
        for name in case.pods() {
            let annotations = json!({"fetch": case.command(), "fetch-required": "true"});
            corner.create(corner.pod(&name, annotations)).await?;
        }
    }
    let made = come_and_go_until(&corner, all_tell(&corner, &cases)).await?;
    let ended = Timestamp::now();
    assert!(made >= 5, "only {made} ordinary pods came and went");
    let longest = corner.longest_without_renewal(began, ended)?;
    assert!(longest <= SignedDuration::from_secs(15), "{longest:?} without a renewal");
    let node = Api::<Node>::all(corner.client.clone()).get(corner.host.node()).await?;
    for kind in ["Ready", "ProviderReachable"] {
        assert_eq!(condition(&node, kind).as_deref(), Some("True"), "{kind}");
    }
    a_log_tells_it_too(&corner, &cases).await?;
    the_operator_is_told(&corner, &cases).await?;
    // Those that take long hang again: all of it can be deleted meanwhile, and nothing is left open.
    eventually("slow servers are asked again", || async {
        Ok((cases.of("trickle")?.open() > 0 && cases.of("silence")?.open() > 0).then_some(()))
    })
    .await?;
    nothing_is_left(&corner, &cases).await?;
    for Case { name, server, .. } in &cases.all {
        // One that is cut may be seen to close a little after the next one has come.
        assert!(server.most_open() <= 2 * PODS, "{name} has had {} connections at once", server.most_open());
        assert!(server.most_taken() <= TAKEN, "{name}: {} bytes of an answer were taken", server.most_taken());
    }
    assert_eq!(cases.forbidden.each_ref().map(Server::connections), [0, 0]);
    let peak = process(&corner.host)?.usage()?.peak;
    assert!(peak > 0.0 && peak < PEAK, "{peak} MiB");
    let mut host = corner.host;
    assert!(host.stop()?.success());
    Ok(())
}

/// The process of a host, by its directory, which no other one has.
fn process(host: &Host) -> Result<Process> {
    let directory = host.config().state_dir.as_os_str().as_encoded_bytes();
    let is_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == directory)
    };
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Process::of({ pids }.find(is_it).context("the host does not run")?)
}

/// Lets ordinary pods come and go until `end`, and returns how many did.
async fn come_and_go_until(corner: &Corner<'_>, end: impl Future<Output = Result<()>>) -> Result<usize> {
    let (mut end, mut made) = (pin!(end), 0);
    loop {
        match select(end, pin!(comes_and_goes(corner, made))).await {
            Either::Left((ended, _)) => return ended.map(|()| made),
            Either::Right((gone, goes_on)) => {
                gone?;
                (end, made) = (goes_on, made + 1);
            }
        }
    }
}

async fn comes_and_goes(corner: &Corner<'_>, number: usize) -> Result<()> {
    let name = format!("fine-{number}");
    corner.create(corner.pod(&name, json!({}))).await?;
    corner.running(&name).await?;
    corner.delete(&name, Some(5)).await?;
    corner.gone(&name).await
}

/// Waits until each of the hostile pods says in an event and in its status why it was cut, and from what.
async fn all_tell(corner: &Corner<'_>, cases: &Cases) -> Result<()> {
    let events: Api<Event> = Api::namespaced(corner.client.clone(), &corner.namespace);
    let failed = ListParams::default().fields("reason=FailedToCreatePod");
    let hostile = || cases.all.iter().flat_map(|case| case.pods().map(move |name| (case, name)));
    within(CUT, "each says why it was cut", || async {
        let pods = corner.pods().list(&ListParams::default()).await?.items;
        for (case, name) in hostile() {
            let pod = pods.iter().find(|pod| pod.name_any() == name).context("it is gone")?;
            ensure!(case.is_told_by(pod), "{name}: {:?}", pod.status);
        }
        let events = events.list(&failed).await?.items;
        for (case, name) in hostile() {
            let of_it = events.iter().filter(|event| event.involved_object.name.as_deref() == Some(&name));
            let said: Vec<&str> = of_it.filter_map(|event| event.message.as_deref()).collect();
            ensure!(said.iter().any(|said| case.is_told_in(said)), "{name}: {said:?}");
        }
        Ok(Some(()))
    })
    .await
}

/// A pod that can do without runs, and its log has the classes.
async fn a_log_tells_it_too(corner: &Corner<'_>, cases: &Cases) -> Result<()> {
    let quick = || cases.all.iter().filter(|case| !["trickle", "silence"].contains(&case.name));
    let commands: Vec<String> = quick().map(Case::command).collect();
    corner.create(corner.pod("log", json!({"fetch": commands.join("\n")}))).await?;
    corner.running("log").await?;
    let log = corner.log("log").await?;
    for case in quick() {
        let line = log.lines().find(|line| line.starts_with(&format!("fetch {}: error ", case.command())));
        let class = line.and_then(|line| line.rsplit(' ').next()).context("no line")?;
        // `HTTP-response-body-size` is the reason `HTTPResponseBodySize`.
        assert!(class.replace('-', "").eq_ignore_ascii_case(case.reason), "{}: {log}", case.name);
    }
    Ok(())
}

/// The host's log names what the host itself refused and cut, once each, and its metrics count all of it.
async fn the_operator_is_told(corner: &Corner<'_>, cases: &Cases) -> Result<()> {
    let metrics = Kubelet::of(corner).await?.ok("/metrics").await?;
    let log = corner.host.log()?;
    for (name, reason, told) in [
        ("announced", "ResponseTooLarge", 1),
        ("gigabyte", "ResponseTooLarge", 1),
        ("headers", "ResponseHeadTooLarge", 1),
        ("silence", "ResponseTimeout", 1),
        ("reset", "ConnectionTerminated", 0),
        ("address", "NotGranted", 1),
        ("name", "AddressForbidden", 1),
    ] {
        let case = cases.all.iter().find(|case| case.name == name).context("no such case")?;
        let target = case.url.trim_end_matches('/');
        let lines = log.lines().filter(|line| line.contains("refused or cut") && line.contains(target));
        let lines: Vec<&str> = lines.filter(|line| line.contains(reason)).collect();
        assert_eq!(lines.len(), told, "{name}: {lines:?}");
        let count = value(&metrics, &format!("vk_plugin_egress_total{{outcome=\"{reason}\"}}"))?;
        assert!(count >= PODS as f64, "{name}: {count}");
    }
    Ok(())
}

/// Of this series.
fn value(metrics: &str, series: &str) -> Result<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {series}"))?.parse()?)
}

/// Deletes all pods, and waits until they, their calls and their connections have ended.
async fn nothing_is_left(corner: &Corner<'_>, cases: &Cases) -> Result<()> {
    let grace = DeleteParams { grace_period_seconds: Some(5), ..DeleteParams::default() };
    corner.pods().delete_collection(&grace, &ListParams::default()).await?;
    within(GONE, "all are gone", || async { Ok((corner.count(|_| true).await? == 0).then_some(())) }).await?;
    eventually("all connections are closed", || async {
        let open = cases.all.iter().filter(|case| case.server.open() > 0);
        let open: Vec<(&str, usize)> = open.map(|case| (case.name, case.server.open())).collect();
        ensure!(open.is_empty(), "{open:?} are open");
        Ok(Some(()))
    })
    .await?;
    let metrics = Kubelet::of(corner).await?.ok("/metrics").await?;
    assert_eq!(value(&metrics, "vk_provider_calls_in_flight{method=\"create_pod\"}")?, 0.0);
    Ok(())
}
