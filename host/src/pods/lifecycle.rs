//! The next step of one pod, as a pure function of what is wanted and what is known. All rules of order live here; the
//! task that calls it does the I/O.
//!
//! ```text
//!            Run                    Ended                 Delete                       Forgotten
//!  None      create                 idle                  release (API delete)         done
//!  Unclear   look                   look                  remove                       remove
//!  Present   update if it differs   remove if it runs     remove (release if ended)    remove
//!  Stopping  idle                   await its end         await its end                await its end
//!  Gone      fail: NotFound         idle                  release                      done
//! ```
//!
//! A pod that shall run and has been active for longer than its deadline is first ended and then said to have failed, so
//! that the ends of its containers are known, and that nobody starts its successor beside it (R20).

use std::time::Duration;

use crate::provider::{Code, Error};

/// What the API server wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It shall run.
    Run,
    /// It has ended for good and is kept for people to see (R4).
    Ended,
    /// Its removal was asked for.
    Delete,
    /// The API server does not have it any more.
    Forgotten,
}

/// What is known of a pod's workload in the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// None was made.
    None,
    /// Not known: look before anything is made (R10). `made`: it was there once, so that absent means lost.
    Unclear {
        /// It was there once.
        made: bool,
    },
    /// It is there.
    Present {
        /// The revision that was stored with it; none: the backend lost it.
        revision: Option<String>,
    },
    /// Its removal was accepted.
    Stopping,
    /// It was there and is not any more.
    Gone,
}

/// All that a step depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What the API server wants.
    pub wanted: Wanted,
    /// What the provider has.
    pub workload: &'a Workload,
    /// The revision of the desired pod.
    pub revision: &'a str,
    /// The revision that the provider has said it cannot be updated to.
    pub refused_revision: Option<&'a str>,
    /// Every container has ended.
    pub ended: bool,
    /// Some container is known not to have ended.
    pub running: bool,
    /// Its activeDeadlineSeconds are over, and nothing else has made it fail.
    pub expired: bool,
    /// The pod was deleted in the API, and only finalizers keep it.
    pub released: bool,
    /// The backend answers.
    pub reachable: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make the workload.
    Create,
    /// Ask the provider whether there is one.
    Look,
    /// Bring it to the desired revision.
    Update,
    /// Ask the provider to end it.
    Remove,
    /// Its end was asked for: look until it is gone.
    AwaitEnd,
    /// Write that it was lost.
    Fail,
    /// Write that its deadline is over.
    Expire,
    /// Delete the pod in the API.
    Release,
    /// Nothing until something changes.
    Idle,
    /// Nothing is left to do, ever.
    Done,
}

/// The next step.
pub fn next(facts: &Facts<'_>) -> Step {
    use Workload::{Gone, None, Present, Stopping, Unclear};
    match (facts.wanted, facts.workload) {
        (Wanted::Run, Present { .. }) if facts.expired && !facts.ended => Step::Remove,
        (Wanted::Run, Stopping) if facts.expired && !facts.ended => Step::AwaitEnd,
        (Wanted::Run, None | Present { .. } | Stopping | Gone) if facts.expired => Step::Expire,
        (Wanted::Run, None) if facts.reachable => Step::Create,
        (Wanted::Run, None) => Step::Idle,
        (Wanted::Run, Unclear { .. }) => Step::Look,
        (Wanted::Run, Present { revision: Some(stored) })
            if stored != facts.revision && facts.refused_revision != Some(facts.revision) =>
        {
            Step::Update
        }
        (Wanted::Run, Present { .. } | Stopping) => Step::Idle,
        // Its end was seen; only the API server does not know it yet.
        (Wanted::Run, Gone) if facts.ended => Step::Idle,
        (Wanted::Run, Gone) => Step::Fail,
        // The API says that it has ended, so what still runs must end too.
        (Wanted::Ended, Present { .. }) if facts.running => Step::Remove,
        // Past its deadline, and kept for its logs.
        (Wanted::Ended, Stopping) if facts.ended => Step::Idle,
        (Wanted::Ended, Stopping) => Step::AwaitEnd,
        (Wanted::Ended, Unclear { .. }) => Step::Look,
        (Wanted::Ended, _) => Step::Idle,
        // Containers that have ended need no grace: whoever waits for the pod's end need not wait for the backend's (R5).
        (Wanted::Delete, Present { .. } | Stopping) if facts.ended && !facts.released => Step::Release,
        (Wanted::Delete, None | Gone) if !facts.released => Step::Release,
        (Wanted::Delete, None | Gone) => Step::Idle,
        (Wanted::Forgotten, None | Gone) => Step::Done,
        (Wanted::Delete | Wanted::Forgotten, Unclear { .. } | Present { .. }) => Step::Remove,
        (Wanted::Delete | Wanted::Forgotten, Stopping) => Step::AwaitEnd,
    }
}

/// What follows from a failed create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This node will never run the pod: phase Failed with the error's reason (R21).
    Final,
    /// It is there already: look.
    Exists,
    /// Again, soon or slowly; never for a pod's own fault (R17).
    Retry {
        /// Only an operator can mend it.
        slow: bool,
    },
}

/// The verdict on a failed create (provider-contract.md, "Errors").
pub fn verdict(error: &Error) -> Verdict {
    match error.code {
        Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => Verdict::Final,
        Code::FailedPrecondition if error.field.is_some() => Verdict::Final,
        Code::AlreadyExists => Verdict::Exists,
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled => {
            Verdict::Retry { slow: false }
        }
        Code::FailedPrecondition
        | Code::NotFound
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss => Verdict::Retry { slow: true },
    }
}

