//! What a plugin remembers: it outlives the call, the swap and the host. Each value is JSON, or bytes with the `_bytes` functions.
//!
//! One number, the revision, orders all writes. A reader that keeps it can ask what happened [`since`] and wait for it with
//! [`subscribe`]. A full list begins with [`revision`], then reads ([`scan_all`]), then goes on from there:
//!
//! ```
//! # vk_provider::testing::reset();
//! use vk_provider::store::{self, Expect, Failure};
//!
//! let start = store::revision()?;
//! store::scan_all("pods/", |key, entry| Ok::<_, Failure>(drop((key, entry))))?;
//! store::put("pods/a", "1", Expect::Anything, None)?;
//! let (next, changed) = store::since("pods/", start)?;
//! assert_eq!((changed.len(), next), (1, store::revision()?));
//! # Ok::<_, Failure>(())
//! ```

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Cancelled;
use crate::wait::{Pollable, Wait};
use crate::{Error, Page, acted, sys};

/// How often [`update`] tries while other calls write the same key. More would mean that something else is wrong.
const TRIES: u32 = 16;

/// So much of a key is shown; the host cuts long messages.
const SHOWN: usize = 100;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it was written.
    pub value: Vec<u8>,
    /// Of the write.
    pub revision: u64,
}

impl Entry {
    /// The value as JSON. `key` is what it stands under, for the message.
    ///
    /// # Errors
    /// [`Failure::Broken`] if it is not what is expected.
    pub fn parse<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        serde_json::from_slice(&self.value)
            .map_err(|error| Failure::Broken { key: key.to_owned(), why: error.to_string() })
    }
}

/// A value with the revision that a careful write names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// What was written.
    pub value: T,
    /// Of the write.
    pub revision: u64,
}

impl<T: DeserializeOwned> Versioned<T> {
    /// What a key holds, as [`Entry::parse`] reads it.
    ///
    /// # Errors
    /// [`Failure::Broken`] if it is not what is expected.
    pub fn parse(key: &str, entry: &Entry) -> Result<Self> {
        Ok(Self { value: entry.parse(key)?, revision: entry.revision })
    }
}

/// What a write takes for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// The key is not there.
    Absent,
    /// The key was last written with this revision.
    Revision(u64),
}

/// A key and what it holds now; none: removed or expired.
pub type Change = (String, Option<Entry>);

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The key is not as expected.
    Conflict {
        /// Which.
        key: String,
        /// What it holds; none: nothing.
        there: Option<Entry>,
    },
    /// The key has more than 1 KiB or the value more than 1 MiB: it never fits.
    TooLong {
        /// Which.
        key: String,
    },
    /// The plugin's share is full.
    Quota,
    /// Of [`since`]: what was removed after the revision is forgotten, or the revision is of another store. Scan again.
    Outworn,
    /// The store does not answer.
    Unavailable(String),
    /// What a key holds is not what is expected.
    Broken {
        /// Which.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// A value is none that JSON has, such as a map whose keys are no strings.
    Unwritable {
        /// Where it was to be written.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What the store answers with.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Somebody else wrote the key in between: read it again.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { key, .. } => write!(f, "another call changed {}", shown(key)),
            Self::TooLong { key } => write!(f, "the key {} or its value is too long for the store", shown(key)),
            Self::Quota => f.write_str("the plugin's share of the store is full"),
            Self::Outworn => f.write_str("the revision is outworn"),
            Self::Unavailable(why) => write!(f, "the store does not answer: {why}"),
            Self::Broken { key, why } => write!(f, "what is stored under {} cannot be read: {why}", shown(key)),
            Self::Unwritable { key, why } => write!(f, "the value for {} cannot be written: {why}", shown(key)),
        }
    }
}

fn shown(key: &str) -> String {
    match key.get(..key.floor_char_boundary(SHOWN)) {
        Some(start) if start.len() < key.len() => format!("{start:?}…"),
        _ => format!("{key:?}"),
    }
}

impl std::error::Error for Failure {}

/// The reason of an outworn revision, which `changes` has to answer with a code of its own.
pub(crate) const OUTWORN: &str = "StoreOutworn";

impl From<Failure> for Error {
    /// Of unknown effect, even where the store surely did nothing: what the call had done by then, only its author knows
    /// ([`Error::effect_none`]).
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        let error = match failure {
            Failure::Conflict { .. } => Self::aborted("StoreConflict", message),
            // Without a field, so that it is retried slowly and never ends a pod: the mistake is the provider's.
            Failure::TooLong { .. } => Self::failed_precondition("StoreTooLong", message),
            Failure::Quota => Self::resource_exhausted("StoreFull", message),
            // Not out-of-range, which would end a pod whose create reads news of something.
            Failure::Outworn => Self::aborted(OUTWORN, message),
            Failure::Unavailable(_) => Self::unavailable("StoreUnavailable", message),
            Failure::Broken { .. } => Self::data_loss("StoreBroken", message),
            Failure::Unwritable { .. } => Self::internal("StoreUnwritable", message),
        };
        error.effect_unknown()
    }
}

