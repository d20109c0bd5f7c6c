//! What operators and other parts of the server need of all rooms of a user, or of all rooms.

use ruma::{OwnedEventId, UserId, events::TimelineEventType};
use store::{Op, Page};

use crate::{
    engine::Engine,
    error::EngineError,
    tables::{HEADS, RoomNum, TRANSACTIONS, UserNum},
    user_rooms::Membership,
    writer::{NewEvent, TxnKey},
};

impl Engine {
    /// Rooms behind a number, in order.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn room_nums(&self, after: RoomNum, limit: usize) -> Result<Vec<RoomNum>, EngineError> {
        let rows = self.db.scan(&HEADS, &(after.saturating_add(1)), &RoomNum::MAX, Page::first(limit)).await?;
        Ok(rows.into_iter().map(|(num, _)| num).collect())
    }

    /// The event that was sent with a transaction key, in whichever room, where that is durable.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sent_with(&self, txn: &TxnKey<'_>) -> Result<Option<OwnedEventId>, EngineError> {
        let key = (txn.user, txn.device.to_owned(), txn.path.to_owned());
        let found = self.db.get(&TRANSACTIONS, &key).await?;
        Ok(found.and_then(|id| OwnedEventId::try_from(id).ok()))
    }

    /// What deletes a device's transaction ids, for the commit that deletes the device.
    pub fn forget_device(&self, user: UserNum, device: &str) -> Vec<Op> {
        vec![TRANSACTIONS.delete_prefix(&(user, device.to_owned()))]
    }

    /// A user leaves every room, refuses every invitation and takes back every knock.
    ///
    /// # Errors
    /// Those of the store; what was left stays left, so that it can be tried again.
    pub async fn leave_all(&self, user: UserNum, user_id: &UserId) -> Result<(), EngineError> {
        let rooms = self.user_rooms().of(user).await?;
        for (num, place) in rooms.iter() {
            if matches!(place.membership, Membership::Join | Membership::Invite | Membership::Knock) {
                let room = self.room_by_num(*num).await?;
                let event = NewEvent {
                    sender: user_id,
                    sender_num: user,
                    event_type: TimelineEventType::RoomMember,
                    state_key: Some(user_id.as_str()),
                    content: r#"{"membership":"leave"}"#,
                    redacts: None,
                    origin_server_ts: None,
                    device: None,
                    txn_id: None,
                };
                match self.send(&room, event, None).await {
                    // The membership changed under our hands, or the room is broken beyond leaving: others still count.
                    Ok(_) | Err(EngineError::Forbidden(_) | EngineError::Policy(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
