//! Groups: rooms with a ledger.

use std::{collections::BTreeMap, sync::Arc};

use engine::{Engine, EngineError, Invitee, Membership, Names, NewRoom, Preset, Room, RoomPlan, TxnKey};
use ledger::{Amount, Currency, Invalid};
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Map, Value, json};
use users::InviteAnswer;

use crate::{Expenses, RemoteInvitation, error::RouteError, write::Request};

/// What somebody asks for.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct NewGroup {
    name: String,
    currency: String,
    #[serde(default)]
    invite: Vec<String>,
    #[serde(default)]
    preset: Option<String>,
    #[serde(default)]
    policies: Option<Value>,
}

/// Longest name, in bytes, and most people invited at once.
const MAX_NAME: usize = 255;
const MAX_INVITED: usize = 200;
/// Stands for the create event of a room that is not made yet.
const SOME_EVENT: &str = "$create";

/// What the making of the room is remembered by; the request itself stands for the opening of the ledger.
fn room_path(request: Request<'_>) -> String {
    format!("{}#room", request.path)
}

impl Expenses {
    /// Makes a room and opens its ledger. The same request again finds the room, and opens the ledger where that was cut short.
    pub(crate) async fn create_group(
        &self,
        request: Request<'_>,
        new: &NewGroup,
    ) -> Result<(OwnedRoomId, String), RouteError> {
        let name = new.name.trim();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Invalid::new("name", "must have 1 to 255 bytes").into());
        }
        if Currency::iso(&new.currency).is_none() {
            return Err(Invalid::new("currency", "is not an ISO 4217 code").into());
        }
        let mut content = json!({"currency": new.currency});
        if let Some(policies) = &new.policies {
            content["policies"] = policies.clone();
        }
        // What no ledger can be opened with, or in, is refused before there is a room.
        if Engine::rules(&self.room_version)?.event_format.require_event_id {
            return Err(RouteError::RoomVersion(self.room_version.clone()));
        }
        self.compose_root(SOME_EVENT, &request.requester.user_id, &content)?;
        let room = self.room_of(request, new, name).await?;
        let root = self.open(&room, request, &content).await?;
        self.invite_elsewhere(&room, request, &new.invite).await?;
        Ok((room.id.clone(), root.to_string()))
    }

    /// Invites the users of other servers who were never in the room: they come once the ledger is there.
    async fn invite_elsewhere(&self, room: &Arc<Room>, request: Request<'_>, ids: &[String]) -> Result<(), RouteError> {
        let Some(others) = self.others.get() else { return Ok(()) };
        let sender = &request.requester.user_id;
        for invitee in self.invitees(ids, sender).await?.into_iter().filter(|invitee| invitee.remote) {
            if self.engine.current(room.num, "m.room.member", invitee.user_id.as_str()).await?.is_none() {
                others.invite(RemoteInvitation {
                    room: Arc::clone(room),
                    sender: sender.clone(),
                    invited: invitee.user_id,
                    content: json!({"membership": "invite"}).to_string(),
                    device: request.requester.device_id.as_ref().map(ToString::to_string),
                });
            }
        }
        Ok(())
    }

    /// The room that this request makes or made.
    pub(crate) async fn room_of(
        &self,
        request: Request<'_>,
        new: &NewGroup,
        name: &str,
    ) -> Result<Arc<Room>, RouteError> {
        let path = room_path(request);
        match self.room_made_with(&TxnKey { path: &path, ..request.txn() }).await? {
            Some(room) => Ok(room),
            None => self.make_room_once(request, new, name).await,
        }
    }

    /// Makes the room of a request that has none yet, as far as one could see.
    pub(crate) async fn make_room_once(
        &self,
        request: Request<'_>,
        new: &NewGroup,
        name: &str,
    ) -> Result<Arc<Room>, RouteError> {
        let path = room_path(request);
        let txn = TxnKey { path: &path, ..request.txn() };
        match self.make_room(request, new, name, txn).await {
            // The same request came twice at once, and the other one was first.
            Err(RouteError::Engine(EngineError::Conflict)) => {
                self.room_made_with(&txn).await?.ok_or(RouteError::Engine(EngineError::Conflict))
            }
            other => other,
        }
    }

    async fn room_made_with(&self, txn: &TxnKey<'_>) -> Result<Option<Arc<Room>>, RouteError> {
        let Some(create) = self.sent_before(txn).await? else { return Ok(None) };
        let (room, _) = self.engine.find_event_anywhere(create.as_str()).await?.ok_or(EngineError::UnknownRoom)?;
        Ok(Some(self.engine.room_by_num(room).await?))
    }

    async fn make_room(
        &self,
        request: Request<'_>,
        new: &NewGroup,
        name: &str,
        txn: TxnKey<'_>,
    ) -> Result<Arc<Room>, RouteError> {
        let preset = match new.preset.as_deref() {
            None | Some("private_chat") => Preset::Private,
            Some("trusted_private_chat") => Preset::TrustedPrivate,
            Some("public_chat") => Preset::Public,
            Some(_) => return Err(Invalid::new("preset", "is not a preset").into()),
        };
        let requester = request.requester;
        let mut power_levels = Map::new();
        // Anybody in the group may invite; the pointer at the ledger is for those who lead it.
        power_levels.insert("invite".to_owned(), 0.into());
        let plan = RoomPlan {
            creator: &requester.user_id,
            names: self.names_of(requester.user).await?,
            version: self.room_version.clone(),
            preset,
            creation_content: Map::new(),
            power_levels,
            alias: None,
            initial_state: Vec::new(),
            name: Some(name.to_owned()),
            topic: None,
            invite: self.invitees(&new.invite, &requester.user_id).await?,
            is_direct: false,
        };
        let first = plan.first_events()?;
        let room_id = format!("!{}:{}", self.uid(), self.engine.identity.server_name);
        let room_id = OwnedRoomId::try_from(room_id).map_err(|error| EngineError::Inconsistent(error.to_string()))?;
        let new = NewRoom {
            creator: &requester.user_id,
            creator_num: requester.user,
            version: self.room_version.clone(),
            create: first.create,
            room_id,
            events: first.events,
            alias: None,
            public: false,
        };
        Ok(self.engine.create_room(new, Some(txn)).await?.room)
    }

    async fn invitees(&self, ids: &[String], creator: &UserId) -> Result<Vec<Invitee>, RouteError> {
        if ids.len() > MAX_INVITED {
            return Err(Invalid::new("invite", format!("at most {MAX_INVITED} people at once")).into());
        }
        let mut out: Vec<Invitee> = Vec::with_capacity(ids.len());
        for (index, id) in ids.iter().enumerate() {
            let refused = |why: &str| Err(RouteError::from(Invalid::new(format!("invite[{index}]"), why)));
            let Ok(user_id) = OwnedUserId::try_from(id.as_str()) else { return refused("is not a user id") };
            if user_id == creator || out.iter().any(|other| other.user_id == user_id) {
                continue;
            }
            let remote = !self.engine.is_local(&user_id);
            let names = if !remote {
                match self.users.accounts.by_user_id(&user_id).await? {
                    Some(account) if !account.deactivated => {
                        if self.users.invite_answer(account.num, creator).await? == InviteAnswer::Refuse {
                            return refused("takes no invitations from you");
                        }
                        self.names_of(account.num).await?
                    }
                    _ => return refused("there is no such user on this server"),
                }
            } else if self.others.get().is_some() {
                Names::default()
            } else {
                return refused("is on another server, and this one reaches no others");
            };
            out.push(Invitee { user_id, names, remote });
        }
        Ok(out)
    }

    /// `GET /groups`: where the requester stands, everywhere.
    pub(crate) async fn groups(&self, user: u64, user_id: &UserId) -> Result<Value, RouteError> {
        let mut groups = Vec::new();
        let mut totals: BTreeMap<String, (Currency, Amount, Amount)> = BTreeMap::new();
        for (num, place) in self.engine.user_rooms().of(user).await?.iter() {
            if place.membership != Membership::Join {
                continue;
            }
            let room = self.engine.room_by_num(*num).await?;
            let folded = match self.ledger(&room).await {
                Ok(folded) => folded,
                Err(RouteError::NoLedger | RouteError::Encrypted) => continue,
                Err(error) => return Err(error),
            };
            let mut balances = Vec::new();
            for balance in folded.ledger.net(user_id.as_str()) {
                balances.push(json!({
                    "currency": balance.currency.code(),
                    "amount": balance.currency.format(balance.amount),
                }));
                let code = balance.currency.code().to_owned();
                // Units of a group's own mean nothing outside of it.
                if !balance.currency.is_custom() {
                    let total = totals.entry(code).or_insert((balance.currency.clone(), Amount(0), Amount(0)));
                    if balance.amount >= Amount(0) {
                        total.1 += balance.amount;
                    } else {
                        total.2 -= balance.amount;
                    }
                }
            }
            let currency = folded.ledger.root().map(|open| open.currency.code().to_owned());
            groups.push(json!({
                "room_id": room.id,
                "name": self.room_name(&room).await?,
                "ledger": &**folded.ledger.id(),
                "currency": currency,
                "members": room.info().joined,
                "last_ts": self.last_ts(&room).await?,
                "balances": balances,
            }));
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group["last_ts"].as_u64()));
        let totals: Vec<Value> = totals
            .into_iter()
            .map(|(code, (currency, owed, owe))| {
                json!({"currency": code, "owed": currency.format(owed), "owe": currency.format(owe)})
            })
            .collect();
        Ok(json!({"groups": groups, "totals": totals}))
    }

    pub(crate) async fn room_name(&self, room: &Room) -> Result<String, RouteError> {
        #[derive(serde::Deserialize)]
        struct Content {
            name: Option<String>,
        }
        let row = self.engine.current_event(room.num, "m.room.name", "").await?;
        let name = row.and_then(|row| serde_json::from_str::<Content>(row.content()).ok()?.name);
        Ok(name.unwrap_or_default())
    }

    async fn last_ts(&self, room: &Room) -> Result<u64, RouteError> {
        let newest = self.engine.stream(room.num, 0, self.engine.frontier(), 1, engine::Direction::Backward).await?;
        match newest.first() {
            Some((_, num)) => Ok(self.engine.event(room.num, *num).await?.origin_server_ts()),
            None => Ok(0),
        }
    }
}
