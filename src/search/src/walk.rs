//! Events that landed while nobody looked: all rooms are looked through, each from its newest event back to what the index has.

use std::collections::VecDeque;

use engine::{Direction, EVENTS, Engine, EventNum, EventRow, HEADS, RoomNum};
use serde::Deserialize;
use store::Pos;

use crate::{cursor::Cursor, error::SearchError};

/// Rooms read at a time.
const ROOMS: usize = 500;
/// Events of a room read first: most rooms have nothing new.
const FIRST: EventNum = 4;
/// Events read at a time after that.
const PIECE: EventNum = 256;
/// Places in the stream read at a time.
const PLACES: usize = 4096;

/// An event, and where it is.
pub(crate) type Found = (RoomNum, EventNum, EventRow);

/// A walk through all rooms, for what is behind one position and up to another.
#[derive(Debug)]
pub(crate) struct Walk {
    from: Pos,
    pub(crate) to: Pos,
    /// The last room that is done.
    done: RoomNum,
    rooms: VecDeque<RoomNum>,
    current: Option<InRoom>,
}

#[derive(Debug)]
struct InRoom {
    room: RoomNum,
    /// The next number to read, going down; 0 at the end.
    next: EventNum,
    piece: EventNum,
}

/// What a step brought.
pub(crate) enum Step {
    /// Events that may be new.
    Events(Vec<Found>),
    /// A room is done.
    Room,
    /// All are.
    End,
}

impl Walk {
    /// What a cursor lacks up to a position. What an earlier walk began is brought to its end first.
    pub(crate) fn new(cursor: Cursor, to: Pos) -> Self {
        let (done, to) = cursor.ahead.unwrap_or((0, to));
        Self { from: cursor.pos, to, done, rooms: VecDeque::new(), current: None }
    }

    /// How far the index is once everything up to here is in it.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { pos: self.from, ahead: Some((self.done, self.to)) }
    }

    /// The events that the next step looks at, at most; at least 1.
    pub(crate) fn next_step(&self) -> usize {
        self.current.as_ref().map_or(1, |current| usize::try_from(current.piece.min(current.next).max(1)).unwrap_or(1))
    }

    /// Goes a bounded bit further.
    pub(crate) async fn step(&mut self, engine: &Engine) -> Result<Step, SearchError> {
        let Some(current) = &mut self.current else {
            if self.rooms.is_empty() {
                self.rooms = engine.room_nums(self.done, ROOMS).await?.into();
            }
            let Some(room) = self.rooms.pop_front() else { return Ok(Step::End) };
            let newest = engine.db.get(&HEADS, &room).await?.map_or(0, |head| head.next_num.saturating_sub(1));
            let piece = if self.from == 0 { PIECE } else { FIRST };
            self.current = Some(InRoom { room, next: newest, piece });
            return Ok(Step::Events(Vec::new()));
        };
        let room = current.room;
        if current.next == 0 {
            self.current = None;
            self.done = room;
            return Ok(Step::Room);
        }
        let low = current.next.saturating_sub(current.piece - 1).max(1);
        let nums: Vec<EventNum> = (low..=current.next).rev().collect();
        (current.next, current.piece) = (low - 1, PIECE);
        let mut events = read(engine, room, &nums).await?;
        // Numbers are given in the order of arrival: before an event that the index has, none is new but those that got their place later.
        if self.from > 0 && events.iter().any(|(_, _, row)| row.pos() <= self.from) {
            current.next = 0;
            let later = self.placed_later(engine, room, low).await?;
            events.extend(read(engine, room, &later).await?);
        }
        events.retain(|(_, _, row)| row.pos() > self.from && row.pos() <= self.to);
        let emptied = emptied(engine, &events).await?;
        events.extend(emptied);
        Ok(Step::Events(events))
    }

    /// Events below a number that got their place in the stream since.
    async fn placed_later(
        &self,
        engine: &Engine,
        room: RoomNum,
        below: EventNum,
    ) -> Result<Vec<EventNum>, SearchError> {
        let (mut after, mut out) = (self.from, Vec::new());
        loop {
            let places = engine.stream(room, after, self.to, PLACES, Direction::Forward).await?;
            out.extend(places.iter().map(|(_, num)| *num).filter(|num| *num < below));
            match places.last() {
                Some((last, _)) if places.len() == PLACES => after = *last,
                _ => return Ok(out),
            }
        }
    }
}

/// Reads rows past the engine's cache, which is for what people look at.
pub(crate) async fn read(engine: &Engine, room: RoomNum, nums: &[EventNum]) -> Result<Vec<Found>, SearchError> {
    let keys: Vec<(RoomNum, EventNum)> = nums.iter().map(|num| (room, *num)).collect();
    let rows = engine.db.multi_get(&EVENTS, &keys).await?;
    Ok(keys.into_iter().zip(rows).filter_map(|((room, num), row)| Some((room, num, row?))).collect())
}

/// What the redactions among some events may have emptied, which the index may have from before.
async fn emptied(engine: &Engine, events: &[Found]) -> Result<Vec<Found>, SearchError> {
    let mut out = Vec::new();
    for (room, _, row) in events.iter().filter(|(_, _, row)| row.type_json() == "\"m.room.redaction\"") {
        for id in targets(row.json()) {
            if let Some(num) = engine.find_event(*room, &id).await? {
                out.extend(read(engine, *room, &[num]).await?);
            }
        }
    }
    Ok(out)
}

/// The event that a redaction names, wherever its room's version has it.
fn targets(json: &str) -> impl Iterator<Item = String> {
    #[derive(Default, Deserialize)]
    struct Named {
        #[serde(default)]
        redacts: Option<String>,
    }
    #[derive(Default, Deserialize)]
    struct Redaction {
        #[serde(flatten)]
        outside: Named,
        #[serde(default)]
        content: Named,
    }
    let redaction = serde_json::from_str::<Redaction>(json).unwrap_or_default();
    redaction.outside.redacts.into_iter().chain(redaction.content.redacts)
}
