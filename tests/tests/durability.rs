//! An acknowledged write is on the disk, and a full disk loses nothing that was acknowledged.
//!
//! Needs strace (Debian's) and the right to trace; the full disk needs the right to mount and is skipped, with the
//! reason printed, where that is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use serde_json::json;
use tests::client::{Client, ClientError};
use tests::http::{Endpoint, HttpError};
use tests::server::{Server, ServerError, Setup, SmallDisk};
use tests::strace::{Trace, wrapper};

const PASSWORD: &str = "a long enough password";
const SENDERS: usize = 4;
const WRITES_EACH: usize = 60;
const DISK_MIB: u32 = 96;
const LARGER_DISK_MIB: u32 = 512;
/// A sender gives up after so many large messages: far more than the disk holds.
const FILL_LIMIT: usize = 2_000;

async fn senders(endpoint: &Endpoint, count: usize) -> (Vec<Client>, Vec<String>) {
    let (mut clients, mut rooms) = (Vec::new(), Vec::new());
    for sender in 0..count {
        let client = Client::register(endpoint, &format!("sender{sender}"), PASSWORD).await.expect("register");
        rooms.push(client.create_room(&json!({"name": "durable"})).await.expect("createRoom"));
        clients.push(client);
    }
    (clients, rooms)
}

/// Messages and state, each with its marker three times; gives (marker, event id) of all acknowledged ones.
async fn marked_writes(client: Client, room: String, sender: usize, run: u32) -> Vec<(String, String)> {
    let mut acknowledged = Vec::new();
    for number in 0..WRITES_EACH {
        let marker = format!("mk~{run:08x}~{sender}~{number:06}~");
        let filler = "-".repeat(number * 7);
        let body = format!("{marker} {filler} {marker} {filler} {marker}");
        let event_id = if number % 5 == 4 {
            client.set_state(&room, "test.durable", &format!("{}", number % 3), &json!({"body": body})).await
        } else {
            client.send_text(&room, &format!("t{number}"), &body).await
        };
        acknowledged.push((marker, event_id.expect("a write")));
    }
    acknowledged
}

