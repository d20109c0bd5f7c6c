//! What a commit costs on the embedded backend: `cargo bench -p store-rocksdb [-- NAME=VALUE…]`.
//!
//! Goes through [`store::Db`] on a real file system and refuses one in memory. For 1, 8 and 64 writers it prints
//! commits per second, latencies, CPU time per commit (of the whole process, and by thread), groups and syncs, bytes written
//! per byte asked for. Each commit is 6 puts: an event of 700 bytes and five rows of about 40. Then what reads cost.
//!
//! Parameters: `dir` (where), `seconds` (of each run), `sync`, `buffer_mib`, `cache_mib`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use store::{CommitterOptions, Db, Keyspace, Page, Store, Table};
use store_rocksdb::{RocksDbOptions, RocksDbStore};

/// (room, event)
const EVENTS: Table<(u64, u64), Bytes> = Table::new(Keyspace::Events, 1, "events");
/// position
const STREAM: Table<u64, Bytes> = Table::new(Keyspace::Orders, 1, "stream");
/// (room, depth, arrival)
const DEPTHS: Table<(u64, u64, u64), Bytes> = Table::new(Keyspace::Orders, 2, "depths");
const HEADS: Table<u64, Bytes> = Table::new(Keyspace::State, 1, "heads");
/// event id
const IDS: Table<u64, Bytes> = Table::new(Keyspace::Index, 1, "ids");
/// (device, transaction)
const TRANSACTIONS: Table<(u64, u64), Bytes> = Table::new(Keyspace::Index, 2, "transactions");

const MEMORY_FILE_SYSTEMS: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

fn main() {
    let settings: BTreeMap<String, String> =
        env::args().filter_map(|word| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let number = |name: &str, default: u64| settings.get(name).map_or(default, |value| value.parse().unwrap());
    let dir = settings.get("dir").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&dir).unwrap();
    let kind = file_system(&dir);
    if MEMORY_FILE_SYSTEMS.contains(&kind.as_str()) {
        eprintln!("{} is on {kind}, which syncs nothing: name another folder with dir=…", dir.display());
        std::process::exit(1);
    }
    let folder = tempfile::tempdir_in(&dir).unwrap();
    let options = RocksDbOptions {
        sync: number("sync", 1) == 1,
        write_buffer_bytes: (number("buffer_mib", 32) << 20) as usize,
        cache_bytes: (number("cache_mib", 32) << 20) as usize,
        statistics: true,
        ..RocksDbOptions::new(folder.path().join("data"))
    };
    println!("file system {kind}, sync {}, memtables {} MiB", options.sync, options.write_buffer_bytes >> 20);
    let begun = Instant::now();
    let store = Arc::new(RocksDbStore::open(&options).unwrap());
    println!(
        "opened an empty store in {:.1} ms, {:.1} MiB resident",
        begun.elapsed().as_secs_f64() * 1e3,
        resident_mib()
    );
    store::open_schema(&*store, store::SCHEMA_VERSION, &[]).unwrap();
    let backend = Arc::clone(&store) as Arc<dyn Store>;
    let db = Db::open(backend, CommitterOptions::default(), |error| panic!("{error}")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();

    let next = Arc::new(AtomicU64::new(0));
    for writers in [1, 8, 64] {
        let run =
            Run { store: &store, db: &db, writers, next: &next, length: Duration::from_secs(number("seconds", 8)) };
        runtime.block_on(run.measure());
    }
    runtime.block_on(reads(&db, next.load(Ordering::Relaxed)));
    println!("{:?}\n{:.1} MiB resident", store.usage().unwrap(), resident_mib());
    drop(runtime);
    db.shutdown();
    drop((db, store));
    let begun = Instant::now();
    let store = RocksDbStore::open(&options).unwrap();
    let (opened, size) = (begun.elapsed(), store.size_on_disk().unwrap());
    println!("reopened {:.0} MiB in {:.0} ms", size as f64 / 1048576.0, opened.as_secs_f64() * 1e3);
}

struct Run<'a> {
    store: &'a RocksDbStore,
    db: &'a Arc<Db>,
    writers: u64,
    /// The first number for rows that is free.
    next: &'a Arc<AtomicU64>,
    length: Duration,
}

