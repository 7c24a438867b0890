//! Who looks: lists and single groups, as [`poll`] plans them. One call at a time, by a lock of the store.
//!
//! What fails is tried again later, and nobody but the log is told: news wait, and whether Azure answers is the ping's to say.

use std::collections::BTreeMap;
use std::time::Duration;

use vk_provider::clock::Instant;
use vk_provider::store::{self, Lock};
use vk_provider::wait::Pollable;
use vk_provider::{Error, PodRef, Result, call, cluster, log};

use crate::context::Context;
use crate::look::{self, View};
use crate::pods::{self, Census};
use crate::poll::{self, Beat, Look, Plan, Rhythm};
use crate::trouble::Trouble;
use crate::{end, ledger};

/// Longer than any call: 30 s of waiting, 10 s of slack, and a grace.
const TURN: Duration = Duration::from_secs(60);
/// News wait no longer for the other looks of a plan.
const GATHER: Duration = Duration::from_secs(1);
/// A call has a second of processor time, and one look takes about a millisecond: this is far below.
const EFFORT: usize = 400;
/// An operation about which nothing was told is asked again so much later.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// That nobody tells how far operations are is told under this name, which no group has.
const OPERATIONS: &str = "operations/";
/// So many groups in a list take about as long as a look.
const GROUPS_OF_A_LOOK: usize = 10;

/// Who looks.
pub(super) struct Poller<'a> {
    context: &'a Context,
    rhythm: Rhythm,
    lock: Lock,
    /// What the ledger had when groups were last listed, and what was done since; none: it is to be read.
    looks: Option<BTreeMap<PodRef, Look>>,
    effort: usize,
}

/// What a step was.
pub(super) enum Step {
    /// Something was asked, or tried.
    Acted,
    /// There is nothing to do for so long.
    Rest(Duration),
    /// Another call looks.
    NotMyTurn,
}

