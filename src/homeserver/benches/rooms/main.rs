//! What rooms cost on the embedded store: `cargo bench -p homeserver [-- NAME=VALUE…]`.
//!
//! Appends: messages of 100 bytes with transaction ids through [`engine::Engine::send`], by 1, 8 and 64 writers, all in one room and
//! spread over 64. /sync: through the router of the client API, with the store's own counters beside the times. Everything is on a
//! real file system; one in memory is refused. Parameters: `dir` (where), `seconds` (of each run of appends), `rounds` (of /sync).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod appends;
mod machine;
mod server;
mod syncs;

use std::{collections::BTreeMap, env, fs, path::PathBuf, time::Duration};

use server::Server;

fn main() {
    let settings: BTreeMap<String, String> =
        env::args().filter_map(|word| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let number = |name: &str, default: u64| settings.get(name).map_or(default, |value| value.parse().unwrap());
    let dir = settings.get("dir").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&dir).unwrap();
    let kind = machine::file_system(&dir);
    if machine::in_memory(&kind) {
        eprintln!("{} is on {kind}, which syncs nothing: name another folder with dir=…", dir.display());
        std::process::exit(1);
    }
    println!("file system {kind}, every group synced, {} CPUs", machine::cpus());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let length = Duration::from_secs(number("seconds", 5));
    let rounds = number("rounds", 200);

    let folder = tempfile::tempdir_in(&dir).unwrap();
    runtime.block_on(async {
        let server = Server::open(folder.path()).await;
        for rooms in [1, 64] {
            for writers in [1, 8, 64] {
                appends::run(&server, rooms, writers, length).await;
            }
        }
        server.close();
    });
    for rooms in [1, 1000] {
        let folder = tempfile::tempdir_in(&dir).unwrap();
        runtime.block_on(async {
            let server = Server::open(folder.path()).await;
            syncs::incremental(&server, rooms, rounds).await;
            server.close();
        });
    }
    let folder = tempfile::tempdir_in(&dir).unwrap();
    runtime.block_on(async {
        let server = Server::open(folder.path()).await;
        syncs::initial(&server, 100, rounds.div_ceil(4)).await;
        server.close();
    });
}