impl Run<'_> {
    /// Runs the writers and prints.
    async fn measure(self) {
        let before =
            (self.db.stats().snapshot(), self.store.log_syncs().unwrap_or(0), cpu_by_thread(), written_bytes());
        let begun = Instant::now();
        let deadline = begun + self.length;
        let tasks: Vec<_> = (0..self.writers)
            .map(|writer| tokio::spawn(write_until(Arc::clone(self.db), writer, Arc::clone(self.next), deadline)))
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let stats = self.db.stats().snapshot() - before.0;
        let syncs = self.store.log_syncs().unwrap_or(0) - before.1;
        let commits = stats.commits as f64;
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!(
            "{:>2} writers: {:>6.0} commits/s, p50 {:.3} ms, p99 {:.3} ms, {:.1} commits a group, {:.2} syncs a group",
            self.writers,
            commits / elapsed,
            at(0.5),
            at(0.99),
            commits / stats.groups as f64,
            syncs as f64 / stats.groups as f64,
        );
        let mut total = 0.0;
        let mut by_thread = String::new();
        for (thread, ticks) in cpu_by_thread() {
            let micros = (ticks - before.2.get(&thread).copied().unwrap_or(0)) as f64 / 1e3 / commits;
            total += micros;
            if micros >= 0.1 {
                by_thread += &format!("  {thread} {micros:.1}");
            }
        }
        let amplification = (written_bytes() - before.3) as f64 / stats.bytes_written as f64;
        println!("            {total:.1} CPU-µs a commit:{by_thread}; {amplification:.1} bytes written a byte");
    }
}

async fn write_until(db: Arc<Db>, writer: u64, next: Arc<AtomicU64>, deadline: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let begun = Instant::now();
        append(&db, writer, next.fetch_add(1, Ordering::Relaxed)).await;
        latencies.push(begun.elapsed());
    }
    latencies
}

async fn append(db: &Db, room: u64, n: u64) {
    let small = Bytes::from(format!("{{\"some\":\"row of forty bytes\",\"n\":{n:08}}}"));
    let ticket = db.enqueue_at(1, |pos, mut write| {
        write
            .put(&EVENTS, &(room, n), &event(n))
            .put(&STREAM, &pos, &small)
            .put(&DEPTHS, &(room, n, pos), &Bytes::new())
            .put(&HEADS, &room, &small)
            .put(&IDS, &n.wrapping_mul(0x9e37_79b9_7f4a_7c15), &small)
            .put(&TRANSACTIONS, &(room, n), &small);
        write
    });
    ticket.await.unwrap();
}

/// 700 bytes, half of them text that compresses and half that does not.
fn event(n: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(700);
    let mut noise = n | 1;
    while bytes.len() < 350 {
        noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(format!("{noise:016x}").as_bytes());
    }
    bytes.resize(700, b'x');
    Bytes::from(bytes)
}

async fn reads(db: &Db, rows: u64) {
    const ROUNDS: u64 = 20_000;
    let recent = |step: u64| rows.saturating_sub(64 + step % 1_000);
    let id = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let per = |begun: Instant, rounds: u64| begun.elapsed().as_secs_f64() * 1e6 / rounds as f64;

    let begun = Instant::now();
    let mut found = 0;
    for step in 0..ROUNDS {
        found += usize::from(db.get(&IDS, &id(recent(step))).await.unwrap().is_some());
    }
    println!("get, recent rows: {:.2} µs ({found} of {ROUNDS} there)", per(begun, ROUNDS));
    let begun = Instant::now();
    for step in 0..ROUNDS {
        assert!(db.get(&IDS, &(id(rows + 1_000 + step))).await.unwrap().is_none());
    }
    println!("get, absent rows: {:.2} µs", per(begun, ROUNDS));
    for name in ["first", "again"] {
        let begun = Instant::now();
        for step in 0..ROUNDS / 10 {
            db.get(&IDS, &id(step * 7 % 5_000)).await.unwrap();
        }
        println!("get, old rows, {name}: {:.2} µs", per(begun, ROUNDS / 10));
    }
    let begun = Instant::now();
    for step in 0..ROUNDS / 100 {
        let keys: Vec<_> = (0..100).map(|n| id(recent(step * 100 + n))).collect();
        db.multi_get(&IDS, &keys).await.unwrap();
    }
    println!("multi_get of 100 recent rows: {:.1} µs", per(begun, ROUNDS / 100));
    let begun = Instant::now();
    for room in 0..ROUNDS / 20 {
        db.scan_prefix(&DEPTHS, &(room % 64), Page::last(50)).await.unwrap();
    }
    println!("last 50 rows of a room: {:.1} µs", per(begun, ROUNDS / 20));
}

/// The type of the file system that a folder is on.
fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((PathBuf::from(words.next()?), words.next()?.to_owned()))
    });
    let on = mounts.filter(|(point, _)| folder.starts_with(point));
    // Of two mounts on one point the later one is seen.
    on.max_by_key(|(point, _)| point.components().count()).expect("no mount holds the folder").1
}

/// CPU time of this process's threads in nanoseconds, by name; the kernel gives it in hundredths of a second.
fn cpu_by_thread() -> BTreeMap<String, u64> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else {
            continue;
        };
        let (name, rest) = stat.split_once('(').unwrap().1.rsplit_once(')').unwrap();
        // User and system time are the fields 14 and 15, of which the name is the second.
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        *by_name.entry(name.to_owned()).or_insert(0) += ticks * 10_000_000;
    }
    by_name
}

/// Bytes that this process has sent towards the disk.
fn written_bytes() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

fn resident_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
