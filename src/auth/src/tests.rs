//! The endpoints, driven through the router over a store in memory, with a clock that stands still.

mod abandoned;
mod account;
mod appservices;
mod devices;
mod limits;
mod login;
mod moderation;
mod oauth;
mod oidc;
mod registration;
mod security;
mod shared_secret;
mod signing_keys;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, body::Body, extract::FromRef};
use http::{Method, Request, header};
use http_kit::{Authenticator, ClientIp, finish};
use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::{UserId, owned_server_name};
use serde_json::{Value, json};
use store::{Clock, CommitterOptions, Db, Ids, ManualClock, MemoryStore, Store, open_schema};
use tokio::sync::Notify;
use tower::ServiceExt as _;
use users::{UserNum, Users, UsersOptions};

use crate::{AccountHook, Auth, AuthConfig, AuthConfigError, AuthParts, HookFuture, UpstreamParts, router};

const PASSWORD: &str = "complement_meets_min_password_req";
const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// What the rest of the server was told.
#[derive(Debug, Default)]
struct Hook {
    names: Mutex<Vec<(String, String)>>,
    called: Mutex<Vec<(String, bool)>>,
    fails: AtomicBool,
    /// If set, the rooms take until this is notified.
    slow: Mutex<Option<Arc<Notify>>>,
}

impl AccountHook for Hook {
    fn deactivate<'a>(&'a self, _user: UserNum, user_id: &'a UserId, erase: bool) -> HookFuture<'a> {
        Box::pin(async move {
            if self.fails.load(Ordering::Relaxed) {
                return Err("the rooms are locked".into());
            }
            self.called.lock().push((user_id.to_string(), erase));
            let slow = self.slow.lock().clone();
            if let Some(slow) = slow {
                slow.notified().await;
            }
            Ok(())
        })
    }

    fn set_display_name<'a>(&'a self, _user: UserNum, user_id: &'a UserId, name: &'a str) -> HookFuture<'a> {
        self.names.lock().push((user_id.to_string(), name.to_owned()));
        Box::pin(async { Ok(()) })
    }
}

#[derive(Clone)]
struct State(Arc<Auth>);

impl FromRef<State> for Arc<Auth> {
    fn from_ref(state: &State) -> Self {
        Arc::clone(&state.0)
    }
}

impl FromRef<State> for Arc<dyn Authenticator> {
    fn from_ref(state: &State) -> Self {
        Arc::clone(&state.0) as _
    }
}

/// A server with nothing but the endpoints of this crate.
struct Server {
    auth: Arc<Auth>,
    clock: Arc<ManualClock>,
    hook: Arc<Hook>,
    db: Arc<Db>,
    app: Router,
}

/// An answer: its status and its JSON.
type Answer = (u16, Value);

/// Cheap hashes, no limits, open registration.
fn config() -> AuthConfig {
    let mut config = AuthConfig::default();
    config.password.memory_kib = 16;
    config.password.iterations = 1;
    config.limits.enabled = false;
    config.registration.enabled = true;
    config.registration.without_verification = true;
    config
}

impl Server {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: AuthConfig) -> Self {
        Self::with_upstream(config, None)
    }

    fn with_upstream(config: AuthConfig, upstream: Option<UpstreamParts>) -> Self {
        let (auth, clock, hook, db) = parts_with(config, upstream).unwrap();
        let app = finish(router()).with_state(State(Arc::clone(&auth)));
        Self { auth, clock, hook, db, app }
    }

    async fn call_from(&self, ip: IpAddr, method: Method, path: &str, token: Option<&str>, body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path).extension(ClientIp(ip));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self.app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn call(&self, method: Method, path: &str, token: Option<&str>, body: Body) -> Answer {
        self.call_from(Ipv4Addr::LOCALHOST.into(), method, path, token, body).await
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.call(Method::GET, path, token, Body::empty()).await
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call(Method::POST, path, token, body.to_string().into()).await
    }

    /// Registers a user with [`PASSWORD`] as Complement does; the access token and the device.
    async fn user(&self, name: &str) -> (String, String) {
        let auth = json!({ "type": "m.login.dummy" });
        let (status, body) =
            self.post(REGISTER, None, json!({ "username": name, "password": PASSWORD, "auth": auth })).await;
        assert_eq!(status, 200, "{body}");
        (text(&body, "access_token"), text(&body, "device_id"))
    }

    async fn log_in(&self, name: &str, password: &str) -> Answer {
        self.post(LOGIN, None, password_login(name, password)).await
    }

    async fn works(&self, token: &str) -> bool {
        self.get(WHOAMI, Some(token)).await.0 == 200
    }
}

type Parts = (Arc<Auth>, Arc<ManualClock>, Arc<Hook>, Arc<Db>);

fn parts(config: AuthConfig) -> Result<Parts, AuthConfigError> {
    parts_with(config, None)
}

fn parts_with(config: AuthConfig, upstream: Option<UpstreamParts>) -> Result<Parts, AuthConfigError> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    open_schema(&*store, 1, &[]).unwrap();
    let db = Db::open(store, CommitterOptions::default(), |_| {}).unwrap();
    let manual = Arc::new(ManualClock::new(1_700_000_000_000));
    let clock: Arc<dyn Clock> = Arc::clone(&manual) as _;
    let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
    let server_name = owned_server_name!("example.org");
    let options = UsersOptions::default();
    let users = Users::new(Arc::clone(&db), ids, Arc::clone(&clock), server_name.clone(), 1, options);
    let hook = Arc::new(Hook::default());
    let rng = StdRng::seed_from_u64(7);
    let auth = Auth::new(AuthParts {
        users,
        db: Arc::clone(&db),
        clock,
        rng,
        server_name,
        config,
        hook: Arc::clone(&hook) as _,
        upstream,
    })?;
    Ok((auth, manual, hook, db))
}

fn text(body: &Value, field: &str) -> String {
    body[field].as_str().unwrap_or_else(|| panic!("no {field} in {body}")).to_owned()
}

fn password_login(name: &str, password: &str) -> Value {
    json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": name }, "password": password })
}

#[track_caller]
fn assert_code(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.0, answer.1["errcode"].as_str()), (status, Some(code)), "{}", answer.1);
}
