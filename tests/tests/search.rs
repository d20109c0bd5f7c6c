//! Searching the real server: what was acknowledged is found, whatever became of the process and of the index meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{fs, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tests::{
    client::Client,
    server::{Server, Setup},
};

const PASSWORD: &str = "a long enough password";

async fn search(client: &Client, term: &str) -> Value {
    let body = json!({"search_categories": {"room_events": {"search_term": term, "filter": {"limit": 100}}}});
    let mut answer = client.request(Method::POST, "/_matrix/client/v3/search", Some(&body)).await.expect("a search");
    answer["search_categories"]["room_events"].take()
}

fn found(answer: &Value) -> (u64, usize) {
    (answer["count"].as_u64().unwrap(), answer["results"].as_array().unwrap().len())
}

#[tokio::test]
async fn what_was_acknowledged_is_found_after_kills_and_without_the_index() {
    let mut server = Server::start(Setup::default()).await.unwrap();
    let client = Client::register(server.endpoint(), "ann", PASSWORD).await.unwrap();
    let room = client.create_room(&json!({"preset": "private_chat"})).await.unwrap();
    let mut sent = 0;
    for run in 0..4 {
        for n in 0..10 {
            client.send_text(&room, &format!("t{run}-{n}"), &format!("Brûlée {n}")).await.unwrap();
            sent += 1;
            if n == 4 {
                assert_eq!(found(&search(&client, "brulee").await), (sent, sent as usize), "at once");
            }
        }
        if run == 2 {
            assert!(server.stop().await.unwrap().success());
        } else {
            server.kill().unwrap()
        }
        server.launch().await.unwrap();
        assert_eq!(found(&search(&client, "brulee").await), (sent, sent as usize), "after start {run}");
    }
    let gone = client.send_text(&room, "gone", "Brûlée that goes").await.unwrap();
    client.redact(&room, &gone, "redact").await.unwrap();
    assert_eq!(found(&search(&client, "brulee").await), (sent, sent as usize));

    server.stop().await.unwrap();
    fs::remove_dir_all(server.data_dir().join("search")).unwrap();
    server.launch().await.unwrap();
    // It is made anew behind the requests.
    while found(&search(&client, "brulee").await) != (sent, sent as usize) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn where_it_is_switched_off_there_is_no_such_endpoint() {
    let extra = "[search]\nenabled = false".to_owned();
    let server = Server::start(Setup { extra, ..Setup::default() }).await.unwrap();
    let client = Client::register(server.endpoint(), "ann", PASSWORD).await.unwrap();
    let body = json!({"search_categories": {}});
    let refused = client.request(Method::POST, "/_matrix/client/v3/search", Some(&body)).await.unwrap_err();
    assert_eq!((refused.status(), refused.errcode()), (Some(404), Some("M_UNRECOGNIZED")));
    assert!(!server.data_dir().join("search").exists());
}
