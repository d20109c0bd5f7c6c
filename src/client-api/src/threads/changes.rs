//! `GET /_matrix/client/unstable/io.element.msc4308/thread_subscriptions`: changes that were too many for a response of sliding sync.

use axum::extract::State;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::threads::get_thread_subscriptions_changes::unstable::Request;
use serde_json::{Map, Value, json};
use store::Pos;
use users::threads::ThreadChange;

use crate::{ApiError, App};

/// Changes in one response, at most.
pub(crate) const MAX_CHANGES: usize = 100;
/// What tokens begin with.
const KIND: char = 'h';

/// The token of what is left between two positions: behind the first, up to and including the second.
pub(crate) fn token(after: Pos, to: Pos) -> String {
    format!("{KIND}1_{to}_{after}")
}

fn parse(text: &str) -> Option<(Pos, Pos)> {
    let (to, after) = text.strip_prefix(KIND)?.strip_prefix("1_")?.split_once('_')?;
    Some((after.parse().ok()?, to.parse().ok()?))
}

/// Whether this is a position of sliding sync. It says no more than `from` does, which has both ends.
fn is_sliding(text: &str) -> bool {
    text.split_once('.').is_some_and(|(run, number)| run.parse::<u64>().is_ok() && number.parse::<u64>().is_ok())
}

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<RawJson, ApiError> {
    if request.query("dir").as_deref() != Some("b") {
        return Err(MatrixError::invalid_param("dir", "changes are listed backwards: b").into());
    }
    let body = &request.body;
    let limit = body.limit.map_or(MAX_CHANGES, |limit| usize::try_from(limit).unwrap_or(MAX_CHANGES));
    if limit == 0 {
        return Err(MatrixError::invalid_param("limit", "not above zero").into());
    }
    let bad = |field: &'static str| move || MatrixError::invalid_param(field, "not a token of this server");
    let now = app.engine.frontier();
    let (mut after, to) = match body.from.as_deref() {
        Some(from) => parse(from).ok_or_else(bad("from"))?,
        None => (0, now),
    };
    match body.to.as_deref() {
        Some(end) if is_sliding(end) => {}
        Some(end) => after = after.max(parse(end).ok_or_else(bad("to"))?.1),
        None => {}
    }
    let user = request.requester.user;
    let (mut answer, rest) = app.thread_changes(user, (after, to.min(now)), limit.min(MAX_CHANGES)).await?;
    if let Some(rest) = rest {
        answer.insert("end".to_owned(), token(after, rest).into());
    }
    Ok(RawJson(Value::Object(answer).to_string().into()))
}

impl App {
    /// Changes of a user's subscriptions behind a position, up to and including another, as clients get them; and the position up to which
    /// older ones are left, where some are.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn thread_changes(
        &self,
        user: u64,
        (after, to): (Pos, Pos),
        limit: usize,
    ) -> Result<(Map<String, Value>, Option<Pos>), ApiError> {
        let (changes, rest) = self.users.threads.changes(user, after, to, limit).await?;
        let mut out = Map::new();
        for ThreadChange { room, root, row } in changes {
            let room_id = self.engine.room_id(room).await?;
            let (kind, value) = match row.subscribed {
                Some(automatic) => ("subscribed", json!({"automatic": automatic, "bump_stamp": row.pos})),
                None => ("unsubscribed", json!({"bump_stamp": row.pos})),
            };
            let rooms = out.entry(kind).or_insert_with(|| json!({}));
            rooms[room_id.as_str()][root] = value;
        }
        Ok((out, rest))
    }
}
