//! The line that an operator adds to grant something.

/// For people: the line of the file of `--config`, and the flag that says the same. The target is one that was understood, or an
/// origin that a request was refused for.
pub(in crate::plugin) fn remedy(access: &str, target: &str) -> String {
    match access {
        "endpoint" => format!(
            "--endpoint {target}=unix:///PATH, or url = \"unix:///PATH\" below [endpoints.{target}] of --config; also http://HOST:PORT or https://HOST:PORT"
        ),
        _ => format!(
            "--grant {}, or {access} = [{}] below [grants] of --config",
            word(&format!("{access}={target}")),
            toml::Value::from(target)
        ),
    }
}

/// One word for a shell (POSIX.1-2024, XCU 2.2.2).
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::grants::{Grant, Grants, Named};

    #[test]
    fn what_it_says_can_be_typed_and_grants_the_target() {
        for (access, target) in [
            ("http", "http://10.0.0.7:5000"),
            ("upgrade", "https://*.corp.example:443"),
            ("connect", "tcp://10.0.0.7:8080"),
            ("environment", "AZURE_CLIENT_ID"),
            ("file", "/etc/it's \"here\""),
        ] {
            let text = remedy(access, target);
            let (flag, line) = text.strip_prefix("--grant ").unwrap().split_once(", or ").unwrap();
            let typed = flag.replace(r"'\''", "\u{0}").replace('\'', "").replace('\u{0}', "'");
            let of_flag: Grant = typed.parse().unwrap();
            let table: toml::Table = line.strip_suffix(" below [grants] of --config").unwrap().parse().unwrap();
            let listed = table[access][0].as_str().unwrap();
            assert_eq!(listed, target);
            let mut grants = Grants::default();
            grants.add(of_flag);
            grants.add(Grant::new(access, listed).unwrap());
            let mut twice = Grants::default();
            for _ in 0..2 {
                twice.add(Grant::new(access, target).unwrap());
            }
            assert_eq!(format!("{grants:?}"), format!("{twice:?}"));
        }
    }

    #[test]
    fn a_star_is_kept_from_the_shell() {
        assert!(remedy("http", "http://*.corp.example:80").starts_with("--grant 'http=http://*.corp.example:80', "));
        assert!(remedy("environment", "HOME").starts_with("--grant environment=HOME, "));
    }

    #[test]
    fn an_endpoint_has_a_flag_of_its_own() {
        let text = remedy("endpoint", "engine");
        let flag = text.strip_prefix("--endpoint ").unwrap().split_once(',').unwrap().0;
        assert_eq!(flag.parse::<Named>().unwrap().name, "engine");
        assert!(text.contains("[endpoints.engine]"), "{text}");
    }
}
