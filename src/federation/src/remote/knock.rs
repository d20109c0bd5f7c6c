//! Knocking on rooms of other servers.
//! [Knocking upon a room](https://spec.matrix.org/v1.19/server-server-api/#knocking-upon-a-room).

use std::sync::Arc;

use ruma::{ServerName, api::federation::membership::prepare_knock_event::v1, events::room::member::MembershipState};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{RemoteChange, RemoteError, SMALL, called, clearest, received, rules_of, template::Wanted, versions};
use crate::Federation;

impl Federation {
    /// Knocks on a room through the first of several servers that takes it.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn knock(self: &Arc<Self>, knock: RemoteChange) -> Result<(), RemoteError> {
        let this = Arc::clone(self);
        tokio::spawn(async move { this.knock_now(&knock).await }).await.map_err(|_| RemoteError::Stopping)?
    }

    async fn knock_now(&self, knock: &RemoteChange) -> Result<(), RemoteError> {
        let mut failure = None;
        for server in self.candidates(&knock.room_id, &knock.user_id, &knock.via).await? {
            match self.knock_through(&server, knock).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, %server, room_id = %knock.room_id, "a knock failed");
                    failure = clearest(failure, error);
                }
            }
        }
        Err(failure.unwrap_or(RemoteError::NoServer))
    }

    async fn knock_through(&self, server: &ServerName, knock: &RemoteChange) -> Result<(), RemoteError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            knock_room_state: Vec<Box<RawValue>>,
        }
        let mut request = v1::Request::new(knock.room_id.clone(), knock.user_id.clone());
        request.ver = versions();
        let made = self.client.send(server, request, SMALL).await.map_err(called(server))?;
        let (version, rules) = rules_of(Some(made.room_version))?;
        let wanted = Wanted {
            room_id: &knock.room_id,
            user_id: &knock.user_id,
            membership: MembershipState::Knock,
            content: &knock.content,
        };
        let event = self.sign_template(server, &made.event, &rules, &wanted)?;
        let sent = self.send_membership(server, "v1/send_knock", &event).await;
        let Answer { knock_room_state } = sent.map_err(called(server))?;
        let shown = self.check_shown(&knock.room_id, &rules, knock_room_state).await;
        if let Some(why) = shown.complaint {
            tracing::warn!(%server, room_id = %knock.room_id, why, "a room that was knocked on is shown badly");
        }
        Ok(self.engine.receive_knock(version, received(event), shown.events).await?)
    }
}
