//! Secrets in Azure's words that nobody here knows any more: those of an earlier request, in an event, in the end of an operation, in
//! the refusal of a look. They are told by their place: before the host of a URL, such as that of a private repository, and after
//! names such as `password=`, which the options of a mount have. Those that a request has itself are [`Secrets`](crate::secrets).

/// What stands in place of a secret.
pub(crate) const HIDDEN: &str = "[redacted]";
/// Ends of names whose values are secrets.
const SECRET: [&str; 7] = ["password", "passwd", "pwd", "secret", "token", "key", "sig"];

/// Azure's words without what one signs in with, as far as it can be told by its place.
pub fn scrubbed(text: &str) -> String {
    without_values(&without_users(text))
}

fn without_users(text: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        scrubbed.push_str(before);
        let is_end =
            |letter: char| letter.is_whitespace() || matches!(letter, '/' | '?' | '#' | '"' | '\'' | '<' | '>');
        let authority = after.find(is_end).and_then(|end| after.get(..end)).unwrap_or(after);
        rest = match authority.rfind('@') {
            Some(at) => {
                scrubbed.push_str(HIDDEN);
                after.get(at..).unwrap_or_default()
            }
            None => after,
        };
    }
    scrubbed.push_str(rest);
    scrubbed
}

fn without_values(text: &str) -> String {
    let mut scrubbed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        scrubbed.push_str(name);
        scrubbed.push('=');
        rest = after;
        let name = name.to_ascii_lowercase();
        if SECRET.iter().any(|word| name.ends_with(word)) {
            let is_end = |letter: char| letter.is_whitespace() || ",;&'\"<>()".contains(letter);
            let value = after.find(is_end).unwrap_or(after.len());
            if value > 0 {
                scrubbed.push_str(HIDDEN);
            }
            rest = after.get(value..).unwrap_or_default();
        }
    }
    scrubbed.push_str(rest);
    scrubbed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_told() {
        for (text, expected) in [
            (
                "cloning https://me:s3cret@git.example/a.git failed",
                "cloning https://[redacted]@git.example/a.git failed",
            ),
            ("https://s3cret@a and http://b@c", "https://[redacted]@a and http://[redacted]@c"),
            ("https://git.example/a@b and mail@x", "https://git.example/a@b and mail@x"),
            ("git.example/a: no", "git.example/a: no"),
            ("://", "://"),
            ("'https://a:b@c@d'", "'https://[redacted]@d'"),
            (
                "mount -o username=me,password=s3cret,vers=3.0 //a/b failed",
                "mount -o username=me,password=[redacted],vers=3.0 //a/b failed",
            ),
            ("AccountKey=s3cret==; x=1", "AccountKey=[redacted]; x=1"),
            ("at https://a/b?sig=s3cret&x=1 token=", "at https://a/b?sig=[redacted]&x=1 token="),
        ] {
            assert_eq!(scrubbed(text), expected);
        }
    }
}
