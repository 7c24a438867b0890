//! The files of a volume, changed at one moment.
//!
//! ```text
//! key -> ..data/key       ..data -> ..new       ..new/key       ..old/key
//! ```
//!
//! `..data` is replaced by a rename, so that a reader finds the old files or the new ones, and never none. Links to files
//! that are there stay as they are, as who reads through them must not find them gone. Those to new ones come just
//! before, so that who is told of the rename finds all of them, and that none is missing if one cannot be made. Afterwards
//! go: directories that do not count, and links to files that are not there any more. No link is followed on the way.

use core::ffi::CStr;

use crate::system::{self, Entries, Errno, Fd, Result};

const DATA: &CStr = c"..data";
const NEXT: &CStr = c"..data_tmp";
/// A directory is no deeper than a path that the API server takes.
const DEEPEST: u32 = 64;
/// What begins a link to a file.
const PREFIX: &[u8] = b"..data/";
/// The kernel's bound of a name.
const NAME: usize = 255;

/// Links what is new, makes `..data` of a directory lead to `name`, which is a directory in it, and sweeps.
pub(crate) fn switch(directory: &CStr, name: &CStr) -> Result<()> {
    let directory = Fd::directory(None, directory)?;
    if !name.to_bytes().starts_with(b"..") || name.to_bytes().contains(&b'/') || name == DATA || name == NEXT {
        return Err(Errno::INVALID);
    }
    let files = Fd::directory(Some(&directory), name)?;
    match system::unlink(&directory, NEXT) {
        Ok(()) | Err(Errno::NOT_FOUND) => {}
        Err(error) => return Err(error),
    }
    system::link(name, &directory, NEXT)?;
    link_new(&directory, &files)?;
    system::rename(&directory, NEXT, &directory, DATA)?;
    sweep(&directory, name)
}

/// Makes a link to each of the files that has none yet.
fn link_new(directory: &Fd, files: &Fd) -> Result<()> {
    let mut entries = Entries::of(files)?;
    while let Some(entry) = entries.next()? {
        // What begins so is never a link to a file.
        if entry == c"." || entry.to_bytes().starts_with(b"..") {
            continue;
        }
        match system::link(Target::of(entry)?.text()?, directory, entry) {
            Ok(()) | Err(Errno::EXISTS) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What a link to a file says.
struct Target([u8; PREFIX.len() + NAME + 1]);

impl Target {
    fn of(entry: &CStr) -> Result<Self> {
        let mut text = [0; PREFIX.len() + NAME + 1];
        let bytes = PREFIX.iter().chain(entry.to_bytes());
        if entry.to_bytes().len() > NAME {
            return Err(Errno::INVALID);
        }
        text.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(Self(text))
    }

    fn text(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.0).map_err(|_| Errno::INVALID)
    }
}

/// Removes what does not count any more. What is removed may hide something from who reads on, so it is read until
/// nothing is found.
fn sweep(directory: &Fd, name: &CStr) -> Result<()> {
    let mut removed = true;
    while removed {
        removed = false;
        let mut entries = Entries::of(directory)?;
        while let Some(entry) = entries.next()? {
            let counts = [c".", c"..", DATA, name].contains(&entry);
            if !counts && (entry.to_bytes().starts_with(b"..") || is_left_over(directory, entry)?) {
                remove(directory, entry, 0)?;
                removed = true;
            }
        }
    }
    Ok(())
}

/// It is a link to a file of the volume, and the file is gone.
fn is_left_over(directory: &Fd, entry: &CStr) -> Result<bool> {
    let mut target = [0; PREFIX.len()];
    match system::read_link(directory, entry, &mut target) {
        Ok(target) if target == PREFIX => Ok(!system::leads_somewhere(directory, entry)?),
        // No link is invalid here: a file or a directory, of whoever.
        Ok(_) | Err(Errno::INVALID) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file, a link, or a directory with all that is in it. What is gone already is no failure.
fn remove(directory: &Fd, entry: &CStr, depth: u32) -> Result<()> {
    match system::unlink(directory, entry) {
        Err(Errno::IS_DIRECTORY) => {}
        Err(Errno::NOT_FOUND) => return Ok(()),
        outcome => return outcome,
    }
    if depth > DEEPEST {
        return Err(Errno::LINK);
    }
    let inner = Fd::directory(Some(directory), entry)?;
    let mut removed = true;
    while removed {
        removed = false;
        let mut entries = Entries::of(&inner)?;
        while let Some(entry) = entries.next()? {
            if entry != c"." && entry != c".." {
                remove(&inner, entry, depth + 1)?;
                removed = true;
            }
        }
    }
    system::remove_directory(directory, entry)
}
