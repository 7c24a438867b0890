//! What a plugin was not granted, however it asks for it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use crate::place::{Names, Setting};
use crate::servers::Web;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_what_is_granted_is_reached() {
    let (web, forbidden) = Web::beside_a_forbidden_one().await;
    let (good, port) = (format!("http://good.test:{}", web.port), web.port);
    let setting = Setting { grants: vec!["addresses=127.0.0.1".into()], ..Setting::default() };
    let place = setting.grant("http", &good).load().await;
    place.names.set("good.test", "127.0.0.1");
    place.names.set("other.test", "127.0.0.2");
    let denied = "error HTTP-request-denied";
    let invalid = "error HTTP-request-URI-invalid";
    let asked = [
        (format!("GET {good}/"), "200, 5 bytes"),
        (format!("POST {good}/"), "200, 7 bytes"),
        (format!("GET http://other.test:{port}/"), denied),
        (format!("GET https://good.test:{port}/"), denied),
        (format!("GET http://good.test:{}/", port ^ 1), denied),
        (format!("GET http://127.0.0.1:{port}/"), denied),
        (format!("GET http://127.0.0.2:{port}/"), denied),
        (format!("GET http://[::ffff:127.0.0.2]:{port}/"), denied),
        (format!("GET http://[::ffff:7f00:2]:{port}/"), denied),
        (format!("GET http://2130706434:{port}/"), invalid),
        (format!("GET http://0x7f.2:{port}/"), invalid),
        (format!("GET http://0177.0.0.2:{port}/"), invalid),
        (format!("GET http://good.test@127.0.0.2:{port}/"), invalid),
        ("GET http://169.254.169.254/latest/meta-data/".into(), denied),
        ("GET http://engine.endpoint.internal/version".into(), denied),
        (format!("upgrade {good}/ tcp"), "error NotGranted"),
        (format!("connect tcp://127.0.0.2:{port}"), "error NotGranted"),
        ("connect tcp://engine.endpoint.internal".into(), "error NotGranted"),
        // Where it leads is an answer, and nobody follows it.
        (format!("GET {good}/redirect"), "307, 0 bytes"),
        // They are set and there, and the mock did not ask for them when it could.
        ("environment PATH".into(), "unset"),
        ("file /etc/passwd".into(), "error NotGranted"),
    ];
    let commands: Vec<&str> = asked.iter().map(|(command, _)| command.as_str()).collect();
    for ((command, expected), outcome) in asked.iter().zip(place.fetch(&commands).await) {
        assert_eq!(outcome, *expected, "{command}");
    }
    assert_eq!(forbidden.connections(), 0);
    let counted = ["Answered", "NotGranted", "TargetInvalid"].map(|outcome| place.counted(outcome));
    assert_eq!(counted, [3, 12, 4]);
}

/// HTTPS to a public name is granted to everybody; where the name leads is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_name_leads_to_public_addresses_only() {
    let forbidden = Web::new().await;
    let names = Names::default();
    let addresses = [
        ("this-machine", "127.0.0.1"),
        ("mapped", "::ffff:127.0.0.1"),
        ("this-machine-6", "::1"),
        ("any", "0.0.0.0"),
        ("metadata", "169.254.169.254"),
        ("wire-server", "168.63.129.16"),
        ("private", "10.0.0.7"),
        ("translated", "64:ff9b::10.0.0.7"),
    ];
    let wants = vec![format!("http https://*.example.com:{}", forbidden.port)];
    let place = Setting { names: names.clone(), wants, ..Setting::default() }.load().await;
    for (name, address) in addresses {
        let host = format!("{name}.example.com");
        names.set(&host, address);
        let outcome = place.fetch(&[&format!("GET https://{host}:{}/", forbidden.port)]).await;
        assert_eq!(outcome, ["error destination-IP-prohibited"], "{address}");
    }
    assert_eq!(place.fetch(&[&format!("GET https://none.example.com:{}/", forbidden.port)]).await, ["error DNS-error"]);
    assert_eq!(forbidden.connections(), 0);
    assert_eq!(place.counted("AddressForbidden"), addresses.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_address_does_not_lead_anywhere_else() {
    let (web, forbidden) = Web::beside_a_forbidden_one().await;
    let good = format!("http://good.test:{}", web.port);
    let setting = Setting { grants: vec!["addresses=127.0.0.1".into()], ..Setting::default() };
    let place = setting.grant("http", &good).load().await;
    place.names.set("good.test", "127.0.0.1");
    assert_eq!(place.fetch(&[&format!("GET {good}/")]).await, ["200, 5 bytes"]);
    place.names.set("good.test", "127.0.0.2");
    // Another call, by the connection that was vetted, which the server then closes.
    assert_eq!(place.fetch(&[&format!("GET {good}/close")]).await, ["200, 3 bytes"]);
    assert_eq!(web.connections(), 1);
    assert_eq!(place.fetch(&[&format!("GET {good}/")]).await, ["error destination-IP-prohibited"]);
    assert_eq!((web.connections(), forbidden.connections()), (1, 0));
}

/// What is logged by all tests of this program.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_once_with_the_line_that_would_grant_it() {
    let log = Log::default();
    let writer = log.clone();
    let warnings = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN);
    warnings.with_writer(move || writer.clone()).try_init().unwrap();
    let place = Setting::default().load().await;
    for _ in 0..3 {
        place.fetch(&["GET http://me:secret@told.example:5000/x?sig=secret", "connect tcp://told.example:5000"]).await;
        place.fetch(&["GET http://told.example:5000/"]).await;
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("told.example")).collect();
    let [user, connect, request] = lines[..] else { panic!("{lines:?}") };
    assert!(user.contains("TargetInvalid") && connect.contains("--grant connect=tcp://told.example:5000"), "{text}");
    assert!(request.contains("NotGranted") && request.contains("--grant http=http://told.example:5000"), "{text}");
    assert!(request.contains("plugin=mock") && request.contains("operation=\"create-pod\""), "{request}");
    assert!(!text.contains("secret"), "{text}");
}
