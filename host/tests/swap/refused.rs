//! What may not take over.

use vk_host::plugin::swap::Outcome;
use vk_host::provider::Provider as _;

use crate::common::create;
use crate::place::{Place, next};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_fit_is_refused_and_the_old_one_serves() {
    let place = Place::new().await;
    create(&place.plugin, "p", &[]).await.unwrap();
    let later = std::fs::read(next()).unwrap();
    let text = |wat: &str| wat::parse_str(wat).unwrap();
    for (bytes, wanted) in [
        (b"no plugin at all".to_vec(), "NotWebAssembly"),
        (later[..later.len() / 2].to_vec(), "PluginInvalid"),
        (later[..later.len() - 9].to_vec(), "PluginInvalid"),
        (text("(module)"), "NotAComponent"),
        (text("(component)"), "MissingExport"),
        (text(r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)))"#), "UnknownImport"),
        (text(&all_names("")), "ContractMismatch"),
        (text(&all_names("(start $f)")), "PluginFailed"),
        (under_another_name(&later), "PluginNameChanged"),
    ] {
        let (reason, message) = place.refusal(&bytes).await;
        assert_eq!(reason, wanted, "{message}");
    }
    place.configure("wants = [\"http http://10.0.0.7:5000\"]\n");
    let (reason, message) = place.refusal(&later).await;
    assert_eq!(reason, "NotGranted", "{message}");
    assert!(message.contains("--grant http=http://10.0.0.7:5000"), "{message}");
    place.configure("memroy = \"1Gi\"\n");
    place.put(&later);
    let outcome = place.reload().await;
    assert!(matches!(&outcome, Outcome::Refused { reason: "ConfigurationInvalid", .. }), "{outcome}");
    place.configure("");
    assert!(place.reload().await.is_success(), "what was refused is taken once it is asked for and fit");
    assert!(place.version().ends_with("-next"));
    assert_eq!(place.plugin.get_pods().await.unwrap().len(), 1);
}

/// Exports all that a plugin has to, by name alone: each function takes a number and traps.
fn all_names(start: &str) -> String {
    let interfaces = [
        ("plugin", "describe configure"),
        (
            "node",
            "node-details capacity node-conditions node-addresses node-daemon-endpoints operating-system ping stop",
        ),
        ("pods", "create-pod update-pod delete-pod get-pod get-pod-status get-pods"),
    ];
    let exports = interfaces.map(|(interface, functions)| {
        let functions: String =
            functions.split(' ').map(|name| format!("(export \"{name}\" (func $f))")).collect();
        format!(
            "(instance ${interface} {functions}) (export \"virtual-kubelet:provider/{interface}@0.1.0\" (instance ${interface}))"
        )
    });
    format!(
        r#"(component
            (core module $m (func $f unreachable) {start} (func (export "f") (param i32) unreachable))
            (core instance $c (instantiate $m))
            (func $f (param "surprise" u32) (canon lift (core func $c "f")))
            {})"#,
        exports.concat()
    )
}

/// The later mock, calling itself `mick`. Its name is a constant of its code: the four letters in one number.
fn under_another_name(build: &[u8]) -> Vec<u8> {
    let constant = |name: &[u8; 4]| {
        let mut rest = i64::from(i32::from_le_bytes(*name));
        let mut bytes = Vec::new();
        loop {
            let low = u8::try_from(rest & 0x7f).unwrap();
            rest >>= 7;
            if rest == 0 && low & 0x40 == 0 {
                bytes.push(low);
                return bytes;
            }
            bytes.push(low | 0x80);
        }
    };
    let (is, should) = (constant(b"mock"), constant(b"mick"));
    let places: Vec<usize> = build.windows(is.len()).enumerate().filter(|(_, w)| *w == is).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 1, "the name is elsewhere in this build");
    let mut build = build.to_vec();
    build[places[0]..places[0] + is.len()].copy_from_slice(&should);
    build
}
