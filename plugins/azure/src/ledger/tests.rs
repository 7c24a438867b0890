//! What is kept while other calls keep something too.

use std::cell::Cell;

use super::*;
use vk_provider::testing;

#[test]
fn what_is_seen_follows_from_what_is_kept_whoever_was_quicker() {
    testing::reset();
    let id = PodRef { namespace: "shop".to_owned(), name: "web".to_owned(), uid: "u".to_owned() };
    let of = |phase| Seen { revision: None, status: PodStatus::new(phase) };
    let slow = Cell::new(true);
    let (kept, is_news) = see(&id, |before| {
        if slow.take() {
            // Another call's look.
            see(&id, |_| of(Phase::Failed)).unwrap();
        }
        before.filter(|before| before.is_final()).cloned().unwrap_or_else(|| of(Phase::Running))
    })
    .unwrap();
    assert_eq!((kept, is_news), (of(Phase::Failed), true));
    assert_eq!(seen(&id).unwrap(), Some(of(Phase::Failed)));
    let before = store::revision().unwrap();
    assert!(!see(&id, |_| of(Phase::Failed)).unwrap().1 && store::revision().unwrap() == before, "no news");
}
