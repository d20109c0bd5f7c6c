//! The other servers that take part in a room: counted with its members, at hand without a read.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ruma::{OwnedServerName, ServerName, UserId};
use store::IdKind;

use crate::{
    engine::Engine,
    error::EngineError,
    room::{Room, RoomInfo},
    state::MemberEntry,
    tables::ServerNum,
    user_rooms::Membership,
    writer::RoomWriter,
};

/// How many joined members each of the other servers has.
#[derive(Debug, Clone, Default)]
pub struct ServerCounts(HashMap<ServerNum, u64>);

impl ServerCounts {
    /// Counts a member in; whether the server is new.
    pub(crate) fn joined(&mut self, server: ServerNum) -> bool {
        let count = self.0.entry(server).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts a member out; whether it was the server's last.
    pub(crate) fn left(&mut self, server: ServerNum) -> bool {
        let Some(count) = self.0.get_mut(&server) else { return false };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.0.remove(&server);
            return true;
        }
        false
    }

    /// The servers, by their numbers.
    pub fn list(&self) -> Arc<[ServerNum]> {
        let mut servers: Vec<ServerNum> = self.0.keys().copied().collect();
        servers.sort_unstable();
        servers.into()
    }
}

/// The server part of a user id.
pub(crate) fn server_of(user_id: &str) -> Option<&str> {
    user_id.split_once(':').map(|(_, server)| server)
}

/// Counts the joined members of other servers.
pub(crate) async fn count(engine: &Engine, members: &[MemberEntry]) -> Result<ServerCounts, EngineError> {
    let own = engine.identity.server_name.as_str();
    let joined = members.iter().filter(|member| member.membership == Membership::Join);
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for server in joined.filter_map(|member| server_of(&member.user_id)).filter(|server| *server != own) {
        *by_name.entry(server).or_default() += 1;
    }
    if by_name.is_empty() {
        return Ok(ServerCounts::default());
    }
    let (names, members): (Vec<&str>, Vec<u64>) = by_name.into_iter().unzip();
    let nums = engine.ids.numbers(IdKind::Server, &names).await?;
    Ok(ServerCounts(nums.into_iter().zip(members).collect()))
}

impl RoomWriter<'_> {
    /// A user of another server joins, or is not joined any more.
    pub(crate) async fn count_remote(&mut self, user_id: &UserId, joined: bool) -> Result<(), EngineError> {
        let server = self.engine.server_num(user_id.server_name()).await?;
        let head = self.head_mut()?;
        let changed = if joined { head.servers.joined(server) } else { head.servers.left(server) };
        if changed {
            head.info.servers = head.servers.list();
        }
        Ok(())
    }
}

impl Engine {
    /// A server's number, given where it has none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn server_num(&self, server: &ServerName) -> Result<ServerNum, EngineError> {
        Ok(self.ids.number(IdKind::Server, server.as_str()).await?)
    }

    /// Sees to it that servers have numbers, so that counting their members waits for no commit.
    pub(crate) async fn number_servers<'a>(
        &self,
        servers: impl IntoIterator<Item = &'a ServerName>,
    ) -> Result<(), EngineError> {
        let own = &*self.identity.server_name;
        let names: BTreeSet<&str> =
            servers.into_iter().filter(|server| *server != own).map(ServerName::as_str).collect();
        self.ids.numbers(IdKind::Server, &Vec::from_iter(names)).await?;
        Ok(())
    }

    /// The server with a number.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn server_name(&self, server: ServerNum) -> Result<Option<OwnedServerName>, EngineError> {
        let name = self.ids.name(IdKind::Server, server).await?;
        let parsed = name.map(|name| OwnedServerName::try_from(&*name)).transpose();
        parsed.map_err(|error| EngineError::Inconsistent(error.to_string()))
    }

    /// The other servers that have joined members now, in the order of their names.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn servers(&self, room: &Room) -> Result<Vec<OwnedServerName>, EngineError> {
        let nums = Arc::clone(&room.info().servers);
        let mut names = Vec::with_capacity(nums.len());
        for num in &*nums {
            names.extend(self.server_name(*num).await?);
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Whether a server, this one or another, has a joined member in the room now.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn takes_part(&self, room: &Room, server: &ServerName) -> Result<bool, EngineError> {
        self.is_among(&room.info(), server).await
    }

    /// Whether a server, this one or another, is among those that have joined members.
    pub(crate) async fn is_among(&self, info: &RoomInfo, server: &ServerName) -> Result<bool, EngineError> {
        if *server == *self.identity.server_name {
            return Ok(!info.local_members.is_empty());
        }
        if info.servers.is_empty() {
            return Ok(false);
        }
        let num = self.ids.find(IdKind::Server, server.as_str()).await?;
        Ok(num.is_some_and(|num| info.servers.binary_search(&num).is_ok()))
    }
}
