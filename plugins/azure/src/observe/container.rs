//! One container of a group, as the kubelet would say it.

use std::borrow::Cow;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use vk_aci::Group;
use vk_aci::group::{self, ContainerView, Event};
use vk_provider::status::{ContainerState, ContainerStatus, Running, Terminated, Text};
use vk_provider::time::Time;

use crate::events;

/// What all containers of a group have in common.
pub(super) struct Scene<'a> {
    /// The group's path in Azure.
    path: &'a str,
    /// What runs may be ready.
    in_order: bool,
    /// Why a container that has not begun waits.
    initializes: bool,
    /// No container is to be started again, whatever Azure does.
    once: bool,
}

/// What is told of an end of which nothing is known.
pub(super) const UNTOLD: &str = "Azure does not say how the container ended";

impl<'a> Scene<'a> {
    pub(super) fn of(group: &'a Group, in_order: bool, once: bool) -> Self {
        let ended_well = |view: &Option<ContainerView>| {
            let state = view.as_ref().and_then(|view| view.current_state.as_ref());
            state.is_some_and(|state| state.has_ended() && state.exit_code == Some(0))
        };
        let mut init = group.properties.init_containers.iter();
        let initializes = init.any(|container| !ended_well(&container.properties.instance_view));
        Self { path: group.id.as_deref().unwrap_or_default(), in_order, initializes, once }
    }

    /// One of those that run before the others: ready is what has ended well.
    pub(super) fn init(&self, name: &str, image: &str, view: Option<&ContainerView>) -> ContainerStatus {
        let status = self.status(name, image, view, "PodInitializing");
        let ready = matches!(&status.state, Some(ContainerState::Terminated(end)) if end.exit_code == 0);
        status.ready(ready)
    }

    /// One of the others. Azure does not tell what readiness probes find: what runs is ready.
    pub(super) fn ordinary(&self, name: &str, image: &str, view: Option<&ContainerView>) -> ContainerStatus {
        let waits = if self.initializes { "PodInitializing" } else { "ContainerCreating" };
        let status = self.status(name, image, view, waits);
        let runs = matches!(status.state, Some(ContainerState::Running(_)));
        status.ready(runs && self.in_order)
    }

    fn status(&self, name: &str, image: &str, view: Option<&ContainerView>, waits: &'static str) -> ContainerStatus {
        let status = ContainerStatus::new(name, image);
        let Some(view) = view else { return status.waiting(waits, None) };
        let last = view.previous_state.as_ref().filter(|state| state.has_ended()).map(ended);
        let count = u32::try_from(view.restart_count).unwrap_or(0);
        let state = view.current_state.as_ref();
        let begun = view.has_begun();
        let status = match state {
            // Azure has started it again all the same: how it ended before that is how it ended.
            _ if self.once && (count > 0 || last.is_some()) => {
                let end = last.unwrap_or_else(|| untold(Terminated::default()));
                return self.begun(name, status.terminated(end).restarted(count, None));
            }
            Some(state) if state.is_running() => ContainerStatus {
                state: Some(ContainerState::Running(Running { started_at: seconds(state.start_time) })),
                started: Some(true),
                ..status
            },
            Some(state) if state.has_ended() => status.terminated(ended(state)),
            state => {
                let (reason, message) = waiting(state, &view.events, if begun { "CrashLoopBackOff" } else { waits });
                status.waiting(reason, message)
            }
        };
        let status = status.restarted(count, last);
        if begun { self.begun(name, status) } else { status }
    }

    fn begun(&self, name: &str, status: ContainerStatus) -> ContainerStatus {
        if self.path.is_empty() { status } else { status.id(self.id(name)) }
    }

    /// As azure-aci has it.
    fn id(&self, name: &str) -> String {
        let path = format!("{}/containers/{name}", self.path).to_uppercase();
        format!("aci://{}", HEXLOWER.encode(&Sha256::digest(path)))
    }
}

fn ended(state: &group::ContainerState) -> Terminated {
    let (word, message) = split(state.detail_status.as_deref().unwrap_or_default());
    let times = Terminated {
        started_at: seconds(state.start_time),
        finished_at: seconds(state.finish_time),
        ..Terminated::default()
    };
    let Some(code) = state.exit_code else {
        let said = message.or_else(|| word.map(Cow::into_owned));
        let end = untold(times);
        return Terminated { message: said.map_or(end.message, |said| Some(said.into())), ..end };
    };
    // Windows has codes beyond 31 bits, which are the same bits with a sign.
    let exit_code = i32::try_from(code).unwrap_or((code & 0xffff_ffff) as u32 as i32);
    let usual = if exit_code == 0 { "Completed" } else { "Error" };
    Terminated { exit_code, reason: Some(word.unwrap_or(usual.into())), message: message.map(Into::into), ..times }
}

/// An end at these times of which nothing else is known.
fn untold(times: Terminated) -> Terminated {
    let Terminated { exit_code, reason, .. } = Terminated::unknown();
    Terminated { exit_code, reason, message: Some(UNTOLD.into()), ..times }
}

/// As a status has it. With Azure's fractions, what is kept of a status would differ from each that is seen.
fn seconds(time: Option<Time>) -> Option<Time> {
    time.map(|time| Time::from_millis(time.as_millis() / 1000 * 1000))
}

/// Why a container waits, in the kubelet's words where they can be told.
fn waiting(state: Option<&group::ContainerState>, events: &[Event], usual: &'static str) -> (Text, Option<String>) {
    let (word, message) = split(state.and_then(|state| state.detail_status.as_deref()).unwrap_or_default());
    if let Some(word) = word {
        return (word, message);
    }
    let last = events.iter().max_by_key(|event| event.last_timestamp);
    let of_image = last.filter(|event| event.message.contains("pull") && events::is_warning(event));
    match of_image {
        Some(event) if event.name == "BackOff" => ("ImagePullBackOff".into(), Some(events::scrubbed(&event.message))),
        Some(event) => ("ErrImagePull".into(), Some(events::scrubbed(&event.message))),
        None => (usual.into(), message),
    }
}

/// `CrashLoopBackOff: Back-off 20s …` is a word and a sentence; what is no word is a sentence alone.
fn split(detail: &str) -> (Option<Text>, Option<String>) {
    let detail = detail.trim();
    let (word, rest) = detail.split_once(':').unwrap_or((detail, ""));
    let is_word = (1..=60).contains(&word.len())
        && word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let sentence = |text: &str| Some(events::scrubbed(text.trim())).filter(|text| !text.is_empty());
    if is_word { (Some(word.to_owned().into()), sentence(rest)) } else { (None, sentence(detail)) }
}
