//! When each group is looked at. Pure: what is known goes in, what is to be asked comes out. Times are unix milliseconds.
//!
//! ```text
//! once a period   a list: which groups came, went, or have another provisioning state     ─▶ those at once
//! changing        every period: being made, changed or removed, waiting for a container
//! to end          after a period and a half: no list tells that a container has ended by itself
//! settled         after a quarter of the time since the last change, between a period and …
//!                 … 30 s: still changing      … 2 min: it goes on      … 10 min: it has ended
//! to be stopped   one at a time, after all looks that are due: Azure may take half a minute for it
//! ```
//!
//! While lists fail, looks go on between them.
//!
//! All of it takes no more than [`PART`] of what Azure allows; what does not fit waits, oldest due first. So at rest
//! there are `60 / period × pages` requests a minute for lists, `40 / period` for each pod that is to end, half a one for
//! each other, and a tenth for each that has ended.

use std::cmp::Reverse;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ledger::millis;

/// Reads a second, of 25 that Azure allows: the rest is for creates, removals, logs and people.
const PART: u64 = 15;
/// A pod that has been changing for so long without anything new is no longer in a hurry.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest time between two looks at a pod that has been changing for long.
const LINGERING: Duration = Duration::from_secs(30);
/// The same of one that goes on.
const SETTLED: Duration = Duration::from_secs(120);
/// The same of one that has ended: only that Azure starts it again, against its restart policy, is of interest.
const OVER: Duration = Duration::from_secs(600);
/// What is due within that time is done together.
const TOGETHER: Duration = Duration::from_secs(1);
/// The longest time until a pod is looked at again whose looks fail at once.
const AGAIN: Duration = Duration::from_secs(30);
/// So many times as long as it took in vain it is for others: looks are one after the other.
const OTHERS: u64 = 6;
/// The longest pause after requests that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// News that never cease keep groups from being stopped no longer than that: each costs money meanwhile.
const NEWS_FIRST: Duration = Duration::from_secs(10);

/// How fast a pod changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// It is being made, changed or removed, or waits for a container.
    #[default]
    Changing,
    /// It runs, and is to end by itself.
    Ending,
    /// It runs, and goes on.
    Settled,
    /// It has ended.
    Over,
}

/// When a pod was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Look {
    /// The last time; 0: never.
    pub(crate) at: u64,
    /// When something of it was last seen to change.
    pub(crate) changed: u64,
    /// The provisioning state that the last list told; empty: it is in no list.
    pub(crate) listed: String,
    pub(crate) pace: Pace,
    /// The list told something new.
    pub(crate) urgent: bool,
    /// It has an operation that may be asked from here on; 0: it has none.
    pub(crate) operation: u64,
    /// Its group is to be stopped or removed from here on; 0: it is not.
    pub(crate) act: u64,
    /// So many looks, or acts, in a row came to nothing.
    pub(crate) failures: u32,
    /// So long the last of these took.
    pub(crate) lost: u64,
}

/// What all looks have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Beat {
    /// When groups were last listed, or were to be; 0: never.
    pub(crate) listed: u64,
    /// Lists in a row that failed.
    pub(crate) unlisted: u32,
    /// When they are listed again after that.
    pub(crate) list_again: u64,
    /// When a group was last to be stopped or removed.
    pub(crate) acted: u64,
    /// What removals there have left of their [share](crate::budgets::Rates::take_removal).
    pub(crate) removals: Vec<u64>,
    /// When the present window of the budget began, and what was asked in it.
    pub(crate) window: u64,
    pub(crate) asked: u64,
    /// Nothing is asked before: Azure said so, or did not answer.
    pub(crate) not_before: u64,
    /// Failures in a row.
    pub(crate) failures: u32,
}

