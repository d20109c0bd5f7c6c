//! The directories of services.
//! [Published room directories](https://spec.matrix.org/v1.19/application-service-api/#published-room-directories).

use engine::RoomNum;
use store::{CommitError, Page, StoreError};

use crate::{queries::instance_id, services::Services, tables::PUBLISHED};

/// Rooms in the directories of one service, at most.
const MAX_ROOMS: usize = 20_000;

/// Why a room is not put into a directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("the directory is full")]
    Full,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl Services {
    /// Puts a room into the directory of a network of a service, or takes it out.
    pub(crate) async fn publish(
        &self,
        service: &str,
        network: &str,
        room: RoomNum,
        public: bool,
    ) -> Result<(), PublishError> {
        let key = (service.to_owned(), network.to_owned(), room);
        if public {
            let rows = self.db.scan_prefix(&PUBLISHED, &key.0, Page::first(MAX_ROOMS)).await?;
            if rows.len() >= MAX_ROOMS && !rows.iter().any(|(listed, ())| *listed == key) {
                return Err(PublishError::Full);
            }
        }
        let mut write = self.db.write();
        write.op(if public { PUBLISHED.put(&key, &()) } else { PUBLISHED.delete(&key) });
        Ok(write.commit().await?)
    }

    /// The rooms in the directory of a network, by its instance id; `None` where no service here has that id's. Without an id, those of
    /// all networks.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn published(&self, instance: Option<&str>) -> Result<Option<Vec<RoomNum>>, StoreError> {
        let mut rooms = Vec::new();
        let mut known = instance.is_none();
        for service in self.registrations.all() {
            let is_its = instance.is_none_or(|id| id.starts_with(&instance_id(&service.id, "")));
            if !is_its {
                continue;
            }
            known = true;
            let rows = self.db.scan_prefix(&PUBLISHED, &service.id.to_string(), Page::first(MAX_ROOMS)).await?;
            let wanted = rows
                .into_iter()
                .filter(|((service, network, _), ())| instance.is_none_or(|id| id == instance_id(service, network)));
            rooms.extend(wanted.map(|((_, _, room), ())| room));
        }
        rooms.sort_unstable();
        rooms.dedup();
        Ok(known.then_some(rooms))
    }
}
