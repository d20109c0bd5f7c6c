//! From all that match to the first of them that a user may find.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use engine::{EventNum, RoomNum, UserNum, Visibility};
use store::Pos;
use tantivy::{
    DocId, Score, SegmentOrdinal, SegmentReader, TantivyError,
    collector::{Collector, SegmentCollector},
    columnar::ColumnValues,
};

use crate::fields::{column, seen};

/// A user's stay in a room.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// Whether the user is in it now.
    pub joined: bool,
    /// Since when, where that is so.
    pub since: Pos,
    /// When the user was last there, where that is over.
    pub left: Pos,
}

impl Stay {
    /// Whether the user may at all have an event.
    fn reaches(&self, pos: Pos, seen: u64) -> bool {
        self.joined || pos <= self.left || seen::is_history(seen)
    }

    /// Whether that is sure without a look at the room. What is not sure is found all the same where it is so, but not counted: a count
    /// of what a user may not see would tell of it.
    fn is_sure(&self, pos: Pos, seen: u64) -> bool {
        let open = seen::is(seen, Visibility::Shared) || seen::is(seen, Visibility::WorldReadable);
        match self.joined {
            true => open || (!seen::is_history(seen) && pos > self.since),
            false => open && !seen::is_history(seen) && pos <= self.left,
        }
    }
}

/// Which come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those that fit best.
    Rank,
    /// The newest.
    Recent,
}

/// Where an event stands among all that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// How well it fits, where that decides: the higher, the better.
    pub rank: u32,
    /// When it was sent, by its server's clock, in Unix milliseconds.
    pub time: u64,
    /// When it came here.
    pub pos: Pos,
}

/// An event that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its room.
    pub room: RoomNum,
    /// Its number there.
    pub num: EventNum,
    /// How well it fits.
    pub rank: f32,
    /// Where it stands.
    pub place: Place,
}

/// The hits that come first, and how many there are.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) hits: Vec<Hit>,
    pub(crate) count: u64,
}

/// Chooses among the events that match.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) rooms: Arc<HashMap<RoomNum, Stay>>,
    pub(crate) senders: Option<Arc<HashSet<UserNum>>>,
    pub(crate) order: Order,
    pub(crate) after: Option<Place>,
    pub(crate) limit: usize,
}

/// A hit in the order of the heap: the one that comes last is its greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    place: Reverse<Place>,
    room: RoomNum,
    num: u64,
    score: u32,
}

pub(crate) struct InSegment {
    choice: Choice,
    room: Arc<dyn ColumnValues<u64>>,
    num: Arc<dyn ColumnValues<u64>>,
    time: Arc<dyn ColumnValues<u64>>,
    pos: Arc<dyn ColumnValues<u64>>,
    sender: Arc<dyn ColumnValues<u64>>,
    seen: Arc<dyn ColumnValues<u64>>,
    kept: BinaryHeap<Kept>,
    count: u64,
}

impl Collector for Choice {
    type Fruit = Collected;
    type Child = InSegment;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> Result<InSegment, TantivyError> {
        let column = |name| segment.fast_fields().u64(name).map(|column| column.first_or_default_col(0));
        Ok(InSegment {
            choice: self.clone(),
            room: column(column::ROOM)?,
            num: column(column::NUM)?,
            time: column(column::TIME)?,
            pos: column(column::POS)?,
            sender: column(column::SENDER)?,
            seen: column(column::SEEN)?,
            kept: BinaryHeap::with_capacity(self.limit + 1),
            count: 0,
        })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<(BinaryHeap<Kept>, u64)>) -> Result<Collected, TantivyError> {
        let count = segments.iter().map(|(_, count)| count).sum();
        let mut kept: Vec<Kept> = segments.into_iter().flat_map(|(kept, _)| kept).collect();
        kept.sort_unstable();
        kept.truncate(self.limit);
        let hit = |kept: Kept| Hit {
            room: kept.room,
            num: EventNum::try_from(kept.num).unwrap_or_default(),
            rank: f32::from_bits(kept.score),
            place: kept.place.0,
        };
        Ok(Collected { hits: kept.into_iter().map(hit).collect(), count })
    }
}

impl SegmentCollector for InSegment {
    type Fruit = (BinaryHeap<Kept>, u64);

    fn collect(&mut self, doc: DocId, score: Score) {
        let room = self.room.get_val(doc);
        let Some(stay) = self.choice.rooms.get(&room) else { return };
        let (pos, seen) = (self.pos.get_val(doc), self.seen.get_val(doc));
        if !stay.reaches(pos, seen) {
            return;
        }
        if let Some(senders) = &self.choice.senders
            && !senders.contains(&self.sender.get_val(doc))
        {
            return;
        }
        self.count += u64::from(stay.is_sure(pos, seen));
        // Floats that are not negative are ordered as their bits are.
        let score = score.max(0.0).to_bits();
        let rank = if self.choice.order == Order::Rank { score } else { 0 };
        let place = Place { rank, time: self.time.get_val(doc), pos };
        if self.choice.after.is_some_and(|after| place >= after) {
            return;
        }
        let kept = Kept { place: Reverse(place), room, num: self.num.get_val(doc), score };
        if self.kept.len() < self.choice.limit {
            self.kept.push(kept);
        } else if let Some(mut last) = self.kept.peek_mut()
            && kept < *last
        {
            *last = kept;
        }
    }

    fn harvest(self) -> Self::Fruit {
        (self.kept, self.count)
    }
}
