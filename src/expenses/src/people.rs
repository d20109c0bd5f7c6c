//! Who is in a room, and what they are called.

use std::collections::HashMap;

use engine::{Membership, Names, Room};
use http_kit::Requester;
use ledger::Invalid;
use ruma::{RoomId, UserId};
use serde_json::{Value, json};

use crate::{Expenses, error::RouteError};

/// The people of a room.
pub(crate) struct People {
    members: Vec<(String, Membership, Option<String>, Option<String>)>,
    names: HashMap<String, String>,
}

impl People {
    /// What somebody is called: the display name, else the localpart; with the id where two share a name.
    pub(crate) fn name(&self, id: &str) -> String {
        match self.names.get(id) {
            Some(name) => name.clone(),
            None => <&UserId>::try_from(id).map_or_else(|_| id.to_owned(), |user| user.localpart().to_owned()),
        }
    }

    pub(crate) fn is_here(&self, id: &str) -> bool {
        self.members
            .iter()
            .any(|(member, membership, ..)| member == id && matches!(membership, Membership::Join | Membership::Invite))
    }

    pub(crate) fn joined(&self) -> usize {
        self.members.iter().filter(|(_, membership, ..)| *membership == Membership::Join).count()
    }

    /// `[Person]` of `spec/api.md`.
    pub(crate) fn to_json(&self) -> Value {
        let people: Vec<Value> = self
            .members
            .iter()
            .map(|(id, membership, _, avatar)| {
                let mut person =
                    json!({"user_id": id, "name": self.name(id), "membership": membership.as_str()});
                if let Some(avatar) = avatar {
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

impl Expenses {
    pub(crate) async fn people(&self, room: &Room) -> Result<People, RouteError> {
        let members = self.engine.members(room.num).await?;
        let nums: Vec<_> = members.iter().map(|member| member.num).collect();
        let rows: HashMap<_, _> = self.engine.events(room.num, &nums).await?.into_iter().collect();
        let mut out = Vec::with_capacity(members.len());
        for member in members {
            let profile: Profile =
                rows.get(&member.num).and_then(|row| serde_json::from_str(row.content()).ok()).unwrap_or_default();
            out.push((member.user_id, member.membership, profile.displayname, profile.avatar_url));
        }
        let plain = |id: &str, shown: &Option<String>| {
            let shown = shown.as_deref().map(str::trim).filter(|name| !name.is_empty());
            match (shown, <&UserId>::try_from(id)) {
                (Some(name), _) => name.to_owned(),
                (None, Ok(user)) => user.localpart().to_owned(),
                (None, Err(_)) => id.to_owned(),
            }
        };
        let mut uses: HashMap<String, usize> = HashMap::new();
        for (id, _, shown, _) in &out {
            *uses.entry(plain(id, shown)).or_default() += 1;
        }
        let names = out
            .iter()
            .map(|(id, _, shown, _)| {
                let name = plain(id, shown);
                let shared = uses.get(&name).copied().unwrap_or_default() > 1;
                (id.clone(), if shared { format!("{name} ({id})") } else { name })
            })
            .collect();
        Ok(People { members: out, names })
    }

    /// The room, where the requester is in it.
    pub(crate) async fn joined_room(
        &self,
        room_id: &RoomId,
        requester: &Requester,
    ) -> Result<std::sync::Arc<Room>, RouteError> {
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

/// Refuses people who are not in the room, naming the field. The fold does not care; whoever makes an entry should.
pub(crate) fn check_people(content: &Value, people: &People, known: &dyn Fn(&str) -> bool) -> Result<(), Invalid> {
    let refuse = |field: String, who: &str| {
        Err(Invalid::new(field, format!("{who} is not in this room")))
    };
    for list in ["paid", "owed"] {
        for (index, line) in content[list].as_array().into_iter().flatten().enumerate() {
            if let Some(who) = line["who"].as_str().filter(|who| !people.is_here(who) && !known(who)) {
                return refuse(format!("{list}[{index}].who"), who);
            }
        }
    }
    for field in ["from", "to"] {
        if let Some(who) = content[field].as_str().filter(|who| !people.is_here(who) && !known(who)) {
            return refuse(field.to_owned(), who);
        }
    }
    if content["content"].is_object() {
        check_people(&content["content"], people, known)
            .map_err(|error| Invalid::new(format!("content.{}", error.field), error.reason))?;
    }
    Ok(())
}
