//! The house is in order: crates depend only on what the table in the root manifest allows, only `store-rocksdb` links
//! RocksDB, and nothing strange lies at the top level. `cargo xtask arrows` prints what depends on what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use xtask::workspace::Workspace;
use xtask::{arrows, house};

fn workspace() -> Workspace {
    Workspace::read(&tests::folder()).expect("cargo metadata")
}

#[test]
fn crates_depend_only_on_what_their_row_allows() {
    let workspace = workspace();
    let rooms = std::fs::read_dir(workspace.root.join("src")).expect("src").flatten();
    let crates: Vec<_> = rooms.filter(|entry| entry.path().join("Cargo.toml").is_file()).collect();
    // `tests` and `xtask` are the two outside `src`: a metadata that sees fewer crates checks nothing.
    assert_eq!(workspace.packages.len(), crates.len() + 2, "{crates:?}");
    let findings = arrows::check(&workspace);
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn only_the_embedded_backend_links_rocksdb() {
    let workspace = workspace();
    let naming = |crate_name: &str| -> Vec<&str> {
        let users = workspace.locked.iter().filter(|(_, needs)| needs.iter().any(|need| need == crate_name));
        users.map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(naming("rocksdb"), ["store-rocksdb"]);
    assert_eq!(naming("librocksdb-sys"), ["rocksdb"]);
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let findings = house::check(&workspace()).expect("the top level");
    assert!(findings.is_empty(), "{findings:#?}");
}
