//! The file of `--config`, in TOML. Read once, at the start.
//!
//! ```toml
//! [grants]
//! http = ["http://10.0.0.7:5000"]
//! environment = ["AZURE_CLIENT_ID", "ACI_*"]
//! [endpoints.engine]
//! url = "https://engine.corp.example:2376"
//! client-certificate = "engine/cert.pem"
//! client-key = "engine/key.pem"
//! [tls]
//! certificate-authorities = ["/etc/ssl/corp.pem"]
//! ```
//!
//! Every mistake is told at once. PEM files may be named from the file's own directory, as in a kubeconfig; sockets and
//! `grants.file` have absolute paths, as the provider has them.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::plugin::grants::{Endpoint, EndpointUrl, Grant, Grants, endpoint_name};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file system says no.
    #[error("cannot read the file of --config, {}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// What is in it.
    #[error("the file of --config has mistakes:{}", Lines { file, mistakes })]
    Mistaken {
        /// Which file.
        file: PathBuf,
        /// In the order of the file.
        mistakes: Vec<Mistake>,
    },
}

/// What is wrong in one place, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Counted from 1.
    line: usize,
    /// Such as `grants.http[0]`; empty: the text is no TOML there.
    field: String,
    /// As it is written, if it is a single one.
    value: Option<String>,
    why: String,
}

type Key<'a> = Spanned<Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Reads it. Blocks.
pub(super) fn read(file: &Path) -> Result<Grants, ConfigFileError> {
    let unreadable = |error| ConfigFileError::Unreadable { file: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let directory = file.parent().unwrap_or(Path::new(""));
    parse(&text, directory).map_err(|mistakes| ConfigFileError::Mistaken { file: file.to_owned(), mistakes })
}

fn parse(text: &str, directory: &Path) -> Result<Grants, Vec<Mistake>> {
    let mut reader = Reader { text, directory, mistakes: Vec::new(), grants: Grants::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.mistake(error.span().map_or(text.len(), |span| span.start), "", None, error.message());
    }
    // What was made of a text that is no TOML would be found wrong for other reasons.
    if errors.is_empty() {
        reader.root(root.into_inner());
    }
    let Reader { mut mistakes, grants, .. } = reader;
    mistakes.sort();
    if mistakes.is_empty() { Ok(grants) } else { Err(mistakes) }
}

/// Walks over the file and notes what it grants and what is wrong.
struct Reader<'a> {
    text: &'a str,
    directory: &'a Path,
    mistakes: Vec<Mistake>,
    grants: Grants,
}

