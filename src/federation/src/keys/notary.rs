//! Asking other servers for the keys of servers that do not answer.
//! [Querying keys through another server](https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server).

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use http::Method;
use ruma::{OwnedServerName, ServerName};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tracing::debug;

use crate::{
    CallLimits,
    keys::{
        KeyRing,
        response::{self, KeyResponse},
        ring::Wanted,
    },
};

/// Servers that a notary is asked about at a time.
const BATCH: usize = 50;
/// What one answer may cost.
const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(20), max_body: 4 << 20 };

#[derive(Deserialize)]
struct Answers {
    server_keys: Vec<Box<RawValue>>,
}

impl KeyRing {
    /// Asks the notaries one after the other until nothing is missing.
    pub(super) async fn ask_notaries(&self, mut missing: Vec<Wanted>) -> Vec<(Wanted, KeyResponse)> {
        let mut found = Vec::new();
        for notary in &self.notaries {
            let asked = std::mem::take(&mut missing);
            for batch in asked.chunks(BATCH) {
                let mut answers = self.ask_notary(notary, batch).await;
                for wanted in batch.iter().filter(|wanted| wanted.server != *notary) {
                    match answers.remove(&wanted.server) {
                        Some(response) => found.push((wanted.clone(), response)),
                        None => missing.push(wanted.clone()),
                    }
                }
            }
            if missing.is_empty() {
                break;
            }
        }
        found
    }

    async fn ask_notary(&self, notary: &OwnedServerName, wanted: &[Wanted]) -> BTreeMap<OwnedServerName, KeyResponse> {
        let body = query(wanted, self.clock.now_ms());
        let target = "/_matrix/key/v2/query".to_owned();
        let reply = match body {
            Ok(body) => {
                self.counters.requests.fetch_add(1, Ordering::Relaxed);
                self.client.unsigned(notary, Method::POST, target, Some(&body), LIMITS).await
            }
            Err(_) => return BTreeMap::new(),
        };
        let answers = match reply.map(|reply| serde_json::from_slice::<Answers>(&reply)) {
            Ok(Ok(answers)) => answers.server_keys,
            Ok(Err(error)) => {
                debug!(%notary, %error, "a notary's answer cannot be read");
                return BTreeMap::new();
            }
            Err(error) => {
                debug!(%notary, %error, "a notary did not answer");
                return BTreeMap::new();
            }
        };
        let mut found: BTreeMap<OwnedServerName, KeyResponse> = BTreeMap::new();
        for answer in answers.iter().take(2 * BATCH) {
            if let Some((server, response)) = self.check_attested(notary, wanted, answer).await {
                // A notary may give several answers of one server, each with other keys.
                found.entry(server).and_modify(|all| all.keys.extend(response.keys.clone())).or_insert(response);
            }
        }
        found
    }

    /// An answer about a server that was asked for, signed by that server and by the notary.
    async fn check_attested(
        &self,
        notary: &OwnedServerName,
        wanted: &[Wanted],
        answer: &RawValue,
    ) -> Option<(OwnedServerName, KeyResponse)> {
        #[derive(Deserialize)]
        struct About {
            server_name: OwnedServerName,
        }
        let about = serde_json::from_str::<About>(answer.get()).ok()?.server_name;
        wanted.iter().find(|wanted| wanted.server == about)?;
        let (response, object) = match response::read(answer.get().as_bytes(), &about, self.clock.now_ms()) {
            Ok(read) => read,
            Err(error) => {
                debug!(%notary, server = %about, %error, "a notary's answer is not used");
                return None;
            }
        };
        let ids = signature_ids(&object, notary);
        let keys = self.fetch_directly(notary, ids.clone()).await;
        let signed = ids.iter().any(|id| {
            keys.get(notary, id, None).and_then(|key| response::verify(&object, notary, id, &key)) == Some(true)
        });
        signed.then_some((about, response))
    }
}

/// The ids of the keys that `server` says to have signed an object with.
fn signature_ids(object: &ruma::CanonicalJsonObject, server: &ServerName) -> Vec<String> {
    let signatures = object.get("signatures").and_then(ruma::CanonicalJsonValue::as_object);
    let of_server = signatures.and_then(|all| all.get(server.as_str())?.as_object());
    of_server.into_iter().flat_map(|ids| ids.keys().take(4).cloned()).collect()
}

fn query(wanted: &[Wanted], now: u64) -> Result<Box<RawValue>, serde_json::Error> {
    let of = |wanted: &Wanted| -> serde_json::Map<String, serde_json::Value> {
        let least = wanted.valid_at.unwrap_or(now).min(now);
        wanted.ids.iter().map(|id| (id.clone(), json!({ "minimum_valid_until_ts": least }))).collect()
    };
    let servers: serde_json::Map<String, serde_json::Value> =
        wanted.iter().map(|wanted| (wanted.server.to_string(), of(wanted).into())).collect();
    serde_json::value::to_raw_value(&json!({ "server_keys": servers }))
}
