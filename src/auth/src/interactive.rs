//! User-interactive authentication: confirming who one is before something delicate is done.
//!
//! A session belongs to one user, device and operation. Stages may come without a session, which then begins with them.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_kit::{Clock, MatrixError, RawJson};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ruma::OwnedDeviceId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use users::UserNum;

use crate::{config::InteractiveConfig, entropy::Entropy, operation::Operation};

/// A step by which somebody confirms who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `m.login.password`
    Password,
    /// `m.login.dummy`: nothing to confirm.
    Dummy,
    /// `m.login.registration_token`
    RegistrationToken,
    /// `m.login.sso`: logging in through the provider once more, on a page.
    Sso,
    /// `m.oauth`: agreeing to it on the page of the account.
    Oauth,
    /// `org.matrix.cross_signing_reset`: what that was called for this one operation before it was in the specification.
    CrossSigningReset,
}

impl Stage {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Sso => "m.login.sso",
            Self::Oauth => "m.oauth",
            Self::CrossSigningReset => "org.matrix.cross_signing_reset",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let all =
            [Self::Password, Self::Dummy, Self::RegistrationToken, Self::Sso, Self::Oauth, Self::CrossSigningReset];
        all.into_iter().find(|stage| stage.name() == name)
    }

    /// Whether it is done on a page, and a request only asks whether it was.
    pub(crate) fn is_elsewhere(self) -> bool {
        matches!(self, Self::Sso | Self::Oauth | Self::CrossSigningReset)
    }
}

/// Stages that together suffice.
pub type Flow = &'static [Stage];

/// The ways to confirm something.
#[derive(Debug, Clone)]
pub(crate) struct Ways {
    pub(crate) flows: Vec<Flow>,
    /// Where the stages of the account's page are done; the session's id is put behind it.
    pub(crate) page: Option<String>,
}

/// Who is meant, as clients write it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Identifier {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) user: Option<String>,
}

/// The `auth` object of a request. Lenient: what a stage needs is checked by the stage.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct AuthDict {
    #[serde(rename = "type", default)]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) session: Option<String>,
    #[serde(default)]
    pub(crate) identifier: Option<Identifier>,
    /// The deprecated form of the identifier.
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) password: Option<String>,
    #[serde(default)]
    pub(crate) token: Option<String>,
}

/// What a session may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    user: Option<UserNum>,
    device: Option<OwnedDeviceId>,
    what: Operation,
    /// Of that and the request.
    hash: [u8; 32],
}

impl Binding {
    /// Of an operation by a logged-in user: the whole request but its `auth` counts.
    pub(crate) fn of_user(user: UserNum, device: Option<OwnedDeviceId>, what: Operation, body: &[u8]) -> Self {
        let mut fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        fields.remove("auth");
        let mut hash = Sha256::new_with_prefix(what.name());
        hash.update([0]);
        hash.update(Value::Object(fields).to_string());
        Self { user: Some(user), device, hash: hash.finalize().into(), what }
    }

    /// Of an operation by a stranger. Clients ask for the flows before they know what they will send.
    pub(crate) fn of_stranger(what: Operation) -> Self {
        Self { user: None, device: None, hash: Sha256::digest(what.name()).into(), what }
    }
}

#[derive(Debug)]
struct Session {
    binding: Binding,
    expires_ms: u64,
    progress: Mutex<Progress>,
}

/// How far a session has come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    completed: Vec<Stage>,
    /// The registration token that was accepted.
    pub(crate) token: Option<String>,
}

impl Progress {
    /// Of somebody whose registration token was accepted.
    pub(crate) fn by_token(token: &str) -> Self {
        Self { completed: vec![Stage::RegistrationToken], token: Some(token.to_owned()) }
    }
}

/// What became of a stage.
pub(crate) enum Verdict {
    /// It is done.
    Passed,
    /// It may be tried again.
    Failed(MatrixError),
}

/// The sessions under way.
#[derive(Debug)]
pub(crate) struct Sessions {
    sessions: Cache<String, Arc<Session>>,
    lifetime_ms: u64,
    clock: Clock,
}

/// A session that the caller is in.
pub(crate) struct Ongoing {
    id: String,
    session: Arc<Session>,
}

impl Sessions {
    pub(crate) fn new(config: &InteractiveConfig, clock: Clock) -> Self {
        let lifetime_ms = u64::from(config.session_seconds) * 1000;
        Self { sessions: Cache::new(config.max_sessions.max(1)), lifetime_ms, clock }
    }

