//! Tables of what is due when.

use super::*;

const NOW: u64 = 1_800_000_000_000;
const SECOND: u64 = 1000;

fn rhythm() -> Rhythm {
    Rhythm { period: Duration::from_secs(5), factor: 1 }
}

/// A beat that has listed just now.
fn listed() -> Beat {
    Beat { listed: NOW, window: NOW, ..Beat::default() }
}

fn look(pace: Pace, at: u64, changed: u64) -> Look {
    Look { at: NOW - at * SECOND, changed: NOW - changed * SECOND, pace, ..Look::default() }
}

fn due(look: &Look) -> u64 {
    look.due(rhythm(), NOW)
}

#[test]
fn the_interval_grows_with_the_time_since_the_last_change() {
    use Pace::{Changing, Ending, Over, Settled};
    // Last look, last change before that, and so long after the look it is due.
    for (pace, at, changed, interval) in [
        (Changing, 3, 3, 5),
        (Changing, 3, 300, 5),
        (Changing, 3, 700, 30),
        (Settled, 3, 3, 5),
        (Settled, 0, 40, 10),
        (Settled, 0, 240, 60),
        (Settled, 0, 40_000, 120),
        (Over, 0, 240, 60),
        (Over, 0, 40_000, 600),
    ] {
        let look = look(pace, at, changed);
        assert_eq!(due(&look), look.at + interval * SECOND, "{pace:?} {at} {changed}");
    }
    assert_eq!(due(&Look::default()), 0, "never looked at");
    assert_eq!(due(&Look { urgent: true, ..look(Settled, 0, 4000) }), 0);
    for changed in [0, 40, 4000] {
        let look = look(Ending, 0, changed);
        assert_eq!(due(&look), look.at + 7500, "its end is told within two periods");
    }
    let slow = Rhythm { period: Duration::from_secs(60), factor: 1 };
    assert_eq!(look(Changing, 0, 4000).due(slow, NOW), NOW + 60 * SECOND, "never more often than a period");
    let ahead = Look { at: NOW + 3600 * SECOND, ..look(Settled, 0, 4000) };
    assert!(due(&ahead) <= NOW + 120 * SECOND, "the clock was set back");
}

#[test]
fn a_pod_whose_looks_fail_is_looked_at_ever_more_rarely() {
    let interval = |pace, failures| {
        let look = Look { failures, ..look(pace, 0, 0) };
        (due(&look) - look.at) / SECOND
    };
    let intervals: Vec<u64> = (0..6).map(|failures| interval(Pace::Changing, failures)).collect();
    assert_eq!(intervals, [5, 10, 20, 30, 30, 30]);
    assert_eq!(
        Look { failures: 1, ..look(Pace::Settled, 0, 4000) }.due(rhythm(), NOW),
        NOW + 120 * SECOND,
        "no sooner"
    );
    assert_eq!(due(&Look { urgent: true, failures: 9, ..look(Pace::Changing, 0, 0) }), 0, "a list told something new");
}

#[test]
fn a_list_comes_first_and_once_a_period() {
    let looks = [(1, look(Pace::Changing, 9, 9))];
    let plan_at = |listed: u64| {
        let mut beat = Beat { listed, ..Beat::default() };
        plan(looks.iter().map(|(key, look)| (key, look)), &mut beat, rhythm(), NOW)
    };
    for listed in [0, NOW - 5 * SECOND, NOW - 3600 * SECOND, NOW + 3600 * SECOND] {
        assert_eq!(plan_at(listed), Plan { list: true, looks: Vec::new(), next: NOW }, "{listed}");
    }
    assert_eq!(plan_at(NOW - SECOND), Plan { list: false, looks: vec![1], next: NOW + 4 * SECOND });
}

#[test]
fn what_is_urgent_comes_before_what_waited_longest() {
    let looks = [
        (1, look(Pace::Changing, 6, 6)),
        (2, look(Pace::Changing, 9, 9)),
        (3, look(Pace::Settled, 1, 4000)),
        (4, Look { urgent: true, ..look(Pace::Settled, 1, 4000) }),
        (5, look(Pace::Changing, 3, 3)),
    ];
    let plan = plan(looks.iter().map(|(key, look)| (key, look)), &mut listed(), rhythm(), NOW);
    assert_eq!((plan.looks, plan.next), (vec![4, 2, 1], NOW + 2 * SECOND));
}

#[test]
fn what_does_not_fit_into_the_budget_waits_for_the_next_window() {
    let looks: Vec<(u64, Look)> = (0..500).map(|key| (key, look(Pace::Changing, 600 - key, 600 - key))).collect();
    let planned = |beat: &mut Beat, factor| {
        plan(looks.iter().map(|(key, look)| (key, look)), beat, Rhythm { factor, ..rhythm() }, NOW)
    };
    let first = planned(&mut Beat { asked: 1, ..listed() }, 1);
    assert_eq!(first.looks, (0..74).collect::<Vec<_>>(), "15 a second for 5 seconds, less a list");
    assert_eq!(first.next, NOW + 5 * SECOND);
    assert_eq!(planned(&mut listed(), 60).looks.len(), 500);
    assert!(planned(&mut Beat { asked: 75, ..listed() }, 1).looks.is_empty());
    let mut over = Beat { asked: 75, window: NOW - 5 * SECOND, ..listed() };
    assert_eq!(planned(&mut over, 1).looks.len(), 75, "a new window");
    assert_eq!((over.window, over.asked), (NOW, 0));
}

#[test]
fn an_operation_that_is_asked_too_counts_twice() {
    let looks: Vec<(u64, Look)> =
        (0..100).map(|key| (key, Look { operation: NOW, ..look(Pace::Changing, 9, 9) })).collect();
    let plan = plan(looks.iter().map(|(key, look)| (key, look)), &mut listed(), rhythm(), NOW);
    assert_eq!(plan.looks.len(), 37);
    let later = Look { operation: NOW + 1, ..Look::default() };
    assert!(!later.asks_operation(NOW) && later.cost(NOW) == 1);
}

#[test]
fn after_a_failure_nothing_is_asked_for_a_while() {
    let looks = [(1, look(Pace::Changing, 9, 9))];
    let mut beat = listed();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        beat.failed(rhythm(), None, NOW);
        pauses.push((beat.not_before - NOW) / SECOND);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
    let waits = plan(looks.iter().map(|(key, look)| (key, look)), &mut beat, rhythm(), NOW);
    assert_eq!(waits, Plan { list: false, looks: Vec::new(), next: NOW + 60 * SECOND });
    beat.failed(rhythm(), Some(Duration::from_secs(17)), NOW);
    assert_eq!(beat.not_before, NOW + 17 * SECOND, "as Azure asks");
    beat.succeeded();
    assert_eq!(plan(looks.iter().map(|(key, look)| (key, look)), &mut beat, rhythm(), NOW).looks, [1]);
}
