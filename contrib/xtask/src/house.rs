//! What lies at the top level: exactly what `[workspace.metadata.house]` lists, and dotfiles.

use std::collections::BTreeSet;

use crate::workspace::{Workspace, WorkspaceError};

/// What builds and runs leave behind; version control ignores it.
const LEFT_BEHIND: [&str; 2] = ["data", "target"];

/// What is there and should not be, and what is not there and should, in words.
///
/// # Errors
/// [`WorkspaceError::Io`].
pub fn check(workspace: &Workspace) -> Result<Vec<String>, WorkspaceError> {
    let io = || WorkspaceError::io(workspace.root.display().to_string());
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&workspace.root).map_err(io())? {
        found.insert(entry.map_err(io())?.file_name().to_string_lossy().into_owned());
    }
    Ok(compare(&found, &workspace.rules.top))
}

fn compare(found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Vec<String> {
    let counts = |name: &&String| !name.starts_with('.') && !LEFT_BEHIND.contains(&name.as_str());
    let strangers =
        found.difference(expected).filter(counts).map(|name| format!("{name} does not belong to the top level"));
    let missing = expected.difference(found).map(|name| format!("{name} is missing at the top level"));
    strangers.chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn strangers_and_gaps_are_found() {
        let expected = set(&["src", "docs"]);
        assert_eq!(compare(&set(&["src", "docs", ".git", "target", "data"]), &expected), Vec::<String>::new());
        let findings = compare(&set(&["src", "notes"]), &expected);
        assert_eq!(findings, ["notes does not belong to the top level", "docs is missing at the top level"]);
    }
}
