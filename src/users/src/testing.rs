//! What the tests of this crate share.

use std::sync::Arc;

use ruma::{OwnedServerName, owned_server_name};
use serde_json::value::RawValue;
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};

use crate::{Users, UsersOptions, tokens::NewTokens};

/// A store that outlives the users opened on it.
pub(crate) struct Bench {
    store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) fn server() -> OwnedServerName {
    owned_server_name!("example.org")
}

pub(crate) fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

impl Bench {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        Self { store: Arc::default(), clock }
    }

    /// As after a start of the server.
    pub(crate) fn users(&self) -> Arc<Users> {
        open_schema(&*self.store, 1, &[]).unwrap();
        let store: Arc<dyn Store> = Arc::clone(&self.store) as _;
        let db = Db::open(store, CommitterOptions::default(), |_| {}).unwrap();
        let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Users::new(db, ids, clock, server(), 1, UsersOptions::default())
    }
}

pub(crate) fn tokens(access: &str) -> NewTokens<'_> {
    NewTokens { access, expires_ts: None, refresh: None }
}
