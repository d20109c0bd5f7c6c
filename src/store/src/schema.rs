//! The schema's version and the rows that the store keeps about itself.

use tracing::info;

use crate::{
    error::StoreError,
    table::Table,
    traits::{Commit, Keyspace, Outcome, Pos, Store},
};

/// The version of the rows that this build writes. Raise it with a [`Migration`] in the binary's list.
pub const SCHEMA_VERSION: u32 = 1;

const META: Table<String, u64> = Table::new(Keyspace::Index, 0, "meta");

fn schema_key() -> String {
    "schema".to_owned()
}

fn position_key() -> String {
    "position".to_owned()
}

/// One step from a schema version to the next.
#[derive(Clone, Copy)]
pub struct Migration {
    /// The version it starts from; it leads to `from + 1`.
    pub from: u32,
    /// Rewrites rows. It may commit as it goes and must stand being run again after a crash: the version is raised only
    /// when it returns.
    pub run: MigrationFn,
}

/// The work of a [`Migration`].
pub type MigrationFn = fn(&dyn Store) -> Result<(), StoreError>;

fn read(store: &dyn Store, key: String) -> Result<Option<u64>, StoreError> {
    store.get_blocking(META.keyspace, &META.key(&key))?.map(|value| META.decode(value)).transpose()
}

fn write_version(store: &dyn Store, version: u32) -> Result<(), StoreError> {
    let commit = Commit { ops: vec![META.put(&schema_key(), &u64::from(version))], ..Commit::default() };
    match store.commit_group(&[commit])?.first() {
        Some(Outcome::Done) => Ok(()),
        _ => Err(StoreError::Backend("the schema version was not written".to_owned())),
    }
}

/// Stamps an empty store with `current`, or brings an older one up to it, one migration at a time.
///
/// # Errors
/// [`StoreError::NewerSchema`] and [`StoreError::NoMigration`], and those of the backend.
pub fn open_schema(store: &dyn Store, current: u32, migrations: &[Migration]) -> Result<(), StoreError> {
    let Some(found) = read(store, schema_key())? else {
        return write_version(store, current);
    };
    let mut version = u32::try_from(found).unwrap_or(u32::MAX);
    if version > current {
        return Err(StoreError::NewerSchema { found: version, known: current });
    }
    while version < current {
        let step = migrations.iter().find(|step| step.from == version).ok_or(StoreError::NoMigration(version))?;
        info!(from = version, to = version + 1, "migrating the data folder");
        (step.run)(store)?;
        version += 1;
        write_version(store, version)?;
    }
    Ok(())
}

pub(crate) fn last_position(store: &dyn Store) -> Result<Pos, StoreError> {
    Ok(read(store, position_key())?.unwrap_or(0))
}

pub(crate) fn record_position(pos: Pos) -> Commit {
    Commit { ops: vec![META.put(&position_key(), &pos)], ..Commit::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memory::MemoryStore, traits::Op};

    const OLD: Table<u32, String> = Table::new(Keyspace::Index, 200, "old");
    const NEW: Table<u32, u64> = Table::new(Keyspace::Index, 201, "new");

    fn numbers_from_text(store: &dyn Store) -> Result<(), StoreError> {
        let mut ops: Vec<Op> = Vec::new();
        for key in 0..3u32 {
            if let Some(value) = store.get_blocking(OLD.keyspace, &OLD.key(&key))? {
                let text = OLD.decode(value)?;
                ops.push(NEW.put(&key, &text.parse().map_err(|_| StoreError::corrupt("old", "not a number"))?));
                ops.push(OLD.delete(&key));
            }
        }
        store.commit_group(&[Commit { ops, ..Commit::default() }]).map(drop)
    }

    #[test]
    fn an_older_store_is_migrated_once_and_a_newer_one_refused() {
        let store = MemoryStore::default();
        open_schema(&store, 1, &[]).unwrap();
        let rows = (0..3).map(|n| OLD.put(&n, &(n * 10).to_string())).collect();
        store.commit_group(&[Commit { ops: rows, ..Commit::default() }]).unwrap();

        assert!(matches!(open_schema(&store, 2, &[]), Err(StoreError::NoMigration(1))));
        let steps = [Migration { from: 1, run: numbers_from_text }];
        open_schema(&store, 2, &steps).unwrap();
        open_schema(&store, 2, &steps).unwrap();
        let value = store.get_blocking(NEW.keyspace, &NEW.key(&2)).unwrap().unwrap();
        assert_eq!(NEW.decode(value).unwrap(), 20);
        assert_eq!(store.get_blocking(OLD.keyspace, &OLD.key(&2)).unwrap(), None);
        assert!(matches!(open_schema(&store, 1, &[]), Err(StoreError::NewerSchema { found: 2, known: 1 })));
    }
}
