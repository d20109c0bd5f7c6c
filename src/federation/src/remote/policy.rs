//! Asking a room's policy server to sign an event.
//! [Asking for a signature](https://spec.matrix.org/v1.19/server-server-api/#asking-for-a-policy-server-signature-on-an-event).

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use engine::{PolicyRefusal, PolicyServers};
use futures::future::BoxFuture;
use http::Method;
use room::policy::KEY_ID;
use ruma::ServerName;
use serde_json::value::RawValue;

use crate::{CallError, CallLimits, Client};

const PATH: &str = "/_matrix/policy/v1/sign";
/// Somebody waits for their message to be sent meanwhile.
const LIMITS: CallLimits = CallLimits { timeout: Duration::from_secs(10), max_body: 64 << 10 };

/// Signatures by server and key.
type Answer = BTreeMap<String, BTreeMap<String, String>>;

/// Policy servers as other servers are reached. It keeps no client alive.
pub(crate) struct Policies(Weak<Client>);

impl Policies {
    pub(crate) fn new(client: &Arc<Client>) -> Self {
        Self(Arc::downgrade(client))
    }
}

impl PolicyServers for Policies {
    fn sign<'a>(&'a self, server: &'a ServerName, event: &'a str) -> BoxFuture<'a, Result<String, PolicyRefusal>> {
        Box::pin(async move {
            let client = self.0.upgrade().ok_or_else(|| PolicyRefusal::unheard("this server is stopping"))?;
            let body: &RawValue = serde_json::from_str(event).map_err(PolicyRefusal::unheard)?;
            let answer = client.json(server, Method::POST, PATH.to_owned(), Some(body), LIMITS).await;
            let mut answer: Answer = answer.map_err(refusal)?;
            let signature = answer.get_mut(server.as_str()).and_then(|keys| keys.remove(KEY_ID));
            signature.ok_or_else(|| PolicyRefusal::unheard("there is no signature in its answer"))
        })
    }
}

/// What it answered, as it is; of an answer that means something else for a client, the words.
fn refusal(error: CallError) -> PolicyRefusal {
    match error {
        CallError::Status { status, errcode, error, .. } if matches!(status.as_u16(), 400 | 403 | 429) => {
            PolicyRefusal { status: status.as_u16(), errcode, error }
        }
        other => PolicyRefusal::unheard(other),
    }
}
