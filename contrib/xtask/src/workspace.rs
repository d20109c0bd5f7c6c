//! The workspace as cargo describes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Why the workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Files or processes.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// `cargo metadata` failed; its words.
    #[error("cargo metadata failed: {0}")]
    Cargo(String),
    /// Its answer is not what was expected.
    #[error("cargo metadata answered something else than expected: {0}")]
    Answer(#[from] serde_json::Error),
}

impl WorkspaceError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

/// The rules in the root manifest: `[workspace.metadata.house]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// For each crate those of ours that it may use, together with what those may use. `*`: all.
    pub arrows: BTreeMap<String, Vec<String>>,
    /// Crates from outside that only some of ours may name.
    pub only: BTreeMap<String, Vec<String>>,
    /// Crates from outside that a crate of ours may not name.
    pub never: BTreeMap<String, Vec<String>>,
    /// What may lie at the top level beside dotfiles.
    pub top: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    house: Rules,
}

/// A crate of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// What its manifest names, for builds and tests alike.
    pub dependencies: Vec<Dependency>,
}

/// A crate that a manifest names.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Where it lies, if it is one of ours.
    pub path: Option<PathBuf>,
}

/// A workspace.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its folder.
    pub root: PathBuf,
    /// Its crates, by name.
    pub packages: Vec<Package>,
    /// What its manifest allows.
    pub rules: Rules,
    /// From `Cargo.lock`: every crate with those it depends on.
    pub locked: Vec<(String, Vec<String>)>,
}

impl Workspace {
    /// Reads the workspace that `folder` belongs to. Needs no network.
    ///
    /// # Errors
    /// [`WorkspaceError`].
    pub fn read(folder: &Path) -> Result<Self, WorkspaceError> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
            .current_dir(folder)
            .output()
            .map_err(WorkspaceError::io("cargo metadata"))?;
        if !output.status.success() {
            return Err(WorkspaceError::Cargo(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let answer: Answer = serde_json::from_slice(&output.stdout)?;
        let lock = answer.workspace_root.join("Cargo.lock");
        let lock = std::fs::read_to_string(&lock).map_err(WorkspaceError::io(lock.display().to_string()))?;
        let mut packages = answer.packages;
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { root: answer.workspace_root, packages, rules: answer.metadata.house, locked: read_lock(&lock) })
    }
}

/// The crates of a `Cargo.lock`. Versions are left out: the rules speak of names.
fn read_lock(text: &str) -> Vec<(String, Vec<String>)> {
    let mut locked: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            locked.push((name.trim_matches('"').to_owned(), Vec::new()));
        } else if let Some(dependency) = line.strip_prefix(" \"") {
            let name = dependency.split(['"', ' ']).next().unwrap_or_default();
            if let Some((_, dependencies)) = locked.last_mut() {
                dependencies.push(name.to_owned());
            }
        }
    }
    locked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_read() {
        let text = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\n \"b\",\n \"c 2.0.0\",\n]\n\n[[package]]\nname = \"b\"\n";
        let expected = vec![("a".to_owned(), vec!["b".to_owned(), "c".to_owned()]), ("b".to_owned(), Vec::new())];
        assert_eq!(read_lock(text), expected);
    }
}
