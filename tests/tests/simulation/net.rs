//! The weather between the servers.

use std::{sync::Arc, time::Duration};

use federation::testing::{Fate, World};
use parking_lot::Mutex;
use rand::{RngExt as _, rngs::StdRng};

use crate::trace::{Trace, hash};

/// How bad it is: chances in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) reply_lost: u32,
    pub(crate) repeated: u32,
    /// A copy arrives much later, behind others.
    pub(crate) again: u32,
    /// The longest a call is on its way, in milliseconds: longer than some callers wait.
    pub(crate) delay: u64,
}

/// The latest that a copy arrives, in milliseconds.
const LATE: u64 = 1_800_000;

impl Weather {
    pub(crate) fn of(rng: &mut StdRng) -> Self {
        Self {
            lost: rng.random_range(0..25),
            reply_lost: rng.random_range(0..15),
            repeated: rng.random_range(0..20),
            again: rng.random_range(0..10),
            delay: [0, 50, 2_000, 15_000, 90_000][rng.random_range(0..5)],
        }
    }

    fn fate(self, rng: &mut StdRng) -> Fate {
        let mut chance = |percent: u32| rng.random_range(0..100) < percent;
        let times = if chance(self.lost) { 0 } else { 1 + u8::from(chance(self.repeated)) };
        let (lose_reply, again) = (chance(self.reply_lost), chance(self.again));
        let mut within = |most: u64| Duration::from_millis(rng.random_range(0..=most));
        let (delay, reply_delay) = (within(self.delay), within(self.delay));
        Fate { delay, reply_delay, times, lose_reply, again: again.then(|| within(LATE)) }
    }
}

/// Every call from now on meets this weather; with none, it arrives.
pub(crate) fn begin(world: &World, weather: Option<Weather>, rng: &Arc<Mutex<StdRng>>, trace: &Trace) {
    let (rng, trace) = (Arc::clone(rng), trace.clone());
    world.mesh.judge(move |from, call| {
        let fate = weather.map_or(Fate::DELIVERED, |weather| weather.fate(&mut rng.lock()));
        let (to, method, target) = (&call.destination, &call.method, &call.target);
        trace.detail(format_args!("{from} > {to} {method} {target} {:016x} {fate:?}", hash(&call.body)));
        fate
    });
}
