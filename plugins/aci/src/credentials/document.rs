//! A file of JSON, in the encodings that Windows' tools write.

use serde_json::{Map, Value};

use super::mistakes::Mistakes;
use super::{Rank, Said};

/// A file that was read. Without `Debug`, as it has secrets in it.
pub(super) struct Document {
    path: String,
    rank: Rank,
    object: Map<String, Value>,
}

impl Document {
    /// none: it is no JSON object, which is noted as a mistake of the variable that named it.
    pub(super) fn parse(
        path: String,
        rank: Rank,
        content: &[u8],
        variable: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        match object(content) {
            Ok(object) => Some(Self { path, rank, object }),
            Err(why) => {
                mistakes.unreadable(variable, &path, why);
                None
            }
        }
    }

    /// A text; none: it is not there, empty, or none, which is noted. What it is instead is told, not its value.
    pub(super) fn text(&self, key: &str, mistakes: &mut Mistakes) -> Option<Said> {
        let value = match self.object.get(key)? {
            Value::String(text) => text.trim(),
            Value::Null => return None,
            other => {
                mistakes.unreadable(key, &self.path, format_args!("it must be a string, not {}", kind(other)));
                return None;
            }
        };
        (!value.is_empty()).then(|| self.said(key, value))
    }

    /// A flag, which some tools write as a text; none: it is not set.
    pub(super) fn flag(&self, key: &str, mistakes: &mut Mistakes) -> Option<Said> {
        match self.object.get(key)? {
            Value::Bool(true) => Some(self.said(key, "true")),
            Value::Bool(false) | Value::Null => None,
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(self.said(key, "true")),
            Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("false") => None,
            other => {
                mistakes.add(key, Some(&self.path), format_args!("it must be true or false, not {}", kind(other)));
                None
            }
        }
    }

    /// Whether it has a key at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn said(&self, key: &str, value: &str) -> Said {
        Said { value: value.to_owned(), rank: self.rank, field: key.to_owned(), file: Some(self.path.clone()) }
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn object(content: &[u8]) -> Result<Map<String, Value>, String> {
    let text = decoded(content)?;
    // Of what stands in the text such an error says nothing but line and column.
    match serde_json::from_str(&text).map_err(|error| format!("it is no JSON: {error}"))? {
        Value::Object(object) => Ok(object),
        other => Err(format!("it must be a JSON object, not {}", kind(&other))),
    }
}

/// UTF-8 with or without its byte order mark, UTF-16 with one: PowerShell's `>` writes the latter.
fn decoded(content: &[u8]) -> Result<String, String> {
    match content {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => utf8(content),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    let at = |error: std::str::Utf8Error| format!("it is no UTF-8 at byte {}", error.valid_up_to());
    std::str::from_utf8(bytes).map(str::to_owned).map_err(at)
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, []) = bytes.as_chunks::<2>() else {
        return Err("it is no UTF-16: half a character is missing at its end".to_owned());
    };
    let units: Vec<u16> = pairs.iter().copied().map(order).collect();
    String::from_utf16(&units).map_err(|error| format!("it is no UTF-16: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bom: u16, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(bom).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_says_the_same() {
        let text = r#"{"clientSecret":"pä𝄞s"}"#;
        for content in [
            text.as_bytes().to_vec(),
            [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(),
            utf16(text, 0xfeff, u16::to_le_bytes),
            utf16(text, 0xfeff, u16::to_be_bytes),
        ] {
            assert_eq!(object(&content).unwrap()["clientSecret"], "pä𝄞s", "{content:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_without_its_content() {
        for (content, says) in [
            (&b"{\"clientSecret\": \"s3cret\" x}"[..], "line 1 column 27"),
            (b"\"s3cret\"", "must be a JSON object, not a string"),
            (b"{\"a\": s3cret}", "line 1"),
            (b"", "no JSON"),
            (b"{\"a\":\"\xff\"}", "no UTF-8 at byte 6"),
            (b"\xff\xfe{\0\"", "half a character"),
            (b"\xff\xfe\x00\xd8", "no UTF-16"),
        ] {
            let why = object(content).unwrap_err();
            assert!(why.contains(says) && !why.contains("s3cret"), "{why}");
        }
    }
}