impl Reader<'_> {
    fn root(&mut self, root: DeTable<'_>) {
        for (key, value) in root {
            match key.get_ref().as_ref() {
                "grants" => self.grants(value),
                "endpoints" => self.endpoints(value),
                "tls" => self.tls(value),
                name => self.unknown(&key, name, "grants, endpoints and tls"),
            }
        }
    }

    fn grants(&mut self, value: Value<'_>) {
        for (key, value) in self.table("grants", value, "[grants]").unwrap_or_default() {
            let access = key.get_ref().as_ref();
            let field = format!("grants.{access}");
            if !Grant::ACCESSES.contains(&access) {
                let why = Grant::new(access, "").err().map(|error| error.to_string()).unwrap_or_default();
                self.mistake(key.span().start, &field, None, why);
                continue;
            }
            for (field, target) in self.list(&field, value) {
                if let Some(grant) = self.read(&field, &target, |text| Grant::new(access, text)) {
                    self.grants.add(grant);
                }
            }
        }
    }

    fn endpoints(&mut self, value: Value<'_>) {
        for (key, value) in self.table("endpoints", value, "[endpoints.NAME]").unwrap_or_default() {
            let (at, name) = (key.span().start, key.into_inner().into_owned());
            let field = format!("endpoints.{name}");
            if let Err(error) = endpoint_name(&name) {
                self.mistake(at, &field, None, error);
            }
            let table = self.table(&field, value, &format!("[{field}] and below it url"));
            if let Some(endpoint) = table.and_then(|table| self.endpoint(at, &field, table)) {
                self.grants.endpoints.insert(name, endpoint);
            }
        }
    }

    /// none: it has no usable URL.
    fn endpoint(&mut self, at: usize, field: &str, table: Vec<(Key<'_>, Value<'_>)>) -> Option<Endpoint> {
        let (mut url, mut authority, mut certificate, mut client_key) = (None, None, None, None);
        let has_url = table.iter().any(|(key, _)| key.get_ref() == "url");
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let field = format!("{field}.{name}");
            match name {
                "url" => {
                    url = self.text(&field, value).and_then(|text| self.read(&field, &text, EndpointUrl::from_str))
                }
                "certificate-authority" => authority = self.pem(&field, value),
                "client-certificate" => certificate = self.pem(&field, value),
                "client-key" => client_key = self.pem(&field, value),
                _ => self.unknown(&key, &field, "url, certificate-authority, client-certificate and client-key"),
            }
        }
        if !has_url {
            self.mistake(at, field, None, "it has no url, such as url = \"unix:///run/docker.sock\"");
        }
        let url = url?;
        let any = authority.is_some() || certificate.is_some() || client_key.is_some();
        if any && !url.is_tls() {
            self.mistake(at, field, None, format_args!("certificates and keys are for https://, and its url is {url}"));
        }
        if certificate.is_some() != client_key.is_some() {
            self.mistake(at, field, None, "client-certificate and client-key are given together");
        }
        Some(Endpoint { url, certificate_authority: authority, client_certificate: certificate, client_key })
    }

    fn tls(&mut self, value: Value<'_>) {
        for (key, value) in self.table("tls", value, "[tls]").unwrap_or_default() {
            let field = format!("tls.{}", key.get_ref());
            if key.get_ref() != "certificate-authorities" {
                self.unknown(&key, &field, "certificate-authorities");
                continue;
            }
            let files = self.list(&field, value);
            let directory = self.directory;
            self.grants
                .certificate_authorities
                .extend(files.into_iter().map(|(_, file)| directory.join(file.into_inner())));
        }
    }

    /// The entries of what has to be a table.
    fn table<'a>(&mut self, field: &str, value: Value<'a>, right: &str) -> Option<Vec<(Key<'a>, Value<'a>)>> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Table(table) => Some(table.into_iter().collect()),
            other => {
                self.mistake(at, field, single(&other), format_args!("it is a table: write {right}"));
                None
            }
        }
    }

    /// The strings of what has to be a list of them, each with its field.
    fn list(&mut self, field: &str, value: Value<'_>) -> Vec<(String, Spanned<String>)> {
        let at = value.span().start;
        match value.into_inner() {
            DeValue::Array(items) => {
                let items = items.into_iter().enumerate();
                items
                    .filter_map(|(index, item)| {
                        let field = format!("{field}[{index}]");
                        self.text(&field, item).map(|text| (field, text))
                    })
                    .collect()
            }
            other => {
                self.mistake(at, field, single(&other), "it is a list of strings: put it in [ ]");
                Vec::new()
            }
        }
    }

    fn text(&mut self, field: &str, value: Value<'_>) -> Option<Spanned<String>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
            other => {
                self.mistake(span.start, field, single(&other), "it is a string: put it in quotes");
                None
            }
        }
    }

    fn pem(&mut self, field: &str, value: Value<'_>) -> Option<PathBuf> {
        self.text(field, value).map(|file| self.directory.join(file.into_inner()))
    }

    fn read<T, E: fmt::Display>(
        &mut self,
        field: &str,
        text: &Spanned<String>,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = text.get_ref();
        read(value).map_err(|error| self.mistake(text.span().start, field, Some(format!("{value:?}")), error)).ok()
    }

    fn unknown(&mut self, key: &Key<'_>, field: &str, known: &str) {
        self.mistake(key.span().start, field, None, format_args!("there is no such key here; there is {known}"));
    }

    fn mistake(&mut self, at: usize, field: &str, value: Option<String>, why: impl fmt::Display) {
        let line = self.text.get(..at).unwrap_or(self.text).matches('\n').count() + 1;
        self.mistakes.push(Mistake { line, field: field.to_owned(), value, why: why.to_string() });
    }
}

