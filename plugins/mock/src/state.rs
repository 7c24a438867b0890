//! The time machine: what a pod's containers do at a time, from its [`Timing`] alone.
//!
//! ```text
//! created ──start-after──▶ init 1 ─▶ init 2 ─▶ all ordinary containers ──run-for──▶ ended ──back-off──▶ again …
//!                             sidecars: from their turn to the pod's end
//! ```
//!
//! Rules and numbers are the kubelet's: init containers one by one, a failed one again after a back-off; the first restart at
//! once, then after a back-off that doubles up to five minutes, and that starts over after ten minutes of running.

use serde::{Deserialize, Serialize};
use vk_provider::pod::RestartPolicy;
use vk_provider::status::Phase;

/// The kubelet's longest back-off, in milliseconds.
const MOST_BACKOFF: u64 = 300_000;
/// A container that ran longer than twice the longest back-off is restarted at once.
const RESET_AFTER: u64 = 2 * MOST_BACKOFF;

/// All that a pod's life follows from. Times are unix milliseconds, durations milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Timing {
    pub(crate) created: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) start_after: u64,
    pub(crate) restart: RestartPolicy,
    pub(crate) backoff: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) init: Vec<Run>,
    pub(crate) main: Vec<Run>,
    /// From here on there is nothing left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<u64>,
}

/// How one container plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// none: for ever; of an init container: no time at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_for: Option<u64>,
    #[serde(default, skip_serializing_if = "is_no_code")]
    pub(crate) exit_code: i32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sidecar: bool,
    /// The container's own, which goes before the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restart: Option<RestartPolicy>,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

const fn is_no_code(number: &i32) -> bool {
    *number == 0
}

/// One attempt at running a container. `end` is when it ends, if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) start: u64,
    pub(crate) end: Option<u64>,
    pub(crate) exit_code: i32,
}

/// What a container does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has never started.
    Waiting,
    Running(Attempt),
    /// For good.
    Ended(Attempt),
    /// It has ended and starts again after this many milliseconds since its end.
    BackOff(Attempt, u64),
}

impl Life {
    /// The attempt that runs or ran last.
    pub(crate) const fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Waiting => None,
            Self::Running(attempt) | Self::Ended(attempt) | Self::BackOff(attempt, _) => Some(*attempt),
        }
    }
}

/// What a pod does at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    /// When the sandbox was or will be there.
    pub(crate) sandbox: u64,
    pub(crate) init: Vec<Life>,
    pub(crate) main: Vec<Life>,
    /// When all of it had ended for good.
    pub(crate) end: Option<u64>,
}

/// A container with its place in the pod's life.
struct Course {
    run: Run,
    /// none: it never begins.
    begin: Option<u64>,
    restarts: bool,
    /// The pod's end stops it.
    stop: Option<u64>,
}

impl Timing {
    /// There is nothing left of it.
    pub(crate) fn is_gone(&self, now: u64) -> bool {
        self.gone.is_some_and(|gone| gone <= now)
    }

    /// What the pod does now. Whoever sees it sees it made, though they read the clock before it was: a pod that seemed to
    /// wait then would have no news afterwards.
    pub(crate) fn at(&self, now: u64) -> Snapshot {
        let now = now.max(self.created);
        let (init, main, end) = self.courses();
        let lives = |courses: &[Course]| courses.iter().map(|course| course.at(now, self.backoff)).collect::<Vec<_>>();
        let (init, main) = (lives(&init), lives(&main));
        let end = end.filter(|(end, _)| *end <= now);
        let phase = match end {
            Some((_, true)) => Phase::Succeeded,
            Some((_, false)) => Phase::Failed,
            None if main.contains(&Life::Waiting) => Phase::Pending,
            None => Phase::Running,
        };
        Snapshot { phase, sandbox: self.sandbox(), init, main, end: end.map(|(end, _)| end) }
    }

    /// It does not stay as it was made.
    pub(crate) fn ever_changes(&self) -> bool {
        self.next_after(self.created).is_some()
    }

    /// The first change after a time.
    pub(crate) fn next_after(&self, time: u64) -> Option<u64> {
        if self.is_gone(time) {
            return None;
        }
        let (init, main, _) = self.courses();
        let changes = init.iter().chain(&main).filter_map(|course| course.next_after(time, self.backoff));
        let sandbox = Some(self.sandbox()).filter(|at| *at > time);
        let next = changes.chain(sandbox).min();
        // `gone` is later than `time` here; what would come after it does not come.
        self.gone.map_or(next, |gone| Some(next.map_or(gone, |next| next.min(gone))))
    }

