//! Playing seeds, each in a runtime of its own.

use std::{
    cell::RefCell,
    ops::Range,
    sync::{
        Once,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::Mutex;

use crate::{bugs::Rig, sim::Sim, trace::Trace};

/// Futures of a debug build are large.
const STACK: usize = 16 << 20;

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// How a seed went.
pub(crate) struct Played {
    /// What is wrong.
    pub(crate) wrong: Vec<String>,
    trace: Trace,
    /// Every byte in the stores in the end.
    stores: u64,
}

impl Played {
    pub(crate) fn report(&self, seed: u64) -> String {
        format!("seed {seed}:\n{}\n\nwhat happened:\n{}", self.wrong.join("\n"), self.trace.text())
    }

    /// Where another run of the seed went another way.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        self.trace
            .difference(&other.trace)
            .or_else(|| (self.wrong != other.wrong).then(|| format!("{:?}\n{:?}", self.wrong, other.wrong)))
            .or_else(|| (self.stores != other.stores).then(|| "the stores differ".to_owned()))
    }
}

thread_local! {
    /// Panics of this thread: also of tasks that nobody asks how they ended.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            before(panic);
        }));
    });
}

/// A runtime in which the same happens in the same order each time. Time goes on when nothing else is to be done; what other threads
/// have worked out (one of them, in the order in which it was asked for) is looked at when this one has nothing to do, and time stands
/// still until then.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .global_queue_interval(u32::MAX)
        .max_blocking_threads(1)
        .build()
        .unwrap()
}

/// Plays a seed on this thread.
pub(crate) fn play(seed: u64, rig: &Rig) -> Played {
    note_panics();
    PANICS.take();
    let rig = rig.clone();
    let played = runtime().block_on(async move {
        let trace = Trace::new();
        let of_task = trace.clone();
        // A task like all others: the one that the runtime was started for is woken at other moments.
        let played = tokio::spawn(async move {
            let mut sim = Sim::new(seed, &rig, of_task).await;
            sim.run().await;
            let wrong = sim.end().await;
            let stores = sim.stores().await;
            // Whoever can be reached keeps all others alive.
            sim.world.servers().for_each(|server| server.crash());
            (wrong, stores)
        });
        let (wrong, stores) = played.await.unwrap_or_else(|error| (vec![error.to_string()], 0));
        Played { wrong, trace, stores }
    });
    let panics = PANICS.take();
    Played { wrong: panics.into_iter().chain(played.wrong).collect(), ..played }
}

/// Plays seeds in several threads. Gives what each of them gave, where it gave something.
pub(crate) fn play_all<T: Send>(seeds: Range<u64>, play: impl Fn(u64) -> Option<T> + Sync) -> Vec<T> {
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    let (next, out) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            if let Some(found) = play(seed) {
                out.lock().push(found);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..number("SIMULATION_THREADS", processors) {
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).unwrap();
        }
    });
    out.into_inner()
}
