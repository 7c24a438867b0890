//! Who looks: lists and single groups, as [`poll`] plans them, and what becomes of groups whose pods have ended. One call at a
//! time, by a lock of the store.
//!
//! What fails is tried again later. What is a pod's own is told as an event of the pod, all else to the log alone: news wait, and
//! whether Azure answers is the ping's to say.

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
/// Where there is no room to remove a group that is stopped, it is tried again so much later.
const ROOM_AGAIN: Duration = Duration::from_secs(600);
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

/// When a pod is looked at next.
enum Next {
    /// Then; and whether there is news of it.
    Again(Look, bool),
    /// It is gone.
    Never,
}

impl Next {
    /// `now`: before anything was asked, as it is what was seen then.
    fn of(view: View, look: &Look, now: u64) -> Self {
        match view {
            View::There(sight) => Self::Again(sight.look(Some(look), now), sight.is_news),
            View::Young => Self::Again(Look { at: now, urgent: false, failures: 0, lost: 0, ..look.clone() }, false),
            View::GivenUp(_) => Self::Again(look.at_rest(now), false),
            View::Gone => Self::Never,
        }
    }
}

/// What a look, or an act, came to.
enum Came {
    News,
    Nothing,
    /// Nothing more is to be asked.
    ToAnEnd,
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
        let Plan { list, looks: due, act, next } = poll::plan(looks.iter(), &mut beat, self.rhythm, now);
        if !list && due.is_empty() && act.is_none() {
            self.looks = Some(looks);
            return Ok(Step::Rest(Duration::from_millis(next.saturating_sub(now).max(1))));
        }
        if list {
            // What other calls have made since the last list is looked at too.
            looks = ledger::looks()?;
            match pods::census(self.context) {
                Ok(census) => self.listed(&census, &mut looks, &mut beat)?,
                Err(error) if call::cancelled() => log!("a list of container groups was cut short: {error}"),
                Err(error) => {
                    log!("the list of container groups failed: {error}");
                    beat.count(1);
                    beat.list_failed(self.rhythm, error.retry_after, ledger::now());
                }
            }
        } else {
            let is_news = self.look_at(&due, is_news, &mut looks, &mut beat)?;
            if let Some(id) = act
                && !call::cancelled()
                && !self.is_tired()
                && beat.may_act(looks.get(&id).map_or(0, |look| look.act), is_news, ledger::now())
            {
                self.act(&id, &mut looks, &mut beat)?;
            }
        }
        ledger::beats(&beat)?;
        self.looks = Some(looks);
        Ok(Step::Acted)
    }

    /// Takes what a list tells: what came, went or is in another state is to be looked at at once.
    fn listed(&mut self, census: &Census, looks: &mut BTreeMap<PodRef, Look>, beat: &mut Beat) -> Result<()> {
        beat.succeeded();
        beat.count(census.requests);
        beat.list_succeeded(ledger::now());
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

    /// Looks at all that is due, one after the other; returns whether there is news.
    fn look_at(
        &mut self,
        due: &[PodRef],
        mut is_news: bool,
        looks: &mut BTreeMap<PodRef, Look>,
        beat: &mut Beat,
    ) -> Result<bool> {
        let begun = Instant::now();
        for id in due {
            if call::cancelled() || self.is_tired() || (is_news && Instant::now().since(begun) > GATHER) {
                break;
            }
            let mut look = looks.get(id).cloned().unwrap_or_default();
            self.effort += 1;
            let now = ledger::now();
            let outcome = self.look(id, &mut look, beat).map(|view| Next::of(view, &look, now));
            match self.note(id, now, look, outcome, looks, beat)? {
                Came::News => is_news = true,
                Came::Nothing => {}
                Came::ToAnEnd => break,
            }
        }
        Ok(is_news)
    }

    /// Looks at a pod once more, and stops or removes its group if that is still to be done.
    fn act(&mut self, id: &PodRef, looks: &mut BTreeMap<PodRef, Look>, beat: &mut Beat) -> Result<()> {
        let mut look = looks.get(id).cloned().unwrap_or_default();
        self.effort += 1;
        let now = ledger::now();
        let outcome = match self.look(id, &mut look, beat) {
            // What is new is told first: this may take its time.
            Ok(View::There(mut sight)) if !sight.is_news => {
                let acted = end::act(self.context, id, &mut sight, &mut beat.removals);
                beat.acted = ledger::now();
                acted.map(|is_done| {
                    // What Azure took it may not show yet: what is still to be done is seen by the next look.
                    look.act = if is_done { 0 } else { now.saturating_add(ledger::millis(ROOM_AGAIN)) };
                    Next::Again(Look { act: look.act, ..sight.look(Some(&look), now) }, false)
                })
            }
            outcome => outcome.map(|view| Next::of(view, &look, now)),
        };
        self.note(id, now, look, outcome, looks, beat)?;
        Ok(())
    }

    /// Keeps what a look, or an act, that began at `since` came to.
    fn note(
        &self,
        id: &PodRef,
        since: u64,
        look: Look,
        outcome: Result<Next, Trouble>,
        looks: &mut BTreeMap<PodRef, Look>,
        beat: &mut Beat,
    ) -> Result<Came> {
        let trouble = match outcome {
            Ok(Next::Again(next, is_news)) => {
                beat.succeeded();
                keep(looks, id, next)?;
                return Ok(if is_news { Came::News } else { Came::Nothing });
            }
            Ok(Next::Never) => {
                beat.succeeded();
                looks.remove(id);
                return Ok(Came::News);
            }
            Err(trouble) if call::cancelled() => {
                log!("a look at pod {} was cut short: {}", id.name, Error::from(trouble));
                return Ok(Came::ToAnEnd);
            }
            Err(trouble) => trouble,
        };
        // At the end of the queue, so that the others have their turn.
        let (at, failures) = (ledger::now(), look.failures.saturating_add(1));
        keep(looks, id, Look { at, urgent: false, failures, lost: at.saturating_sub(since), ..look })?;
        match trouble {
            // While lists fail too, it is not of this pod alone.
            Trouble::Own(error) if beat.unlisted == 0 || !look::passes(&error) => {
                beat.succeeded();
                cluster::event(id, true, &error.reason, &error.message);
                Ok(Came::Nothing)
            }
            Trouble::Own(error) | Trouble::Lost(error) | Trouble::Barred(error) => {
                log!("what was asked of the container group of pod {} failed: {error}", id.name);
                beat.count(1);
                beat.failed(self.rhythm, error.retry_after, ledger::now());
                Ok(Came::ToAnEnd)
            }
        }
    }

    /// Looks at a pod, and asks how far its operation is.
    fn look(&self, id: &PodRef, look: &mut Look, beat: &mut Beat) -> Result<View, Trouble> {
        if look.asks_operation(ledger::now()) {
            look.operation = self.ask(id, beat)?;
        }
        beat.count(1);
        look::look(self.context, id)
    }

    /// Asks how far the operation of a pod is; returns when to ask again.
    fn ask(&self, id: &PodRef, beat: &mut Beat) -> Result<u64, Trouble> {
        let (work, period) = (ledger::work(id)?, ledger::millis(self.rhythm.period));
        let asked = match (&work.operation, end::operation(&work)) {
            (Some(operation), _) => look::ask(self.context, id, operation, period),
            (None, Some(operation)) => end::ask(self.context, id, operation, period),
            (None, None) => return Ok(0),
        };
        beat.count(1);
        match asked {
            // The group itself tells too, and that may be asked where this may not.
            Err(Trouble::Own(error) | Trouble::Lost(error)) => {
                if ledger::is_to_tell(OPERATIONS)? {
                    log!("nobody tells how far the operation on the container group of pod {} is: {error}", id.name);
                }
                Ok(ledger::now().saturating_add(ledger::millis(ASK_AGAIN)))
            }
            asked => asked,
        }
    }
}

fn keep(looks: &mut BTreeMap<PodRef, Look>, id: &PodRef, look: Look) -> Result<()> {
    ledger::looked(id, &look)?;
    looks.insert(id.clone(), look);
    Ok(())
}
