//! Rooms that have a policy server: it is asked to sign every event before that is sent, and what it did not sign is not shown.
//! [Policy servers](https://spec.matrix.org/v1.19/server-server-api/#policy-servers).
//!
//! What is put together under a room's lock is set aside when it is to be committed, and comes in as signed events do: no lock is held
//! while the policy server thinks about it.

use std::sync::Arc;

use futures::future::BoxFuture;
use room::{Pdu, SignedEvent, check::ReceivedEvent, policy::Policy};
use ruma::ServerName;
use store::{Op, Precondition};

use crate::{
    engine::Engine,
    error::EngineError,
    receive::Received,
    room::{Room, RoomInfo},
    row::{EventRow, Verdict},
    splice::find_fields,
    tables::EventNum,
    writer::{RoomWriter, TxnRow},
};

/// Why a policy server did not sign an event: what it answered, as it is told to whoever wanted to send the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct PolicyRefusal {
    /// The status of the answer; 502 where there was none.
    pub status: u16,
    /// Its `errcode`.
    pub errcode: String,
    /// Its words.
    pub error: String,
}

impl PolicyRefusal {
    /// For a policy server that cannot be asked, or gives no signature that holds.
    pub fn unheard(why: impl std::fmt::Display) -> Self {
        let error = format!("The room's policy server did not answer properly: {why}");
        Self { status: 502, errcode: "M_UNKNOWN".to_owned(), error }
    }
}

/// The way to policy servers.
pub trait PolicyServers: Send + Sync + 'static {
    /// Asks a policy server to sign an event, the text of its canonical JSON: the signature, unpadded Base64.
    fn sign<'a>(&'a self, server: &'a ServerName, event: &'a str) -> BoxFuture<'a, Result<String, PolicyRefusal>>;
}

/// An event of ours that the policy server has not seen yet.
pub(crate) struct Unasked {
    signed: SignedEvent,
    device: String,
    txn_id: String,
}

/// What waits for the policy server.
#[derive(Default)]
pub(crate) struct Waiting {
    events: Vec<Unasked>,
    /// What the callers want in the same commit.
    pub(crate) ops: Vec<Op>,
    pub(crate) preconditions: Vec<Precondition>,
    pub(crate) transactions: Vec<TxnRow>,
}

impl Engine {
    /// The way to policy servers. Set once; without it none is ever asked.
    pub fn ask_policies(&self, servers: Arc<dyn PolicyServers>) {
        let _ = self.policies.set(servers);
    }

    async fn in_use(&self, info: &RoomInfo) -> Result<Option<Arc<Policy>>, EngineError> {
        match &info.policy {
            Some(policy) if self.is_among(info, &policy.via).await? => Ok(Some(Arc::clone(policy))),
            _ => Ok(None),
        }
    }

    /// An event of this server that is not in the room yet, signed by the room's policy server where the room has one.
    ///
    /// # Errors
    /// [`EngineError::Policy`] where it does not sign, and those of the store.
    pub async fn approved(&self, room: &Room, mut signed: SignedEvent) -> Result<SignedEvent, EngineError> {
        if let Some(policy) = self.in_use(&room.info()).await?
            && !room::policy::is_exempt(&signed.pdu)
        {
            signed.json = self.ask(&policy, room, &signed.json).await?;
        }
        Ok(signed)
    }

    /// The event with the signature of the policy server.
    async fn ask(&self, policy: &Policy, room: &Room, json: &str) -> Result<String, PolicyRefusal> {
        if policy.approves(json, &room.rules) {
            return Ok(json.to_owned());
        }
        let servers = self.policies.get().ok_or_else(|| PolicyRefusal::unheard("this server asks no others"))?;
        let signature = servers.sign(&policy.via, json).await?;
        let signed = policy.add(json, &signature).map_err(PolicyRefusal::unheard)?;
        if !policy.approves(&signed, &room.rules) {
            return Err(PolicyRefusal::unheard("it signs with another key than the room names"));
        }
        Ok(signed)
    }

    /// Gets the signature that an event of another server should have had. Where there is none the event stays as it is.
    pub(crate) async fn ask_for(&self, policy: &Policy, room: &Room, event: &mut ReceivedEvent) {
        match self.ask(policy, room, &event.json).await {
            Ok(json) => event.json = json,
            Err(refusal) => {
                let (event_id, policy_server) = (&event.pdu.event_id, &policy.via);
                tracing::debug!(%event_id, %policy_server, %refusal, "an event is not approved: it is not shown");
            }
        }
    }
}

