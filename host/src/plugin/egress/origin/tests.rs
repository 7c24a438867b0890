//! Spellings: what is an origin and a pattern, and what is none.

use super::*;

#[test]
fn an_origin_has_one_spelling() {
    for (text, shown) in [
        ("https://example.com", "https://example.com:443"),
        ("HTTPS://Example.COM:443/", "https://example.com:443"),
        ("https://example.com.:8443", "https://example.com:8443"),
        ("http://registry", "http://registry:80"),
        ("ws://my_service:80", "http://my_service:80"),
        ("wss://a.example", "https://a.example:443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example:443"),
        ("https://XN--BCHER-KVA.example", "https://xn--bcher-kva.example:443"),
        ("https://1.example", "https://1.example:443"),
        ("https://0xbad.example", "https://0xbad.example:443"),
        ("tcp://10.0.0.7:8080", "tcp://10.0.0.7:8080"),
        ("tls://[2001:DB8::0:1]:443", "tls://[2001:db8::1]:443"),
        ("http://[::ffff:10.0.0.7]:80", "http://10.0.0.7:80"),
        ("http://[::ffff:a00:7]", "http://10.0.0.7:80"),
    ] {
        let origin = Origin::parse(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(origin.to_string(), shown);
        assert_eq!(Origin::parse(shown), Ok(origin), "what is shown is what is taken");
    }
}

#[test]
fn an_address_in_another_spelling_is_no_host() {
    for host in [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "256.0.0.1",
        "0x",
        "example.0x7f",
        "::1",
        "[::1",
        "[::1%25lo]",
        "[fe80::1%eth0]",
        "[127.0.0.1]",
        "[example.com]",
    ] {
        let text = format!("http://{host}:80");
        assert!(matches!(Origin::parse(&text), Err(OriginError::Host(_) | OriginError::Port(_))), "{text}");
    }
}

#[test]
fn what_is_no_origin_is_told_with_what_would_be_one() {
    let long = format!("https://{}.example", "a".repeat(64));
    let longer = format!("https://{}example", "a.".repeat(126));
    for (text, says) in [
        ("example.com", "https://"),
        ("ftp://user:secret@example.com", "https://"),
        ("https:/example.com", "https://"),
        ("tcp://10.0.0.7", "tcp://10.0.0.7:8080"),
        ("https://example.com:0", "1 to 65535"),
        ("https://example.com:65536", "1 to 65535"),
        ("https://example.com:", "1 to 65535"),
        ("https://example.com:+80", "1 to 65535"),
        ("https://user@example.com", "leave that out"),
        ("https://good.example@evil.example", "leave that out"),
        ("https://user:secret@example.com:443", "leave that out"),
        ("https://example.com/v1", "SCHEME://HOST:PORT"),
        ("https://example.com?x", "SCHEME://HOST:PORT"),
        ("https://example.com#x", "SCHEME://HOST:PORT"),
        (r"https://good.example\evil.example", "SCHEME://HOST:PORT"),
        ("https://", "no host"),
        ("https://.", "no host"),
        ("https://.example.com", "no host"),
        ("https://a..example.com", "no host"),
        ("https://example.com..", "no host"),
        ("https://-a.example", "no host"),
        ("https://a-.example", "no host"),
        ("https://bücher.example", "xn--"),
        ("https://１２７.0.0.1", "no host"),
        ("https://exa%6dple.com", "no host"),
        ("https://a b.example", "no host"),
        ("https://a\0.example", "no host"),
        ("https://*.example.com", "no host"),
        (long.as_str(), "no host"),
        (longer.as_str(), "no host"),
    ] {
        let error = Origin::parse(text).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
        assert!(error.contains(says) && !error.contains('\n') && !error.contains("secret"), "{text}: {error}");
    }
}

#[test]
fn a_uri_is_for_the_origin_that_its_authority_is() {
    let of = |text: &'static str| Origin::of_uri(&http::Uri::from_static(text)).map(|origin| origin.to_string());
    assert_eq!(of("https://Example.com/a/b?c=https://other.example").as_deref(), Some("https://example.com:443"));
    assert_eq!(of("http://10.0.0.7:5000/").as_deref(), Some("http://10.0.0.7:5000"));
    assert_eq!(of("http://good.example@10.0.0.7/"), None);
    assert_eq!(of("http://0x7f.1/"), None);
    assert_eq!(of("/path"), None);
}

#[test]
fn a_pattern_is_its_own_origin_or_all_below_a_name() {
    for (pattern, origin, matches) in [
        ("https://example.com", "https://EXAMPLE.com.:443", true),
        ("https://example.com", "https://example.com:8443", false),
        ("https://example.com", "http://example.com:443", false),
        ("https://example.com", "https://a.example.com", false),
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://a.b.example.com", true),
        ("https://*.example.com", "https://example.com", false),
        ("https://*.example.com", "https://notexample.com", false),
        ("https://*.example.com", "https://a.example.com.evil.example", false),
        ("https://*.Example.COM.", "https://a.example.com", true),
        ("wss://a.example.com", "https://a.example.com", true),
        ("tls://a.example.com:443", "https://a.example.com", false),
        ("http://10.0.0.7", "http://10.0.0.7", true),
        ("http://10.0.0.7", "http://[::ffff:10.0.0.7]", true),
        ("http://10.0.0.7", "http://10.0.0.70", false),
    ] {
        let parsed = (Pattern::parse(pattern).unwrap(), Origin::parse(origin).unwrap());
        assert_eq!(parsed.0.matches(&parsed.1), matches, "{pattern} and {origin}");
    }
}

#[test]
fn a_star_alone_or_in_the_middle_is_refused() {
    for text in [
        "https://*",
        "https://*.",
        "https://*.io",
        "https://*.io.",
        "https://*.*.example.com",
        "https://a.*.example.com",
        "https://*a.example.com",
        "https://example.*",
        "https://*.0.0.1",
        "https://*.example.7",
        "https://*.[::1]",
    ] {
        assert!(matches!(Pattern::parse(text), Err(OriginError::Star(_))), "{text}");
    }
}

#[test]
fn a_pattern_covers_what_it_matches() {
    for (one, other, covers) in [
        ("https://example.com", "https://example.com:443", true),
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://*.a.example.com", true),
        ("https://*.example.com", "https://*.example.com", true),
        ("https://*.a.example.com", "https://*.example.com", false),
        ("https://*.example.com", "https://*.notexample.com", false),
        ("https://a.example.com", "https://*.example.com", false),
        ("https://*.example.com", "https://10.0.0.7", false),
        ("https://*.example.com", "http://*.example.com:443", false),
    ] {
        assert_eq!(Pattern::parse(one).unwrap().covers(&Pattern::parse(other).unwrap()), covers, "{one} and {other}");
    }
}

#[test]
fn a_pattern_shows_what_it_was_made_of() {
    for (text, name, literal) in [
        ("https://*.example.com:443", Some("example.com"), None),
        ("http://registry:5000", Some("registry"), None),
        ("http://10.0.0.7:5000", None, Some("10.0.0.7")),
        ("http://[fd00::1]:80", None, Some("fd00::1")),
    ] {
        let pattern = Pattern::parse(text).unwrap();
        assert_eq!((pattern.to_string().as_str(), pattern.name()), (text, name));
        assert_eq!(pattern.literal(), literal.map(|literal| literal.parse().unwrap()));
    }
}

/// Guests hand in what they like, and what is said of it is kept.
#[test]
fn a_text_that_is_no_origin_is_shown_in_part_and_without_a_secret() {
    let long = "x".repeat(1 << 20);
    for text in [
        long.clone(),
        format!("https://{long}"),
        format!("tcp://{long}"),
        format!("https://a.example:{long}"),
        format!("https://a.example/{long}"),
        format!("https://hush{long}@a.example"),
        format!("https://*.{long}"),
    ] {
        let pattern = Pattern::parse(&text).unwrap_err().to_string();
        for told in [Origin::parse(&text).unwrap_err().to_string(), pattern] {
            assert!(told.len() < 1 << 10 && !told.contains("hush"), "{told}");
        }
    }
}