    /// A certain attempt of a container, the init containers first; none: it never comes.
    pub(crate) fn attempt(&self, container: usize, number: u32) -> Option<Attempt> {
        let (init, main, _) = self.courses();
        let course = init.iter().chain(&main).nth(container)?;
        course.nth(number, self.backoff)
    }

    fn sandbox(&self) -> u64 {
        self.created + self.start_after
    }

    /// Where each container begins, and the pod's end with whether it is a good one.
    fn courses(&self) -> (Vec<Course>, Vec<Course>, Option<(u64, bool)>) {
        let mut begin = Some(self.sandbox());
        let mut failed = None;
        let mut init: Vec<Course> = Vec::with_capacity(self.init.len());
        for run in &self.init {
            let restarts = run.sidecar || (run.exit_code != 0 && self.restarts(run));
            let run_for = if run.sidecar { run.run_for } else { Some(run.run_for.unwrap_or(0)) };
            let course = Course { run: Run { run_for, ..*run }, begin, restarts, stop: None };
            if !run.sidecar {
                let end = begin.zip(run_for).map(|(begin, run_for)| begin + run_for);
                if run.exit_code != 0 && !restarts {
                    // The first one to fail: those after it never begin, and so have no end.
                    failed = failed.or(end.map(|end| (end, false)));
                }
                begin = end.filter(|_| run.exit_code == 0);
            }
            init.push(course);
        }
        let ordinary = |run: &Run| Course { run: *run, begin, restarts: self.restarts(run), stop: None };
        let main: Vec<Course> = self.main.iter().map(ordinary).collect();
        let end = failed.or_else(|| pod_end(&main));
        for course in init.iter_mut().filter(|course| course.run.sidecar) {
            course.stop = end.map(|(end, _)| end);
        }
        (init, main, end)
    }

