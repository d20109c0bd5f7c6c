//! The shared ledger: money, splits, entries, the fold and the settle-up plans.
//!
//! A group's ledger is the set of signed room events whose types begin with `com.cliquepay.`. This crate turns that
//! set into balances. It is pure (no I/O, no clock, no randomness, no threads) and the fold does not depend on the order
//! or on repeats of what it is given, so that every server and every browser reaches the same numbers. The rules it
//! follows are written in `spec/ledger.md`.
//!
//! ```text
//! Source { event_id, sender, kind, origin_server_ts, redacted } + content (JSON)
//!   Entry::parse(&Source, &Value) -> Entry                 never fails: entry.body is Result<Body, Invalid>
//!   Entry::parse_json(&Source, &str) -> Entry
//!
//! Ledger::new(open_event_id) / Ledger::fold(open_event_id, entries)
//!   .insert(Entry) -> Vec<EventId>       what changed its status, itself included
//!   .extend(entries)                     many at once
//!   .redact(event_id) -> Vec<EventId>
//!   .view(event_id) -> Option<View>      entry, status, reason, verdicts, voided_by, warnings
//!   .views() .len() .root() .balances() .heads() .missing() .conflicts() .rejects() .pending() .digest()
//!   .net(who) -> Vec<Balance>            one person's own position
//!   .plans() -> Plans { pairwise, edges, minimal }
//!
//! compose::compose(&NewEntry { kind, content }, &Context { create, sender, uid, today, ledger: Option<&Ledger> })
//!   -> Result<Composed { content, body }, ComposeError>     the content to be signed
//! compose::words(&Body, sender, Option<&Ledger>, names) -> String   the line in words
//! ```
//!
//! Balances are positive where the person is owed. Amounts are `i128` minor units; a float never appears.

pub mod compose;
pub mod entry;
pub mod fold;
pub mod ids;
pub mod money;
pub mod plan;
pub mod split;

pub use compose::{ComposeError, Composed, Context, NewEntry, compose, words};
pub use entry::{Body, Entry, Invalid, Source};
pub use fold::{Balance, Ledger, Status, View};
pub use ids::{EventId, Person};
pub use money::{Amount, Currency, MoneyError};
pub use plan::{Plan, Plans, Transfer};

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