/// What a key holds; none: absent or expired.
///
/// # Errors
/// The store does not answer, or the value is not what is expected.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<Versioned<T>>> {
    sys::get(key)?.map(|entry| Versioned::parse(key, &entry)).transpose()
}

/// As [`get`], not parsed.
///
/// # Errors
/// The store does not answer.
pub fn get_bytes(key: &str) -> Result<Option<Entry>> {
    sys::get(key)
}

/// Writes a value and returns its revision. On disk when it returns, unless it has a time to live: then it may live in memory alone.
///
/// # Errors
/// The key is not as expected, the store is full or does not answer.
pub fn put<T: Serialize + ?Sized>(key: &str, value: &T, expect: Expect, ttl: Option<Duration>) -> Result<u64> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::Unwritable { key: key.to_owned(), why: error.to_string() })?;
    put_bytes(key, &bytes, expect, ttl)
}

/// Changes what a key holds, whatever other calls do to it meanwhile. `change` gets what is there (none: nothing) and says what shall be;
/// if another call was quicker, it is asked again with what that one wrote. `ttl` as in [`put`]. Returns what was written.
///
/// ```
/// # vk_provider::testing::reset();
/// use vk_provider::store::{self, Failure};
///
/// let count = || store::update("count", None, |there: Option<u32>| Ok::<_, Failure>(there.unwrap_or(0) + 1));
/// count()?;
/// assert_eq!(count()?.value, 2);
/// # Ok::<_, Failure>(())
/// ```
///
/// # Errors
/// What `change` answers with, which ends it, or as `put`; a conflict only if the key changes again and again.
pub fn update<T, E>(
    key: &str,
    ttl: Option<Duration>,
    change: impl FnMut(Option<T>) -> Result<T, E>,
) -> Result<Versioned<T>, E>
where
    T: Serialize + DeserializeOwned,
    E: From<Failure>,
{
    let there = get(key)?;
    update_from(key, there, ttl, change)
}

/// As [`update`], for a caller that has read the key already, or takes it to be empty. If it is not so any more, nothing is lost but a
/// try.
///
/// # Errors
/// As `update`.
pub fn update_from<T, E>(
    key: &str,
    mut there: Option<Versioned<T>>,
    ttl: Option<Duration>,
    mut change: impl FnMut(Option<T>) -> Result<T, E>,
) -> Result<Versioned<T>, E>
where
    T: Serialize + DeserializeOwned,
    E: From<Failure>,
{
    let mut tries = 1;
    loop {
        let expect = there.as_ref().map_or(Expect::Absent, |there| Expect::Revision(there.revision));
        let value = change(there.map(|there| there.value))?;
        match put(key, &value, expect, ttl) {
            Ok(revision) => return Ok(Versioned { value, revision }),
            Err(Failure::Conflict { there: now, .. }) if tries < TRIES => {
                there = now.map(|entry| Versioned::parse(key, &entry)).transpose()?;
                tries += 1;
            }
            Err(failure) => return Err(failure.into()),
        }
    }
}

/// As [`put`], bytes.
///
/// # Errors
/// As [`put`].
pub fn put_bytes(key: &str, value: &[u8], expect: Expect, ttl: Option<Duration>) -> Result<u64> {
    let result = sys::put(key, value, expect, ttl);
    // What expires is a cache.
    if ttl.is_none() && may_be_written(&result) {
        acted::mark();
    }
    result
}

/// Removes a key. Absent is success where `expect` allows it.
///
/// # Errors
/// The key is not as expected, or the store does not answer.
pub fn remove(key: &str, expect: Expect) -> Result<()> {
    let result = sys::remove(key, expect);
    if may_be_written(&result) {
        acted::mark();
    }
    result
}

fn may_be_written<T>(result: &Result<T>) -> bool {
    matches!(result, Ok(_) | Err(Failure::Unavailable(_)))
}

/// At most 1000 keys in order, after the last one of the page before.
///
/// # Errors
/// The store does not answer.
pub fn keys(prefix: &str, after: Option<&str>) -> Result<Vec<String>> {
    sys::keys(prefix, after)
}

/// As [`keys`], with what they hold; at most 500 or 1 MiB.
///
/// # Errors
/// The store does not answer.
pub fn scan(prefix: &str, after: Option<&str>) -> Result<Vec<(String, Entry)>> {
    sys::scan(prefix, after)
}

