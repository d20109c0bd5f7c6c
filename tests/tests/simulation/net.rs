//! The weather between the servers.

use std::{sync::Arc, time::Duration};

use federation::testing::{Fate, World};
use parking_lot::Mutex;
use rand::{RngExt as _, rngs::StdRng};

/// How bad it is: chances in percent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) reply_lost: u32,
    pub(crate) repeated: u32,
    /// The longest a call is on its way, in milliseconds.
    pub(crate) delay: u64,
}

impl Weather {
    pub(crate) fn of(rng: &mut StdRng) -> Self {
        Self {
            lost: rng.random_range(0..25),
            reply_lost: rng.random_range(0..15),
            repeated: rng.random_range(0..20),
            delay: [0, 50, 2_000, 15_000][rng.random_range(0..4)],
        }
    }
}

/// Every call from now on meets this weather.
pub(crate) fn begin(world: &World, weather: Weather, rng: &Arc<Mutex<StdRng>>) {
    let rng = Arc::clone(rng);
    world.mesh.judge(move |_, _| {
        let mut rng = rng.lock();
        let mut chance = |percent: u32| rng.random_range(0..100) < percent;
        let times = if chance(weather.lost) { 0 } else { 1 + u8::from(chance(weather.repeated)) };
        let lose_reply = chance(weather.reply_lost);
        let mut delay = || Duration::from_millis(rng.random_range(0..=weather.delay));
        Fate { delay: delay(), reply_delay: delay(), times, lose_reply }
    });
}