    /// The session that is named, or a new one if there is none of that name (it expired, or the server restarted).
    pub(crate) fn enter(
        &self,
        named: Option<&str>,
        binding: Binding,
        entropy: &Entropy,
    ) -> Result<Ongoing, MatrixError> {
        if let Some(id) = named
            && let Some(session) = self.sessions.get(id)
            && session.expires_ms > self.clock.now_ms()
        {
            if session.binding != binding {
                return Err(MatrixError::forbidden("This session was begun for another operation: begin again"));
            }
            return Ok(Ongoing { id: id.to_owned(), session });
        }
        let session = Arc::new(Session {
            binding,
            expires_ms: self.clock.now_ms().saturating_add(self.lifetime_ms),
            progress: Mutex::default(),
        });
        Ok(Ongoing { id: entropy.session_id(), session })
    }

    /// What a session is to confirm, and for whom.
    pub(crate) fn pending(&self, id: &str) -> Option<(UserNum, Operation)> {
        let session = self.sessions.get(id).filter(|session| session.expires_ms > self.clock.now_ms())?;
        Some((session.binding.user?, session.binding.what.clone()))
    }

    /// Notes that the user of a session did a stage of it on a page. Whether there is such a session.
    pub(crate) fn approve(&self, id: &str, user: UserNum, stages: &[Stage]) -> bool {
        let session = self.sessions.get(id).filter(|session| session.expires_ms > self.clock.now_ms());
        let Some(session) = session.filter(|session| session.binding.user == Some(user)) else { return false };
        session.progress.lock().completed.extend(stages);
        true
    }

    /// Notes what became of a stage. The whole progress if some flow is complete now, which also ends the session, else
    /// what to ask the client.
    pub(crate) fn advance(
        &self,
        ongoing: &Ongoing,
        ways: &Ways,
        stage: Option<(Stage, Verdict)>,
        token: Option<String>,
    ) -> Result<Progress, Box<Challenge>> {
        let flows = &ways.flows;
        let mut progress = ongoing.session.progress.lock();
        let error = match stage {
            Some((stage, Verdict::Passed)) => {
                if !progress.completed.contains(&stage) {
                    progress.completed.push(stage);
                }
                progress.token = token.or_else(|| progress.token.take());
                None
            }
            Some((_, Verdict::Failed(error))) => Some(error),
            None => None,
        };
        let done = flows.iter().any(|flow| flow.iter().all(|stage| progress.completed.contains(stage)));
        if done && error.is_none() {
            self.sessions.remove(&ongoing.id);
            return Ok(std::mem::take(&mut *progress));
        }
        // Where a stranger has shown nothing yet there is nothing to keep: a flood of them pushes nobody out.
        if ongoing.session.binding.user.is_some() || !progress.completed.is_empty() {
            self.sessions.insert(ongoing.id.clone(), Arc::clone(&ongoing.session));
        }
        let completed = progress.completed.clone();
        let page = ways.page.as_ref().map(|page| format!("{page}&session={}", ongoing.id));
        Err(Box::new(Challenge { flows: flows.clone(), completed, session: ongoing.id.clone(), error, page }))
    }
}

/// The stage that a request wants to do. `Err` if it is not in any flow.
pub(crate) fn wanted_stage(auth: &AuthDict, flows: &[Flow]) -> Result<Option<Stage>, MatrixError> {
    let Some(kind) = &auth.kind else {
        return Ok(None);
    };
    match Stage::parse(kind).filter(|stage| flows.iter().any(|flow| flow.contains(stage))) {
        Some(stage) if stage.is_elsewhere() => Ok(None),
        Some(stage) => Ok(Some(stage)),
        None => Err(MatrixError::forbidden(format!("{kind} is not among the ways to confirm this"))),
    }
}

/// The 401 that tells a client how to confirm who it is.
#[derive(Debug)]
pub struct Challenge {
    flows: Vec<Flow>,
    completed: Vec<Stage>,
    session: String,
    error: Option<MatrixError>,
    page: Option<String>,
}

impl IntoResponse for Box<Challenge> {
    fn into_response(self) -> Response {
        let names = |stages: &[Stage]| stages.iter().map(|stage| stage.name()).collect::<Vec<_>>();
        let flows: Vec<Value> = self.flows.iter().map(|flow| json!({ "stages": names(flow) })).collect();
        let mut params = Map::new();
        if let Some(page) = &self.page {
            let on_page = self.flows.iter().flat_map(|flow| flow.iter()).filter(|stage| **stage != Stage::Sso);
            params.extend(on_page.map(|stage| (stage.name().to_owned(), json!({ "url": page }))));
        }
        let mut body = json!({ "flows": flows, "params": params, "session": self.session });
        if let Some(fields) = body.as_object_mut() {
            if !self.completed.is_empty() {
                fields.insert("completed".to_owned(), names(&self.completed).into());
            }
            if let Some(Value::Object(error)) = self.error.map(|error| error.to_json()) {
                fields.extend(error);
            }
        }
        (StatusCode::UNAUTHORIZED, RawJson(body.to_string().into())).into_response()
    }
}
