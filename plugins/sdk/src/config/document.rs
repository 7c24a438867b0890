//! A configuration text as a tree in which each value knows its line.

use serde::de::IgnoredAny;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake;
use crate::Error;

/// A text that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// How it is written.
    pub format: Format,
    /// Always a table.
    pub root: Item,
}

/// The two ways to write a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://toml.io>
    Toml,
    /// RFC 8259.
    Json,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Counted from 1.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// Keys in the order of the text.
pub type Table = Vec<(String, Item)>;

/// What TOML and JSON have in common.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON's null.
    Null,
    /// true or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string, or TOML's date or time.
    Text(String),
    /// A list.
    List(Vec<Item>),
    /// A table, JSON's object.
    Table(Table),
}

impl Document {
    /// Reads TOML or, if the text starts with `{`, JSON.
    ///
    /// # Errors
    /// Every mistake of syntax that can be told, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<Error>> {
        let format = if text.trim_start().starts_with('{') { Format::Json } else { Format::Toml };
        let root = match format {
            Format::Toml => toml(text)?,
            Format::Json => json(text)?,
        };
        Ok(Self { format, root })
    }
}

impl Item {
    /// As JSON has it.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bool) => (*bool).into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Text(text) => text.clone().into(),
            Value::List(list) => list.iter().map(Self::to_json).collect(),
            Value::Table(table) => table.iter().map(|(key, item)| (key.clone(), item.to_json())).collect(),
        }
    }

    /// The line of a path such as `others.gpu` or `zones[1]`; of the nearest thing that is there.
    pub(super) fn line_of(&self, path: &str) -> usize {
        let path = path.trim_start_matches('.');
        if path.is_empty() {
            return self.line;
        }
        match &self.value {
            Value::Table(table) => {
                let inside =
                    |key: &str| path.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
                table.iter().find_map(|(key, item)| inside(key).map(|rest| item.line_of(rest))).unwrap_or(self.line)
            }
            Value::List(list) => {
                let index = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let item = index.and_then(|(index, rest)| Some((list.get(index.parse::<usize>().ok()?)?, rest)));
                item.map_or(self.line, |(item, rest)| item.line_of(rest))
            }
            _ => self.line,
        }
    }
}

impl Value {
    /// For messages: `the number 3`.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(bool) => format!("the boolean {bool}"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => format!("the string {text:?}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}

fn toml(text: &str) -> Result<Item, Vec<Error>> {
    let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(toml_table(table.into_inner(), 1, &line));
    }
    Err(errors.iter().map(|error| mistake(line(error.span().map_or(0, |span| span.start)), error.message())).collect())
}

fn toml_table(table: DeTable<'_>, at: usize, line: &impl Fn(usize) -> usize) -> Item {
    let mut entries: Vec<(usize, String, Item)> = table
        .into_iter()
        .map(|(key, value)| {
            let start = key.span().start;
            (start, key.into_inner().into_owned(), toml_value(value, line(start), line))
        })
        .collect();
    entries.sort_by_key(|(start, ..)| *start);
    Item { line: at, value: Value::Table(entries.into_iter().map(|(_, key, item)| (key, item)).collect()) }
}

fn toml_value(value: Spanned<DeValue<'_>>, at: usize, line: &impl Fn(usize) -> usize) -> Item {
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Text(number.as_str().to_owned()), Value::Integer),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(bool) => Value::Bool(bool),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(list) => Value::List(
            list.into_iter()
                .map(|item| {
                    let at = line(item.span().start);
                    toml_value(item, at, line)
                })
                .collect(),
        ),
        DeValue::Table(table) => return toml_table(table, at, line),
    };
    Item { line: at, value }
}

fn json(text: &str) -> Result<Item, Vec<Error>> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| vec![syntax(error.line(), &error)])?;
    let mut scanner = Scanner { rest: text, line: 1, mistakes: Vec::new() };
    let root = scanner.value();
    if scanner.mistakes.is_empty() { Ok(root) } else { Err(scanner.mistakes) }
}

/// What serde_json says, at our line: of a piece of the text its own would be another.
fn syntax(line: usize, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    mistake(line, message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message))
}

/// Walks over JSON that serde_json has found right, and counts lines, which serde_json does not tell of values. What it does not look
/// at as long as it reads into nothing, half a character in a string, is noted on the way.
struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    mistakes: Vec<Error>,
}

impl Scanner<'_> {
    /// The next byte that is no space, comma or colon.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let next = *self.rest.as_bytes().first()?;
            if !matches!(next, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':') {
                return Some(next);
            }
            self.line += usize::from(next == b'\n');
            self.skip(1);
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn value(&mut self) -> Item {
        let first = self.peek();
        let line = self.line;
        let value = match first {
            Some(b'{') => Value::Table(self.list(b'}', |scanner| {
                scanner.peek();
                let line = scanner.line;
                (scanner.string(), Item { line, ..scanner.value() })
            })),
            Some(b'[') => Value::List(self.list(b']', Self::value)),
            Some(b'"') => Value::Text(self.string()),
            _ => self.word(),
        };
        Item { line, value }
    }

    fn list<T>(&mut self, end: u8, mut each: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut list = Vec::new();
        self.skip(1);
        while self.peek().is_some_and(|next| next != end) {
            list.push(each(self));
        }
        self.skip(1);
        list
    }

    fn string(&mut self) -> String {
        let mut escaped = false;
        let end = self.rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let (text, rest) =
            self.rest.split_at_checked(end.map_or(self.rest.len(), |end| end + 2)).unwrap_or((self.rest, ""));
        self.rest = rest;
        serde_json::from_str(text).unwrap_or_else(|error| {
            self.mistakes.push(syntax(self.line, &error));
            String::new()
        })
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Value {
        let end = self.rest.find([',', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => word.parse().map_or_else(|_| Value::Float(word.parse().unwrap_or(f64::NAN)), Value::Integer),
        }
    }
}