/// Runs the server under strace; gives how many writes were acknowledged and why some were not durable by then.
async fn traced(sync: bool) -> (usize, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let prefix = folder.path().join("trace");
    let setup = Setup { sync, wrapper: wrapper(&prefix), ..Setup::default() };
    let mut server = Server::start(setup).await.expect("the server under strace");
    let run = rand::rng().random();
    println!("seed {run}, sync {sync}");
    let (clients, rooms) = senders(server.endpoint(), SENDERS).await;
    let mut tasks = Vec::new();
    for (sender, (client, room)) in clients.into_iter().zip(rooms).enumerate() {
        tasks.push(tokio::spawn(marked_writes(client, room, sender, run)));
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.expect("a sender"));
    }
    let status = server.stop().await.expect("an orderly stop");
    assert!(status.success(), "the server ended with {status}\n{}", server.log_tail());
    let trace = Trace::read(&prefix).await.expect("a whole trace");
    let data = server.data_dir().canonicalize().expect("the data folder").display().to_string();
    let is_log = |path: &str| path.starts_with(&data) && path.ends_with(".log");
    println!("{} calls, {} syncs of the log, {} writes", trace.len(), trace.syncs(is_log), acknowledged.len());
    let faults = acknowledged.iter().filter_map(|(marker, id)| trace.fault(is_log, marker, id)).collect();
    (acknowledged.len(), faults)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_was_synced_before_its_answer() {
    let (writes, faults) = traced(true).await;
    assert_eq!(writes, SENDERS * WRITES_EACH);
    assert!(faults.is_empty(), "{} of {writes}:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sync_switched_off_the_same_check_fails() {
    let (writes, faults) = traced(false).await;
    println!("{} of {writes} were not durable, such as: {:?}", faults.len(), faults.first());
    let unsynced = faults.iter().filter(|fault| fault.contains("no sync")).count();
    assert!(unsynced * 2 > writes, "{unsynced} of {writes} answered without a sync: the check cannot fail");
}

/// Sends large messages until the server refuses; gives the ids of the acknowledged ones and the refusal.
async fn fill(client: Arc<Client>, room: String) -> (Vec<String>, ClientError) {
    let mut acknowledged = Vec::new();
    for number in 0..FILL_LIMIT {
        // Random text: a store may compress.
        let mut noise = vec![0; 30_000];
        rand::rng().fill(noise.as_mut_slice());
        let noise = STANDARD.encode(&noise);
        match client.send_text(&room, &format!("t{number}"), &noise).await {
            Ok(event_id) => acknowledged.push(event_id),
            Err(error) => return (acknowledged, error),
        }
    }
    panic!("{FILL_LIMIT} large messages fit on a disk of {DISK_MIB} MiB");
}

fn assert_is_an_error_not_silence(error: &ClientError) {
    println!("refused: {error}");
    assert!(!matches!(error, ClientError::Http(HttpError::Timeout(_))), "a request was left waiting: {error}");
    if let Some(status) = error.status() {
        assert!((500..600).contains(&status), "a full disk is the server's fault: {error}");
    }
}

/// Waits for the server to give up by itself, as it should; kills it where it goes on without writing.
async fn end(server: &mut Server) {
    match server.wait(Duration::from_secs(10)).await {
        Ok(status) => {
            println!("the server ended with {status}");
            assert!(!status.success(), "a server that lost its disk must not end as if all were well");
        }
        Err(ServerError::StillRunning(_)) => {
            println!("the server goes on; killed");
            server.kill().expect("SIGKILL");
        }
        Err(error) => panic!("{error}"),
    }
}

async fn assert_all_there(client: &Client, room: &str, acknowledged: &[String]) {
    let mut counts = BTreeMap::new();
    for event in client.all_messages(room, 100).await.expect("messages") {
        *counts.entry(event["event_id"].as_str().expect("an id").to_owned()).or_insert(0) += 1;
    }
    for event_id in acknowledged {
        assert_eq!(counts.get(event_id), Some(&1), "{event_id} in {room}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let disk = match SmallDisk::mount(DISK_MIB) {
        Ok(disk) => disk,
        Err(error) => {
            println!("SKIPPED: {error}");
            return;
        }
    };
    let setup = Setup { data_dir: Some(disk.path().join("data")), ..Setup::default() };
    let mut server = Server::start(setup).await.expect("the server on a small disk");
    let (clients, rooms) = senders(server.endpoint(), SENDERS).await;
    let clients: Vec<Arc<Client>> = clients.into_iter().map(Arc::new).collect();
    let mut tasks = Vec::new();
    for (client, room) in clients.iter().zip(&rooms) {
        tasks.push(tokio::spawn(fill(Arc::clone(client), room.clone())));
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        let (ids, error) = task.await.expect("a sender");
        assert_is_an_error_not_silence(&error);
        assert!(!ids.is_empty(), "the disk was full before the first message");
        acknowledged.push(ids);
    }
    println!("{:?} acknowledged", acknowledged.iter().map(Vec::len).collect::<Vec<_>>());
    end(&mut server).await;

    disk.resize(LARGER_DISK_MIB).expect("a larger disk");
    server.launch().await.expect("a restart with space");
    for ((client, room), ids) in clients.iter().zip(&rooms).zip(&acknowledged) {
        assert_all_there(client, room, ids).await;
        let event_id = client.send_text(room, "afterwards", "there is space again").await.expect("a write with space");
        assert_all_there(client, room, &[event_id]).await;
    }
    let status = server.stop().await.expect("an orderly stop");
    assert!(status.success(), "the server ended with {status}\n{}", server.log_tail());
    let output = server.admin(&["check"]).expect("the check command");
    assert!(output.status.success(), "check: {}", String::from_utf8_lossy(&output.stderr));
}
