//! URLs that secrets are sent to: what may stand in a configuration, and what an answer may lead to.

/// An endpoint of a configuration, without the slash at its end.
///
/// ```
/// use vk_aci::endpoint::parse;
///
/// assert_eq!(parse("https://management.azure.com/", &["https"]), Ok("https://management.azure.com".to_owned()));
/// let wrong = parse("https://me:s3cret@login.example", &["https"]).unwrap_err();
/// assert_eq!(wrong, "\"login.example\" must be a URL of a host, with or without port and path");
/// ```
///
/// # Errors
/// What is wrong with it. Of the text it has no more than the host.
pub fn parse(text: &str, schemes: &[&str]) -> Result<String, String> {
    let text = text.trim();
    let known = schemes.iter().any(|scheme| text.starts_with(&format!("{scheme}://")));
    if !known {
        return Err(format!("{:?} must be a URL that begins with {}://", shown(text), schemes.join(":// or ")));
    }
    if text.contains(['?', '#']) || origin(text).is_none() {
        return Err(format!("{:?} must be a URL of a host, with or without port and path", shown(text)));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Scheme, host and port, `https://host:443`; none: it is no URL, or one whose host two readers could take for another.
pub(crate) fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // No user, no escape, no backslash: nothing that hides which host it is.
    if authority.is_empty() || !authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
    {
        return None;
    }
    let after_host = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.get(after_host..)?.rfind(':').map(|at| after_host + at) {
        Some(colon) => (authority.get(..colon)?, authority.get(colon + 1..)?),
        None => (authority, default),
    };
    let port: u16 = port.parse().ok()?;
    (!host.is_empty()).then(|| format!("{scheme}://{}:{port}", host.to_ascii_lowercase()))
}

/// Whether a token for one endpoint may go along to a URL that an answer gave: only to the same origin, and with TLS.
pub(crate) fn is_below(endpoint: &str, url: &str) -> bool {
    let there = origin(url);
    there.is_some() && there == origin(endpoint) && there.is_some_and(|there| there.starts_with("https:"))
}

/// Of a URL what is no secret: scheme and host.
pub(crate) fn shown(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    let end = start + rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let shown = url.get(..end).unwrap_or_default();
    // What stands before an @ may be a password.
    match shown.rsplit_once('@') {
        Some((_, host)) => host,
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_with_tls_and_without_query() {
        for (text, expected) in [
            ("https://login.microsoftonline.com/", Some("https://login.microsoftonline.com")),
            (" https://adfs.local/adfs/ ", Some("https://adfs.local/adfs")),
            ("https://[::1]:8443", Some("https://[::1]:8443")),
            ("http://login.example", None),
            ("login.microsoftonline.com", None),
            ("https://user:pass@login.example", None),
            ("https://login.example/?a=b", None),
            ("https://", None),
        ] {
            assert_eq!(parse(text, &["https"]).ok().as_deref(), expected, "{text}");
        }
        let wrong = parse("https://user:s3cret@login.example/?a=b", &["https"]).unwrap_err();
        assert!(!wrong.contains("s3cret") && wrong.contains("login.example"), "{wrong}");
    }

    #[test]
    fn a_token_goes_to_its_own_origin_alone() {
        let endpoint = "https://management.azure.com";
        for url in [
            "https://management.azure.com/subscriptions/s/operations/1?api-version=2023-05-01&t=x",
            "https://Management.Azure.COM:443/x",
            "https://management.azure.com",
        ] {
            assert!(is_below(endpoint, url), "{url}");
        }
        for url in [
            "http://management.azure.com/x",
            "https://management.azure.com:444/x",
            "https://management.azure.com.evil.example/x",
            "https://management.azure.com@evil.example/x",
            "https://evil.example/https://management.azure.com/",
            "https://management.azure.com\\@evil.example/x",
            "https://management.azure.com%2f@evil.example/x",
            "https://evil.example#management.azure.com",
            "//management.azure.com/x",
            "/subscriptions/s",
            "ftp://management.azure.com/x",
            "",
        ] {
            assert!(!is_below(endpoint, url), "{url}");
        }
        assert!(!is_below("http://a", "http://a/x"), "not without TLS");
        assert!(
            is_below("https://[::1]:8443/arm", "https://[::1]:8443/x") && !is_below("https://[::1]", "https://[::2]")
        );
    }
}