/// How fast all of it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rhythm {
    /// Between two looks at a pod that changes.
    pub(crate) period: Duration,
    /// How many times Azure's published rates there are.
    pub(crate) factor: u32,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan<K> {
    /// Groups are to be listed. Nothing else then: a list may make others due.
    pub(crate) list: bool,
    /// These are to be looked at, in this order.
    pub(crate) looks: Vec<K>,
    /// The group of this one is to be stopped or removed, after the looks.
    pub(crate) act: Option<K>,
    /// When there is something to do again.
    pub(crate) next: u64,
}

impl Rhythm {
    /// Requests in one period.
    fn allowance(self) -> u64 {
        let of_period = PART.saturating_mul(self.factor.into()).saturating_mul(millis(self.period)) / 1000;
        of_period.max(1)
    }

    /// How long is waited after so many failures.
    fn pause(self, failures: u32) -> Duration {
        self.period.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE.max(self.period))
    }
}

impl Look {
    /// When it is due.
    fn due(&self, rhythm: Rhythm, now: u64) -> u64 {
        if self.urgent || self.at == 0 {
            return 0;
        }
        let period = millis(rhythm.period);
        // A clock that was set back makes nothing wait for ever.
        let at = self.at.min(now);
        let quiet = at.saturating_sub(self.changed);
        let grown = |longest: Duration| (quiet / 4).min(millis(longest)).max(period);
        let interval = match self.pace {
            Pace::Changing if quiet < millis(PATIENCE) => period,
            Pace::Changing => grown(LINGERING),
            // So that its end is told within two periods, whatever else that takes.
            Pace::Ending => period.saturating_add(period / 2),
            Pace::Settled => grown(SETTLED),
            Pace::Over => grown(OVER),
        };
        at.saturating_add(interval.max(self.again(rhythm)))
    }

    /// How long it is left alone after failures: one that fails each time, and takes long for it, is not to hold up the others
    /// each time.
    fn again(&self, rhythm: Rhythm) -> u64 {
        let Some(before) = self.failures.checked_sub(1) else { return 0 };
        let first = millis(rhythm.period).saturating_mul(2).max(self.lost);
        let longest = millis(AGAIN).max(self.lost.saturating_mul(OTHERS));
        first.saturating_mul(1 << before.min(8)).min(longest)
    }

    /// When its group is to be stopped or removed; none: it is not.
    fn act_due(&self, rhythm: Rhythm, now: u64) -> Option<u64> {
        (self.act != 0).then(|| self.act.max(self.at.min(now).saturating_add(self.again(rhythm))))
    }

    /// It has ended, and nothing more can become of it.
    pub(crate) fn at_rest(&self, now: u64) -> Self {
        let changed = if self.pace == Pace::Over { self.changed } else { now };
        Self { at: now, changed, listed: String::new(), pace: Pace::Over, ..Self::default() }
    }

    /// Requests that a look takes.
    const fn cost(&self, now: u64) -> u64 {
        if self.asks_operation(now) { 2 } else { 1 }
    }

    /// Its operation is to be asked too.
    pub(crate) const fn asks_operation(&self, now: u64) -> bool {
        self.operation != 0 && self.operation <= now
    }
}

impl Beat {
    /// So many requests were sent.
    pub(crate) const fn count(&mut self, requests: u64) {
        self.asked = self.asked.saturating_add(requests);
    }

