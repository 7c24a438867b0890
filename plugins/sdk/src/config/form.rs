//! A table that is read key by key and remembers every mistake.

use std::fmt;
use std::str::FromStr;

use super::{Document, Format, Item, Table, Value, mistake};
use crate::Error;

/// A table of the configuration. Keys are taken by name; what is left at the end is unknown.
///
/// ```
/// use vk_provider::config::Form;
/// use vk_provider::quantity::Quantity;
///
/// let mut form = Form::parse("cpu = \"4 cores\"\nmemroy = \"1Gi\"\n[net]\nopen = true").unwrap();
/// let cpu: Option<Quantity> = form.parsed("cpu");
/// let memory: Option<Quantity> = form.parsed("memory");
/// let open: Option<Option<bool>> = form.table("net", |net| net.parsed("open"));
/// let mistakes = form.finish().unwrap_err();
/// assert!((cpu, memory, open) == (None, None, Some(Some(true))));
/// assert!(mistakes[0].message.starts_with("line 1: \"4 cores\" is not a quantity"));
/// assert_eq!(mistakes[1].message, "line 2: unknown key; known are cpu, memory, net");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    path: String,
    line: usize,
    format: Format,
    table: Table,
    known: Vec<&'static str>,
    mistakes: Vec<Error>,
}

impl Form {
    /// An empty table, in TOML.
    pub const fn empty() -> Self {
        let format = Format::Toml;
        Self { path: String::new(), line: 1, format, table: Vec::new(), known: Vec::new(), mistakes: Vec::new() }
    }

    /// The table that a text is.
    ///
    /// # Errors
    /// Every mistake of syntax.
    pub fn parse(text: &str) -> Result<Self, Vec<Error>> {
        let Document { format, root } = Document::parse(text)?;
        let Item { line, value: Value::Table(table) } = root else {
            return Err(vec![mistake(root.line, "it must be a table")]);
        };
        Ok(Self { line, format, table, ..Self::empty() })
    }

    /// The table of `--provider-config`, empty if there is none.
    ///
    /// # Errors
    /// The file cannot be read now, or every mistake of syntax.
    pub fn read() -> Result<Self, Vec<Error>> {
        super::text().map_err(|error| vec![error])?.map_or_else(|| Ok(Self::empty()), |text| Self::parse(&text))
    }

    /// How the text is written.
    pub const fn format(&self) -> Format {
        self.format
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

    /// Takes a string, number or boolean and reads it as some type, such as a quantity.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Option<T> {
        let item = self.item(key)?;
        self.read_as(key, item)
    }

    /// Takes a list, each entry read as [`Form::parsed`] reads a value; those with a mistake are left out.
    pub fn list<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Option<Vec<T>> {
        let item = self.item(key)?;
        match item.value {
            Value::List(items) => {
                let read = |(index, item): (usize, Item)| self.read_as(&format!("{key}[{index}]"), item);
                Some(items.into_iter().enumerate().filter_map(read).collect())
            }
            other => {
                self.mistake(key, item.line, format_args!("it must be a list, not {}", other.describe()));
                None
            }
        }
    }

    fn read_as<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, item: Item) -> Option<T> {
        let text = match item.value {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Bool(bool) => bool.to_string(),
            other => {
                self.mistake(key, item.line, format_args!("it must be a single value, not {}", other.describe()));
                return None;
            }
        };
        text.parse().map_err(|error| self.mistake(key, item.line, error)).ok()
    }

    /// Takes all that is left, each read as some type.
    pub fn rest<T: FromStr<Err: fmt::Display>>(&mut self) -> Vec<(String, T)> {
        let rest = std::mem::take(&mut self.table);
        let read = |(key, item): (String, Item)| self.read_as(&key, item).map(|value| (key, value));
        rest.into_iter().filter_map(read).collect()
    }

    /// Takes all that is left and looks at none of it.
    pub fn ignore_rest(&mut self) {
        self.table.clear();
    }

    /// Takes a table and reads it. Its mistakes are this form's, unknown keys among them.
    pub fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let item = self.item(key)?;
        self.inside(key, item, read)
    }

    /// As [`Form::table`], of a name that is not known beforehand.
    pub fn table_named<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let item = self.take(key)?;
        self.inside(key, item, read)
    }

    /// Takes a list of tables and reads each. Their mistakes are this form's, unknown keys among them.
    pub fn tables<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Self) -> T) -> Option<Vec<T>> {
        let item = self.item(key)?;
        match item.value {
            Value::List(items) => {
                let each = |(index, item): (usize, Item)| self.inside(&format!("{key}[{index}]"), item, &mut read);
                Some(items.into_iter().enumerate().filter_map(each).collect())
            }
            other => {
                self.mistake(key, item.line, format_args!("it must be a list, not {}", other.describe()));
                None
            }
        }
    }

    /// Notes that a key of this table is missing, unless it is there. Before it is taken.
    pub fn require(&mut self, key: &str, example: &str) {
        if !self.keys().any(|there| there == key) {
            self.mistake(key, self.line, format_args!("it is missing; write it like {example}"));
        }
    }

    fn inside<T>(&mut self, key: &str, item: Item, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let table = match item.value {
            Value::Table(table) => table,
            other => {
                self.mistake(key, item.line, format_args!("it must be a table, not {}", other.describe()));
                return None;
            }
        };
        let (path, line, format) = (join(&self.path, key), item.line, self.format);
        let mut inner = Self { path, line, format, table, ..Self::empty() };
        let value = read(&mut inner);
        if let Err(mistakes) = inner.finish() {
            self.mistakes.extend(mistakes);
        }
        Some(value)
    }

    /// The end: every key that nobody took is unknown.
    ///
    /// # Errors
    /// Every mistake.
    pub fn finish(mut self) -> Result<(), Vec<Error>> {
        let known = match self.known.as_slice() {
            [] => "none is known here".to_owned(),
            known => format!("known are {}", known.join(", ")),
        };
        for (key, item) in std::mem::take(&mut self.table) {
            self.mistake(&key, item.line, format_args!("unknown key; {known}"));
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes) }
    }
}

