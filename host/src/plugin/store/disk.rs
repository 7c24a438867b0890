//! The file: three redb tables. Only the writer's thread touches it.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `entries` | key | revision, value |
//! | `removals` | revision | key |
//! | `meta` | `format`, `ceiling`, `floor` | number |

use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
};

use super::OpenError;
use super::image::{Change, Image, Kept};

const ENTRIES: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("entries");
const REMOVALS: TableDefinition<u64, &str> = TableDefinition::new("removals");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// Raised when the tables change shape.
const FORMAT: u64 = 1;
/// redb's own cache. Reads come from the image, so it only has to hold the pages of one commit.
const CACHE: usize = 16 << 20;
/// Revisions that are reserved at a time: more than a process gives out between two commits, and far too few to run out of 2^64.
const RESERVE: u64 = 1 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    path: PathBuf,
    /// Revisions up to here may be given out.
    ceiling: u64,
    /// Removals that are not told any more and are still in the file.
    forgotten: Vec<u64>,
    /// Removals in the file of keys that memory alone has now: after a restart they are what is to be told.
    covered: HashMap<Arc<str>, u64>,
}

impl Disk {
    /// Opens the file and reads all of it.
    pub(super) fn open(path: &Path, removals_kept: usize) -> Result<(Self, Image), OpenError> {
        // redb panics on some files that were damaged from outside.
        std::panic::catch_unwind(|| Self::open_whole(path, removals_kept))
            .unwrap_or_else(|_| Err(OpenError::Corrupt("it cannot be read at all".into())))
    }

