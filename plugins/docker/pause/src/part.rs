//! A part of a volume, which containers mount by itself (subPath).
//!
//! ```text
//! DIR/data/…/path      what containers see of the volume
//! DIR/parts/NAME       the part: no container sees this directory, so that none can plant a link there
//! ```
//!
//! An engine can mount a path of a volume by its place on the machine alone, and would follow a link on the way to
//! wherever it leads. So what containers have put at the path becomes an entry of a directory that they do not see: a
//! file gets a second name there, a directory moves there, and leaves a place for itself to be mounted at. What is not
//! there yet is a directory. A link is no part of a volume. None is followed on the way.

use core::ffi::CStr;

use crate::system::{self, Errno, Fd, Result};

const DATA: &CStr = c"data";
const PARTS: &CStr = c"parts";
/// The kernel's bound of a name.
const NAME: usize = 255;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Directory,
    /// A file, or something else that is no directory.
    File,
}

/// Makes `name` the part of a volume that is at a path of it. `within`: the part that the path begins in; empty: the
/// volume itself.
pub(crate) fn part(volume: &CStr, within: &CStr, path: &CStr, name: &CStr) -> Result<Part> {
    if !is_name(name.to_bytes()) || !(within.is_empty() || is_name(within.to_bytes())) {
        return Err(Errno::INVALID);
    }
    let volume = Fd::directory(None, volume)?;
    let parts = Fd::directory(Some(&volume), PARTS)?;
    if is_directory(&parts, name)? {
        return Ok(Part::Directory);
    }
    let data =
        if within.is_empty() { Fd::directory(Some(&volume), DATA)? } else { Fd::directory(Some(&parts), within)? };
    // What a directory gets of rights is its volume's affair.
    system::mask_nothing();
    let (parent, last) = parent(data, path.to_bytes())?;
    let last = last.text()?;
    let part = if is_directory(&parent, last)? { Part::Directory } else { place(&parent, last, &parts, name)? };
    if part == Part::Directory {
        // Another file was there before.
        forget(&parts, name)?;
        system::rename(&parent, last, &parts, name)?;
        system::make_directory(&parent, last)?;
    }
    // Who may write there may have put a link in its place meanwhile. Where it is now nobody can.
    if system::is_link(&parts, name)? {
        system::unlink(&parts, name)?;
        return Err(Errno::LINK);
    }
    Ok(part)
}

/// What is at the path is no directory: a file gets a second name. Nothing becomes a directory.
fn place(parent: &Fd, last: &CStr, parts: &Fd, name: &CStr) -> Result<Part> {
    match system::is_link(parent, last) {
        Ok(false) => {
            // It may be another file by now.
            forget(parts, name)?;
            system::link_file(parent, last, parts, name).map(|()| Part::File)
        }
        Ok(true) => Err(Errno::LINK),
        Err(Errno::NOT_FOUND) => system::make_directory(parent, last).map(|()| Part::Directory),
        Err(error) => Err(error),
    }
}

fn forget(parts: &Fd, name: &CStr) -> Result<()> {
    match system::unlink(parts, name) {
        Ok(()) | Err(Errno::NOT_FOUND) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The directory that a path leads to but for its last name, made where it is missing.
fn parent(data: Fd, path: &[u8]) -> Result<(Fd, Name)> {
    let mut at = data;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        let name = Name::of(name)?;
        if names.peek().is_none() {
            return Ok((at, name));
        }
        at = match Fd::directory(Some(&at), name.text()?) {
            Err(Errno::NOT_FOUND) => {
                system::make_directory(&at, name.text()?)?;
                Fd::directory(Some(&at), name.text()?)?
            }
            found => found?,
        };
    }
    Err(Errno::INVALID)
}

/// No link is a directory here.
fn is_directory(at: &Fd, name: &CStr) -> Result<bool> {
    match Fd::directory(Some(at), name) {
        Ok(_) => Ok(true),
        Err(Errno::NOT_FOUND | Errno::NO_DIRECTORY | Errno::LINK) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/')
}

/// One name of a path.
struct Name([u8; NAME + 1]);

impl Name {
    fn of(name: &[u8]) -> Result<Self> {
        if !is_name(name) || name.len() > NAME {
            return Err(Errno::INVALID);
        }
        let mut text = [0; NAME + 1];
        text.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        Ok(Self(text))
    }

    fn text(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.0).map_err(|_| Errno::INVALID)
    }
}