/// As [`scan`], with where to go on; none: there is no more.
///
/// # Errors
/// The store does not answer.
pub fn page(prefix: &str, after: Option<&str>) -> Result<Page<(String, Entry)>> {
    let items = sys::scan(prefix, after)?;
    let next = match items.last() {
        Some((last, _)) if !sys::keys(prefix, Some(last))?.is_empty() => Some(last.clone()),
        _ => None,
    };
    Ok(Page { items, next })
}

/// All pages of [`scan`], one after the other.
///
/// # Errors
/// As `scan`, or what `each` answers with, which ends it.
pub fn scan_all<E: From<Failure>>(prefix: &str, mut each: impl FnMut(String, Entry) -> Result<(), E>) -> Result<(), E> {
    let mut after: Option<String> = None;
    loop {
        let page = sys::scan(prefix, after.as_deref())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (key, entry) in page {
            each(key, entry)?;
        }
    }
}

/// The store's present revision: where what follows a full list begins. Take it first, then list.
///
/// # Errors
/// The store does not answer.
pub fn revision() -> Result<u64> {
    sys::revision()
}

/// Writes, removals and expiries later than a revision, at most 500 or 1 MiB, each key once and in the order of their last change; and
/// the revision for the next call. That is the store's present one when nothing more is to come, else the last change's that is told.
///
/// # Errors
/// [`Failure::Outworn`]: scan again; what [`Changes::next`](crate::Changes::next) answers with it becomes the `out-of-range` that is due
/// there. Or the store does not answer.
pub fn since(prefix: &str, revision: u64) -> Result<(u64, Vec<Change>)> {
    sys::since(prefix, revision)
}

/// Ready once [`since`] has something to tell, be it that the revision is outworn.
pub fn subscribe(prefix: &str, revision: u64) -> Pollable<'static> {
    Pollable::new(sys::subscribe(prefix, revision))
}

/// A place in the queue for a name. Dropping it, or the call's end, gives it up.
pub struct Lock(sys::Lock);

/// Queues up for work that only one call should do, such as the refresh of a token. Held for `ttl` at most.
pub fn acquire(name: &str, ttl: Duration) -> Lock {
    Lock(sys::acquire(name, ttl))
}