    fn open_whole(path: &Path, removals_kept: usize) -> Result<(Self, Image), OpenError> {
        let io = |e: std::io::Error| OpenError::Io(format!("{}: {e}", path.display()));
        let there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        if !there {
            // redb writes a file's mark last. One of a process that was killed before would be taken for a damaged one for ever.
            let new = path.with_extension("new");
            create(&new).map(drop).map_err(broken)?;
            put_in_place(&new, path).map_err(io)?;
        }
        let database = Database::builder().set_cache_size(CACHE).open(path).map_err(|e| database_error(&e))?;
        let (image, forgotten) = Self::load(&database, removals_kept).map_err(broken)??;
        let ceiling = image.newest().saturating_add(RESERVE);
        let disk = Self { database, path: path.to_owned(), ceiling, forgotten, covered: HashMap::new() };
        disk.begin(ceiling, image.floor()).map_err(broken)?;
        Ok((disk, image))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn load(database: &Database, removals_kept: usize) -> Result<Result<(Image, Vec<u64>), OpenError>, redb::Error> {
        // The format comes first: tables of another one may have other types, and must be left as they are.
        if let Some(format) = format(database)?.filter(|format| *format != FORMAT) {
            return Ok(Err(OpenError::Format(format)));
        }
        // A write transaction makes the tables, so that reading needs no case for a new file.
        let transaction = database.begin_write()?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(REMOVALS)?;
        transaction.open_table(META)?;
        transaction.commit()?;
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let number = |name: &str| -> Result<Option<u64>, redb::Error> { Ok(meta.get(name)?.map(|n| n.value())) };
        let newest = number("ceiling")?.unwrap_or_default();
        let mut image = Image::new(newest, number("floor")?.unwrap_or_default(), removals_kept);
        for entry in transaction.open_table(ENTRIES)?.iter()? {
            let (key, value) = entry?;
            let (revision, value) = value.value();
            let kept = Kept { value: Bytes::copy_from_slice(value), revision, expires: None };
            image.apply(Change { key: key.value().into(), revision, kept: Some(kept) });
        }
        let mut forgotten = Vec::new();
        for removal in transaction.open_table(REMOVALS)?.iter()? {
            let (revision, key) = removal?;
            let key: Arc<str> = key.value().into();
            // The removal of a key that was put again leaves the file one commit later; the entry counts.
            if image.kept(&key).is_some() {
                forgotten.push(revision.value());
            } else {
                forgotten.extend(image.apply(Change { key, revision: revision.value(), kept: None }));
            }
        }
        Ok(Ok((image, forgotten)))
    }

    fn begin(&self, ceiling: u64, floor: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("ceiling", ceiling)?;
            meta.insert("floor", floor)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes all of it into a new file, which is there whole or not at all.
    pub(super) fn export(&self, to: &Path) -> Result<(), redb::Error> {
        let new = to.with_extension("new");
        let copy = create(&new)?;
        let (from, into) = (self.database.begin_read()?, copy.begin_write()?);
        {
            let mut entries = into.open_table(ENTRIES)?;
            for entry in from.open_table(ENTRIES)?.iter()? {
                let (key, value) = entry?;
                entries.insert(key.value(), value.value())?;
            }
            let mut removals = into.open_table(REMOVALS)?;
            for removal in from.open_table(REMOVALS)?.iter()? {
                let (revision, key) = removal?;
                removals.insert(revision.value(), key.value())?;
            }
            let mut meta = into.open_table(META)?;
            for number in from.open_table(META)?.iter()? {
                let (name, number) = number?;
                meta.insert(name.value(), number.value())?;
            }
        }
        into.commit()?;
        drop(copy);
        Ok(put_in_place(&new, to)?)
    }

    /// Whether changes up to `newest` can stay in memory.
    pub(super) fn covers(&self, newest: u64) -> bool {
        newest <= self.ceiling
    }

    /// Takes note of removals that the next commit can drop.
    pub(super) fn forget(&mut self, removals: Vec<u64>) {
        self.forgotten.extend(removals);
    }

    /// Takes note of a removal that an entry in memory has covered.
    pub(super) fn cover(&mut self, key: Arc<str>, removal: u64) {
        self.covered.insert(key, removal);
    }

    /// Makes the changes durable, all or none. `floor` is the one that fits what was forgotten before.
    pub(super) fn commit(&mut self, changes: &[Change], newest: u64, floor: u64) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut ceiling = self.ceiling;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut removals = transaction.open_table(REMOVALS)?;
            for change in changes {
                let key: &str = &change.key;
                let in_memory = change.kept.as_ref().is_some_and(|kept| kept.expires.is_some());
                if !in_memory && let Some(covered) = self.covered.remove(key) {
                    removals.remove(covered)?;
                }
                match &change.kept {
                    Some(Kept { value, revision, expires: None }) => {
                        entries.insert(key, (*revision, value.as_ref()))?;
                    }
                    // In memory alone: what was durable before it must not come back, and that it went must be told after a
                    // restart.
                    Some(_) => {
                        if entries.remove(key)?.is_some() {
                            removals.insert(change.revision, key)?;
                            self.covered.insert(Arc::clone(&change.key), change.revision);
                        }
                    }
                    None => {
                        entries.remove(key)?;
                        removals.insert(change.revision, key)?;
                    }
                }
            }
            let mut meta = transaction.open_table(META)?;
            if !self.forgotten.is_empty() {
                for revision in &self.forgotten {
                    removals.remove(revision)?;
                }
                meta.insert("floor", floor)?;
            }
            if newest.saturating_add(RESERVE / 2) > ceiling {
                ceiling = newest.saturating_add(RESERVE);
                meta.insert("ceiling", ceiling)?;
            }
        }
        transaction.commit()?;
        self.ceiling = ceiling;
        self.forgotten.clear();
        Ok(())
    }
}

/// Makes a new file, in place of one that a killed process has left.
fn create(path: &Path) -> Result<Database, redb::Error> {
    match std::fs::remove_file(path) {
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound) => return Err(e.into()),
        _ => prepare(path)?,
    }
    Ok(Database::builder().set_cache_size(CACHE).create(path)?)
}

/// Gives a file of this directory another one's name. Survives a power cut.
pub(super) fn put_in_place(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    to.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// The format of a file; none: it is new.
fn format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    match transaction.open_table(META) {
        Ok(meta) => Ok(meta.get("format")?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The directory (0700) and an empty file (0600): what a plugin remembers may hold tokens.
fn prepare(path: &Path) -> std::io::Result<()> {
    let Some(directory) = path.parent() else { return Ok(()) };
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        if let Some(above) = directory.parent() {
            File::open(above)?.sync_all()?;
        }
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // A power cut must not lose the file's name.
        Ok(_) => File::open(directory)?.sync_all(),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn database_error(error: &DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::Locked,
        // redb reports a file that it did not write as invalid data.
        DatabaseError::Storage(StorageError::Io(e)) if e.kind() != ErrorKind::InvalidData => {
            OpenError::Io(e.to_string())
        }
        other => OpenError::Corrupt(other.to_string()),
    }
}

fn broken(error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(e) => OpenError::Io(e.to_string()),
        other => OpenError::Corrupt(other.to_string()),
    }
}
