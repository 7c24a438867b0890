//! Mistakes of the operator's, all of them at once, and never a secret's value.

use std::fmt;

use vk_provider::{Code, Effect, Error};

use super::Said;

/// The reason of all of them.
const REASON: &str = "InvalidCredentials";

/// What was found wrong.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    wrong: Vec<Error>,
    /// Files that are not granted, which may come yet.
    awaited: Vec<Error>,
    /// Something could not be read: what it says is not known.
    dark: bool,
}

impl Mistakes {
    /// A field that is wrong. `file`: it stands there.
    pub(super) fn add(&mut self, field: &str, file: Option<&str>, message: impl fmt::Display) {
        let message = match file {
            Some(file) => format!("{file}: {message}"),
            None => message.to_string(),
        };
        self.wrong.push(Error::unauthenticated(REASON, message).field(field));
    }

    /// As [`Mistakes::add`], of what a source says.
    pub(super) fn of(&mut self, said: &Said, message: impl fmt::Display) {
        self.add(&said.field, said.file.as_deref(), message);
    }

    /// A file that cannot be read.
    pub(super) fn unread(&mut self, variable: &str, path: &str, error: Error) {
        if error.code == Code::PermissionDenied {
            let message = format!("the file {path} is not granted; grant it with --grant file={path}");
            self.awaited.push(Error::permission_denied("NotGranted", message).field(variable));
        } else {
            // Nothing was asked of Azure.
            self.wrong.push(Error { effect: Effect::None, ..error }.field(variable));
            self.dark = true;
        }
    }

    /// A file, or a field of one, that cannot be what it is to be.
    pub(super) fn unreadable(&mut self, field: &str, path: &str, why: impl fmt::Display) {
        self.add(field, Some(path), why);
        self.dark = true;
    }

    /// Something is missing, unless it may stand where nothing could be read: that is mended first.
    pub(super) fn missing(&mut self, field: &str, message: impl fmt::Display) {
        if !self.dark {
            self.add(field, None, message);
        }
    }

    /// The same of something that belongs to what a source says.
    pub(super) fn missing_beside(&mut self, said: &Said, message: impl fmt::Display) {
        if !self.dark {
            self.of(said, message);
        }
    }

    /// What a source says, as something else; none: it says nothing, or the mistake is noted.
    pub(super) fn parsed<T>(
        &mut self,
        said: Option<&Said>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let said = said?;
        parse(&said.value).map_err(|why| self.of(said, why)).ok()
    }

    /// Whether files are not there yet.
    pub(super) fn awaits_files(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// # Errors
    /// All of them.
    pub(super) fn finish(self) -> Result<(), Vec<Error>> {
        let Self { mut wrong, awaited, .. } = self;
        // What was not read explains what else is missing.
        if !awaited.is_empty() {
            wrong.splice(..0, awaited);
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// # Errors
    /// Those that nothing that may come yet can mend.
    pub(super) fn finish_so_far(self) -> Result<(), Vec<Error>> {
        Self { awaited: Vec::new(), ..self }.finish()
    }
}
