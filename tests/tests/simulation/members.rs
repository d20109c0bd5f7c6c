//! Who comes, goes, is asked in and put out.

use std::sync::Arc;

use engine::{Engine, Membership};
use federation::remote::{RemoteChange, RemoteInvitee};
use rand::RngExt as _;
use ruma::{OwnedUserId, UserId};
use serde_json::{Map, json};

use crate::sim::{LOCALS, Post, Sim, join_by, send};

impl Sim {
    /// Whom things happen to: the first users stay where every server is to stay.
    pub(crate) fn change_membership(&mut self) {
        let target_of = self.some_name();
        let local = if self.stay { self.any(&LOCALS[1..]) } else { self.any(&LOCALS) };
        let target = self.user(local, &target_of);
        let is_creator = target == "@a:s1";
        match self.rng.random_range(0..20) {
            0..8 => self.come(&target_of, target),
            8..10 if !is_creator => self.go(&target_of, target),
            10..14 if !is_creator => self.invite(target),
            14..17 if !is_creator => self.judge(Post::member(&target, "leave")),
            17 if !is_creator => self.judge(Post::member(&target, "ban")),
            _ => {}
        }
    }

    /// Somebody with power over others does something about one of them.
    fn judge(&mut self, post: Post) {
        let Some((name, local, engine)) = self.somebody() else { return };
        let user = self.user(local, &name);
        self.post(&name, engine, user, post);
    }

    fn come(&mut self, name: &str, user: OwnedUserId) {
        let (server, room) = (self.server(name), self.room.clone());
        if server.is_up() {
            let (engine, federation) = (server.engine(), server.federation());
            self.by_the_way(format!("{user} joins"), async move {
                join_by(engine, federation, &room, &user).await.map(|()| "joined".to_owned())
            });
        }
    }

    /// Out of the room, or out of an invitation.
    fn go(&mut self, name: &str, user: OwnedUserId) {
        let (server, room) = (self.server(name), self.room.clone());
        if !server.is_up() {
            return;
        }
        let (engine, federation) = (server.engine(), server.federation());
        self.by_the_way(format!("{user} leaves"), async move {
            let here = engine.room(&room).await.is_ok_and(|room| !room.info().local_members.is_empty());
            if here {
                let left = send(&engine, &room, &user, &Post::member(&user, "leave")).await;
                return left.map(|id| id.to_string()).map_err(|error| error.to_string());
            }
            let leave = RemoteChange { user_id: user, room_id: room, via: Vec::new(), content: Map::new() };
            federation.leave(leave).await.map(|()| "refused it".to_owned()).map_err(|error| error.to_string())
        });
    }

    fn invite(&mut self, invited: OwnedUserId) {
        let Some((name, local, engine)) = self.somebody() else { return };
        let sender = self.user(local, &name);
        if engine.is_local(&invited) {
            return self.post(&name, engine, sender, Post::member(&invited, "invite"));
        }
        let (federation, room) = (self.server(&name).federation(), self.room.clone());
        let acknowledged = Arc::clone(&self.acknowledged);
        self.by_the_way(format!("{sender} invites {invited}"), async move {
            let room = engine.room(&room).await.map_err(|error| error.to_string())?;
            if !may_be_asked(&engine, room.num, &invited).await {
                return Err("there already".to_owned());
            }
            let content = json!({"membership": "invite"}).to_string();
            let invite = RemoteInvitee { room, sender, invited, content, device: None };
            let sent = federation.invite(invite).await.map_err(|error| error.to_string())?;
            acknowledged.lock().push((name, sent.clone()));
            Ok(sent.to_string())
        });
    }
}

/// As the API asks before it invites.
async fn may_be_asked(engine: &Engine, room: engine::RoomNum, user: &UserId) -> bool {
    let there = engine.membership(room, user.as_str()).await;
    there.is_ok_and(|there| !matches!(there, Some(Membership::Join | Membership::Ban)))
}
