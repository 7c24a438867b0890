//! What the machines say of their pods, and who has heard it: statuses by UID, each with the number of its last change.
//!
//! A cursor is the number up to which its holder has heard all. Nothing is thrown away before its holder comes back with a cursor
//! beyond it, so that an answer that is lost is given again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::provider::{Batch, Code, Error, ObservedPod, PodRef, Scope};

/// Pods of one batch.
const BATCH: usize = 500;

/// The statuses.
#[derive(Debug)]
pub(super) struct News {
    /// Tells the cursors of this process from others'.
    epoch: String,
    board: Mutex<Board>,
    bell: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Board {
    /// Of the last change.
    number: u64,
    items: HashMap<String, Item>,
    /// The node's last change.
    node: u64,
}

#[derive(Debug)]
struct Item {
    number: u64,
    pod: ObservedPod,
    /// Nothing is left of it; this was its last word.
    gone: bool,
}

impl News {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { epoch: uuid::Uuid::new_v4().simple().to_string(), board: Mutex::default(), bell: watch::Sender::new(0) }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Board)) {
        let number = {
            let mut board = self.board();
            board.number += 1;
            change(&mut board);
            board.number
        };
        self.bell.send_replace(number);
    }

    /// A pod is like this now. What it was before is no news.
    pub(super) fn tell(&self, pod: ObservedPod) {
        if self.board().items.get(&pod.id.uid).is_some_and(|item| !item.gone && item.pod == pod) {
            return;
        }
        self.change(|board| {
            let number = board.number;
            board.items.insert(pod.id.uid.clone(), Item { number, pod, gone: false });
        });
    }

    /// Nothing is left of a pod.
    pub(super) fn gone(&self, id: &PodRef) {
        self.change(|board| {
            let number = board.number;
            if let Some(item) = board.items.get_mut(&id.uid) {
                (item.number, item.gone) = (number, true);
            }
        });
    }

    /// The node's capacity, conditions, addresses or details have changed.
    pub(super) fn node_changed(&self) {
        self.change(|board| board.node = board.number);
    }

    /// A pod as it is; none: there is none.
    pub(super) fn get(&self, uid: &str) -> Option<ObservedPod> {
        self.board().items.get(uid).filter(|item| !item.gone).map(|item| item.pod.clone())
    }

    /// All pods that there are.
    pub(super) fn all(&self) -> Vec<ObservedPod> {
        self.board().items.values().filter(|item| !item.gone).map(|item| item.pod.clone()).collect()
    }

    /// All pods, as the answer to whoever has no cursor.
    pub(super) fn list(&self) -> Batch {
        let board = self.board();
        let changed = board.items.values().filter(|item| !item.gone).map(|item| item.pod.clone()).collect();
        let cursor = Some(self.cursor(board.number));
        Batch { scope: Scope::Listed, changed, cursor, ..nothing() }
    }

    /// What has changed since a cursor; waits for it for so long.
    pub(super) async fn since(&self, cursor: &str, wait: Duration) -> Result<Batch, Error> {
        let mut bell = self.bell.subscribe();
        let outworn = || Error::new(Code::OutOfRange, "CursorOutworn", "the cursor is not of this process");
        let since = cursor.strip_prefix(self.epoch.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let since: u64 = since.and_then(|number| number.parse().ok()).ok_or_else(outworn)?;
        let news = async {
            loop {
                bell.borrow_and_update();
                let batch = self.batch(since);
                if !batch.says_nothing() || bell.changed().await.is_err() {
                    return batch;
                }
            }
        };
        let nothing = Batch { cursor: Some(cursor.to_string()), ..nothing() };
        Ok(tokio::time::timeout(wait, news).await.unwrap_or(nothing))
    }

    fn batch(&self, since: u64) -> Batch {
        let mut board = self.board();
        // Its holder has heard of these.
        board.items.retain(|_, item| !item.gone || item.number > since);
        let mut news: Vec<&Item> = board.items.values().filter(|item| item.number > since).collect();
        news.sort_by_key(|item| item.number);
        let more = news.len() > BATCH;
        news.truncate(BATCH);
        let until = if more { news.last().map_or(since, |item| item.number) } else { board.number };
        Batch {
            changed: news.iter().map(|item| item.pod.clone()).collect(),
            touched: news.iter().filter(|item| item.gone).map(|item| item.pod.id.clone()).collect(),
            node_changed: board.node > since && board.node <= until,
            cursor: Some(self.cursor(until)),
            ..nothing()
        }
    }

    fn cursor(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }
}

