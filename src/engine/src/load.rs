//! Bringing a room into memory.

use std::sync::Arc;

use room::{
    Pdu,
    fast::RoomAuthView,
    policy::{EVENT_TYPE as POLICY, Policy},
};
use ruma::RoomVersionId;
use store::{IdKind, Page, Value};

use crate::{
    engine::{Engine, parse},
    error::EngineError,
    head::{Head, StateRef},
    room::{Room, RoomInfo},
    row::{EventRow, Visibility},
    serve::{self, ServerAcl, ServerCounts},
    tables::{CURRENT, EVENTS, EventNum, FILLED, HEADS, HISTORY, PARTIAL_ROOMS, RECEIPT_STREAM, RoomNum, STREAM},
    user_rooms::Membership,
};

/// Loads a room as it is in the store.
pub(crate) async fn room(engine: &Engine, num: RoomNum) -> Result<Room, EngineError> {
    let room_id = engine.room_id(num).await?;
    let head = engine.db.get(&HEADS, &num).await?.ok_or(EngineError::UnknownRoom)?;
    let create = engine.current_event(num, "m.room.create", "").await?.ok_or(EngineError::UnknownRoom)?;
    let version = room_version(&create)?;
    let rules = Engine::rules(&version)?;
    let info = RoomInfo { root: head.root, ..RoomInfo::empty() };
    let encoded = head.encode();
    let room = Room::new(num, room_id, version, rules, Head::new(head, Some(encoded), info));
    let head = self::head(engine, &room).await?;
    room.publish(Arc::new(head.info.clone()));
    *room.writer.lock().await = Some(head);
    let last = engine.db.scan_prefix(&STREAM, &num, Page::last(1)).await?;
    let last = last.first().map_or(0, |((_, pos), _)| *pos);
    let filled = engine.db.scan_prefix(&FILLED, &num, Page::last(1)).await?;
    let filled = filled.first().map_or(0, |(_, pos)| *pos);
    room.pulse.filled_at(filled);
    let last = last.max(filled);
    room.pulse.timeline_at(last);
    room.tail_from(last);
    let deepest = engine.db.scan_prefix(&HISTORY, &num, Page::last(1)).await?;
    room.pulse.deepest_at(deepest.first().map_or(0, |((_, depth, _), _)| *depth));
    let last = engine.db.scan_prefix(&RECEIPT_STREAM, &num, Page::last(1)).await?;
    room.pulse.receipts_at(last.first().map_or(0, |((_, pos), _)| *pos));
    Ok(room)
}

/// The version that a create event asks for.
pub(crate) fn room_version(create: &EventRow) -> Result<RoomVersionId, EngineError> {
    version_in(create.content())
}

/// The version in the content of a create event; where there is none, the first.
pub(crate) fn version_in(content: &str) -> Result<RoomVersionId, EngineError> {
    #[derive(serde::Deserialize)]
    struct Content {
        room_version: Option<RoomVersionId>,
    }
    let content: Content =
        serde_json::from_str(content).map_err(|error| EngineError::Inconsistent(error.to_string()))?;
    Ok(content.room_version.unwrap_or(RoomVersionId::V1))
}

/// Reads the head of a room from the store, as after a restart or a dropped commit.
pub(crate) async fn head(engine: &Engine, room: &Room) -> Result<Head, EngineError> {
    let row = engine.db.get(&HEADS, &room.num).await?.ok_or(EngineError::UnknownRoom)?;
    let mut info = RoomInfo { root: row.root, ..RoomInfo::empty() };
    let encoded = row.encode();
    let servers = count_members(engine, room.num, &mut info).await?;
    info.encrypted = engine.current(room.num, "m.room.encryption", "").await?.is_some();
    let acl = engine.current_event(room.num, "m.room.server_acl", "").await?;
    info.acl = acl.map(|event| Arc::new(ServerAcl::parse(event.content())));
    let policy = engine.current_event(room.num, POLICY, "").await?;
    info.policy = policy.and_then(|event| Policy::parse(event.content())).map(Arc::new);
    let mut head = Head::new(row, Some(encoded), info);
    head.servers = servers;
    let partial = engine.db.get(&PARTIAL_ROOMS, &room.num).await?;
    head.set_partial(partial.map(|row| row.0));
    refresh_auth(engine, room, &mut head).await?;
    Ok(head)
}

