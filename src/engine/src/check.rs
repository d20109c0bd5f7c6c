//! `cliquepay check`: everything that is derived from a room's events is derived again and compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    engine::{Engine, parse},
    error::EngineError,
    replay::Replay,
    row::EventRow,
    state::{CurrentRow, membership_in},
    state_tree::NodeId,
    tables::{
        CITED, CURRENT, EVENT_IDS, EVENTS, EventNum, FILLED, GAPS, HEADS, HISTORY, PARTIAL_ROOMS, RELATIONS, ROOTS,
        RoomNum, STREAM, USER_ROOMS,
    },
    user_rooms::Membership,
};

/// What was found in a room.
#[derive(Debug, Clone, Default)]
pub struct RoomReport {
    /// Events looked at.
    pub events: u64,
    /// What does not fit, in words.
    pub findings: Vec<String>,
}

/// What the events say the rows must be.
#[derive(Default)]
struct Rebuilt {
    stream: BTreeMap<u64, EventNum>,
    history: BTreeMap<(i64, i64), EventNum>,
    current: BTreeMap<(String, String), CurrentRow>,
    roots: BTreeMap<u64, NodeId>,
    ends: BTreeMap<String, EventNum>,
    /// Since when each entry of the current state holds.
    since: HashMap<(String, String), u64>,
    cited: BTreeSet<(EventNum, EventNum)>,
    gaps: BTreeSet<(String, EventNum)>,
    /// Positions between which the state lacked members: what readers were told then stays.
    partial: Vec<(u64, u64)>,
    next_num: EventNum,
}

impl Rebuilt {
    fn was_partial(&self, pos: u64) -> bool {
        self.partial.iter().any(|(from, to)| (*from..=*to).contains(&pos))
    }

    /// Whether a user may be said to be in a place since `said` who is since `since`, as far as that can be told: whose membership was
    /// left out when this server entered gets it anew once it is filled in.
    fn fits(&self, since: u64, said: u64) -> bool {
        let both = |(from, to): &(u64, u64)| (*from..=*to).contains(&since) && (*from..=*to).contains(&said);
        since == said || self.partial.iter().any(both) || (since < said && self.was_partial(said))
    }
}

impl Engine {
    /// The stretches of positions in which a room's state lacked members.
    async fn partial_stretches(&self, num: RoomNum) -> Result<Vec<(u64, u64)>, EngineError> {
        let filled = self.db.scan_all(&FILLED, &num).await?;
        let mut stretches: Vec<(u64, u64)> = filled.into_iter().map(|((_, from), to)| (from, to)).collect();
        if let Some(partial) = self.db.get(&PARTIAL_ROOMS, &num).await? {
            stretches.push((self.event(num, partial.0.event).await?.pos(), u64::MAX));
        }
        Ok(stretches)
    }

    /// Rebuilds a room from its events and compares.
    ///
    /// # Errors
    /// Those of the store, and events that cannot be parsed.
    pub async fn check_room(&self, num: RoomNum) -> Result<RoomReport, EngineError> {
        let room = self.room_by_num(num).await?;
        let mut report = RoomReport::default();
        let mut rows: Vec<(EventNum, EventRow)> =
            self.db.scan_all(&EVENTS, &num).await?.into_iter().map(|((_, num), row)| (num, row)).collect();
        // What is known by reference only was judged by itself, and may be cited by whatever came later.
        rows.sort_by_key(|(_, row)| (!row.outlier(), row.pos()));
        report.events = rows.len() as u64;
        let mut rebuilt = Rebuilt { next_num: 1, ..Rebuilt::default() };
        let mut replay = Replay::new(self, &room);
        for (event_num, row) in &rows {
            replay.know(*event_num, parse(row, &room)?);
        }
        for (event_num, row) in &rows {
            self.check_event(num, *event_num, row, &mut report).await?;
            rebuilt.next_num = rebuilt.next_num.max(event_num + 1);
            if !replay.add(*event_num, row, parse(row, &room)?).await? {
                report.findings.push(format!("room {num}: the state before {} is not the one rebuilt", row.event_id()));
            }
            if row.in_stream() {
                rebuilt.stream.insert(row.pos(), *event_num);
            }
            if row.in_room() {
                rebuilt.history.insert((row.depth(), row.arrival()), *event_num);
            }
        }
        let contents: HashMap<EventNum, &str> = rows.iter().map(|(num, row)| (*num, row.content())).collect();
        for ((kind, key), event) in replay.state.clone() {
            let content = contents.get(&event).filter(|_| kind == "m.room.member");
            let membership = content.map_or(Membership::Leave, |content| membership_in(content));
            rebuilt.current.insert((kind, key), CurrentRow { num: event, membership });
        }
        rebuilt.ends.extend(replay.ends.iter().map(|(id, num)| (id.to_string(), *num)));
        rebuilt.cited = replay.cited();
        rebuilt.gaps = replay.gaps();
        (rebuilt.roots, rebuilt.since) = (replay.roots, replay.since);
        rebuilt.partial = self.partial_stretches(num).await?;
        self.compare(num, &rebuilt, &mut report).await?;
        self.compare_users(num, &rebuilt, &mut report).await?;
        Ok(report)
    }

