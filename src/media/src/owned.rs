//! What a user's files take, and removing them.

use ruma::ServerName;
use store::{CommitError, DbWrite, Json, Page};

use crate::{
    Media, MediaError,
    tables::{File, MEDIA, MediaRow, PENDING, REMOTE, STORED, State, THUMBNAILS, ThumbnailRow},
};

/// Rows read at a time.
const ROWS: usize = 500;

fn file_of(row: &MediaRow) -> Option<&File> {
    match &row.state {
        State::Complete(file) | State::Quarantined(file) => Some(file),
        State::Reserved { .. } => None,
    }
}

impl Media {
    /// The bytes of a user's files. Whoever changes them has the user's turn, in `reserving`.
    pub(crate) async fn stored(&self, owner: u64) -> Result<u64, MediaError> {
        if let Some(stored) = self.db.get(&STORED, &owner).await? {
            return Ok(stored);
        }
        // Nothing has been counted yet: there may be files from before that was done.
        let mut stored = 0;
        let mut after = String::new();
        while let Some((next, rows)) = self.files_behind(&after).await? {
            after = next;
            let own = rows.iter().filter(|(_, row)| row.owner == owner);
            stored += own.filter_map(|(_, row)| file_of(row)).map(|file| file.size).sum::<u64>();
        }
        Ok(stored)
    }

    /// The room that a user has left, in bytes.
    pub(crate) async fn room_left(&self, owner: u64) -> Result<u64, MediaError> {
        let Some(quota) = self.config.quota() else { return Ok(u64::MAX) };
        Ok(quota.saturating_sub(self.stored(owner).await?))
    }

    /// A page of this server's files, and where the next one begins; none at the end.
    async fn files_behind(&self, after: &str) -> Result<Option<(String, Vec<(String, MediaRow)>)>, MediaError> {
        // Ids are of letters, digits, `-` and `_`: all of them come before this.
        let rows = self.db.scan(&MEDIA, &after.to_owned(), &"~".to_owned(), Page::first(ROWS)).await?;
        let rows: Vec<(String, MediaRow)> = rows.into_iter().map(|(id, Json(row))| (id, row)).collect();
        let Some((last, _)) = rows.last() else { return Ok(None) };
        // The first place behind it.
        Ok(Some((format!("{last}\0"), rows)))
    }

    /// Removes a file from this server, whichever it is of; nobody gets it any more. Another server's can be fetched again, unless it is
    /// quarantined.
    ///
    /// # Errors
    /// [`MediaError::NotFound`] where there is none, and those of the store.
    pub async fn remove(&self, server: &ServerName, id: &str) -> Result<(), MediaError> {
        if server == self.server_name
            && let Some(Json(row)) = self.db.get(&MEDIA, &id.to_owned()).await?
        {
            return self.remove_own(row.owner, id).await;
        }
        let key = (server.as_str().to_owned(), id.to_owned());
        let Json(row) = self.db.get(&REMOTE, &key).await?.ok_or(MediaError::NotFound)?;
        if row.quarantined {
            return Err(MediaError::NotFound);
        }
        self.let_go(&key).await
    }

    /// Removes all files of a user, and the ids that they reserved. It is safe to repeat.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove_all_of(&self, owner: u64) -> Result<(), MediaError> {
        let mut after = String::new();
        while let Some((next, rows)) = self.files_behind(&after).await? {
            after = next;
            for (id, _) in rows.iter().filter(|(_, row)| row.owner == owner) {
                match self.remove_own(owner, id).await {
                    Ok(()) | Err(MediaError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn remove_own(&self, owner: u64, id: &str) -> Result<(), MediaError> {
        let _turn = self.reserving.take(owner).await;
        let id = id.to_owned();
        let Json(row) = self.db.get(&MEDIA, &id).await?.ok_or(MediaError::NotFound)?;
        let mut objects: Vec<String> = file_of(&row).map(|file| file.object.clone()).into_iter().collect();
        let mut write = self.db.write();
        let of = (self.server_name.as_str().to_owned(), id.clone());
        objects.extend(self.take_thumbnails(&mut write, &of).await?.1);
        if let Some(file) = file_of(&row) {
            write.put(&STORED, &owner, &self.stored(owner).await?.saturating_sub(file.size));
        }
        write.require(MEDIA.equals(&id, &Json(row))).delete(&MEDIA, &id).delete(&PENDING, &(owner, id.clone()));
        for object in &objects {
            self.loose.release(&mut write, object);
        }
        match write.commit().await {
            Ok(()) => {}
            // It was uploaded to, or quarantined, at this moment: whoever asks again finds it as it is now.
            Err(CommitError::Conflict) => return Err(MediaError::Changed),
            Err(error) => return Err(error.into()),
        }
        // One may have been made while they were looked for; from now on none is.
        let mut write = self.db.write();
        let (any, late) = self.take_thumbnails(&mut write, &of).await?;
        if any {
            late.iter().for_each(|object| self.loose.release(&mut write, object));
            write.commit().await?;
        }
        for object in objects.iter().chain(&late) {
            self.loose.discard(object).await;
        }
        Ok(())
    }

    /// Removes the rows of a picture's thumbnails in a commit: whether there are any, and their objects.
    async fn take_thumbnails(
        &self,
        write: &mut DbWrite<'_>,
        of: &(String, String),
    ) -> Result<(bool, Vec<String>), MediaError> {
        let (mut any, mut objects) = (false, Vec::new());
        for (thumbnail, Json(made)) in self.db.scan_all(&THUMBNAILS, of).await? {
            any = true;
            write.delete(&THUMBNAILS, &thumbnail);
            if let ThumbnailRow::Made { object, .. } = made {
                objects.push(object);
            }
        }
        Ok((any, objects))
    }
}
