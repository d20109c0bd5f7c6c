//! Which rooms a response speaks of, and in which section.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Membership, RoomNum, UserNum, UserRoom, splice::push_json_string};
use ruma::OwnedUserId;
use users::{InviteAnswer, account_data::Item};

use super::{assemble::Window, section::RoomQuery};
use crate::{ApiError, App};

/// The sections under `rooms`, each a list of fields of a JSON object.
#[derive(Default)]
pub(super) struct Sections {
    join: String,
    invite: String,
    knock: String,
    leave: String,
    /// Local users with whom the user shares a room since the last response.
    pub(super) met: BTreeSet<UserNum>,
    /// A timeline tells of state that does not hold.
    pub(super) misleads: bool,
}

impl Sections {
    pub(super) fn len(&self) -> usize {
        self.join.len() + self.invite.len() + self.knock.len() + self.leave.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn write(&self, out: &mut String) {
        if self.is_empty() {
            return;
        }
        out.push_str(",\"rooms\":{");
        let all = [("join", &self.join), ("invite", &self.invite), ("knock", &self.knock), ("leave", &self.leave)];
        let mut first = true;
        for (name, section) in all.into_iter().filter(|(_, section)| !section.is_empty()) {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            out.push('"');
            out.push_str(name);
            out.push_str("\":{");
            out.push_str(section);
            out.push('}');
        }
        out.push('}');
    }
}

/// Appends `"key":value` to a list of fields.
fn push_field(section: &mut String, key: &str, value: &str) {
    if !section.is_empty() {
        section.push(',');
    }
    push_json_string(section, key);
    section.push(':');
    section.push_str(value);
}

impl App {
    pub(super) async fn add_room(
        &self,
        sections: &mut Sections,
        num: RoomNum,
        place: UserRoom,
        window: &Window,
        query: &RoomQuery<'_>,
        account_data: &BTreeMap<Option<String>, Vec<Item>>,
    ) -> Result<(), ApiError> {
        let is_new = place.since > window.after();
        match place.membership {
            // Other devices still have to learn that the room was left.
            _ if place.forgotten && window.since.is_none() => {}
            Membership::Join => {
                let room = self.engine.room_by_num(num).await?;
                if !query.wants_room(&room.id) {
                    return Ok(());
                }
                // Who comes back is told everything again: what was set while away was told to nobody.
                let again = is_new && window.since.is_some();
                let all = if again {
                    self.users.account_data.list_in(query.requester.user, Some(&room.id)).await?
                } else {
                    Vec::new()
                };
                let items = if again {
                    all.as_slice()
                } else {
                    account_data.get(&Some(room.id.to_string())).map(Vec::as_slice).unwrap_or_default()
                };
                if let Some(joined) = self.joined_room(&room, place, window, query, items).await? {
                    push_field(&mut sections.join, room.id.as_str(), &joined.json);
                    sections.met.extend(joined.met);
                    sections.misleads |= joined.misleads;
                }
            }
            // One that is repeated may show another state of the room.
            Membership::Invite | Membership::Knock if place.pos > window.after() => {
                let room_id = self.engine.room_id(num).await?;
                if query.wants_room(&room_id) && !self.is_ignored(query.requester.user, num, place).await? {
                    let state = self.engine.invite_state(query.requester.user, num).await?;
                    let state = String::from_utf8_lossy(&state);
                    let (section, name) = match place.membership {
                        Membership::Invite => (&mut sections.invite, "invite_state"),
                        _ => (&mut sections.knock, "knock_state"),
                    };
                    push_field(section, room_id.as_str(), &format!("{{\"{name}\":{{\"events\":{state}}}}}"));
                }
            }
            Membership::Leave | Membership::Ban => {
                // Who was banned has not left: that is not for a filter to hide.
                let shown = query.include_leave || place.membership == Membership::Ban;
                let wanted = if window.since.is_some() { is_new } else { shown };
                // Of a room in which nobody here has been there is the user's own membership at most.
                if wanted && place.num == 0 && place.left == 0 {
                    let room_id = self.engine.room_id(num).await?;
                    if query.wants_room(&room_id) {
                        let section = self.left_outside(num, query).await?;
                        push_field(&mut sections.leave, room_id.as_str(), &section);
                    }
                } else if wanted {
                    let room = self.engine.room_by_num(num).await?;
                    if query.wants_room(&room.id) {
                        let items = account_data.get(&Some(room.id.to_string())).map(Vec::as_slice).unwrap_or_default();
                        let section = self.left_room(&room, place, window, query, items).await?;
                        push_field(&mut sections.leave, room.id.as_str(), &section);
                    }
                }
            }
            Membership::Invite | Membership::Knock => {}
        }
        Ok(())
    }

    /// Whether an invitation comes from somebody whom the user ignores, or takes none from.
    pub(super) async fn is_ignored(&self, user: u64, room: RoomNum, place: UserRoom) -> Result<bool, ApiError> {
        if place.membership != Membership::Invite {
            return Ok(false);
        }
        let sender = if place.num == 0 {
            self.engine.outside(user, room).await?.map(|row| row.sender)
        } else {
            Some(self.engine.event(room, place.num).await?.sender().to_owned())
        };
        let Some(sender) = sender.and_then(|sender| OwnedUserId::try_from(sender).ok()) else { return Ok(false) };
        let ignored = self.users.account_data.ignored(user).await?;
        Ok(ignored.contains(&sender) || self.users.invite_answer(user, &sender).await? != InviteAnswer::Show)
    }
}