fn join(path: &str, key: &str) -> String {
    let key = if key.contains('.') { format!("{key:?}") } else { key.to_owned() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Quantity;

    fn messages(form: Form) -> Vec<String> {
        form.finish().unwrap_err().into_iter().map(|mistake| mistake.to_string()).collect()
    }

    #[test]
    fn toml_and_json_values_of_every_kind_are_read() {
        for (text, format) in [
            ("debug = true\ncpu = 1.5\nport = 80\nzones = [\"a\", \"b\"]\n[net]\nmtu = 9000", Format::Toml),
            (r#"{"debug": true, "cpu": 1.5, "port": 80, "zones": ["a", "b"], "net": {"mtu": 9000}}"#, Format::Json),
        ] {
            let mut form = Form::parse(text).unwrap();
            assert_eq!(form.format(), format);
            assert_eq!(form.parsed::<bool>("debug"), Some(true));
            assert_eq!(form.parsed::<Quantity>("cpu").unwrap().millis(), 1500);
            assert_eq!(form.parsed::<u16>("port"), Some(80));
            assert_eq!(form.list::<String>("zones").unwrap(), ["a", "b"]);
            assert_eq!(form.table("net", |net| (net.parsed::<u32>("mtu"), net.format())), Some((Some(9000), format)));
            form.finish().unwrap();
        }
    }

    #[test]
    fn a_list_of_tables_is_read_with_the_place_of_each_mistake() {
        for text in [
            "rates = [{ n = 1 },\n{ n = \"x\", m = 2 },\n3,\n{}]\none = 1",
            "{\"rates\": [{\"n\": 1},\n{\"n\": \"x\", \"m\": 2},\n3,\n{}],\n\"one\": 1}",
        ] {
            let mut form = Form::parse(text).unwrap();
            let read = |table: &mut Form| {
                table.require("n", "n = 1");
                table.parsed::<u32>("n")
            };
            assert_eq!(form.tables("rates", read), Some(vec![Some(1), None, None]));
            assert_eq!(form.tables("one", read), None);
            assert_eq!(
                messages(form),
                [
                    "InvalidConfiguration: line 2: invalid digit found in string (rates[1].n)",
                    "InvalidConfiguration: line 2: unknown key; known are n (rates[1].m)",
                    "InvalidConfiguration: line 3: it must be a table, not the number 3 (rates[2])",
                    "InvalidConfiguration: line 4: it is missing; write it like n = 1 (rates[3].n)",
                    "InvalidConfiguration: line 5: it must be a list, not the number 1 (one)",
                ]
            );
        }
    }

    #[test]
    fn mistakes_in_lists_and_tables_are_not_lost() {
        let mut form =
            Form::parse("ports = [80, \"x\"]\nzones = \"a\"\n[net]\nmtu = 1\nmut = 2\n[other]\na = 1").unwrap();
        assert_eq!(form.list::<u16>("ports"), Some(vec![80]));
        assert_eq!(form.list::<String>("zones"), None);
        form.table("net", |net| net.parsed::<u32>("mtu"));
        form.table_named("other", Form::ignore_rest);
        assert_eq!(
            messages(form),
            [
                "InvalidConfiguration: line 1: invalid digit found in string (ports[1])",
                "InvalidConfiguration: line 2: it must be a list, not the string \"a\" (zones)",
                "InvalidConfiguration: line 5: unknown key; known are mtu (net.mut)",
            ]
        );
        let form = Form::parse("a = 1").unwrap();
        assert_eq!(messages(form), ["InvalidConfiguration: line 1: unknown key; none is known here (a)"]);
    }
}
