//! The API over the in-memory store.
