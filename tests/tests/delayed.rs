//! Events that are to be sent later, and a server that is killed while they wait and while they are sent: each comes, and comes once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tests::{
    client::{Client, room_path},
    server::{Server, Setup},
};

const PASSWORD: &str = "a long enough password";
const LISTED: &str = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events";
const KIND: &str = "test.delayed";
const ROUNDS: u64 = 5;
const EACH: u64 = 15;
/// How often it is looked whether all were sent.
const LOOKS: usize = 600;

async fn later(client: &Client, room: &str, n: u64, delay: u64) -> String {
    let path = format!("{}?org.matrix.msc4140.delay={delay}", room_path(room, &format!("send/{KIND}/t{n}")));
    let answer = client.request(Method::PUT, &path, Some(&json!({"n": n}))).await.unwrap();
    answer["delay_id"].as_str().unwrap().to_owned()
}

async fn waiting(client: &Client) -> Vec<Value> {
    client.request(Method::GET, LISTED, None).await.unwrap()["delayed_events"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_comes_once_whenever_the_server_is_killed() {
    let mut server = Server::start(Setup::default()).await.unwrap();
    let client = Client::register(server.endpoint(), "ann", PASSWORD).await.unwrap();
    let room = client.create_room(&json!({"preset": "private_chat"})).await.unwrap();
    let far = later(&client, &room, 1000, 86_400_000).await;
    for round in 0..ROUNDS {
        for n in 0..EACH {
            later(&client, &room, round * EACH + n, 50 + 5 * n).await;
        }
        // Before, amid and behind what is due.
        tokio::time::sleep(Duration::from_millis(30 * round)).await;
        server.kill().unwrap();
        server.launch().await.unwrap();
    }
    for _ in 0..LOOKS {
        if waiting(&client).await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left = waiting(&client).await;
    assert_eq!(left.iter().map(|event| event["delay_id"].as_str().unwrap()).collect::<Vec<_>>(), [far]);
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for event in client.all_messages(&room, 100).await.unwrap() {
        if event["type"] == KIND {
            *counts.entry(event["content"]["n"].as_u64().unwrap()).or_default() += 1;
        }
    }
    let expected: BTreeMap<u64, usize> = (0..ROUNDS * EACH).map(|n| (n, 1)).collect();
    assert_eq!(counts, expected);
}
