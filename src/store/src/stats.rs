use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of what was asked of a store since start.
        #[derive(Debug, Default)]
        pub struct StoreStats {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct StatsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl StoreStats {
            /// Reads all counters.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }

        impl std::ops::Sub for StatsSnapshot {
            type Output = Self;
            fn sub(self, earlier: Self) -> Self {
                Self { $($name: self.$name.saturating_sub(earlier.$name),)* }
            }
        }
    };
}

stats! {
    /// Single look-ups.
    gets,
    /// Batched look-ups.
    multi_gets,
    /// Keys in batched look-ups.
    multi_get_keys,
    /// Range reads.
    scans,
    /// Rows that range reads gave.
    scan_rows,
    /// Commits applied.
    commits,
    /// Commits dropped for a precondition.
    conflicts,
    /// Groups written: one sync each, where syncing is on.
    groups,
    /// Bytes of keys and values written.
    bytes_written,
}

impl StatsSnapshot {
    /// All requests that read rows.
    pub fn reads(&self) -> u64 {
        self.gets + self.multi_gets + self.scans
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
