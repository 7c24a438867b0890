//! Faults on demand: how a call about a pod, or about the node, goes wrong.
//!
//! Written `KIND [deaf] [times=N] [for=DURATION]`.

use std::hint::black_box;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vk_provider::wait::Wait;
use vk_provider::{Error, Result, clock, log};

use crate::script::duration;

/// When a resource-exhausted answer says nothing else.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A piece of what `allocate` takes; large enough to be quick, small enough to come near any limit.
const PIECE: usize = 1 << 20;

/// What goes wrong, how often, and how long it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Only the first so many calls for the UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
    /// Milliseconds: the delay of `late`, the retry-after of the refusals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<u64>,
    /// `late` does not listen to the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deaf: bool,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Unavailable,
    ResourceExhausted,
    Invalid,
    Internal,
    PermissionDenied,
    Unimplemented,
    Late,
    Hang,
    DeafHang,
    Trap,
    Spin,
    Allocate,
    Lost,
    LostTrap,
    LostHang,
}

const KINDS: [(&str, Kind); 15] = [
    ("unavailable", Kind::Unavailable),
    ("resource-exhausted", Kind::ResourceExhausted),
    ("invalid", Kind::Invalid),
    ("internal", Kind::Internal),
    ("permission-denied", Kind::PermissionDenied),
    ("unimplemented", Kind::Unimplemented),
    ("late", Kind::Late),
    ("hang", Kind::Hang),
    ("deaf-hang", Kind::DeafHang),
    ("trap", Kind::Trap),
    ("spin", Kind::Spin),
    ("allocate", Kind::Allocate),
    ("lost", Kind::Lost),
    ("lost-trap", Kind::LostTrap),
    ("lost-hang", Kind::LostHang),
];

impl Kind {
    /// The call does its work and then goes wrong.
    pub(crate) const fn acts_first(self) -> bool {
        matches!(self, Self::Lost | Self::LostTrap | Self::LostHang)
    }

    const fn takes_time(self) -> bool {
        matches!(self, Self::Unavailable | Self::ResourceExhausted | Self::Late | Self::Lost)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let known = || KINDS.map(|(name, _)| name).join(", ");
        let kind = KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| format!("{name:?} is no kind of fault; known are {}", known()))?;
        let mut fault = Self { kind, times: None, time: None, deaf: false };
        for word in words {
            fault.add(word).map_err(|why| format!("{text:?}: {why}"))?;
        }
        if kind == Kind::Late && fault.time.is_none() {
            return Err(format!("{text:?}: say how late, such as `late for=2s`"));
        }
        Ok(fault)
    }
}

impl Fault {
    fn add(&mut self, word: &str) -> Result<(), String> {
        match word.split_once('=') {
            None if word == "deaf" && self.kind == Kind::Late => self.deaf = true,
            Some(("times", number)) => {
                let times = number.parse().ok().filter(|times| *times > 0);
                self.times =
                    Some(times.ok_or_else(|| format!("{number:?} is no number of times; write it like times=2"))?);
            }
            Some(("for", time)) if self.kind.takes_time() => self.time = Some(duration(time)?),
            Some(("for", _)) => return Err("this kind takes no `for`".to_owned()),
            _ => {
                return Err(format!(
                    "{word:?} is not understood; known are times=N, for=DURATION and, with late, deaf"
                ));
            }
        }
        Ok(())
    }

    /// Counts for the n-th call.
    pub(crate) fn applies(&self, call: u32) -> bool {
        self.times.is_none_or(|times| call <= times)
    }

    /// Before the call acts. An answer other than an error lets it act.
    pub(crate) fn before(&self) -> Result<()> {
        let time = self.time.map(Duration::from_millis);
        let refusal = match self.kind {
            Kind::Unavailable => Error::unavailable("MockUnavailable", "this fault was asked for"),
            Kind::ResourceExhausted => {
                Error::resource_exhausted("MockQuotaExceeded", "this fault was asked for").retry_after(RETRY_AFTER)
            }
            Kind::Invalid => {
                Error::invalid_argument("MockInvalid", "this fault was asked for").field("spec.containers[0].image")
            }
            Kind::Internal => Error::internal("MockInternal", "this fault was asked for"),
            Kind::PermissionDenied => Error::permission_denied("MockPermissionDenied", "this fault was asked for"),
            Kind::Unimplemented => Error::unimplemented("MockUnimplemented", "this fault was asked for"),
            Kind::Late => return self.delay(time.unwrap_or_default()),
            Kind::Hang => return Err(hang().effect_none()),
            Kind::DeafHang => deaf_hang(),
            Kind::Trap => trap(),
            Kind::Spin => spin(),
            Kind::Allocate => allocate(),
            Kind::Lost | Kind::LostTrap | Kind::LostHang => return Ok(()),
        };
        // Nothing was done yet: what the host makes of an unknown effect is for the kinds that act first.
        let refusal = refusal.effect_none();
        Err(time.map_or_else(|| refusal.clone(), |time| refusal.clone().retry_after(time)))
    }

