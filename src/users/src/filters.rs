//! Uploaded sync filters.

use std::sync::Arc;

use quick_cache::{Weighter, sync::Cache};
use serde_json::value::RawValue;
use store::Page;

use crate::{
    core::Core,
    error::{Result, UsersError},
    hash::Hash,
    tables::{FILTER_HASHES, FILTERS, UserNum},
};

/// A filter's text, in bytes, at most.
const MAX_FILTER: usize = 64 * 1024;
/// Filters of one user, at most: clients upload the same few again and again, and those are kept once.
const MAX_FILTERS: u64 = 1000;

/// Filters kept in memory, in bytes: every sync names one.
const KEPT_BYTES: u64 = 4 << 20;

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl Weighter<(UserNum, u64), Arc<str>> for ByBytes {
    fn weight(&self, _: &(UserNum, u64), filter: &Arc<str>) -> u64 {
        filter.len() as u64 + 64
    }
}

/// The filters of local users.
#[derive(Debug, Clone)]
pub struct Filters {
    core: Arc<Core>,
    /// What an id stands for never changes.
    kept: Arc<Cache<(UserNum, u64), Arc<str>, ByBytes>>,
}

impl Filters {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, kept: Arc::new(Cache::with_weighter(4096, KEPT_BYTES, ByBytes)) }
    }

    /// Keeps a filter and returns its id; the same text gets the same id again.
    ///
    /// # Errors
    /// [`UsersError::NotAnObject`], [`UsersError::TooLarge`] and those of the store.
    pub async fn upload(&self, user: UserNum, filter: &RawValue) -> Result<String> {
        let text = filter.get();
        if text.len() > MAX_FILTER {
            return Err(UsersError::TooLarge { what: "the filter", limit: MAX_FILTER });
        }
        if !text.starts_with('{') {
            return Err(UsersError::NotAnObject("a filter"));
        }
        let hash_key = (user, Hash::of(text.as_bytes()));
        let lock = self.core.lock(user).await;
        if let Some(id) = self.core.db.get(&FILTER_HASHES, &hash_key).await? {
            return Ok(id.to_string());
        }
        let last = self.core.db.scan_prefix(&FILTERS, &user, Page::last(1)).await?;
        let id = last.first().map_or(1, |((_, last), _)| last + 1);
        if id > MAX_FILTERS {
            return Err(UsersError::TooLarge { what: "the number of filters", limit: MAX_FILTERS as usize });
        }
        let mut write = self.core.db.write();
        write.put(&FILTERS, &(user, id), &text.to_owned()).put(&FILTER_HASHES, &hash_key, &id);
        self.core.commit(lock, write, || ()).await?;
        Ok(id.to_string())
    }

    /// A filter's text, as it was uploaded.
    ///
    /// # Errors
    /// [`UsersError::FilterNotFound`] and those of the store.
    pub async fn get(&self, user: UserNum, id: &str) -> Result<Arc<str>> {
        let number: u64 = id.parse().map_err(|_| UsersError::FilterNotFound)?;
        let key = (user, number);
        if let Some(filter) = self.kept.get(&key) {
            return Ok(filter);
        }
        let filter: Arc<str> = self.core.db.get(&FILTERS, &key).await?.ok_or(UsersError::FilterNotFound)?.into();
        self.kept.insert(key, Arc::clone(&filter));
        Ok(filter)
    }
}

#[cfg(test)]
mod tests;