/// A value as it is written; none: it is long.
fn single(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(format!("{text:?}")),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// One line each, as compilers write them.
struct Lines<'a> {
    file: &'a Path,
    mistakes: &'a [Mistake],
}

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {file}:{mistake}"))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, field, value, why } = self;
        write!(f, "{line}: ")?;
        match value {
            _ if field.is_empty() => {}
            Some(value) => write!(f, "{field} = {value}: ")?,
            None => write!(f, "{field}: ")?,
        }
        f.write_str(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        [grants]
        http = ["http://10.0.0.7:5000", "https://engine.corp.example:2376"]
        upgrade = ["https://engine.corp.example:2376"]
        connect = ["tcp://10.0.0.7:8080", "tls://registry.example:443"]
        environment = ["AZURE_CLIENT_ID", "ACI_*"]
        file = ["/etc/azure/credentials.json"]
        addresses = ["10.0.0.0/8"]

        [endpoints.engine]
        url = "unix:///run/docker.sock"
        [endpoints.far]
        url = "https://engine.corp.example:2376"
        certificate-authority = "/etc/engine/ca.pem"
        client-certificate = "cert.pem"
        client-key = "keys/key.pem"

        [tls]
        certificate-authorities = ["/etc/ssl/corp.pem", "corp.pem"]
    "#;

    fn mistakes(text: &str) -> Vec<String> {
        let mistakes = parse(text, Path::new("/etc/vk")).err().unwrap_or_else(|| panic!("it is taken:\n{text}"));
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_in_it_is_read() {
        let Grants { http, upgrade, connect, environment, files, addresses, endpoints, certificate_authorities } =
            parse(WHOLE, Path::new("/etc/vk")).unwrap();
        assert_eq!([http.len(), upgrade.len(), connect.len(), addresses.len()], [2, 1, 2, 1]);
        assert_eq!(environment, ["AZURE_CLIENT_ID", "ACI_*"]);
        assert_eq!(files, [Path::new("/etc/azure/credentials.json")]);
        assert_eq!(endpoints["engine"], "unix:///run/docker.sock".parse::<EndpointUrl>().unwrap().into());
        let far = Endpoint {
            url: "https://engine.corp.example:2376".parse().unwrap(),
            certificate_authority: Some("/etc/engine/ca.pem".into()),
            client_certificate: Some("/etc/vk/cert.pem".into()),
            client_key: Some("/etc/vk/keys/key.pem".into()),
        };
        assert_eq!(endpoints["far"], far);
        assert_eq!(certificate_authorities, [Path::new("/etc/ssl/corp.pem"), Path::new("/etc/vk/corp.pem")]);
    }

    #[test]
    fn an_empty_file_grants_nothing() {
        let grants = parse("# nothing\n[grants]\n[endpoints]\n[tls]\n", Path::new("/")).unwrap();
        assert_eq!(format!("{grants:?}"), format!("{:?}", Grants::default()));
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_line_and_value() {
        let text = "[grants]\nhtp = []\nhttp = [\n  \"http://10.0.0.7:5000\",\n  \"tcp://10.0.0.7:5000\",\n  7,\n]\n\
                    upgrade = \"https://engine.corp.example:2376\"\nfile = [\"credentials.json\"]\nendpoint = [\"engine\"]\n\
                    [endpoints.engine]\nurl = \"http://10.0.0.7:2375/v1.41\"\nurn = \"\"\n[endpoints.Two]\n\
                    [endpoints.three]\nurl = \"unix:///run/x.sock\"\nclient-key = \"key.pem\"\n[tls]\nca = 1\n[grant]\n";
        let told = mistakes(text);
        let expected = [
            ("2: grants.htp: ", "there are http, upgrade"),
            ("5: grants.http[1] = \"tcp://10.0.0.7:5000\": ", "http:// or https://"),
            ("6: grants.http[2] = 7: ", "in quotes"),
            ("8: grants.upgrade = \"https://engine.corp.example:2376\": ", "in [ ]"),
            ("9: grants.file[0] = \"credentials.json\": ", "absolute path"),
            ("10: grants.endpoint: ", "[endpoints.NAME]"),
            ("12: endpoints.engine.url = \"http://10.0.0.7:2375/v1.41\": ", "write http://10.0.0.7:2375"),
            ("13: endpoints.engine.urn: ", "url, certificate-authority"),
            ("14: endpoints.Two: ", "lower-case"),
            ("14: endpoints.Two: ", "no url"),
            ("15: endpoints.three: ", "for https://, and its url is unix:///run/x.sock"),
            ("15: endpoints.three: ", "client-certificate and client-key"),
            ("19: tls.ca: ", "certificate-authorities"),
            ("20: grant: ", "grants, endpoints and tls"),
        ];
        for (place, says) in expected {
            let there = told.iter().any(|line| line.starts_with(place) && line.contains(says));
            assert!(there, "{place}{says} is not in {told:#?}");
        }
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        assert!(told.iter().all(|line| !line.contains('\n')), "{told:#?}");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        for (text, line) in [
            ("[grants]\nhttp = [\"x\"\n", "2: "),
            ("[grants]\nhttp = http://10.0.0.7\n", "2: "),
            ("[endpoints.engine]\nurl = \"unix:///a\"\n[endpoints.engine]\nurl = \"unix:///b\"\n", "3: "),
        ] {
            let told = mistakes(text);
            assert!(told.iter().any(|mistake| mistake.starts_with(line)), "{text}: {told:?}");
        }
    }

    #[test]
    fn a_table_in_the_place_of_a_url_is_shown() {
        let told = mistakes("endpoints.engine = \"unix:///run/docker.sock\"\n");
        assert!(told.len() == 1 && told[0].contains("write [endpoints.engine] and below it url"), "{told:?}");
    }
}
