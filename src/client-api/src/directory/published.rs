//! A page of a server's published rooms: this server's own, or another's by asking it.

use engine::{Listing, ListingSince};
use http_kit::{MatrixError, RawJson};
use ruma::{ServerName, UInt, directory::Filter};

use crate::{ApiError, App};

impl App {
    /// The answer to a client that pages through the published rooms of a server.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM` for tokens that are none of ours; 502 where the other server gives no answer.
    pub(super) async fn published_rooms(
        &self,
        server: Option<&ServerName>,
        filter: &Filter,
        since: Option<&str>,
        limit: Option<UInt>,
    ) -> Result<RawJson, ApiError> {
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let listing: Listing = match server.filter(|server| *server != self.engine.identity.server_name) {
            Some(server) => self.remotes.public_rooms(server, filter, since, limit).await?,
            None => {
                let since = ListingSince::decode(since.unwrap_or_default())
                    .ok_or_else(|| MatrixError::invalid_param("since", "not a token of this list"))?;
                self.engine.published_rooms(filter, since, limit).await?
            }
        };
        Ok(RawJson(serde_json::to_vec(&listing).map_err(MatrixError::internal)?.into()))
    }
}
