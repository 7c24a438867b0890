//! The contract's own documentation: everything in `wit/` that a plugin author meets says what it is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "clippy does not take the helpers of tests for tests")]

use std::path::PathBuf;

use wit_parser::{Docs, Interface, InterfaceId, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeOwner};

fn wit() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../wit")
}

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit()).unwrap();
    (resolve, package)
}

/// Names of items without a word.
#[derive(Default)]
struct Missing(Vec<String>);

impl Missing {
    fn check(&mut self, docs: &Docs, name: impl FnOnce() -> String) {
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            self.0.push(name());
        }
    }

    fn interface(&mut self, resolve: &Resolve, id: InterfaceId, interface: &Interface) {
        let name = interface.name.clone().unwrap();
        self.check(&interface.docs, || name.clone());
        for (function, definition) in &interface.functions {
            self.check(&definition.docs, || format!("{name}.{function}"));
        }
        for (of, definition) in &interface.types {
            let definition = &resolve.types[*definition];
            if !is_used_from_elsewhere(resolve, id, definition) {
                self.definition(&format!("{name}.{of}"), definition);
            }
        }
    }

    fn definition(&mut self, name: &str, definition: &TypeDef) {
        self.check(&definition.docs, || name.to_owned());
        let parts: Vec<(&String, &Docs)> = match &definition.kind {
            TypeDefKind::Record(record) => record.fields.iter().map(|field| (&field.name, &field.docs)).collect(),
            TypeDefKind::Variant(variant) => variant.cases.iter().map(|case| (&case.name, &case.docs)).collect(),
            TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| (&case.name, &case.docs)).collect(),
            TypeDefKind::Flags(flags) => flags.flags.iter().map(|flag| (&flag.name, &flag.docs)).collect(),
            _ => Vec::new(),
        };
        for (part, docs) in parts {
            self.check(docs, || format!("{name}.{part}"));
        }
    }
}

/// `use types.{error}` makes a type of that name, which is documented where it comes from.
fn is_used_from_elsewhere(resolve: &Resolve, here: InterfaceId, definition: &TypeDef) -> bool {
    matches!(definition.kind, TypeDefKind::Type(Type::Id(of)) if resolve.types[of].owner != TypeOwner::Interface(here))
}

#[test]
fn every_item_says_what_it_is() {
    let (resolve, package) = contract();
    let ours = &resolve.packages[package];
    let mut missing = Missing::default();
    missing.check(&ours.docs, || "the package".to_owned());
    for id in ours.interfaces.values() {
        missing.interface(&resolve, *id, &resolve.interfaces[*id]);
    }
    for (name, world) in &ours.worlds {
        missing.check(&resolve.worlds[*world].docs, || format!("world {name}"));
    }
    assert!(ours.interfaces.len() > 20 && ours.worlds.len() > 10, "the contract was found");
    assert!(missing.0.is_empty(), "without a word in wit/: {:#?}", missing.0);
}

#[test]
fn every_interface_has_its_row_in_the_readme() {
    let (resolve, package) = contract();
    let readme = std::fs::read_to_string(wit().join("README.md")).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with('|')).collect();
    for name in resolve.packages[package].interfaces.keys() {
        let name = format!("`{name}`");
        assert!(rows.iter().any(|row| row.contains(&name)), "no row for {name} in wit/README.md");
    }
}
