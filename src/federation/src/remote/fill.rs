//! Rooms that were entered before all of their members were known: the whole state is asked for, as often as it takes.
//! [state_ids](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid).

use std::{collections::HashMap, sync::Arc, time::Duration};

use engine::{EngineError, EventNum, PartialRow, RoomNum, ToldState};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use ruma::{EventId, OwnedEventId, OwnedServerName};
use tokio::sync::Notify;

use crate::{
    Federation,
    pdus::{Gap, PduError, missing},
};

/// Rooms that are filled at once.
const AT_ONCE: usize = 4;
/// What one try is worth, in milliseconds.
const MAX_TIME: u64 = 600_000;
/// The same in bytes: states of the largest rooms there are.
const MAX_BYTES: usize = 256 << 20;
/// The shortest and the longest wait between two tries.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);
/// Tries after which events of the state that no server can give, or whose signatures nobody can check any more, are left out.
const STRICT: u32 = 5;
/// How long nobody looks for rooms that need no look.
const IDLE: Duration = Duration::from_secs(3600);

/// Wakes who fills rooms.
#[derive(Debug, Default)]
pub(crate) struct Fills(Notify);

impl Fills {
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

/// How a room stands.
#[derive(Debug, Clone, Copy, Default)]
struct Try {
    under_way: bool,
    times: u32,
    /// No earlier than this, milliseconds since the Unix epoch.
    after: u64,
}

/// A room and the event by which this server entered it.
type Entered = (RoomNum, EventNum);

type Filling<'a> = FuturesUnordered<BoxFuture<'a, (Entered, Result<(), PduError>)>>;

impl Federation {
    /// Fills in rooms until `stop` resolves.
    pub async fn fill_rooms(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.keep_filling() => {}
        }
    }

    async fn keep_filling(&self) {
        let (mut tries, mut filling) = (HashMap::new(), Filling::new());
        loop {
            let wait = match self.begin_fills(&mut tries, &mut filling).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(%error, "rooms whose members are not known cannot be looked for");
                    LONGEST
                }
            };
            tokio::select! {
                biased;
                Some((entered, filled)) = filling.next(), if !filling.is_empty() => self.filled(entered, filled, &mut tries),
                () = self.fills.0.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Begins with every room whose time has come, and says how long until the next one's.
    async fn begin_fills<'a>(
        &'a self,
        tries: &mut HashMap<Entered, Try>,
        filling: &mut Filling<'a>,
    ) -> Result<Duration, EngineError> {
        let (mut from, mut next) = (0, u64::MAX);
        let now = self.clock.now_ms();
        loop {
            let rows = self.engine.partial_rooms(from).await?;
            let Some((last, _)) = rows.last() else { break };
            from = *last;
            for (room, row) in rows {
                let entered = (room, row.event);
                let known = tries.entry(entered).or_default();
                if known.under_way || filling.len() >= AT_ONCE {
                    continue;
                }
                if known.after > now {
                    next = next.min(known.after);
                    continue;
                }
                known.under_way = true;
                let times = known.times;
                filling.push(Box::pin(async move { (entered, self.fill_room(room, &row, times).await) }));
            }
        }
        if next == u64::MAX {
            return Ok(IDLE);
        }
        Ok(Duration::from_millis(next.saturating_sub(now)).max(Duration::from_millis(10)))
    }

    fn filled(&self, entered: Entered, filled: Result<(), PduError>, tries: &mut HashMap<Entered, Try>) {
        let Err(error) = filled else {
            tries.remove(&entered);
            return;
        };
        tracing::info!(room = entered.0, %error, "a room's members are not known yet");
        let known = tries.entry(entered).or_default();
        let wait = SHORTEST.saturating_mul(1 << known.times.min(12)).min(LONGEST);
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        *known = Try {
            under_way: false,
            times: known.times.saturating_add(1),
            after: self.clock.now_ms().saturating_add(wait),
        };
    }

    async fn fill_room(&self, num: RoomNum, row: &PartialRow, times: u32) -> Result<(), PduError> {
        let room = self.engine.room_by_num(num).await?;
        if room.info().local_members.is_empty() {
            return Ok(self.engine.stop_filling(&room).await?);
        }
        let event = self.engine.pdu(&room, row.event).await?;
        let first = self.first_to_ask(row, times).await?;
        let gap = Gap::new(self, &room, &first, MAX_TIME).await?.worth(MAX_BYTES);
        // What it follows is older: more servers know it. Where it follows several events, only its own server has met them.
        let (mut state, absent) = match event.prev_events.as_slice() {
            [prev] => match state_after(&gap, prev).await {
                Ok(told) => told,
                Err(error) => {
                    tracing::debug!(room_id = %room.id, %error, "the state after what our event follows was not told");
                    state_before(&gap, &event.event_id).await?
                }
            },
            _ => state_before(&gap, &event.event_id).await?,
        };
        if !absent.is_empty() {
            if times < STRICT {
                return Err(missing(&absent));
            }
            tracing::warn!(room_id = %room.id, events = absent.len(), "part of the room's state cannot be had");
            leave_out(&mut state.events, absent);
        }
        self.engine.fill(&room, row.event, &state).await?;
        Ok(())
    }

    /// The server that let us in, and once that fails the others in turn.
    async fn first_to_ask(&self, row: &PartialRow, times: u32) -> Result<OwnedServerName, PduError> {
        let others: Vec<_> = row.servers.iter().filter(|server| **server != row.via).collect();
        let nth = usize::try_from(times).unwrap_or_default() % (others.len() + 1);
        let server = nth.checked_sub(1).and_then(|nth| others.get(nth)).map_or(row.via, |server| **server);
        let name = self.engine.server_name(server).await?;
        Ok(name.ok_or_else(|| EngineError::Inconsistent(format!("no server has the number {server}")))?)
    }
}

/// A state, and those of its events that are not here though they were asked for.
type Told = (ToldState, Vec<OwnedEventId>);

async fn state_before(gap: &Gap<'_>, event: &EventId) -> Result<Told, PduError> {
    let (events, absent) = gap.gather_state(event).await?;
    Ok((ToldState { events, then: None }, absent))
}

async fn state_after(gap: &Gap<'_>, event: &OwnedEventId) -> Result<Told, PduError> {
    let (events, absent) = gap.gather_state(event).await?;
    if !gap.absent(std::slice::from_ref(event)).await?.is_empty() {
        let found = gap.events(std::slice::from_ref(event)).await;
        let here = gap.fed.engine.receive_outliers(gap.room, found).await?;
        if here.is_empty() {
            return Err(missing(std::slice::from_ref(event)));
        }
    }
    Ok((ToldState { events, then: Some(event.clone()) }, absent))
}

/// Leaves `absent` out of `state`.
fn leave_out(state: &mut Vec<OwnedEventId>, mut absent: Vec<OwnedEventId>) {
    absent.sort();
    state.retain(|id| absent.binary_search(id).is_err());
}
