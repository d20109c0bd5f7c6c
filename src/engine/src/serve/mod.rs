//! What other servers may read of rooms, and events made for them to sign.

mod acl;
mod draft;
mod servers;
mod visibility;
mod walk;

pub(crate) use self::servers::count as count_servers;
pub use self::{acl::ServerAcl, servers::ServerCounts};
use crate::tables::EventNum;

/// The state before an event, and the events that allow it.
#[derive(Debug, Clone, Default)]
pub struct StateAt {
    /// The state.
    pub state: Vec<EventNum>,
    /// The auth chain of all of it.
    pub auth_chain: Vec<EventNum>,
}
