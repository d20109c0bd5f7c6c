use ruma::owned_event_id;

use super::*;
use crate::testing::Bench;

#[tokio::test]
async fn a_checkpoint_outlives_a_restart() {
    let bench = Bench::new();
    let users = bench.users();
    let thread = (owned_event_id!("$root"), UnreadCounts { notifications: 1, highlights: 1 });
    let counts = Counts {
        evaluated: 9,
        read: 4,
        receipts: 7,
        main: UnreadCounts { notifications: 3, highlights: 0 },
        threads: BTreeMap::from([thread]),
    };
    users.unread.store(1, 5, Counts { evaluated: 8, ..counts.clone() });
    users.unread.store(1, 5, counts.clone());
    users.unread.store(1, 6, Counts::default());
    users.unread.remove(1, 6);
    // Queued in order: this one is durable last.
    users.core.db.write().commit().await.unwrap();
    let users = bench.users();
    assert_eq!(users.unread.load(1, 5).await.unwrap(), Some(counts.clone()));
    assert_eq!(users.unread.load_many(1, &[7, 5, 6]).await.unwrap(), [None, Some(counts), None]);
    assert_eq!(users.unread.load(2, 5).await.unwrap(), None);
}