async fn count_members(engine: &Engine, room: RoomNum, info: &mut RoomInfo) -> Result<ServerCounts, EngineError> {
    let mut local = Vec::new();
    let suffix = format!(":{}", engine.identity.server_name);
    let members = engine.members(room).await?;
    for member in &members {
        match member.membership {
            Membership::Join => {
                info.joined += 1;
                if member.user_id.ends_with(&suffix)
                    && let Some(user) = engine.ids.find(IdKind::User, &member.user_id).await?
                {
                    local.push(user);
                }
            }
            Membership::Invite => info.invited += 1,
            _ => {}
        }
    }
    info.local_members = local.into();
    let servers = serve::count_servers(engine, &members).await?;
    info.servers = servers.list();
    Ok(servers)
}

/// Parses again, through the overlay, the state that decides about most events.
pub(crate) async fn refresh_auth(engine: &Engine, room: &Room, head: &mut Head) -> Result<(), EngineError> {
    let create = read(engine, room, head, "m.room.create").await?;
    let levels = read(engine, room, head, "m.room.power_levels").await?;
    let join_rules = read(engine, room, head, "m.room.join_rules").await?;
    let visibility = read(engine, room, head, "m.room.history_visibility").await?;
    let reference = |event: &Option<(EventNum, Arc<Pdu>)>| {
        event.as_ref().map(|(num, pdu)| StateRef { num: *num, event_id: pdu.event_id.clone() })
    };
    head.create = reference(&create);
    head.power_levels = reference(&levels);
    let Some((_, create)) = create else {
        head.auth = None;
        return Ok(());
    };
    let pdu = |event: &Option<(EventNum, Arc<Pdu>)>| event.as_ref().map(|(_, pdu)| Arc::clone(pdu));
    let view = Arc::new(RoomAuthView::new(
        &room.rules.authorization,
        &create,
        pdu(&levels).as_deref(),
        pdu(&join_rules).as_deref(),
        pdu(&visibility).as_deref(),
    ));
    head.info.visibility = Visibility::parse(view.history_visibility().as_str());
    head.info.room_type = room_type(&create);
    head.info.auth = Some(Arc::clone(&view));
    head.auth = Some(view);
    Ok(())
}

fn room_type(create: &Pdu) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Content {
        #[serde(rename = "type")]
        room_type: Option<String>,
    }
    serde_json::from_str::<Content>(create.content.get()).ok()?.room_type
}

async fn read(
    engine: &Engine,
    room: &Room,
    head: &Head,
    event_type: &str,
) -> Result<Option<(EventNum, Arc<Pdu>)>, EngineError> {
    let key = (room.num, event_type.to_owned(), String::new());
    let Some(row) = head.overlay.get(&engine.db, &CURRENT, &key).await? else { return Ok(None) };
    Ok(Some((row.num, pdu(engine, room, head, row.num).await?)))
}

/// An event as the writer sees it.
pub(crate) async fn pdu(engine: &Engine, room: &Room, head: &Head, num: EventNum) -> Result<Arc<Pdu>, EngineError> {
    let key = (room.num, num);
    // What is in the overlay can still be dropped, and its number given to another event: it is not cached.
    if let Some(Some(bytes)) = head.overlay.peek(EVENTS.keyspace, &EVENTS.key(&key)) {
        let row = EVENTS.decode(bytes).map_err(EngineError::Store)?;
        return Ok(Arc::new(parse(&row, room)?));
    }
    engine.pdu(room, num).await
}
