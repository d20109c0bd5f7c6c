use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use axum::extract::{Query as AxumQuery, State, rejection::QueryRejection};
use bytes::Bytes;
use engine::{Membership, RoomNum, UserRoom, splice::push_json_string};
use http::StatusCode;
use http_kit::{Authenticated, JsonBody, MatrixError, RawJson, Requester};
use ruma::api::client::filter::FilterDefinition;
use serde_json::{Value, json};

use super::{
    connections::{Known, Sent},
    extensions::Parts,
    lists::{Chosen, Wish},
    request::{Arguments, Body},
    room::{Asked, push_room},
};
use crate::{
    ApiError, App,
    filter::Relations,
    sync::{
        assemble::{Query, Window},
        handler::gather,
        section::RoomQuery,
    },
};

pub(super) async fn handler(
    State(app): State<App>,
    Authenticated(requester): Authenticated,
    arguments: Result<AxumQuery<Arguments>, QueryRejection>,
    JsonBody(mut body): JsonBody<Body>,
) -> Result<RawJson, ApiError> {
    let AxumQuery(arguments) = arguments.map_err(|error| MatrixError::invalid_param("timeout", error.body_text()))?;
    body.check()?;
    if app.config.presence && app.users.presence.syncing(requester.user, arguments.set_presence.clone()) {
        app.wake_sharers(requester.user).await?;
    }
    let json = app.slide(&requester, &arguments, &body).await?;
    Ok(RawJson(Bytes::from(json)))
}

/// A response that is put together.
struct Draft {
    rooms: String,
    chosen: Chosen,
    parts: Parts,
    known: Known,
}

impl App {
    async fn slide(&self, requester: &Requester, arguments: &Arguments, body: &Body) -> Result<String, ApiError> {
        let device = requester.device_id.as_deref().map(ruma::DeviceId::as_str).unwrap_or_default();
        let connection = self.sync.connections.get(requester.user, device, &body.conn_id);
        let epoch = self.engine.typing.epoch();
        let known = match &arguments.pos {
            None => None,
            Some(pos) => {
                let number = parse_pos(pos, epoch).ok_or_else(unknown_pos)?;
                Some(connection.lock().await.at(number).ok_or_else(unknown_pos)?)
            }
        };
        self.confirm_slid_messages(&body.extensions, requester).await?;
        let longest = Duration::from_secs(self.config.max_sync_timeout_seconds);
        let began = tokio::time::Instant::now();
        let deadline = began + Duration::from_millis(arguments.timeout).min(longest);
        // Registered before the first look, so that nothing that happens in between is missed.
        let waiter = self.engine.db.notifier().register(requester.user);
        loop {
            // On the heap, as for `/sync`.
            let (draft, expiry) = Box::pin(async {
                let known = known.as_ref().map(|(_, known)| &**known);
                let window = Window::open(self, requester.user, known.map(|known| known.token)).await?;
                let draft = self.draft(requester, body, &window, known).await?;
                let expiry = self.engine.typing.next_expiry(window.rooms.keys().copied());
                Ok::<_, ApiError>((draft, expiry))
            })
            .await?;
            let news = !draft.rooms.is_empty() || !draft.parts.is_empty();
            let now = tokio::time::Instant::now();
            if news || known.is_none() || now >= deadline || self.is_closing() {
                let number = connection.lock().await.sent(known, draft.known.clone());
                return Ok(write(&draft, &format!("{epoch}.{number}"), body));
            }
            drop(draft);
            let wake_at = expiry.map_or(deadline, |expiry| deadline.min(now + Duration::from_millis(expiry)));
            let _ = tokio::time::timeout_at(wake_at, waiter.woken()).await;
            gather(began, deadline).await;
        }
    }

    async fn draft(
        &self,
        requester: &Requester,
        body: &Body,
        window: &Window,
        known: Option<&Known>,
    ) -> Result<Draft, ApiError> {
        let query = Query {
            filter: FilterDefinition::default(),
            relations: Relations::default(),
            full_state: false,
            state_after: false,
        };
        let direct = self.direct_rooms(requester).await?;
        let ignored = self.users.account_data.ignored(requester.user).await?;
        let chosen = self.choose(body, window, requester, &direct).await?;
        let mut rooms_known = known.map(|known| known.rooms.clone()).unwrap_or_default();
        let (mut rooms, mut told) = (String::new(), HashMap::new());
        let gone = gone(window, &rooms_known);
        let wished = chosen.rooms.iter().map(|(num, wish)| (*num, wish.clone()));
        for (num, wish) in wished.chain(gone) {
            let Some(place) = window.rooms.get(&num).copied() else { continue };
            let mut room_query = RoomQuery::new(&query, requester, Arc::clone(&ignored));
            room_query.limit = wish.timeline_limit;
            let sent = rooms_known.get(&num).cloned();
            let asked = Asked {
                query: &room_query,
                wish: &wish,
                sent: sent.as_ref(),
                live_after: known.map(|known| known.token.pos),
                to: window.to.pos,
                direct: &direct,
            };
            if let Some(part) = self.part(num, place, &asked).await? {
                push_room(&mut rooms, self.engine.room_id(num).await?.as_str(), &part);
            }
            if let Some(sent) = sent.as_ref().filter(|sent| place.since <= sent.upto) {
                told.insert(num, sent.upto);
            }
            remember(&mut rooms_known, num, place, (&wish, sent), window.to.pos);
        }
        let parts = self
            .extend(&body.extensions, &chosen, &told, window, &RoomQuery::new(&query, requester, Arc::clone(&ignored)))
            .await?;
        Ok(Draft { rooms, chosen, parts, known: Known { token: window.to, rooms: rooms_known } })
    }

