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
    let interval = |lost, failures| {
        let look = Look { failures, lost: lost * SECOND, ..look(Pace::Changing, 0, 0) };
        (due(&look) - look.at) / SECOND
    };
    let intervals = |lost| (0..6).map(|failures| interval(lost, failures)).collect::<Vec<u64>>();
    assert_eq!(intervals(0), [5, 10, 20, 30, 30, 30]);
    assert_eq!(intervals(20), [5, 20, 40, 80, 120, 120], "six times as long as it takes is for others");
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
        assert_eq!(plan_at(listed), Plan { list: true, looks: Vec::new(), act: None, next: NOW }, "{listed}");
    }
    assert_eq!(plan_at(NOW - SECOND), Plan { list: false, looks: vec![1], act: None, next: NOW + 4 * SECOND });
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
    assert_eq!(waits, Plan { list: false, looks: Vec::new(), act: None, next: NOW + 60 * SECOND });
    beat.failed(rhythm(), Some(Duration::from_secs(17)), NOW);
    assert_eq!(beat.not_before, NOW + 60 * SECOND, "after so many failures it is no longer believed");
    for (asked, pause) in [(17, 17), (90, 90), (0, 5)] {
        beat.succeeded();
        beat.failed(rhythm(), Some(Duration::from_secs(asked)), NOW);
        assert_eq!(beat.not_before, NOW + pause * SECOND, "as Azure asks, and never at once");
    }
    beat.succeeded();
    assert_eq!(plan(looks.iter().map(|(key, look)| (key, look)), &mut beat, rhythm(), NOW).looks, [1]);
}

#[test]
fn lists_that_fail_leave_time_to_look() {
    let looks = [(1, look(Pace::Changing, 9, 9))];
    let planned = |beat: &mut Beat, at: u64| plan(looks.iter().map(|(key, look)| (key, look)), beat, rhythm(), at);
    let mut beat = Beat::default();
    assert!(planned(&mut beat, NOW).list);
    beat.list_failed(rhythm(), Some(Duration::from_secs(30)), NOW);
    assert_eq!(planned(&mut beat, NOW).next, NOW + 30 * SECOND, "nothing is asked before Azure wants");
    let after = planned(&mut beat, NOW + 30 * SECOND);
    assert_eq!((after.list, after.looks), (false, vec![1]), "and then those that may be answered");
    beat.failed(rhythm(), Some(Duration::from_secs(10)), NOW + 30 * SECOND);
    assert!(planned(&mut beat, NOW + 40 * SECOND).list, "in turn, if they are not");
    let mut pauses = Vec::new();
    for _ in 0..5 {
        beat.succeeded();
        beat.list_failed(rhythm(), None, NOW);
        pauses.push((beat.list_due(rhythm()) - NOW) / SECOND);
    }
    assert_eq!(pauses, [25, 45, 65, 65, 65], "after a pause for all");
    beat.list_succeeded(NOW);
    assert_eq!(beat.list_due(rhythm()), NOW + 5 * SECOND);
}

#[test]
fn groups_are_stopped_one_at_a_time_after_all_looks() {
    let to_stop = |at: u64, failures| Look { act: NOW - at * SECOND, failures, ..look(Pace::Over, 7, 7) };
    let looks = [
        (1, to_stop(3, 0)),
        (2, to_stop(6, 0)),
        (3, look(Pace::Changing, 9, 9)),
        (4, to_stop(60, 1)),
        (5, Look { act: NOW + 2 * SECOND, ..look(Pace::Over, 7, 70) }),
    ];
    let planned = |beat: &mut Beat| plan(looks.iter().map(|(key, look)| (key, look)), beat, rhythm(), NOW);
    let first = planned(&mut listed());
    assert_eq!((first.looks, first.act), (vec![3], Some(2)), "who waits longest, but not at once after a failure");
    let full = planned(&mut Beat { asked: 74, ..listed() });
    assert_eq!((full.looks, full.act), (vec![], Some(2)), "looks leave room for it");
    let over = planned(&mut Beat { asked: 75, ..listed() });
    assert_eq!((over.act, over.next), (None, NOW + 2 * SECOND));
    let beat = Beat { acted: NOW - 9 * SECOND, ..listed() };
    let since = NOW - 60 * SECOND;
    assert!(beat.may_act(since, false, NOW) && !beat.may_act(since, true, NOW), "news go first");
    assert!(!beat.may_act(NOW - 2 * SECOND, true, NOW + SECOND), "whenever another was");
    assert!(beat.may_act(since, true, NOW + SECOND), "but not for ever");
    assert!(!Beat { not_before: NOW + 1, ..beat }.may_act(since, false, NOW));
}
