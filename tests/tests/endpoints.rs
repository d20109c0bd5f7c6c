//! Which of the specification's endpoints there are: `tests/conformance/endpoints.tsv` lists all of those of the Client-Server and the
//! Server-Server API, and this asks the real server for each, without a token. What is there refuses the stranger, or answers; what is
//! not answers `M_UNRECOGNIZED`, never a false success.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use serde_json::Value;
use tests::{
    client::Client,
    server::{Server, Setup},
};

const LIST: &str = include_str!("../conformance/endpoints.tsv");
/// None of these waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    method: &'a str,
    path: &'a str,
    there: bool,
}

fn rows() -> Vec<Row<'static>> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        let (method, path) = (fields.next().unwrap(), fields.next().unwrap_or_else(|| panic!("{line}")));
        let there = match fields.next() {
            Some("answered") => true,
            Some("unrecognized") => false,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(fields.next(), None, "{line}");
        Row { method, path, there }
    };
    lines.map(row).collect()
}

/// A path with something plausible for each of its variables.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        None => part,
        Some("userId") => "@ann:cliquepay.test",
        Some("roomId" | "roomIdOrAlias") => "!room:cliquepay.test",
        Some("roomAlias") => "%23room:cliquepay.test",
        Some("eventId") => "$event",
        Some("serverName") => "cliquepay.test",
        Some("receiptType") => "m.read",
        Some("kind") => "override",
        Some("width" | "height") => "1",
        Some(_) => "something",
    });
    parts.collect::<Vec<_>>().join("/")
}

#[test]
fn the_list_is_in_order_and_names_each_endpoint_once() {
    let rows = rows();
    let places: Vec<_> = rows.iter().map(|row| (row.path, row.method)).collect();
    let once: BTreeSet<_> = places.iter().copied().collect();
    assert_eq!(places, once.into_iter().collect::<Vec<_>>());
    // Those of both APIs, of which most are there.
    assert!(rows.len() > 190 && rows.iter().filter(|row| row.there).count() > 140, "{}", rows.len());
}

#[tokio::test]
async fn what_is_listed_as_there_is_there_and_the_rest_is_unrecognized() {
    let server = Server::start(Setup::default()).await.unwrap();
    let stranger = Client::anonymous(server.endpoint().clone());
    let mut wrong = Vec::new();
    for row in rows() {
        let method = Method::from_bytes(row.method.as_bytes()).unwrap();
        let body = (method != Method::GET).then(|| "{}".into());
        let reply = stranger.raw(method, &filled(row.path), body, PATIENCE).await.unwrap();
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let unrecognized = answer["errcode"] == "M_UNRECOGNIZED";
        // A path with another method is one that is not there, too.
        let as_listed =
            if row.there { !unrecognized } else { unrecognized && matches!(reply.status.as_u16(), 404 | 405) };
        if !as_listed {
            wrong.push(format!("{} {} answers {}", row.method, row.path, reply.status));
        }
    }
    assert!(wrong.is_empty(), "not as tests/conformance/endpoints.tsv says:\n{}", wrong.join("\n"));
}