impl RoomWriter<'_> {
    /// The policy server of the room as this writer sees it.
    async fn policy(&self) -> Result<Option<Arc<Policy>>, EngineError> {
        self.engine.in_use(&self.head()?.info).await
    }

    /// Reads the policy again after a change to the current state.
    pub(crate) async fn refresh_policy(&mut self) -> Result<(), EngineError> {
        let event = self.state(room::policy::EVENT_TYPE, "").await?;
        self.head_mut()?.info.policy = event.and_then(|event| parse(&event));
        Ok(())
    }

    /// Whom to ask about an event of another server that could be judged now and was not approved.
    pub(crate) async fn unapproved(&self, event: &ReceivedEvent) -> Result<Option<Arc<Policy>>, EngineError> {
        let Some(policy) = self.policy().await? else { return Ok(None) };
        let (pdu, info) = (&event.pdu, &self.head()?.info);
        // Where nobody here is in the room nobody would see it.
        let matters = !room::policy::is_exempt(pdu) && !info.local_members.is_empty();
        if !matters || policy.approves(&event.json, &self.room.rules) || self.known(&pdu.event_id).await?.is_some() {
            return Ok(None);
        }
        let references = self.references(pdu).await?;
        Ok((references.gaps.is_empty() && references.uncited.is_empty()).then_some(policy))
    }

    /// An event that the rules allow is not shown where the policy server did not sign it.
    pub(crate) async fn as_recommended(&self, verdict: Verdict, event: &ReceivedEvent) -> Result<Verdict, EngineError> {
        if verdict != Verdict::Accepted || self.trusts_itself {
            return Ok(verdict);
        }
        let Some(policy) = self.policy().await? else { return Ok(verdict) };
        let fine = room::policy::is_exempt(&event.pdu) || policy.approves(&event.json, &self.room.rules);
        Ok(if fine { verdict } else { Verdict::SoftFailed })
    }

    /// Remembers an event of ours that the policy server is to be asked about, where the room names one.
    pub(crate) fn await_policy(&mut self, signed: &SignedEvent, device: Option<&str>, txn_id: Option<&str>) {
        let named = self.head().is_ok_and(|head| head.info.policy.is_some());
        if named && self.may_wait() && !self.is_new && !room::policy::is_exempt(&signed.pdu) {
            let label = |id: Option<&str>| crate::writer::label(id);
            let (device, txn_id) = (label(device), label(txn_id));
            self.waiting.events.push(Unasked { signed: signed.clone(), device, txn_id });
        }
    }

    /// Whom to ask before what was put together is committed.
    pub(crate) async fn to_be_asked(&self) -> Result<Option<Arc<Policy>>, EngineError> {
        // One that the policy server need not see would be left behind by those that follow it: then all of them come in as they are.
        if self.waiting.events.is_empty() || self.waiting.events.len() < self.staged.len() {
            return Ok(None);
        }
        self.policy().await
    }

    /// Has everything that was put together signed by the policy server, then commits it.
    pub(crate) async fn commit_approved(mut self, policy: Arc<Policy>) -> Result<(), EngineError> {
        let (engine, room) = (self.engine, self.room);
        let Waiting { mut events, ops, preconditions, transactions } = std::mem::take(&mut self.waiting);
        // The room goes on without what waits.
        self.set_aside();
        for event in &mut events {
            event.signed.json = engine.ask(&policy, room, &event.signed.json).await?;
        }
        let mut writer = engine.write(room).await?;
        for txn in &transactions {
            if writer.sent_as(txn).await?.is_some() {
                return Err(EngineError::Conflict);
            }
        }
        for event in events {
            writer.bring_in(event).await?;
        }
        for op in ops {
            writer.stage(op);
        }
        writer.add_requirements(preconditions);
        writer.enqueue()?.await?;
        Ok(())
    }

    /// Stages an event that was approved, wherever the room is by now.
    async fn bring_in(&mut self, event: Unasked) -> Result<(), EngineError> {
        let Unasked { signed: SignedEvent { json, pdu, reference_hash }, device, txn_id } = event;
        let received = self.receive(ReceivedEvent { json, pdu, redacted: false, reference_hash }).await?;
        let Received::Stored { num, verdict: Verdict::Accepted } = received else {
            return Err(EngineError::Forbidden("the room changed meanwhile: it allows this no more".to_owned()));
        };
        self.label_staged(num, device, txn_id)
    }

    /// Adds what is known of an event of ours beyond the event.
    pub(crate) fn label_staged(&mut self, num: EventNum, device: String, txn_id: String) -> Result<(), EngineError> {
        if let Some(staged) = self.staged.iter_mut().find(|staged| staged.num == num) {
            let json = staged.row.json().to_owned();
            let fields = find_fields(&json).ok_or_else(|| EngineError::BadEvent("no event".to_owned()))?;
            let mut meta = staged.row.meta();
            (meta.device, meta.txn_id) = (device, txn_id);
            staged.row = EventRow::new(&meta, &fields, &json);
        }
        Ok(())
    }
}

/// The policy that a state event sets.
pub(crate) fn parse(event: &Pdu) -> Option<Arc<Policy>> {
    Policy::parse(event.content.get()).map(Arc::new)
}
