//! An engine's words, as they are told to people.

/// So much is told of the beginning of a long text, and of its end: an event has a kilobyte.
const TOLD: usize = 400;
/// Letters of an id.
const ID: usize = 64;

/// What a refusal says: `{"message": …}` of Docker, the same and `cause` of Podman, or whatever somebody between us and the engine says.
pub(crate) fn of_refusal(body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "the engine does not say why".to_owned() } else { shortened(&without_ids(&line)) }
}

/// Without what says nothing to people and is another at each try: what happens again is to be the same text again.
pub(crate) fn plain(text: &str) -> String {
    without_ids(&without_version(text))
}

/// `POST engine:/containers/…` of `POST engine:/v1.41/containers/…`.
fn without_version(request: &str) -> String {
    let shorter = request.split_once(":/v").and_then(|(before, rest)| {
        let (version, path) = rest.split_once('/')?;
        version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| format!("{before}:/{path}"))
    });
    shorter.unwrap_or_else(|| request.to_owned())
}

/// `…` for ids of containers and endpoints. The digest of an image is none.
fn without_ids(text: &str) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(start);
        let (word, after) =
            word.split_at(word.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(word.len()));
        told.push_str(before);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = word.len() == ID && word.bytes().all(is_hex) && !told.ends_with("sha256:");
        told.push_str(if is_id { "…" } else { word });
        rest = after;
    }
    told + rest
}

/// The beginning and the end of a long text: what went wrong is at one of them.
fn shortened(text: &str) -> String {
    if text.len() <= 2 * TOLD {
        return text.to_owned();
    }
    let (beginning, end) = (text.floor_char_boundary(TOLD), text.ceil_char_boundary(text.len() - TOLD));
    format!("{} … {}", text.get(..beginning).unwrap_or_default(), text.get(end..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_versions_are_left_out_and_digests_are_not() {
        let hex = "4f".repeat(32);
        for (text, told) in [
            (format!("POST engine:/v1.41/containers/{hex}/start"), "POST engine:/containers/…/start".to_owned()),
            ("GET far.away:/v1.51/info: refused".to_owned(), "GET far.away:/info: refused".to_owned()),
            ("GET http://a/v1.41/x".to_owned(), "GET http://a/v1.41/x".to_owned()),
            ("GET engine:/volumes/x".to_owned(), "GET engine:/volumes/x".to_owned()),
            (format!("endpoint web ({hex}): taken"), "endpoint web (…): taken".to_owned()),
            (format!("app@sha256:{hex}"), format!("app@sha256:{hex}")),
            (format!("{hex}0 and {}", &hex[..63]), format!("{hex}0 and {}", &hex[..63])),
            (String::new(), String::new()),
        ] {
            assert_eq!(plain(&text), told);
        }
    }

    #[test]
    fn a_text_is_cut_in_its_middle() {
        assert_eq!(shortened(&"x".repeat(2 * TOLD)).len(), 2 * TOLD);
        let cut = shortened(&format!("a{}z", "ä".repeat(2 * TOLD)));
        assert!(cut.starts_with("aä") && cut.ends_with("äz") && cut.contains(" … "), "{cut}");
    }
}
