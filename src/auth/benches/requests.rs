//! What a request costs before its own work begins: routing, parsing, authentication, the answer's headers.

use std::{hint::black_box, sync::Arc};

use auth::{AccountHook, Auth, AuthConfig, AuthParts, HookFuture, router};
use axum::{Router, body::Body, extract::FromRef};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, header};
use http_kit::{Authenticator, RequestMeta, finish};
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::{UserId, owned_device_id, owned_server_name};
use store::{Clock, CommitterOptions, Db, Ids, MemoryStore, Store, SystemClock, open_schema};
use tokio::runtime::{Builder, Runtime};
use tower::Service as _;
use users::{UserNum, Users, UsersOptions, accounts::NewAccount, devices::NewDevice, tokens::NewTokens};

const TOKEN: &str = "cp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

struct NoHook;

impl AccountHook for NoHook {
    fn deactivate<'a>(&'a self, _: UserNum, _: &'a UserId, _: bool) -> HookFuture<'a> {
        Box::pin(async { Ok(()) })
    }

    fn set_display_name<'a>(&'a self, _: UserNum, _: &'a UserId, _: &'a str) -> HookFuture<'a> {
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

fn auth(runtime: &Runtime) -> Option<Arc<Auth>> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    open_schema(&*store, 1, &[]).ok()?;
    let db = Db::open(store, CommitterOptions::default(), |_| {}).ok()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ids = Arc::new(Ids::new(Arc::clone(&db), 1000));
    let server_name = owned_server_name!("example.org");
    let options = UsersOptions::default();
    let users = Users::new(Arc::clone(&db), ids, Arc::clone(&clock), server_name.clone(), 1, options);
    let device = NewDevice {
        device_id: owned_device_id!("DEVICE"),
        display_name: None,
        tokens: NewTokens { access: TOKEN, expires_ts: None, refresh: None },
    };
    runtime.block_on(users.register(NewAccount::user("ann"), Some(&device))).ok()?;
    let rng = StdRng::seed_from_u64(1);
    let config = AuthConfig::default();
    Auth::new(AuthParts { users, db, clock, rng, server_name, config, hook: Arc::new(NoHook), upstream: None }).ok()
}

fn requests(c: &mut Criterion) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return;
    };
    let Some(auth) = auth(&runtime) else { return };
    let headers = http::HeaderMap::new();
    let uri = http::Uri::from_static("/");
    c.bench_function("authenticate, warm", |b| {
        b.iter(|| {
            let meta = RequestMeta::new(&headers, &uri, None);
            runtime.block_on(auth.authenticate(black_box(TOKEN), meta)).is_ok()
        });
    });
    let mut app: Router = finish(router()).with_state(State(auth));
    c.bench_function("whoami, without the socket", |b| {
        b.iter(|| {
            let request = Request::get("/_matrix/client/v3/account/whoami")
                .header(header::AUTHORIZATION, concat!("Bearer ", "cp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"))
                .body(Body::empty())
                .unwrap_or_default();
            runtime.block_on(app.call(request)).is_ok_and(|response| response.status() == 200)
        });
    });
}

criterion_group!(benches, requests);
criterion_main!(benches);