fn nothing() -> Batch {
    Batch {
        scope: Scope::Delta,
        changed: Vec::new(),
        touched: Vec::new(),
        node_changed: false,
        cursor: None,
        again_after: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(60);

    fn pod(uid: &str, status: &str) -> ObservedPod {
        let id = PodRef { namespace: "n".into(), name: uid.into(), uid: uid.into() };
        ObservedPod { id, revision: None, status: status.into() }
    }

    fn told(batch: &Batch) -> Vec<(&str, &str)> {
        batch.changed.iter().map(|pod| (pod.id.uid.as_str(), pod.status.as_str())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn news_are_told_once_to_whoever_heard_them_and_again_to_whoever_did_not() {
        let news = News::new();
        news.tell(pod("a", "1"));
        let list = news.list();
        assert_eq!((list.scope, told(&list)), (Scope::Listed, vec![("a", "1")]));
        let cursor = list.cursor.unwrap();
        news.tell(pod("a", "1"));
        let batch = news.since(&cursor, WAIT).await.unwrap();
        assert!(batch.says_nothing(), "the same is no news: {batch:?}");
        news.tell(pod("b", "1"));
        news.tell(pod("a", "2"));
        for _ in 0..2 {
            let batch = news.since(&cursor, WAIT).await.unwrap();
            assert_eq!(told(&batch), [("b", "1"), ("a", "2")]);
            assert!(batch.touched.is_empty() && !batch.node_changed);
        }
        let next = news.since(&cursor, WAIT).await.unwrap().cursor.unwrap();
        assert!(news.since(&next, WAIT).await.unwrap().says_nothing());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_goes_leaves_its_last_word_until_it_was_heard() {
        let news = News::new();
        let cursor = news.list().cursor.unwrap();
        news.tell(pod("a", "ended"));
        news.gone(&pod("a", "").id);
        assert_eq!(news.get("a"), None);
        assert!(news.all().is_empty());
        let batch = news.since(&cursor, WAIT).await.unwrap();
        assert_eq!(told(&batch), [("a", "ended")]);
        assert_eq!(batch.touched, [pod("a", "").id]);
        news.since(&batch.cursor.unwrap(), WAIT).await.unwrap();
        assert!(news.board().items.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_at_once() {
        let news = std::sync::Arc::new(News::new());
        let cursor = news.list().cursor.unwrap();
        let waiting = tokio::spawn({
            let news = news.clone();
            async move { news.since(&cursor, WAIT).await.unwrap() }
        });
        tokio::task::yield_now().await;
        news.node_changed();
        let batch = waiting.await.unwrap();
        assert!(batch.node_changed, "{batch:?}");
        let next = news.since(&batch.cursor.unwrap(), WAIT).await.unwrap();
        assert!(!next.node_changed, "{next:?}");
    }

    #[tokio::test]
    async fn a_cursor_of_another_process_is_outworn() {
        let news = News::new();
        let foreign = News::new().list().cursor.unwrap();
        for cursor in [foreign.as_str(), "", "1", "x.y"] {
            assert_eq!(news.since(cursor, WAIT).await.unwrap_err().code, Code::OutOfRange, "{cursor}");
        }
    }

    #[tokio::test]
    async fn many_news_come_in_batches() {
        let news = News::new();
        let mut cursor = news.list().cursor.unwrap();
        for number in 0..BATCH + 1 {
            news.tell(pod(&number.to_string(), "1"));
        }
        let mut lengths = Vec::new();
        for _ in 0..2 {
            let batch = news.since(&cursor, WAIT).await.unwrap();
            lengths.push(batch.changed.len());
            cursor = batch.cursor.unwrap();
        }
        assert_eq!(lengths, [BATCH, 1]);
    }
}
