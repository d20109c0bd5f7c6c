//! Relations that clients may not make.
//! [Validation of `m.thread` relationships](https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships),
//! [avoiding duplicate annotations](https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations).

use std::borrow::Cow;

use engine::{Direction, EventRow, RelationFilter, Room, TxnKey};
use http::StatusCode;
use http_kit::{MatrixError, Requester};
use serde::Deserialize;

use crate::{ApiError, App};

/// Annotations of an event that are looked at for one that says the same, at most: the newest.
const LOOKED_AT: usize = 1000;

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(rename = "m.relates_to", borrow)]
    relates: Option<Relation<'a>>,
}

#[derive(Deserialize)]
struct Relation<'a> {
    #[serde(borrow)]
    rel_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
}

fn relation(content: &str) -> Option<Relation<'_>> {
    // Most events relate to nothing: those are not parsed for it.
    if !content.contains("m.relates_to") {
        return None;
    }
    serde_json::from_str::<Content<'_>>(content).ok()?.relates
}

impl App {
    /// Refuses a thread whose root relates to another event itself, and an annotation that says again what the same user said before,
    /// unless the request is that one again.
    ///
    /// # Errors
    /// 400 `M_UNKNOWN` and `M_DUPLICATE_ANNOTATION`.
    pub(crate) async fn check_relation(
        &self,
        room: &Room,
        requester: &Requester,
        (event_type, content): (&str, &str),
        txn: &TxnKey<'_>,
    ) -> Result<(), ApiError> {
        let Some(Relation { rel_type: Some(kind), event_id: Some(target), key }) = relation(content) else {
            return Ok(());
        };
        match (&*kind, key) {
            ("m.thread", _) => self.check_root(room, &target).await,
            ("m.annotation", Some(key)) => {
                let again = self.annotated(room, requester, (event_type, &target, &key)).await?;
                if again && self.engine.sent_with(txn).await?.is_none() {
                    let why = "You have annotated this event in the same way before";
                    return Err(MatrixError::new(StatusCode::BAD_REQUEST, "M_DUPLICATE_ANNOTATION", why).into());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn check_root(&self, room: &Room, root: &str) -> Result<(), ApiError> {
        let Some(num) = self.engine.find_event(room.num, root).await? else { return Ok(()) };
        if self.engine.event(room.num, num).await?.relation().is_some() {
            return Err(MatrixError::unknown("No thread can begin with an event that relates to another").into());
        }
        Ok(())
    }

    async fn annotated(
        &self,
        room: &Room,
        requester: &Requester,
        (event_type, target, key): (&str, &str, &str),
    ) -> Result<bool, ApiError> {
        let filter = RelationFilter { kind: Some("m.annotation"), event_type: Some(event_type) };
        let newest = Direction::Backward;
        let (nums, _) = self.engine.relations(room.num, target, filter, (None, None), LOOKED_AT, newest).await?;
        let same = |row: &EventRow| {
            row.sender_num() == requester.user
                && !row.is_redacted()
                && relation(row.content()).is_some_and(|relation| relation.key.as_deref() == Some(key))
        };
        Ok(self.engine.events(room.num, &nums).await?.iter().any(|(_, row)| same(row)))
    }
}