    /// A request failed: nothing more is asked for a while, longer each time, and for as long as Azure asks at least. One that
    /// asks for no pause would else be asked without any for as long as it is out of order.
    pub(crate) fn failed(&mut self, rhythm: Rhythm, retry_after: Option<Duration>, now: u64) {
        let pause = retry_after.unwrap_or_default().max(rhythm.pause(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(millis(pause));
    }

    /// As [`Beat::failed`], of a list: looks come before the next one, which may well be answered.
    pub(crate) fn list_failed(&mut self, rhythm: Rhythm, retry_after: Option<Duration>, now: u64) {
        self.failed(rhythm, retry_after, now);
        self.listed = now;
        self.unlisted = self.unlisted.saturating_add(1);
        self.list_again = self.not_before.saturating_add(millis(rhythm.pause(self.unlisted)));
    }

    /// They were listed.
    pub(crate) const fn list_succeeded(&mut self, now: u64) {
        (self.listed, self.unlisted) = (now, 0);
    }

    /// When groups are to be listed.
    fn list_due(&self, rhythm: Rhythm) -> u64 {
        match (self.listed, self.unlisted) {
            (0, _) => 0,
            (listed, 0) => listed.saturating_add(millis(rhythm.period)),
            _ => self.list_again,
        }
    }

    /// Whether a group that was to be stopped or removed from `since` on may be so now, which may take long.
    pub(crate) fn may_act(&self, since: u64, is_news: bool, now: u64) -> bool {
        now >= self.not_before && (!is_news || now >= self.acted.max(since).saturating_add(millis(NEWS_FIRST)))
    }

    /// One was answered.
    pub(crate) const fn succeeded(&mut self) {
        (self.failures, self.not_before) = (0, 0);
    }
}

/// What is to be done now.
pub(crate) fn plan<'a, K: Clone + Ord + 'a>(
    looks: impl Iterator<Item = (&'a K, &'a Look)>,
    beat: &mut Beat,
    rhythm: Rhythm,
    now: u64,
) -> Plan<K> {
    let period = millis(rhythm.period);
    // Of a clock that was set back nothing is kept.
    if beat.listed > now || beat.window > now {
        *beat = Beat { not_before: beat.not_before.min(now.saturating_add(period)), ..Beat::default() };
    }
    if now < beat.not_before {
        return Plan { list: false, looks: Vec::new(), act: None, next: beat.not_before };
    }
    if now >= beat.window.saturating_add(period) {
        (beat.window, beat.asked) = (now, 0);
    }
    if beat.list_due(rhythm) <= now {
        return Plan { list: true, looks: Vec::new(), act: None, next: now };
    }
    between_lists(looks, beat, rhythm, now)
}

/// Looks that are due, and one act.
fn between_lists<'a, K: Clone + Ord + 'a>(
    looks: impl Iterator<Item = (&'a K, &'a Look)>,
    beat: &Beat,
    rhythm: Rhythm,
    now: u64,
) -> Plan<K> {
    let window_end = beat.window.saturating_add(millis(rhythm.period));
    let (mut left, mut next) = (rhythm.allowance().saturating_sub(beat.asked), beat.list_due(rhythm));
    let (mut first, mut queue) = (None::<(u64, &K, &Look)>, Vec::new());
    for (key, look) in looks {
        match look.act_due(rhythm, now) {
            // It is looked at once more for that: until its turn comes nothing else of it is of interest.
            Some(due) if due <= now => {
                if first.is_none_or(|(earliest, before, _)| (due, key) < (earliest, before)) {
                    first = Some((due, key, look));
                }
                continue;
            }
            due => next = next.min(due.unwrap_or(next)),
        }
        queue.push((look.due(rhythm, now), Reverse(now.saturating_sub(look.at)), key, look));
    }
    // In the budget it comes before the looks, which may well take all of it.
    let act = first.filter(|(.., look)| look.cost(now) <= left);
    if let Some((.., look)) = first {
        left = left.saturating_sub(look.cost(now));
        next = next.min(window_end);
    }
    queue.sort_by_key(|(due, age, key, _)| (*due, *age, *key));
    let mut taken = Vec::new();
    for (due, _, key, look) in queue {
        if due > now.saturating_add(millis(TOGETHER)) {
            next = next.min(due);
            break;
        }
        if left < look.cost(now) {
            next = next.min(window_end);
            break;
        }
        left -= look.cost(now);
        taken.push(key.clone());
    }
    Plan { list: false, looks: taken, act: act.map(|(_, key, _)| key.clone()), next }
}

#[cfg(test)]
mod tests;