/// A backend that asks for less is not obeyed: one that always says 0 would be asked without end.
const SHORTEST_RETRY_AFTER: Duration = Duration::from_millis(100);
/// Nor one that asks for more: its clock may be wrong, and a pod waits.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

/// A pause before the next try: what the backend asked for, or what the back-off says.
pub fn pause(error: &Error, backoff: Duration) -> Duration {
    error.retry_after.map_or(backoff, |asked| asked.clamp(SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(wanted: Wanted, workload: &Workload) -> Facts<'_> {
        Facts {
            wanted,
            workload,
            revision: "2",
            refused_revision: None,
            ended: false,
            running: false,
            expired: false,
            released: false,
            reachable: true,
        }
    }

    #[test]
    fn the_table_of_the_module_header() {
        let present = Workload::Present { revision: Some("2".into()) };
        let older = Workload::Present { revision: Some("1".into()) };
        let lost = Workload::Present { revision: None };
        let unclear = Workload::Unclear { made: false };
        let table = [
            (Wanted::Run, &Workload::None, Step::Create),
            (Wanted::Run, &unclear, Step::Look),
            (Wanted::Run, &present, Step::Idle),
            (Wanted::Run, &older, Step::Update),
            (Wanted::Run, &lost, Step::Idle),
            (Wanted::Run, &Workload::Stopping, Step::Idle),
            (Wanted::Run, &Workload::Gone, Step::Fail),
            (Wanted::Ended, &Workload::None, Step::Idle),
            (Wanted::Ended, &Workload::Gone, Step::Idle),
            (Wanted::Ended, &unclear, Step::Look),
            (Wanted::Ended, &Workload::Stopping, Step::AwaitEnd),
            (Wanted::Delete, &Workload::None, Step::Release),
            (Wanted::Delete, &unclear, Step::Remove),
            (Wanted::Delete, &older, Step::Remove),
            (Wanted::Delete, &Workload::Stopping, Step::AwaitEnd),
            (Wanted::Delete, &Workload::Gone, Step::Release),
            (Wanted::Forgotten, &Workload::None, Step::Done),
            (Wanted::Forgotten, &unclear, Step::Remove),
            (Wanted::Forgotten, &present, Step::Remove),
            (Wanted::Forgotten, &Workload::Stopping, Step::AwaitEnd),
            (Wanted::Forgotten, &Workload::Gone, Step::Done),
        ];
        for (wanted, workload, step) in table {
            assert_eq!(next(&facts(wanted, workload)), step, "{wanted:?} {workload:?}");
        }
    }

    #[test]
    fn an_unreachable_backend_makes_new_pods_wait_and_nothing_else() {
        let at = |workload: &Workload, wanted| next(&Facts { reachable: false, ..facts(wanted, workload) });
        assert_eq!(at(&Workload::None, Wanted::Run), Step::Idle);
        assert_eq!(at(&Workload::Present { revision: None }, Wanted::Delete), Step::Remove);
    }

    #[test]
    fn an_ended_pod_leaves_the_api_before_the_backend() {
        let present = Workload::Present { revision: None };
        let ended = Facts { ended: true, ..facts(Wanted::Delete, &present) };
        assert_eq!(next(&ended), Step::Release);
        assert_eq!(
            next(&Facts { released: true, ..ended }),
            Step::Remove,
            "with finalizers the workload need not wait"
        );
    }

    #[test]
    fn a_pod_past_its_deadline_is_ended_before_it_is_said_to_have_failed() {
        let present = Workload::Present { revision: Some("2".into()) };
        let unclear = Workload::Unclear { made: true };
        let at = |workload: &Workload, ended| next(&Facts { expired: true, ended, ..facts(Wanted::Run, workload) });
        assert_eq!(at(&Workload::None, false), Step::Expire);
        assert_eq!(at(&unclear, false), Step::Look);
        assert_eq!(at(&present, false), Step::Remove);
        assert_eq!(at(&Workload::Stopping, false), Step::AwaitEnd);
        for workload in [&present, &Workload::Stopping, &Workload::Gone] {
            assert_eq!(at(workload, true), Step::Expire);
        }
        assert_eq!(at(&Workload::Gone, false), Step::Expire);
        assert_eq!(next(&Facts { running: true, ..facts(Wanted::Ended, &present) }), Step::Remove);
        assert_eq!(
            next(&Facts { ended: true, ..facts(Wanted::Ended, &present) }),
            Step::Idle,
            "what has ended is kept for its logs"
        );
    }

    #[test]
    fn an_end_that_was_seen_is_not_a_loss() {
        assert_eq!(next(&Facts { ended: true, ..facts(Wanted::Run, &Workload::Gone) }), Step::Idle);
    }

    #[test]
    fn a_revision_that_was_refused_is_not_tried_again() {
        let older = Workload::Present { revision: Some("1".into()) };
        assert_eq!(next(&Facts { refused_revision: Some("2"), ..facts(Wanted::Run, &older) }), Step::Idle);
    }

    #[test]
    fn only_the_pod_s_own_fault_is_final() {
        let of =
            |code, field: Option<&str>| verdict(&Error { field: field.map(Into::into), ..Error::new(code, "R", "m") });
        assert_eq!(of(Code::InvalidArgument, None), Verdict::Final);
        assert_eq!(of(Code::FailedPrecondition, Some("spec.x")), Verdict::Final);
        assert_eq!(of(Code::FailedPrecondition, None), Verdict::Retry { slow: true });
        assert_eq!(of(Code::ResourceExhausted, None), Verdict::Retry { slow: false });
        assert_eq!(of(Code::PermissionDenied, None), Verdict::Retry { slow: true });
        assert_eq!(of(Code::AlreadyExists, None), Verdict::Exists);
    }
}
