//! Who is in a room, and what they are called.

use std::{collections::HashMap, sync::Arc};

use engine::{Membership, Names, Room, RoomNum, state_tree::NodeId};
use http_kit::Requester;
use ruma::{RoomId, UserId};
use serde_json::{Value, json};
use store::Pos;

use crate::{
    Expenses,
    error::RouteError,
    kept::{Weighed, Weighted, bounded},
};

/// From so many members on, the names of a room may be this old where its memberships are not: reading them all for every
/// entry would let a crowded room keep the server busy.
const CROWD: usize = 200;
const CROWD_AGE_MS: u64 = 60_000;
/// Rooms whose people are kept in memory, about, and people kept over all rooms.
const KEPT: usize = 1000;
const KEPT_PEOPLE: u64 = 50_000;

/// Somebody in a room, or who was.
#[derive(Debug)]
struct Member {
    id: String,
    membership: Membership,
    avatar_url: Option<String>,
}

/// The people of a room.
#[derive(Debug)]
pub(crate) struct People {
    members: Vec<Member>,
    /// By id: the place among the members, and the name to show.
    by_id: HashMap<String, (usize, String)>,
}

/// People as they were read.
#[derive(Clone)]
struct Kept {
    people: Arc<People>,
    /// The state and the newest event then.
    root: NodeId,
    newest: Pos,
    ts: u64,
}

impl Weighed for Kept {
    fn weight(&self) -> u64 {
        // A room of everybody is kept too.
        (1 + self.people.members.len() as u64).min(KEPT_PEOPLE / 2)
    }
}

/// People in memory.
pub(crate) struct Crowds {
    kept: Weighted<RoomNum, Kept>,
}

impl Default for Crowds {
    fn default() -> Self {
        Self { kept: bounded(KEPT, KEPT_PEOPLE) }
    }
}

impl People {
    /// What somebody is called: the display name, else the localpart; with the id where two share a name.
    pub(crate) fn name(&self, id: &str) -> String {
        match self.by_id.get(id) {
            Some((_, name)) => name.clone(),
            None => plain(id, None).to_owned(),
        }
    }

    /// Whether somebody has joined or is invited.
    pub(crate) fn is_here(&self, id: &str) -> bool {
        let member = self.by_id.get(id).and_then(|(place, _)| self.members.get(*place));
        member.is_some_and(|member| matches!(member.membership, Membership::Join | Membership::Invite))
    }

    pub(crate) fn joined(&self) -> usize {
        self.members.iter().filter(|member| member.membership == Membership::Join).count()
    }

    /// `[Person]` of `spec/api.md`.
    pub(crate) fn to_json(&self) -> Value {
        let people: Vec<Value> = self
            .members
            .iter()
            .map(|member| {
                let (id, membership) = (&member.id, member.membership.as_str());
                let mut person = json!({"user_id": id, "name": self.name(id), "membership": membership});
                if let Some(avatar) = &member.avatar_url {
                    person["avatar_url"] = json!(avatar);
                }
                person
            })
            .collect();
        people.into()
    }
}

#[derive(Default, serde::Deserialize)]
struct Profile {
    displayname: Option<String>,
    avatar_url: Option<String>,
}

/// The name as somebody gave it, else the localpart.
fn plain<'a>(id: &'a str, shown: Option<&'a str>) -> &'a str {
    let shown = shown.map(str::trim).filter(|name| !name.is_empty());
    match (shown, <&UserId>::try_from(id)) {
        (Some(name), _) => name,
        (None, Ok(user)) => user.localpart(),
        (None, Err(_)) => id,
    }
}

impl Expenses {
    pub(crate) async fn people(&self, room: &Room) -> Result<Arc<People>, RouteError> {
        // Read before the rows are, so that what is kept is at least as new as it says.
        let (root, newest, now) = (room.info().root, room.pulse.timeline(), self.engine.now());
        if let Some(kept) = self.crowds.kept.get(&room.num)
            && kept.root == root
            && (kept.newest == newest || kept.people.members.len() >= CROWD && now < kept.ts + CROWD_AGE_MS)
        {
            return Ok(kept.people);
        }
        let people = Arc::new(self.read_people(room).await?);
        self.crowds.kept.insert(room.num, Kept { people: Arc::clone(&people), root, newest, ts: now });
        Ok(people)
    }

    async fn read_people(&self, room: &Room) -> Result<People, RouteError> {
        let entries = self.engine.members(room.num).await?;
        let nums: Vec<_> = entries.iter().map(|member| member.num).collect();
        let rows: HashMap<_, _> = self.engine.events(room.num, &nums).await?.into_iter().collect();
        let mut members = Vec::with_capacity(entries.len());
        let mut names = Vec::with_capacity(entries.len());
        let mut uses: HashMap<String, usize> = HashMap::new();
        for entry in entries {
            let profile: Profile =
                rows.get(&entry.num).and_then(|row| serde_json::from_str(row.content()).ok()).unwrap_or_default();
            let name = plain(&entry.user_id, profile.displayname.as_deref()).to_owned();
            *uses.entry(name.clone()).or_default() += 1;
            names.push(name);
            members.push(Member { id: entry.user_id, membership: entry.membership, avatar_url: profile.avatar_url });
        }
        let by_id = members
            .iter()
            .zip(names)
            .enumerate()
            .map(|(place, (member, name))| {
                let shared = uses.get(&name).copied().unwrap_or_default() > 1;
                let name = if shared { format!("{name} ({})", member.id) } else { name };
                (member.id.clone(), (place, name))
            })
            .collect();
        Ok(People { members, by_id })
    }

    /// The room, where the requester is in it.
    pub(crate) async fn joined_room(&self, room_id: &RoomId, requester: &Requester) -> Result<Arc<Room>, RouteError> {
        let room = self.engine.room(room_id).await?;
        match self.engine.user_rooms().get(requester.user, room.num).await? {
            Some(place) if place.membership == Membership::Join => Ok(room),
            _ => Err(RouteError::NotInRoom),
        }
    }

    pub(crate) async fn names_of(&self, user: u64) -> Result<Names, RouteError> {
        let (display_name, avatar_url) = self.users.profiles.names(user).await?;
        Ok(Names { display_name, avatar_url })
    }
}
