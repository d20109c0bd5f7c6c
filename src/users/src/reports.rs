//! What users report to the operator: rooms, events, users.
//! [Reporting content](https://spec.matrix.org/v1.19/client-server-api/#reporting-content).

use std::sync::Arc;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use store::{Json, Page, Pos};

use crate::{
    core::Core,
    error::Result,
    tables::{REPORTS, REPORTS_OF, UserNum},
};

/// Reports of one user that are kept; a newer one takes the place of the oldest.
const MAX_OF_USER: usize = 200;
/// A reason's length in bytes, at most; the rest is cut off.
const MAX_REASON: usize = 4000;

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reported {
    /// A room.
    Room {
        /// Which.
        room_id: OwnedRoomId,
    },
    /// An event.
    Event {
        /// Its room.
        room_id: OwnedRoomId,
        /// Which.
        event_id: OwnedEventId,
        /// Who sent it.
        sender: OwnedUserId,
    },
    /// A user.
    User {
        /// Who.
        user_id: OwnedUserId,
    },
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Who reports.
    pub reporter: OwnedUserId,
    /// The reporter's number.
    pub reporter_num: UserNum,
    /// When, in Unix milliseconds.
    pub ts: u64,
    /// What.
    #[serde(flatten)]
    pub reported: Reported,
    /// Why, in the reporter's words; may be empty.
    pub reason: String,
}

/// The reports that nobody has removed yet.
#[derive(Debug, Clone)]
pub struct Reports {
    core: Arc<Core>,
}

impl Reports {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Keeps a report. Its number is given back.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn add(
        &self,
        reporter_num: UserNum,
        reporter: OwnedUserId,
        reported: Reported,
        reason: &str,
    ) -> Result<Pos> {
        let lock = self.core.lock(reporter_num).await;
        let page = Page::first(MAX_OF_USER);
        let own = self.core.db.scan_prefix(&REPORTS_OF, &reporter_num, page).await?;
        let oldest = own.first().filter(|_| own.len() >= MAX_OF_USER).map(|((_, number), ())| *number);
        let reason = reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default().to_owned();
        let report = Report { reporter, reporter_num, ts: self.core.clock.now_ms(), reported, reason };
        let build = move |pos: Pos, write: &mut store::DbWrite<'_>| {
            write.put(&REPORTS, &pos, &Json(report)).put(&REPORTS_OF, &(reporter_num, pos), &());
            if let Some(oldest) = oldest {
                write.delete(&REPORTS, &oldest).delete(&REPORTS_OF, &(reporter_num, oldest));
            }
        };
        Ok(self.core.commit_at(lock, 1, build, |_| ()).await?)
    }

    /// Reports with smaller numbers than `before`, newest first, at most `limit`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, before: Pos, limit: usize) -> Result<Vec<(Pos, Report)>> {
        let rows = self.core.db.scan(&REPORTS, &0u64, &before, Page::last(limit)).await?;
        Ok(rows.into_iter().map(|(number, Json(report))| (number, report)).collect())
    }

    /// Removes a report. Whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, number: Pos) -> Result<bool> {
        let Some(Json(report)) = self.core.db.get(&REPORTS, &number).await? else { return Ok(false) };
        let mut write = self.core.db.write();
        write.delete(&REPORTS, &number).delete(&REPORTS_OF, &(report.reporter_num, number));
        write.commit().await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_room_id, owned_user_id};

    use super::*;
    use crate::testing::Bench;

    #[tokio::test]
    async fn reports_are_kept_over_a_restart_bounded_for_each_user() {
        let bench = Bench::new();
        let users = bench.users();
        let room = || Reported::Room { room_id: owned_room_id!("!a:hs") };
        let first = users.reports.add(2, owned_user_id!("@ben:hs"), room(), "spam").await.unwrap();
        for nth in 0..=MAX_OF_USER {
            let long = format!("{nth}{}", "ä".repeat(MAX_REASON));
            users.reports.add(1, owned_user_id!("@ann:hs"), room(), &long).await.unwrap();
        }
        let users = bench.users();
        let all = users.reports.list(Pos::MAX, 1000).await.unwrap();
        assert_eq!(all.len(), MAX_OF_USER + 1);
        assert!(all.is_sorted_by_key(|(number, _)| std::cmp::Reverse(*number)));
        assert!(all.iter().all(|(_, report)| report.reason.len() <= MAX_REASON));
        assert_eq!((all[MAX_OF_USER].0, &*all[MAX_OF_USER].1.reason), (first, "spam"), "others lose nothing");
        let oldest = &all[MAX_OF_USER - 1].1;
        assert!(oldest.reason.starts_with("1ä"), "the oldest gave way");
        assert!(users.reports.remove(first).await.unwrap() && !users.reports.remove(first).await.unwrap());
        assert_eq!(users.reports.list(all[1].0, 1).await.unwrap()[0].0, all[2].0);
    }
}
