//! `$(VAR)` in values, commands and arguments, as Kubernetes expands it.
//!
//! `$(NAME)` becomes the value of a known name and stays as it is for an unknown one; `$$` is a literal `$`, so that
//! `$$(NAME)` gives `$(NAME)`. Anything else after a `$` stays. (kubernetes/third_party/forked/golang/expansion)

/// A text whose references were looked up, and whether a secret went into it.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The result.
    pub text: String,
    /// One of the values was a secret's.
    pub secret: bool,
}

/// Expands `text`; `lookup` gives a name's value and whether it is secret.
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<(&'a str, bool)>) -> Expanded {
    let mut out = Expanded { text: String::with_capacity(text.len()), secret: false };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.text.push_str(before);
        if let Some(literal) = after.strip_prefix('$') {
            out.text.push('$');
            rest = literal;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some((value, secret)) => {
                    out.text.push_str(value);
                    out.secret |= secret;
                }
                None => {
                    out.text.push_str("$(");
                    out.text.push_str(name);
                    out.text.push(')');
                }
            }
            rest = tail;
        } else {
            out.text.push('$');
            rest = after;
        }
    }
    out.text.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_kubernetes_does() {
        let table = [
            ("plain", "plain", false),
            ("$(A)", "1", false),
            ("$(A)$(B)-$(A)", "12-1", true),
            ("$$(A)", "$(A)", false),
            ("$$$(A)", "$1", false),
            ("$(UNKNOWN)", "$(UNKNOWN)", false),
            ("$(A", "$(A", false),
            ("$A", "$A", false),
            ("$", "$", false),
            ("a$$", "a$", false),
            ("$()", "$()", false),
            ("ü$(A)ü", "ü1ü", false),
        ];
        for (text, expected, secret) in table {
            let got = expand(text, |name| match name {
                "A" => Some(("1", false)),
                "B" => Some(("2", true)),
                _ => None,
            });
            assert_eq!(got, Expanded { text: expected.into(), secret }, "{text}");
        }
    }
}
