//! Which crate may depend on which.
//!
//! The table `[workspace.metadata.house.arrows]` names for each crate those it builds on. What they build on in turn is
//! allowed too: their interfaces show its types. Everything else is a finding, and so is a crate without a row.

use std::collections::BTreeSet;

use crate::workspace::{Package, Rules, Workspace};

/// Dependencies that the rules do not allow, in words. Empty where all is well.
#[must_use]
pub fn check(workspace: &Workspace) -> Vec<String> {
    let rules = &workspace.rules;
    let mut findings = unknown_names(rules);
    for package in &workspace.packages {
        findings.extend(check_ours(package, rules));
        findings.extend(check_outside(package, rules));
    }
    findings.extend(check_locked(workspace));
    findings
}

/// The crates of ours that a manifest names, in the order of the alphabet.
#[must_use]
pub fn of(package: &Package) -> BTreeSet<&str> {
    let ours = package.dependencies.iter().filter(|dependency| dependency.path.is_some());
    ours.map(|dependency| dependency.name.as_str()).collect()
}

/// All that a crate may depend on; `None` where it has no row.
fn allowed<'a>(name: &str, rules: &'a Rules) -> Option<BTreeSet<&'a str>> {
    let mut open: Vec<&str> = rules.arrows.get(name)?.iter().map(String::as_str).collect();
    let mut found = BTreeSet::new();
    while let Some(next) = open.pop() {
        if next == "*" {
            open.extend(rules.arrows.keys().filter(|other| *other != name).map(String::as_str));
        } else if found.insert(next) {
            open.extend(rules.arrows.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    Some(found)
}

fn unknown_names(rules: &Rules) -> Vec<String> {
    let ends = rules.arrows.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    let unknown = ends.filter(|(_, to)| *to != "*" && !rules.arrows.contains_key(*to));
    unknown.map(|(from, to)| format!("the row of {from} names {to}, which has no row")).collect()
}

fn check_ours(package: &Package, rules: &Rules) -> Vec<String> {
    let name = &package.name;
    let Some(allowed) = allowed(name, rules) else {
        return vec![format!("{name} has no row in [workspace.metadata.house.arrows]")];
    };
    let forbidden = of(package).into_iter().filter(|to| !allowed.contains(to));
    forbidden.map(|to| format!("{name} depends on {to}, which its row does not allow")).collect()
}

fn check_outside(package: &Package, rules: &Rules) -> Vec<String> {
    let name = &package.name;
    let never = rules.never.get(name);
    let mut findings = Vec::new();
    for dependency in package.dependencies.iter().map(|dependency| &dependency.name) {
        if rules.only.get(dependency).is_some_and(|few| !few.contains(name)) {
            findings.push(format!("{name} names {dependency}, which only some crates may"));
        }
        if never.is_some_and(|never| never.contains(dependency)) {
            findings.push(format!("{name} names {dependency}, which it may never"));
        }
    }
    findings
}

/// A crate from outside could bring along what only some of ours may use.
fn check_locked(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, dependencies) in &workspace.locked {
        for dependency in dependencies {
            if workspace.rules.only.get(dependency).is_some_and(|few| !few.contains(name)) {
                findings.push(format!("by Cargo.lock, {name} depends on {dependency}, which only some crates may"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::workspace::Dependency;

    fn table(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        rows.iter().map(|(from, to)| ((*from).to_owned(), to.iter().map(|to| (*to).to_owned()).collect())).collect()
    }

    fn package(name: &str, ours: &[&str], outside: &[&str]) -> Package {
        let ours = ours.iter().map(|name| Dependency { name: (*name).to_owned(), path: Some("x".into()) });
        let outside = outside.iter().map(|name| Dependency { name: (*name).to_owned(), path: None });
        Package { name: name.to_owned(), dependencies: ours.chain(outside).collect() }
    }

    fn findings(packages: Vec<Package>, locked: &[(&str, &[&str])]) -> Vec<String> {
        let rules = Rules {
            arrows: table(&[
                ("app", &["*"]),
                ("store", &[]),
                ("disk", &["store"]),
                ("rooms", &["store"]),
                ("api", &["rooms"]),
            ]),
            only: table(&[("rocksdb", &["disk"])]),
            never: table(&[("store", &["axum"])]),
            ..Rules::default()
        };
        let locked = table(locked).into_iter().collect();
        check(&Workspace { root: "x".into(), packages, rules, locked })
    }

    #[test]
    fn what_the_table_allows_passes() {
        let packages = vec![
            package("app", &["api", "disk", "rooms", "store"], &["axum"]),
            package("disk", &["store"], &["rocksdb"]),
            package("api", &["rooms", "store"], &["axum"]),
        ];
        assert_eq!(findings(packages, &[("disk", &["rocksdb"])]), Vec::<String>::new());
    }

    #[test]
    fn what_it_does_not_allow_is_found() {
        let cases = [
            (package("rooms", &["api"], &[]), "rooms depends on api"),
            (package("rooms", &["disk"], &[]), "rooms depends on disk"),
            (package("disk", &["app"], &[]), "disk depends on app"),
            (package("stranger", &[], &[]), "stranger has no row"),
            (package("rooms", &[], &["rocksdb"]), "rooms names rocksdb"),
            (package("store", &[], &["axum"]), "store names axum"),
        ];
        for (package, expected) in cases {
            let found = findings(vec![package], &[]);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
        }
        let found = findings(Vec::new(), &[("helper", &["rocksdb"])]);
        assert!(found.len() == 1 && found[0].contains("helper depends on rocksdb"), "{found:?}");
    }

    #[test]
    fn a_row_that_names_nobody_is_found() {
        let rules = Rules { arrows: table(&[("a", &["b"])]), ..Rules::default() };
        assert_eq!(unknown_names(&rules), ["the row of a names b, which has no row"]);
    }
}