impl Lock {
    /// Ready once it is held.
    pub fn subscribe(&self) -> Pollable<'_> {
        Pollable::new(sys::lock_subscribe(&self.0))
    }

    /// False before its turn, and again after its time to live.
    pub fn held(&self) -> bool {
        sys::lock_held(&self.0)
    }

    /// Waits for its turn. false: its turn is over already.
    ///
    /// # Errors
    /// [`Cancelled`]: the host wants the call to end.
    pub fn wait(&self) -> Result<bool, Cancelled> {
        let ready = Wait::new().on((), self.subscribe()).first();
        if ready.cancelled() { Err(Cancelled) } else { Ok(self.held()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_write_that_expects_something_else_is_refused() {
        testing::reset();
        let first = put("a", "1", Expect::Absent, None).unwrap();
        assert!(put("a", "2", Expect::Absent, None).unwrap_err().is_conflict());
        let second = put("a", "2", Expect::Revision(first), None).unwrap();
        assert!(remove("a", Expect::Revision(first)).unwrap_err().is_conflict());
        assert_eq!(get::<String>("a").unwrap().unwrap(), Versioned { value: "2".to_owned(), revision: second });
        remove("a", Expect::Revision(second)).unwrap();
        assert_eq!(get::<String>("a").unwrap(), None);
    }

    #[test]
    fn news_are_writes_removals_and_expiries() {
        testing::reset();
        let start = put("x/1", "1", Expect::Anything, None).unwrap();
        put("x/2", "2", Expect::Anything, Some(Duration::from_secs(1))).unwrap();
        remove("x/1", Expect::Anything).unwrap();
        put("y/1", "3", Expect::Anything, None).unwrap();
        let (revision, changed) = since("x/", start).unwrap();
        assert_eq!(
            changed.iter().map(|(key, entry)| (key.as_str(), entry.is_some())).collect::<Vec<_>>(),
            [("x/2", true), ("x/1", false)]
        );
        testing::advance(Duration::from_secs(1));
        let (_, changed) = since("x/", revision).unwrap();
        assert_eq!(changed, [("x/2".to_owned(), None)]);
    }

    #[test]
    fn an_outworn_revision_is_not_a_store_that_is_down() {
        testing::reset();
        let old = revision().unwrap();
        put("a", "1", Expect::Anything, None).unwrap();
        assert_eq!(since("", old).unwrap().0, revision().unwrap());
        testing::forget_history();
        for outworn in [old, u64::MAX] {
            assert_eq!(since("", outworn), Err(Failure::Outworn));
            assert!(crate::wait::Wait::new().on((), subscribe("", outworn)).first().has(()), "it is told at once");
        }
        assert_eq!(Error::from(Failure::Outworn).code, crate::Code::Aborted, "it must not end a pod");
        testing::store_down(true);
        assert!(matches!(since("", u64::MAX), Err(Failure::Unavailable(_))));
    }

    #[test]
    fn what_never_fits_is_not_a_full_store() {
        testing::reset();
        for (key, value) in [("k".repeat(1025), vec![]), ("k".to_owned(), vec![0; (1 << 20) + 1])] {
            let failure = put_bytes(&key, &value, Expect::Anything, None);
            assert_eq!(failure, Err(Failure::TooLong { key }));
        }
    }

    #[test]
    fn a_failure_names_its_key() {
        testing::reset();
        put_bytes("pods/a", b"{", Expect::Anything, None).unwrap();
        let broken = get::<String>("pods/a").unwrap_err().to_string();
        assert!(broken.starts_with("what is stored under \"pods/a\" cannot be read: "), "{broken}");
        let unwritable = put("b", &std::collections::BTreeMap::from([(vec![1], 2)]), Expect::Anything, None);
        let unwritable = unwritable.unwrap_err().to_string();
        assert!(unwritable.starts_with("the value for \"b\" cannot be written: "), "{unwritable}");
        let conflict = remove("pods/a", Expect::Absent).unwrap_err().to_string();
        assert_eq!(conflict, "another call changed \"pods/a\"");
        assert_eq!(shown(&"é".repeat(60)), format!("{:?}…", "é".repeat(50)));
    }

    #[test]
    fn an_update_takes_account_of_who_was_quicker() {
        testing::reset();
        let mut seen = Vec::new();
        let written = update("n", None, |there: Option<u32>| {
            if seen.is_empty() {
                put("n", &40, Expect::Absent, None).unwrap();
            }
            seen.push(there);
            Ok::<_, Failure>(there.unwrap_or(0) + 2)
        });
        assert_eq!(seen, [None, Some(40)]);
        assert_eq!(get::<u32>("n").unwrap(), Some(written.unwrap()));
        let refused = update("n", None, |there: Option<u32>| Err(Error::not_found("R", format!("{there:?}"))));
        assert_eq!(refused.unwrap_err().message, "Some(42)");
        let restless = update_from("n", None, None, |_| {
            put("n", &0, Expect::Anything, None).unwrap();
            Ok::<u32, Failure>(1)
        });
        assert!(restless.unwrap_err().is_conflict(), "it does not go on for ever");
    }

    #[test]
    fn a_page_that_is_the_last_says_so() {
        testing::reset();
        for number in 0..501 {
            put(&format!("x/{number:03}"), &number, Expect::Absent, None).unwrap();
        }
        let first = page("x/", None).unwrap();
        assert_eq!((first.items.len(), first.next.as_deref()), (500, Some("x/499")));
        let last = page("x/", first.next.as_deref()).unwrap();
        assert_eq!((last.items.len(), last.next), (1, None));
        assert_eq!(page("y/", None).unwrap(), Page::default());
    }

    #[test]
    fn a_lock_is_waited_for_until_it_is_free_or_the_call_ends() {
        testing::reset();
        let first = acquire("token", Duration::from_secs(9));
        assert_eq!(first.wait(), Ok(true));
        let second = acquire("token", Duration::from_secs(9));
        testing::after(Duration::from_secs(3), move || drop(first));
        assert_eq!((second.wait(), second.held()), (Ok(true), true));
        let third = acquire("token", Duration::from_secs(9));
        testing::cancel_after(Duration::from_secs(1), crate::call::Why::Deadline);
        assert_eq!(third.wait(), Err(Cancelled));
    }

    #[test]
    fn a_list_is_bounded_by_its_bytes() {
        testing::reset();
        let start = revision().unwrap();
        put_bytes("x/1", b"", Expect::Anything, None).unwrap();
        for key in ["x/2", "x/3"] {
            put_bytes(key, &vec![0; 1 << 20], Expect::Anything, None).unwrap();
        }
        let keys = |list: Vec<(String, Entry)>| list.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(scan("x/", None).unwrap()), ["x/1"]);
        assert_eq!(keys(scan("x/", Some("x/1")).unwrap()), ["x/2"], "the first is given whatever its size");
        let (reached, changed) = since("x/", start).unwrap();
        assert_eq!(changed.len(), 1);
        let (_, changed) = since("x/", reached).unwrap();
        assert_eq!(changed.first().map(|(key, _)| key.as_str()), Some("x/2"));
    }
}