    /// An ordinary container starts again after its end.
    fn restarts(&self, run: &Run) -> bool {
        match run.restart.unwrap_or(self.restart) {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => run.exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// The last end, if all of them end for good, and whether all ended well.
fn pod_end(main: &[Course]) -> Option<(u64, bool)> {
    let ends: Option<Vec<u64>> = main
        .iter()
        .map(|course| if course.restarts { None } else { Some(course.begin? + course.run.run_for?) })
        .collect();
    Some((ends?.into_iter().max()?, main.iter().all(|course| course.run.exit_code == 0)))
}

impl Course {
    fn at(&self, now: u64, backoff: u64) -> Life {
        // A sidecar's state stands still at the pod's end.
        let seen = self.stop.map_or(now, |stop| now.min(stop));
        let Some(begin) = self.begin.filter(|begin| *begin <= seen) else { return Life::Waiting };
        let attempt = self.current(begin, seen, backoff);
        let stopped = self.stop.is_some_and(|stop| stop <= now);
        if attempt.end.is_none_or(|end| end > seen) {
            Life::Running(attempt)
        } else if self.restarts && !stopped {
            Life::BackOff(attempt, self.delay(attempt.number, backoff))
        } else {
            Life::Ended(attempt)
        }
    }

    fn next_after(&self, time: u64, backoff: u64) -> Option<u64> {
        let begin = self.begin?;
        let next = if begin > time {
            Some(begin)
        } else {
            let attempt = self.current(begin, time, backoff);
            attempt.end.and_then(|end| {
                let again = self.restarts.then(|| end + self.delay(attempt.number, backoff));
                if end > time { Some(end) } else { again }
            })
        };
        match self.stop {
            Some(stop) if stop <= time => None,
            Some(stop) => Some(next.map_or(stop, |next| next.min(stop))),
            None => next,
        }
    }

    fn attempt(&self, number: u32, start: u64) -> Attempt {
        let end = self.run.run_for.map(|run_for| start + run_for);
        match self.stop {
            // It ends because it is stopped, which is no failure of its own.
            Some(stop) if end.is_none_or(|end| end > stop) => Attempt { number, start, end: Some(stop), exit_code: 0 },
            _ => Attempt { number, start, end, exit_code: self.run.exit_code },
        }
    }

    /// The attempt that runs at a time or ended last before it. The time is not before the beginning.
    fn current(&self, begin: u64, time: u64, backoff: u64) -> Attempt {
        let (mut number, mut start) = (0, begin);
        let Some(run_for) = self.run.run_for.filter(|_| self.restarts) else { return self.attempt(0, begin) };
        loop {
            let period = run_for + self.delay(number, backoff);
            if time < start + period {
                return self.attempt(number, start);
            }
            if self.is_steady(number, backoff) {
                let more = (time - start) / period.max(1);
                return self
                    .attempt(number.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)), start + more * period);
            }
            start += period;
            number += 1;
        }
    }

    fn nth(&self, wanted: u32, backoff: u64) -> Option<Attempt> {
        let (mut number, mut start) = (0, self.begin?);
        let Some(run_for) = self.run.run_for.filter(|_| self.restarts) else {
            return (wanted == 0).then(|| self.attempt(0, start));
        };
        while number < wanted {
            let period = run_for + self.delay(number, backoff);
            let steps = if self.is_steady(number, backoff) { wanted - number } else { 1 };
            start = start.checked_add(period.checked_mul(steps.into())?)?;
            number += steps;
        }
        if self.stop.is_some_and(|stop| start > stop) { None } else { Some(self.attempt(wanted, start)) }
    }

    /// How long an attempt's end is before the next one's start.
    fn delay(&self, number: u32, backoff: u64) -> u64 {
        if number == 0 || self.resets() {
            return 0;
        }
        backoff
            .checked_shl(number - 1)
            .filter(|delay| delay >> (number - 1) == backoff)
            .unwrap_or(u64::MAX)
            .min(MOST_BACKOFF)
    }

    /// From this attempt on all delays are the same.
    fn is_steady(&self, number: u32, backoff: u64) -> bool {
        self.resets() || (number > 0 && self.delay(number, backoff) == MOST_BACKOFF)
    }

    fn resets(&self) -> bool {
        self.run.run_for.is_some_and(|run_for| run_for > RESET_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    fn timing(restart: RestartPolicy, main: &[Run]) -> Timing {
        Timing {
            created: 0,
            start_after: 0,
            restart,
            backoff: 10 * SECOND,
            init: vec![],
            main: main.to_vec(),
            gone: None,
        }
    }

    const fn ends(seconds: u64, exit_code: i32) -> Run {
        Run { run_for: Some(seconds * SECOND), exit_code, ..FOR_EVER }
    }

    const FOR_EVER: Run = Run { run_for: None, exit_code: 0, sidecar: false, restart: None };
    const SIDECAR: Run = Run { sidecar: true, ..FOR_EVER };

    /// `w` waits, `r2` runs as attempt 2, `b2` backs off after attempt 2, `e3` has ended with code 3.
    fn told(timing: &Timing, seconds: u64) -> String {
        let snapshot = timing.at(seconds * SECOND);
        let life = |life: &Life| match life {
            Life::Waiting => "w".to_owned(),
            Life::Running(attempt) => format!("r{}", attempt.number),
            Life::BackOff(attempt, _) => format!("b{}", attempt.number),
            Life::Ended(attempt) => format!("e{}", attempt.exit_code),
        };
        let lives: Vec<String> =
            snapshot.init.iter().map(|it| life(it) + "i").chain(snapshot.main.iter().map(life)).collect();
        format!("{:?} {}", snapshot.phase, lives.join(" "))
    }

    fn changes(timing: &Timing, count: usize) -> Vec<u64> {
        let next = |time: &u64| timing.next_after(*time);
        std::iter::successors(timing.next_after(0), next).take(count).map(|time| time / SECOND).collect()
    }

    #[test]
    fn a_plain_pod_runs_at_once_and_never_changes() {
        let plain = timing(RestartPolicy::Always, &[FOR_EVER]);
        assert_eq!(told(&plain, 0), "Running r0");
        assert_eq!(plain.next_after(0), None);
    }

    #[test]
    fn a_clock_that_was_read_before_the_creation_makes_no_difference() {
        let plain = Timing { created: 5 * SECOND, ..timing(RestartPolicy::Always, &[FOR_EVER]) };
        assert_eq!(told(&plain, 4), "Running r0");
    }

    #[test]
    fn start_after_keeps_it_pending() {
        let late = Timing { start_after: 2 * SECOND, ..timing(RestartPolicy::Always, &[FOR_EVER]) };
        assert_eq!((told(&late, 1), told(&late, 2)), ("Pending w".to_owned(), "Running r0".to_owned()));
        assert_eq!(changes(&late, 9), [2]);
    }

    #[test]
    fn phases_follow_exit_codes_and_restart_policies() {
        use RestartPolicy::{Always, Never, OnFailure};
        for (restart, runs, seconds, expected) in [
            (Never, vec![ends(5, 0)], 4, "Running r0"),
            (Never, vec![ends(5, 0)], 5, "Succeeded e0"),
            (Never, vec![ends(5, 3)], 5, "Failed e3"),
            (Never, vec![ends(5, 3), ends(9, 0)], 5, "Running e3 r0"),
            (Never, vec![ends(5, 3), ends(9, 0)], 9, "Failed e3 e0"),
            (Never, vec![ends(5, 0), FOR_EVER], 99, "Running e0 r0"),
            (OnFailure, vec![ends(5, 0)], 5, "Succeeded e0"),
            (OnFailure, vec![ends(5, 3)], 5, "Running r1"),
            (OnFailure, vec![ends(5, 3)], 10, "Running b1"),
            (OnFailure, vec![ends(5, 3), ends(5, 0)], 10, "Running b1 e0"),
            (Always, vec![ends(5, 0)], 5, "Running r1"),
            (Always, vec![ends(5, 0)], 10, "Running b1"),
        ] {
            assert_eq!(told(&timing(restart, &runs), seconds), expected, "{restart:?} {runs:?} {seconds}");
        }
    }

    #[test]
    fn a_containers_own_restart_policy_goes_before_the_pods() {
        use RestartPolicy::{Always, Never, OnFailure};
        let own = |restart: RestartPolicy, run: Run| Run { restart: Some(restart), ..run };
        for (restart, runs, seconds, expected) in [
            (Always, vec![own(Never, ends(5, 0))], 5, "Succeeded e0"),
            (Always, vec![own(Never, ends(5, 3))], 5, "Failed e3"),
            (Always, vec![own(Never, ends(5, 3)), FOR_EVER], 9, "Running e3 r0"),
            (Always, vec![own(OnFailure, ends(5, 0)), own(Never, ends(6, 0))], 6, "Succeeded e0 e0"),
            (Never, vec![own(Always, ends(5, 0))], 5, "Running r1"),
            (Never, vec![own(OnFailure, ends(5, 3)), ends(6, 0)], 10, "Running b1 e0"),
        ] {
            assert_eq!(told(&timing(restart, &runs), seconds), expected, "{restart:?} {runs:?} {seconds}");
        }
        let with_init = |restart, init| Timing { init: vec![init], ..timing(restart, &[FOR_EVER]) };
        assert_eq!(told(&with_init(Always, own(Never, ends(2, 1))), 2), "Failed e1i w");
        assert_eq!(told(&with_init(Never, own(OnFailure, ends(2, 1))), 4), "Pending b1i w");
    }

    #[test]
    fn back_off_is_the_kubelets() {
        let crash = timing(RestartPolicy::Always, &[ends(1, 1)]);
        // Restarts at once, then after 10, 20, 40, 80, 160 and from then on 300 seconds.
        let starts = [0, 1, 12, 33, 74, 155, 316, 617, 918, 1219];
        for (number, start) in (0_u32..).zip(starts) {
            let attempt = crash.attempt(0, number).unwrap();
            assert_eq!((attempt.start / SECOND, attempt.end.unwrap() / SECOND), (start, start + 1), "attempt {number}");
            assert_eq!(told(&crash, start), format!("Running r{number}"));
        }
        assert_eq!(changes(&crash, 7), [1, 2, 12, 13, 33, 34, 74]);
        assert_eq!(told(&crash, 617 + 301 * 1_000_000), "Running r1000007");
        assert_eq!(crash.attempt(0, 1_000_007).unwrap().start / SECOND, 617 + 301 * 1_000_000);
    }

    #[test]
    fn ten_minutes_of_running_start_the_back_off_over() {
        let long = timing(RestartPolicy::Always, &[ends(601, 1)]);
        assert_eq!(
            (told(&long, 600), told(&long, 601), told(&long, 1202)),
            ("Running r0".into(), "Running r1".into(), "Running r2".into())
        );
        let short = timing(RestartPolicy::Always, &[ends(600, 1)]);
        assert_eq!(told(&short, 1200), "Running b1");
    }

    #[test]
    fn a_container_that_ends_at_once_terminates_the_computation() {
        let flash = Timing { backoff: 1, ..timing(RestartPolicy::Always, &[ends(0, 1)]) };
        assert!(told(&flash, 86_400).starts_with("Running b"));
        assert!(flash.next_after(86_400 * SECOND).unwrap() > 86_400 * SECOND);
    }

    #[test]
    fn init_containers_run_one_by_one() {
        let init = vec![ends(2, 0), ends(3, 0)];
        let pod = Timing { init, ..timing(RestartPolicy::Always, &[FOR_EVER]) };
        for (seconds, expected) in
            [(0, "Pending r0i wi w"), (2, "Pending e0i r0i w"), (4, "Pending e0i r0i w"), (5, "Running e0i e0i r0")]
        {
            assert_eq!(told(&pod, seconds), expected, "{seconds}");
        }
        assert_eq!(changes(&pod, 9), [2, 5]);
        let instant = Timing { init: vec![Run::default()], ..timing(RestartPolicy::Always, &[FOR_EVER]) };
        assert_eq!((told(&instant, 0), instant.next_after(0)), ("Running e0i r0".to_owned(), None));
    }

    #[test]
    fn a_failed_init_container_ends_the_pod_or_starts_again() {
        let init = vec![SIDECAR, ends(2, 1), ends(1, 0)];
        let never = Timing { init: init.clone(), ..timing(RestartPolicy::Never, &[FOR_EVER]) };
        assert_eq!(told(&never, 1), "Pending r0i r0i wi w");
        assert_eq!(told(&never, 2), "Failed e0i e1i wi w");
        assert_eq!(changes(&never, 9), [2]);
        let always = Timing { init, ..timing(RestartPolicy::Always, &[FOR_EVER]) };
        assert_eq!(told(&always, 4), "Pending r0i b1i wi w");
        assert_eq!(told(&always, 14), "Pending r0i r2i wi w");
    }

    #[test]
    fn the_first_init_container_that_fails_is_the_pods_end() {
        let two = Timing { init: vec![ends(2, 1), ends(1, 1)], ..timing(RestartPolicy::Never, &[FOR_EVER]) };
        assert_eq!((told(&two, 1), told(&two, 2)), ("Pending r0i wi w".into(), "Failed e1i wi w".into()));
        assert_eq!(changes(&two, 9), [2]);
    }

    #[test]
    fn what_the_pods_end_stops_has_an_end() {
        let pod = Timing { init: vec![SIDECAR], ..timing(RestartPolicy::Never, &[ends(6, 0)]) };
        assert_eq!(pod.attempt(0, 0).unwrap().end, Some(6 * SECOND));
        let crash = Timing { init: vec![Run { sidecar: true, ..ends(4, 1) }], ..pod };
        let attempts = [0, 1].map(|number| crash.attempt(0, number).unwrap());
        assert_eq!(attempts.map(|it| (it.end.unwrap() / SECOND, it.exit_code)), [(4, 1), (6, 0)]);
        assert_eq!(crash.attempt(0, 2), None, "it would begin after the pod's end");
    }

    #[test]
    fn a_sidecar_restarts_always_and_stops_with_the_pod() {
        let sidecar = Run { sidecar: true, ..ends(4, 1) };
        let pod = Timing { init: vec![sidecar], ..timing(RestartPolicy::Never, &[ends(6, 0)]) };
        for (seconds, expected) in
            [(0, "Running r0i r0"), (4, "Running r1i r0"), (6, "Succeeded e0i e0"), (99, "Succeeded e0i e0")]
        {
            assert_eq!(told(&pod, seconds), expected, "{seconds}");
        }
        assert_eq!(changes(&pod, 9), [4, 6]);
    }

    #[test]
    fn nothing_happens_after_the_end() {
        let gone = Timing { gone: Some(7 * SECOND), ..timing(RestartPolicy::Always, &[ends(5, 1)]) };
        assert_eq!(changes(&gone, 9), [5, 7]);
        assert!(!gone.is_gone(6999) && gone.is_gone(7000));
        let plain = Timing { gone: Some(7 * SECOND), ..timing(RestartPolicy::Always, &[FOR_EVER]) };
        assert_eq!(changes(&plain, 9), [7]);
    }
}
