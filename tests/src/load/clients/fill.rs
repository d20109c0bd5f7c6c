//! Fills a server: users with many rooms, rooms with many messages, users that wait.

use http::Method;
use serde_json::json;

use super::{Login, Prepared, words};
use crate::{
    http::Conn,
    load::{
        LoadError,
        setup::{Account, Registrar, Shape, call, connect, create_room, join, send_path},
    },
};

/// Rooms of the users whose first sync is timed.
const ROOMS: [usize; 2] = [100, 1_000];
/// Members of each of those rooms, and messages in it.
const MEMBERS: usize = 3;
const MESSAGES: usize = 5;
/// Rooms that are searched.
const SEARCHED: usize = 10;
/// Users in a room of those that wait.
const IDLE_IN_ROOM: usize = 20;

/// How much is made.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Messages in the rooms that are searched.
    pub messages: usize,
    /// Users that poll while nothing happens.
    pub idle: usize,
}

/// Fills the server, several requests at a time.
///
/// # Errors
/// [`LoadError`] when a request fails.
pub async fn fill(registrar: &Registrar, size: Size) -> Result<Prepared, LoadError> {
    let mut conn = connect(registrar).await?;
    let per_room = size.messages / SEARCHED;
    let mut members = Vec::with_capacity(SEARCHED);
    for index in 0..SEARCHED {
        members.push(registrar.account(&mut conn, &format!("talk{index}")).await?);
    }
    let owner = members.first().ok_or_else(|| LoadError::Usage("nobody talks".to_owned()))?;
    let mut rooms = Vec::with_capacity(SEARCHED);
    for index in 0..SEARCHED {
        let room_id = create_room(&mut conn, owner, &format!("talk {index}")).await?;
        if let Some(second) = members.get(index).filter(|_| index > 0) {
            join(&mut conn, second, &room_id).await?;
        }
        rooms.push(room_id);
    }
    eprintln!("{} messages …", size.messages);
    let talks =
        rooms.iter().zip(&members).enumerate().map(|(index, (room_id, member))| {
            talk(registrar, member, room_id, index * per_room..(index + 1) * per_room)
        });
    futures::future::try_join_all(talks).await?;
    let mut with_rooms = Vec::new();
    for count in ROOMS {
        eprintln!("{count} rooms …");
        let shape = Shape { rooms: count, members: MEMBERS, messages: MESSAGES };
        let user = registrar.user_with_rooms(&mut conn, &format!("in{count}_"), shape).await?;
        with_rooms.push((count, Login::of(&user)));
    }
    eprintln!("{} users …", size.idle);
    let idle = waiting(registrar, &mut conn, size.idle).await?;
    let room_id = rooms.swap_remove(0);
    let reader = Login::of(owner);
    Ok(Prepared { with_rooms, idle, reader, room_id, messages: per_room * SEARCHED, messages_per_room: per_room })
}

async fn talk(
    registrar: &Registrar,
    sender: &Account,
    room_id: &str,
    numbers: std::ops::Range<usize>,
) -> Result<(), LoadError> {
    let mut conn = connect(registrar).await?;
    let prefix = send_path(room_id);
    for number in numbers {
        let body = json!({"msgtype": "m.text", "body": words::message(number)}).to_string();
        call(&mut conn, Method::PUT, &format!("{prefix}w{number}"), Some(sender), Some(body)).await?;
    }
    Ok(())
}

async fn waiting(registrar: &Registrar, conn: &mut Conn, count: usize) -> Result<Vec<Login>, LoadError> {
    let (mut idle, mut room) = (Vec::with_capacity(count), String::new());
    for index in 0..count {
        let user = registrar.account(conn, &format!("idle{index}")).await?;
        if index % IDLE_IN_ROOM == 0 {
            room = create_room(conn, &user, &format!("idle {index}")).await?;
        } else {
            join(conn, &user, &room).await?;
        }
        idle.push(Login::of(&user));
    }
    Ok(idle)
}
