//! A page of a server's published rooms: this server's own, or another's by asking it.

use engine::{Listing, ListingSince, RoomNum};
use http_kit::{MatrixError, RawJson};
use ruma::{
    ServerName, UInt,
    directory::{Filter, RoomNetwork},
};

use crate::{ApiError, App};

impl App {
    /// The answer to a client that pages through the published rooms of a server.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for tokens and networks that are none of ours; 502 where the other server gives no answer.
    pub(super) async fn published_rooms(
        &self,
        server: Option<&ServerName>,
        network: &RoomNetwork,
        filter: &Filter,
        (since, limit): (Option<&str>, Option<UInt>),
    ) -> Result<RawJson, ApiError> {
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let listing: Listing = match server.filter(|server| *server != self.engine.identity.server_name) {
            Some(server) => self.remotes.public_rooms(server, filter, since, limit).await?,
            None => {
                let since = ListingSince::decode(since.unwrap_or_default())
                    .ok_or_else(|| MatrixError::invalid_param("since", "not a token of this list"))?;
                let rooms = self.rooms_of_network(network).await?;
                self.engine.listing(rooms, filter, since, limit).await?
            }
        };
        Ok(RawJson(serde_json::to_vec(&listing).map_err(MatrixError::internal)?.into()))
    }

    /// The rooms in the directory of a network: this server's own for Matrix, those of services for others.
    async fn rooms_of_network(&self, network: &RoomNetwork) -> Result<Vec<RoomNum>, ApiError> {
        let unknown = || MatrixError::invalid_param("third_party_instance_id", "nothing here bridges to that network");
        let bridged = async |instance: Option<&str>| match &self.services {
            Some(services) => services.published(instance).await.map_err(MatrixError::internal),
            None => Ok(None),
        };
        Ok(match network {
            RoomNetwork::Matrix => self.engine.public_list().await?,
            RoomNetwork::ThirdParty(instance) => bridged(Some(instance)).await?.ok_or_else(unknown)?,
            _ => {
                let mut rooms = self.engine.public_list().await?;
                rooms.extend(bridged(None).await?.unwrap_or_default());
                rooms.sort_unstable();
                rooms.dedup();
                rooms
            }
        })
    }
}