impl<'a> Poller<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        let rhythm = Rhythm { period: context.config.poll, factor: context.config.rates.factor };
        Self { context, rhythm, lock: store::acquire("poll", TURN), looks: None, effort: 0 }
    }

    /// Ready when it is this call's turn.
    pub(super) fn turn(&self) -> Pollable<'_> {
        self.lock.subscribe()
    }

    /// Whether it is this call's turn.
    pub(super) fn has_turn(&self) -> bool {
        self.lock.held()
    }

    /// The call has done enough: the next one goes on.
    pub(super) const fn is_tired(&self) -> bool {
        self.effort >= EFFORT
    }

    /// Does what is due; `is_news`: news wait for it.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) fn step(&mut self, is_news: bool) -> Result<Step> {
        if !self.has_turn() {
            return Ok(Step::NotMyTurn);
        }
        let now = ledger::now();
        let mut looks = self.looks.take().map_or_else(ledger::looks, Ok)?;
        let mut beat = ledger::beat()?;
        let Plan { list, looks: due, next } = poll::plan(looks.iter(), &mut beat, self.rhythm, now);
        if !list && due.is_empty() {
            self.looks = Some(looks);
            return Ok(Step::Rest(Duration::from_millis(next.saturating_sub(now).max(1))));
        }
        if list {
            // What other calls have made since the last list is looked at too.
            looks = ledger::looks()?;
            match pods::census(self.context) {
                Ok(census) => self.listed(&census, &mut looks, &mut beat)?,
                Err(error) if call::cancelled() => log!("a list of container groups was cut short: {error}"),
                Err(error) => self.failed("the list of container groups", &error, &mut beat),
            }
        } else {
            self.look_at(&due, is_news, &mut looks, &mut beat)?;
        }
        ledger::beats(&beat)?;
        self.looks = Some(looks);
        Ok(Step::Acted)
    }

    /// Takes what a list tells: what came, went or is in another state is to be looked at at once.
    fn listed(&mut self, census: &Census, looks: &mut BTreeMap<PodRef, Look>, beat: &mut Beat) -> Result<()> {
        beat.succeeded();
        beat.count(census.requests);
        beat.listed = ledger::now();
        self.effort += 1 + census.groups / GROUPS_OF_A_LOOK;
        for (id, there) in &census.ours {
            let look = looks.get(id).cloned().unwrap_or_default();
            if look.listed != there.state || look.at == 0 {
                keep(looks, id, Look { listed: there.state.clone(), urgent: true, ..look })?;
            }
        }
        for id in ledger::known()?.iter().filter(|id| !census.ours.contains_key(*id)) {
            let look = looks.get(id).cloned().unwrap_or_default();
            // One that was in no list before is young, and looked at anyway.
            if !look.listed.is_empty() || look.at == 0 {
                keep(looks, id, Look { listed: String::new(), urgent: true, ..look })?;
            }
        }
        Ok(())
    }

    fn look_at(
        &mut self,
        due: &[PodRef],
        mut is_news: bool,
        looks: &mut BTreeMap<PodRef, Look>,
        beat: &mut Beat,
    ) -> Result<()> {
        let begun = Instant::now();
        for id in due {
            if call::cancelled() || self.is_tired() || (is_news && Instant::now().since(begun) > GATHER) {
                break;
            }
            let mut look = looks.get(id).cloned().unwrap_or_default();
            self.effort += 1;
            match self.look(id, &mut look, beat) {
                Ok(Some((next, news))) => {
                    is_news |= news;
                    beat.succeeded();
                    keep(looks, id, next)?;
                }
                Ok(None) => {
                    is_news = true;
                    beat.succeeded();
                    looks.remove(id);
                }
                Err(trouble) => {
                    // At the end of the queue, so that the others have their turn.
                    let failures = look.failures.saturating_add(1);
                    let again = Look { at: ledger::now(), urgent: false, failures, ..look };
                    match trouble {
                        trouble if call::cancelled() => {
                            log!("a look at pod {} was cut short: {}", id.name, Error::from(trouble));
                            break;
                        }
                        Trouble::Own(error) => {
                            keep(looks, id, again)?;
                            beat.succeeded();
                            cluster::event(id, true, &error.reason, &error.message);
                        }
                        Trouble::Lost(error) | Trouble::Barred(error) => {
                            keep(looks, id, again)?;
                            self.failed(&format!("a look at pod {}", id.name), &error, beat);
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks at a pod; returns when to look again, and whether there is news; none: it is gone.
    fn look(&self, id: &PodRef, look: &mut Look, beat: &mut Beat) -> Result<Option<(Look, bool)>, Trouble> {
        let now = ledger::now();
        if look.asks_operation(now)
            && let Some(operation) = ledger::work(id)?.operation
        {
            beat.count(1);
            look.operation = match look::ask(self.context, id, &operation, ledger::millis(self.rhythm.period)) {
                Ok(at) => at,
                Err(Trouble::Barred(error)) => return Err(Trouble::Barred(error)),
                // The group itself tells too, and that may be asked where this may not.
                Err(Trouble::Own(error) | Trouble::Lost(error)) => {
                    if ledger::is_to_tell(OPERATIONS)? {
                        log!(
                            "nobody tells how far the operation on the container group of pod {} is: {error}",
                            id.name
                        );
                    }
                    ledger::now().saturating_add(ledger::millis(ASK_AGAIN))
                }
            };
        }
        beat.count(1);
        let mut sight = match look::look(self.context, id)? {
            View::There(sight) => sight,
            View::Young => return Ok(Some((Look { at: now, urgent: false, failures: 0, ..look.clone() }, false))),
            View::GivenUp(_) => return Ok(Some((look.at_rest(now), false))),
            View::Gone => return Ok(None),
        };
        // What is new is told first: to stop or remove may take its time.
        let acted = if sight.is_news { Ok(()) } else { end::act(self.context, id, &mut sight) };
        let mut next = sight.look(Some(look), now);
        if let Err(error) = acted {
            log!("the container group of pod {} could not be stopped or removed: {error}", id.name);
            next.failures = look.failures.saturating_add(1);
        }
        Ok(Some((next, sight.is_news)))
    }

    fn failed(&self, what: &str, error: &Error, beat: &mut Beat) {
        log!("{what} failed: {error}");
        beat.count(1);
        beat.failed(self.rhythm, error.retry_after, ledger::now());
    }
}

fn keep(looks: &mut BTreeMap<PodRef, Look>, id: &PodRef, look: Look) -> Result<()> {
    ledger::looked(id, &look)?;
    looks.insert(id.clone(), look);
    Ok(())
}
