//! What the machine does and takes note of: the words between the decision, the memory and the task.

use std::borrow::Cow;
use std::time::Duration;

use super::clock::Moment;
use super::memory::backoff::CrashLoop;
use super::spec::ProbeKind;
use crate::provider::containers::PullPolicy;

/// One thing to do. Until it has ended it is not decided upon again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask the backend what there is of the pod.
    Look,
    EnsureSandbox,
    StopSandbox,
    RemoveSandbox,
    /// With `Never`: only ask whether it is there.
    Pull {
        name: String,
        image: String,
        policy: PullPolicy,
    },
    Start {
        name: String,
        attempt: u32,
        image_id: String,
    },
    PostStart {
        name: String,
        attempt: u32,
    },
    PreStop {
        name: String,
        attempt: u32,
    },
    /// Send the stop signal; a grace of 0 seconds kills.
    Stop {
        name: String,
        attempt: u32,
        grace: u32,
    },
    /// Remove an attempt that is over.
    Remove {
        name: String,
        attempt: u32,
    },
    /// Read the termination message.
    LastWords {
        name: String,
        attempt: u32,
    },
    Probe {
        name: String,
        attempt: u32,
        kind: ProbeKind,
    },
}

impl Action {
    /// Which container it is about; none: the pod.
    pub(super) fn container(&self) -> Option<&str> {
        match self {
            Self::Look | Self::EnsureSandbox | Self::StopSandbox | Self::RemoveSandbox => None,
            Self::Pull { name, .. }
            | Self::Start { name, .. }
            | Self::PostStart { name, .. }
            | Self::PreStop { name, .. }
            | Self::Stop { name, .. }
            | Self::Remove { name, .. }
            | Self::LastWords { name, .. }
            | Self::Probe { name, .. } => Some(name),
        }
    }

    /// It makes something, which a delete makes pointless.
    pub(super) fn makes(&self) -> bool {
        matches!(self, Self::EnsureSandbox | Self::Pull { .. } | Self::Start { .. } | Self::PostStart { .. })
    }
}

/// Something to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) warning: bool,
    /// The kubelet's own, or the provider's of a pod that it will never run.
    pub(super) reason: Cow<'static, str>,
    pub(super) message: String,
}

impl Event {
    pub(super) fn normal(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.into(), message: message.into() }
    }

    pub(super) fn warning(reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { warning: true, reason: reason.into(), message: message.into() }
    }
}

/// Why a container waits, as its status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// An order to end a running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    pub(super) name: String,
    pub(super) attempt: u32,
    /// As the event tells it.
    pub(super) message: String,
    /// By when it shall have ended by itself.
    pub(super) until: Moment,
    /// It belongs to the pod's end and waits its turn there.
    pub(super) in_turn: bool,
    /// It is run again, whatever its exit code.
    pub(super) rerun: bool,
}

/// What is to be remembered of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// A container is being ended.
    Kill(Kill),
    /// A container waits, for another reason than before.
    Trouble { name: String, trouble: Trouble, events: Vec<Event> },
    /// A container whose attempt crashed waits for its time.
    BackOff { name: String, attempt: u32, trouble: Trouble, event: Event },
    /// A container is started again after this attempt; the next time it waits so long.
    Again { name: String, attempt: u32, next: Option<CrashLoop> },
    /// Nothing is left of an init container that shall run again.
    TakenAway { name: String },
    /// The sandbox was lost, and another one is made.
    SandboxChanged,
    /// It is there.
    SandboxRestored,
    /// The sandbox was lost, and the pod must not begin anew.
    Abandoned,
}

/// What follows from what is known. The default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) notes: Vec<Note>,
    /// To be done at once, side by side.
    pub(super) actions: Vec<Action>,
    /// Under way and pointless now.
    pub(super) cancel: Vec<Action>,
    /// When to decide again, if nothing happens before; none: nothing is waited for.
    pub(super) wake: Option<Moment>,
    /// Nothing is left of the pod, and nothing more will come.
    pub(super) gone: bool,
}

impl Decision {
    /// Decides again at this moment at the latest.
    pub(super) fn wake_at(&mut self, moment: Moment) {
        self.wake = Some(self.wake.map_or(moment, |wake| wake.min(moment)));
    }

    /// It changes what is known, so that another decision may follow at once.
    pub(super) fn changes_something(&self) -> bool {
        !self.notes.is_empty() || !self.actions.is_empty()
    }
}

/// As Go prints it, in whole seconds: `10s`, `1m20s`, `5m0s`.
pub(super) fn go_duration(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    if minutes == 0 { format!("{seconds}s") } else { format!("{minutes}m{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_the_kubelet_prints_them() {
        let of = |seconds| go_duration(Duration::from_secs(seconds));
        assert_eq!([of(10), of(80), of(300)], ["10s", "1m20s", "5m0s"]);
    }
}
