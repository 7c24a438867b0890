//! How much Azure is asked, in virtual time.

use super::*;

/// Requests a minute over so many minutes.
fn a_minute(arm: &Arm, cursor: &mut Option<String>, minutes: u64) -> f64 {
    arm.asked();
    follow(cursor, minutes * 60);
    arm.asked().len() as f64 / minutes as f64
}

fn pods(arm: &Arm, count: usize, fields: &str, state: &str, web: &Value) -> Vec<String> {
    let uids: Vec<String> = (0..count).map(|number| format!("u{number:03}")).collect();
    for uid in &uids {
        create(pod_of(uid, fields)).unwrap();
        arm.run(uid, state, web);
        let operation = arm.0.borrow().operations.len() - 1;
        arm.0.borrow_mut().operations[operation] = json!({"status": "Succeeded"});
    }
    uids
}

#[test]
fn five_hundred_pods_at_rest_cost_less_than_a_request_a_pod_and_minute() {
    let arm = azure();
    arm.0.borrow_mut().page = 100;
    pods(&arm, 500, "", "Running", &running());
    let mut cursor = listed();
    follow(&mut cursor, 600);
    let rate = a_minute(&arm, &mut cursor, 2);
    // Twelve lists of five pages, and half a look a pod.
    assert!((300.0..=312.0).contains(&rate), "{rate}");
}

#[test]
fn pods_that_are_to_end_are_looked_at_every_period_and_a_half_and_those_that_have_hardly() {
    let arm = azure();
    pods(&arm, 50, r#","restartPolicy":"OnFailure""#, "Running", &running());
    let mut cursor = listed();
    follow(&mut cursor, 600);
    let rate = a_minute(&arm, &mut cursor, 4);
    assert!((410.0..=414.0).contains(&rate), "twelve lists, and eight looks a pod: {rate}");
    for uid in 0..50 {
        arm.run(&format!("u{uid:03}"), "Succeeded", &ended(0));
    }
    follow(&mut cursor, 3000);
    let rate = a_minute(&arm, &mut cursor, 20);
    assert!((16.0..=18.0).contains(&rate), "{rate}");
}

#[test]
fn five_hundred_pods_that_change_take_their_part_of_the_budget_and_no_more() {
    let arm = azure();
    for number in 0..500 {
        create(pod(&format!("u{number:03}"))).unwrap();
    }
    let mut cursor = listed();
    follow(&mut cursor, 60);
    let rate = a_minute(&arm, &mut cursor, 5);
    assert!((800.0..=900.0).contains(&rate), "15 a second: {rate}");
    // Each has had its turn: none waits for another for ever.
    arm.asked();
    follow(&mut cursor, 90);
    let asked: std::collections::BTreeSet<String> =
        arm.asked().into_iter().filter(|asked| asked.starts_with("GET /")).collect();
    assert_eq!(asked.len(), 500);
}

#[test]
fn what_a_list_tells_comes_first_however_many_others_wait() {
    let arm = azure();
    for number in 0..500 {
        create(pod(&format!("u{number:03}"))).unwrap();
    }
    let mut cursor = listed();
    follow(&mut cursor, 60);
    arm.run("u499", "Running", &running());
    arm.run("u000", "Running", &running());
    let told = phases(&follow(&mut cursor, 10));
    assert_eq!(told.iter().filter(|told| told.ends_with("Running")).count(), 2, "within two periods: {told:?}");
}

#[test]
fn with_rates_raised_five_hundred_pods_are_looked_at_each_period() {
    let arm = azure_with("[budgets]\nfactor = 60");
    for number in 0..500 {
        create(pod(&format!("u{number:03}"))).unwrap();
    }
    for operation in &mut arm.0.borrow_mut().operations {
        *operation = json!({"status": "Succeeded"});
    }
    let mut cursor = listed();
    follow(&mut cursor, 30);
    let rate = a_minute(&arm, &mut cursor, 1);
    assert!((5900.0..=6100.0).contains(&rate), "{rate}");
}
