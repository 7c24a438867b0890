//! A table that is read key by key and remembers every mistake.

use std::fmt;
use std::str::FromStr;

use super::{Document, Item, Table, Value, mistake};
use crate::Error;

/// A table of the configuration. Keys are taken by name; what is left at the end is unknown.
///
/// ```
/// use vk_provider::config::Form;
/// use vk_provider::quantity::Quantity;
///
/// let mut form = Form::parse("cpu = \"4 cores\"\nmemroy = \"1Gi\"").unwrap();
/// let cpu: Option<Quantity> = form.parsed("cpu");
/// let memory: Option<Quantity> = form.parsed("memory");
/// let mistakes = form.finish().unwrap_err();
/// assert!((cpu, memory) == (None, None));
/// assert!(mistakes[0].message.starts_with("line 1: \"4 cores\" is not a quantity"));
/// assert_eq!(mistakes[1].message, "line 2: unknown key; known are cpu, memory");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    path: String,
    line: usize,
    table: Table,
    known: Vec<&'static str>,
    mistakes: Vec<Error>,
}

impl Form {
    /// An empty table.
    pub const fn empty() -> Self {
        Self { path: String::new(), line: 1, table: Vec::new(), known: Vec::new(), mistakes: Vec::new() }
    }

    /// The table that a text is.
    ///
    /// # Errors
    /// Every mistake of syntax.
    pub fn parse(text: &str) -> Result<Self, Vec<Error>> {
        let root = Document::parse(text)?.root;
        let Item { line, value: Value::Table(table) } = root else {
            return Err(vec![mistake(root.line, "it must be a table")]);
        };
        Ok(Self { line, table, ..Self::empty() })
    }

    /// The table of `--provider-config`, empty if there is none.
    ///
    /// # Errors
    /// The file cannot be read now, or every mistake of syntax.
    pub fn read() -> Result<Self, Vec<Error>> {
        super::text().map_err(|error| vec![error])?.map_or_else(|| Ok(Self::empty()), |text| Self::parse(&text))
    }

    /// The keys that are left, in the order of the text.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.table.iter().map(|(key, _)| key.as_str())
    }

    /// The line of a key that is left.
    pub fn line_of(&self, key: &str) -> usize {
        self.table.iter().find(|(there, _)| there == key).map_or(self.line, |(_, item)| item.line)
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, key: &str, line: usize, message: impl fmt::Display) {
        self.mistakes.push(mistake(line, &message.to_string()).field(join(&self.path, key)));
    }

    /// Takes a key, whatever it holds.
    pub fn item(&mut self, key: &'static str) -> Option<Item> {
        self.known.push(key);
        self.take(key)
    }

    fn take(&mut self, key: &str) -> Option<Item> {
        let index = self.table.iter().position(|(there, _)| there == key)?;
        Some(self.table.remove(index).1)
    }

    /// Takes a string.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let item = self.item(key)?;
        match item.value {
            Value::Text(text) => Some(text),
            other => {
                self.mistake(key, item.line, format_args!("it must be a string, not {}", other.describe()));
                None
            }
        }
    }

    /// Takes a string or a whole number and reads it as some type, such as a quantity.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Option<T> {
        let item = self.item(key)?;
        self.read_as(key, item)
    }

    fn read_as<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, item: Item) -> Option<T> {
        let text = match item.value {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            other => {
                self.mistake(key, item.line, format_args!("it must be a string, not {}", other.describe()));
                return None;
            }
        };
        text.parse().map_err(|error| self.mistake(key, item.line, error)).ok()
    }

    /// Takes all that is left, each read as some type, with its line.
    pub fn rest<T: FromStr<Err: fmt::Display>>(&mut self) -> Vec<(String, T)> {
        let rest = std::mem::take(&mut self.table);
        let read = |(key, item): (String, Item)| self.read_as(&key, item).map(|value| (key, value));
        rest.into_iter().filter_map(read).collect()
    }

    /// Takes a table. Give it back with [`Form::done`].
    pub fn table(&mut self, key: &'static str) -> Option<Self> {
        let item = self.item(key)?;
        self.as_table(key, item)
    }

    /// As [`Form::table`], of a name that is not known beforehand.
    pub fn table_named(&mut self, key: &str) -> Option<Self> {
        let item = self.take(key)?;
        self.as_table(key, item)
    }

    fn as_table(&mut self, key: &str, item: Item) -> Option<Self> {
        match item.value {
            Value::Table(table) => Some(Self { path: join(&self.path, key), line: item.line, table, ..Self::empty() }),
            other => {
                self.mistake(key, item.line, format_args!("it must be a table, not {}", other.describe()));
                None
            }
        }
    }

    /// Takes the mistakes of a table that came from this one.
    pub fn done(&mut self, inner: Self) {
        if let Err(mistakes) = inner.finish() {
            self.mistakes.extend(mistakes);
        }
    }

    /// The end: every key that nobody took is unknown.
    ///
    /// # Errors
    /// Every mistake.
    pub fn finish(mut self) -> Result<(), Vec<Error>> {
        for (key, item) in std::mem::take(&mut self.table) {
            let known = self.known.join(", ");
            self.mistake(&key, item.line, format_args!("unknown key; known are {known}"));
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes) }
    }
}

fn join(path: &str, key: &str) -> String {
    let key = if key.contains('.') { format!("{key:?}") } else { key.to_owned() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