    async fn part(&self, num: RoomNum, place: UserRoom, asked: &Asked<'_>) -> Result<Option<String>, ApiError> {
        match place.membership {
            Membership::Invite | Membership::Knock => self.sliding_invitation(num, place, asked).await,
            // How an invitation ended to a room that is not here.
            Membership::Leave | Membership::Ban if place.num == 0 => {
                let event = self.engine.outside_event(asked.query.requester.user, num).await?;
                Ok(event.map(|event| format!("{{\"initial\":false,\"timeline\":[],\"required_state\":[{event}]}}")))
            }
            _ => {
                let room = self.engine.room_by_num(num).await?;
                self.sliding_room(&room, place, asked).await
            }
        }
    }

    /// The rooms that the user calls direct chats.
    async fn direct_rooms(&self, requester: &Requester) -> Result<HashSet<String>, ApiError> {
        let Some(content) = self.users.account_data.get(requester.user, None, "m.direct").await? else {
            return Ok(HashSet::new());
        };
        let by_user: HashMap<String, Value> = serde_json::from_str(content.get()).unwrap_or_default();
        let rooms = by_user.values().filter_map(Value::as_array).flatten();
        Ok(rooms.filter_map(|room| room.as_str().map(ToOwned::to_owned)).collect())
    }
}

/// Rooms that the client knows and the user is in no more since.
fn gone(window: &Window, known: &HashMap<RoomNum, Sent>) -> Vec<(RoomNum, Wish)> {
    let left = |num: &RoomNum, sent: &Sent| {
        window.rooms.get(num).is_some_and(|place| {
            matches!(place.membership, Membership::Leave | Membership::Ban) && place.since > sent.upto
        })
    };
    let wish = |sent: &Sent| Wish {
        timeline_limit: sent.timeline_limit.max(1),
        required: (*sent.required).clone(),
        ..Wish::default()
    };
    let mut gone: Vec<_> =
        known.iter().filter(|(num, sent)| left(num, sent)).map(|(num, sent)| (*num, wish(sent))).collect();
    gone.sort_by_key(|(num, _)| *num);
    gone
}

/// What the client knows of a room behind the response.
fn remember(
    known: &mut HashMap<RoomNum, Sent>,
    num: RoomNum,
    place: UserRoom,
    (wish, sent): (&Wish, Option<Sent>),
    upto: u64,
) {
    if matches!(place.membership, Membership::Leave | Membership::Ban) {
        known.remove(&num);
        return;
    }
    let sent = match sent.filter(|sent| place.since <= sent.upto) {
        None => Sent { upto, timeline_limit: wish.timeline_limit, required: Arc::new(wish.required.clone()) },
        Some(before) => Sent {
            upto,
            timeline_limit: before.timeline_limit.max(wish.timeline_limit),
            // Shared by all that is remembered of the room, where nothing new is asked for.
            required: match before.required.covers(&wish.required) {
                true => before.required,
                false => Arc::new(before.required.with(&wish.required)),
            },
        },
    };
    known.insert(num, sent);
}

fn write(draft: &Draft, pos: &str, body: &Body) -> String {
    let mut out = String::with_capacity(512 + draft.rooms.len());
    out.push_str("{\"pos\":");
    push_json_string(&mut out, pos);
    if let Some(txn_id) = &body.txn_id {
        out.push_str(",\"txn_id\":");
        push_json_string(&mut out, txn_id);
    }
    let counts = draft.chosen.counts.iter().map(|(name, count)| (name.clone(), json!({"count": count})));
    out.push_str(&format!(",\"lists\":{}", Value::Object(counts.collect())));
    out.push_str(",\"rooms\":{");
    out.push_str(&draft.rooms);
    out.push_str("},\"extensions\":");
    draft.parts.write(&mut out);
    out.push('}');
    out
}

/// The number of a response of this run.
fn parse_pos(pos: &str, epoch: u64) -> Option<u64> {
    let (of, number) = pos.split_once('.')?;
    (of.parse() == Ok(epoch)).then(|| number.parse().ok())?
}

fn unknown_pos() -> MatrixError {
    MatrixError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN_POS", "this connection is not known any more: begin anew")
}
