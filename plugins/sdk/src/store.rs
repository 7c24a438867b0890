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

use crate::wait::Pollable;
use crate::{Error, sys};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As it was written.
    pub value: Vec<u8>,
    /// Of the write.
    pub revision: u64,
}

impl Entry {
    /// The value as JSON.
    ///
    /// # Errors
    /// [`Failure::Broken`] if it is not what is expected.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.value).map_err(|error| Failure::Broken(error.to_string()))
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
    /// The key is not as expected; what it is, none if absent.
    Conflict(Option<Entry>),
    /// The key has more than 1 KiB or the value more than 1 MiB: it never fits.
    TooLong,
    /// The plugin's share is full.
    Quota,
    /// Of [`since`]: what was removed after the revision is forgotten, or the revision is of another store. Scan again.
    Outworn,
    /// The store does not answer.
    Unavailable(String),
    /// What was stored is not what is expected.
    Broken(String),
}

/// What the store answers with.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Somebody else wrote the key in between: read it again.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(_) => f.write_str("another call changed the same key"),
            Self::TooLong => f.write_str("the key or value is too long for the store"),
            Self::Quota => f.write_str("the plugin's share of the store is full"),
            Self::Outworn => f.write_str("the revision is outworn"),
            Self::Unavailable(why) => write!(f, "the store does not answer: {why}"),
            Self::Broken(why) => write!(f, "what was stored cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Conflict(_) => Self::aborted("StoreConflict", message),
            // Without a field, so that it is retried slowly and never ends a pod: the mistake is the provider's.
            Failure::TooLong => Self::failed_precondition("StoreTooLong", message),
            Failure::Quota => Self::resource_exhausted("StoreFull", message),
            // What `changes` has to answer for its cursor.
            Failure::Outworn => Self::out_of_range("StoreOutworn", message),
            // A write may be on disk although nobody said so.
            Failure::Unavailable(_) => Self::unavailable("StoreUnavailable", message).effect_unknown(),
            Failure::Broken(_) => Self::data_loss("StoreBroken", message),
        }
    }
}

/// What a key holds; none: absent or expired.
///
/// # Errors
/// The store does not answer, or the value is not what is expected.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<Versioned<T>>> {
    let Some(entry) = sys::get(key)? else { return Ok(None) };
    Ok(Some(Versioned { value: entry.parse()?, revision: entry.revision }))
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
    let bytes = serde_json::to_vec(value).map_err(|error| Failure::Broken(error.to_string()))?;
    sys::put(key, &bytes, expect, ttl)
}

/// As [`put`], bytes.
///
/// # Errors
/// As [`put`].
pub fn put_bytes(key: &str, value: &[u8], expect: Expect, ttl: Option<Duration>) -> Result<u64> {
    sys::put(key, value, expect, ttl)
}

/// Removes a key. Absent is success where `expect` allows it.
///
/// # Errors
/// The key is not as expected, or the store does not answer.
pub fn remove(key: &str, expect: Expect) -> Result<()> {
    sys::remove(key, expect)
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
/// [`Failure::Outworn`]: scan again. Or the store does not answer.
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
        assert_eq!(Error::from(Failure::Outworn).code, crate::Code::OutOfRange);
        testing::store_down(true);
        assert!(matches!(since("", u64::MAX), Err(Failure::Unavailable(_))));
    }

    #[test]
    fn what_never_fits_is_not_a_full_store() {
        testing::reset();
        assert_eq!(put_bytes(&"k".repeat(1025), b"", Expect::Anything, None), Err(Failure::TooLong));
        assert_eq!(put_bytes("k", &vec![0; (1 << 20) + 1], Expect::Anything, None), Err(Failure::TooLong));
    }
}