    /// After the call has acted.
    pub(crate) fn after(&self) -> Result<()> {
        match self.kind {
            Kind::Lost => {
                let lost = Error::unavailable("MockAnswerLost", "this fault was asked for").effect_unknown();
                let time = self.time.map(Duration::from_millis);
                Err(time.map_or_else(|| lost.clone(), |time| lost.clone().retry_after(time)))
            }
            Kind::LostTrap => trap(),
            Kind::LostHang => Err(hang()),
            _ => Ok(()),
        }
    }

    fn delay(&self, time: Duration) -> Result<()> {
        if self.deaf {
            clock::sleep_deaf(time);
            return Ok(());
        }
        clock::sleep(time).map_err(|cancelled| Error::from(cancelled).effect_none())
    }
}

/// Plays a fault of the node's, if there is one.
pub(crate) fn play(fault: Option<Fault>) -> Result<()> {
    fault.map_or(Ok(()), |fault| fault.before())
}

fn hang() -> Error {
    while !Wait::<()>::new().first().cancelled() {}
    clock::Cancelled.into()
}

fn deaf_hang() -> ! {
    loop {
        clock::sleep_deaf(Duration::from_secs(3600));
    }
}

fn trap() -> ! {
    log!("trap on demand");
    std::process::abort()
}

fn spin() -> ! {
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn allocate() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(black_box(vec![1_u8; PIECE]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vk_provider::call::Why;
    use vk_provider::{Code, Effect, testing};

    fn fault(text: &str) -> Fault {
        text.parse().unwrap()
    }

    #[test]
    fn a_fault_says_what_is_wrong_with_it() {
        for (text, says) in [
            ("", "\"\" is no kind of fault; known are unavailable, "),
            ("gone", "\"gone\" is no kind"),
            ("late", "say how late"),
            ("trap for=2s", "takes no `for`"),
            ("trap deaf", "\"deaf\" is not understood"),
            ("unavailable times=0", "\"0\" is no number of times"),
            ("late for=soon", "\"soon\" is no duration"),
        ] {
            let error = text.parse::<Fault>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn only_the_first_calls_go_wrong() {
        let fault = fault("unavailable times=2");
        assert_eq!([1, 2, 3].map(|call| fault.applies(call)), [true, true, false]);
    }

    #[test]
    fn each_refusal_has_its_code() {
        for (text, code) in [
            ("unavailable", Code::Unavailable),
            ("resource-exhausted", Code::ResourceExhausted),
            ("invalid", Code::InvalidArgument),
            ("internal", Code::Internal),
            ("permission-denied", Code::PermissionDenied),
            ("unimplemented", Code::Unimplemented),
        ] {
            let error = fault(text).before().unwrap_err();
            assert_eq!((error.code, error.effect), (code, Effect::None), "{text}");
        }
        assert_eq!(fault("resource-exhausted").before().unwrap_err().retry_after, Some(Duration::from_secs(1)));
        assert_eq!(fault("unavailable for=3s").before().unwrap_err().retry_after, Some(Duration::from_secs(3)));
        let lost = fault("lost");
        lost.before().unwrap();
        assert_eq!(lost.after().unwrap_err().effect, Effect::Unknown);
    }

    #[test]
    fn late_and_hanging_calls_listen_unless_they_are_deaf() {
        testing::reset();
        let start = testing::now();
        let passed = || testing::now().since(start).as_secs();
        fault("late for=2s").before().unwrap();
        assert_eq!(passed(), 2);
        testing::cancel_after(Duration::from_secs(3), Why::Deadline);
        for listens in ["hang", "late for=9s"] {
            let error = fault(listens).before().unwrap_err();
            assert_eq!((error.code, error.effect, passed()), (Code::DeadlineExceeded, Effect::None, 5), "{listens}");
        }
        assert_eq!(fault("lost-hang").after().unwrap_err().effect, Effect::Unknown);
        fault("late deaf for=9s").before().unwrap();
        assert_eq!(passed(), 14);
    }
}
