//! Every table of the store has a byte of its own in its keyspace, whichever crate it is in: rows of two tables never mix.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, out);
        } else if entry.extension().is_some_and(|kind| kind == "rs") {
            out.push(entry);
        }
    }
}

/// `(keyspace, byte)` and the name of each table that a source declares outside of its tests.
fn declared(source: &str) -> Vec<((String, u32), String)> {
    let shipped = source.split("#[cfg(test)]").next().unwrap_or_default();
    let calls = shipped.split("Table::new(Keyspace::").skip(1);
    let parts = calls.filter_map(|call| {
        let mut parts = call.split(')').next()?.split(',').map(str::trim);
        let (keyspace, byte) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        Some(((keyspace, byte), parts.next()?.trim_matches('"').to_owned()))
    });
    parts.collect()
}

#[test]
fn no_two_tables_share_a_byte() {
    let root = tests::folder().parent().unwrap().join("src");
    let mut files = Vec::new();
    for member in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path().join("src")) {
        // The web app has no tables, nor has a test's own store.
        if member.join("lib.rs").is_file() || member.join("main.rs").is_file() {
            sources(&member, &mut files);
        }
    }
    files.retain(|file| !file.strip_prefix(&root).unwrap().components().any(|part| part.as_os_str() == "tests"));
    files.retain(|file| file.file_name().is_none_or(|name| name != "tests.rs" && name != "conformance.rs"));
    let mut tables: BTreeMap<(String, u32), Vec<String>> = BTreeMap::new();
    for file in files {
        for (place, name) in declared(&fs::read_to_string(file).unwrap()) {
            tables.entry(place).or_default().push(name);
        }
    }
    assert!(tables.len() > 40, "the tables were not found: {tables:?}");
    let shared: Vec<_> = tables.into_iter().filter(|(_, names)| names.len() > 1).collect();
    assert!(shared.is_empty(), "tables that share a byte: {shared:?}");
}