    async fn check_event(
        &self,
        room: RoomNum,
        num: EventNum,
        row: &EventRow,
        report: &mut RoomReport,
    ) -> Result<(), EngineError> {
        let place = self.db.get(&EVENT_IDS, &row.event_id().to_owned()).await?;
        if place.map(|place| (place.room, place.num)) != Some((room, num)) {
            report.findings.push(format!("room {room}: {} is not found by its id", row.event_id()));
        }
        if let Some((_, target)) = row.relation().filter(|_| row.in_room()) {
            let key = (room, target.to_owned(), row.depth(), row.arrival());
            if self.db.get(&RELATIONS, &key).await?.map(|relation| relation.num) != Some(num) {
                report.findings.push(format!("room {room}: the relation of {} is not indexed", row.event_id()));
            }
        }
        Ok(())
    }

    async fn compare(&self, num: RoomNum, rebuilt: &Rebuilt, report: &mut RoomReport) -> Result<(), EngineError> {
        let mut differs = |what: &str, same: bool| {
            if !same {
                report.findings.push(format!("room {num}: {what} differs from what its events say"));
            }
        };
        let stream = self.db.scan_all(&STREAM, &num).await?;
        differs("the stream", stream.into_iter().map(|((_, pos), num)| (pos, num)).eq(rebuilt.stream.clone()));
        let history = self.db.scan_all(&HISTORY, &num).await?;
        let history = history.into_iter().map(|((_, depth, arrival), num)| ((depth, arrival), num));
        differs("the history", history.eq(rebuilt.history.clone()));
        let current = self.db.scan_all(&CURRENT, &num).await?;
        let current = current.into_iter().map(|((_, kind, key), row)| ((kind, key), row));
        differs("the current state", current.eq(rebuilt.current.clone()));
        let roots = self.db.scan_all(&ROOTS, &num).await?;
        differs(
            "the list of state roots",
            roots.into_iter().map(|((_, pos), root)| (pos, root.0)).filter(|(pos, _)| !rebuilt.was_partial(*pos)).eq(
                rebuilt.roots.iter().filter(|(pos, _)| !rebuilt.was_partial(**pos)).map(|(pos, root)| (*pos, *root)),
            ),
        );
        let cited = self.db.scan_all(&CITED, &num).await?;
        differs("who cites whom", cited.into_iter().map(|((_, event, by), ())| (event, by)).eq(rebuilt.cited.clone()));
        let gaps = self.db.scan_all(&GAPS, &num).await?;
        differs("what is missing", gaps.into_iter().map(|((_, id, by), ())| (id, by)).eq(rebuilt.gaps.clone()));
        let Some(head) = self.db.get(&HEADS, &num).await? else {
            differs("the head", false);
            return Ok(());
        };
        let last_root = rebuilt.roots.last_key_value().map_or(NodeId::EMPTY, |(_, root)| *root);
        differs("the head's state", head.root == last_root);
        differs("the next event number", head.next_num == rebuilt.next_num);
        let mut ends: BTreeMap<String, EventNum> = BTreeMap::new();
        ends.extend(head.extremities.iter().map(|end| (end.event_id.to_string(), end.num)));
        differs("the list of extremities", ends == rebuilt.ends);
        let entries = self.entries_at(num, head.root).await?;
        let entries: HashMap<_, _> = entries.into_iter().map(|(kind, key, num)| ((kind, key), num)).collect();
        let same = entries.len() == rebuilt.current.len()
            && rebuilt.current.iter().all(|(key, row)| entries.get(key) == Some(&row.num));
        differs("the state tree", same);
        Ok(())
    }

    async fn compare_users(&self, num: RoomNum, rebuilt: &Rebuilt, report: &mut RoomReport) -> Result<(), EngineError> {
        for (slot @ (kind, user_id), row) in &rebuilt.current {
            let Ok(user_id) = <&ruma::UserId>::try_from(user_id.as_str()) else { continue };
            if kind != "m.room.member" || !self.is_local(user_id) {
                continue;
            }
            let user = self.user_num(user_id).await?;
            let place = self.db.get(&USER_ROOMS, &(user, num)).await?;
            // What was heard from outside the room is not in its events.
            let fits = place.is_some_and(|place| {
                place.num == 0
                    || place.membership == row.membership
                        && place.num == row.num
                        && rebuilt.since.get(slot).is_some_and(|since| rebuilt.fits(*since, place.pos))
            });
            if !fits {
                report.findings.push(format!("room {num}: the place of {user_id} differs from what the events say"));
            }
        }
        Ok(())
    }
}
