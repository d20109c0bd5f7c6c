//! `GET /_matrix/client/v3/login/sso/redirect[/{idpId}]`, and the pages of a log-in below `/_cliquepay/login`.
//! [Client login via SSO](https://spec.matrix.org/v1.19/client-server-api/#client-login-via-sso).

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, Path, Request, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::HeaderMap;
use http_kit::{EndpointOptions, MatrixError, bounded};

use super::{asker::Asker, login_page};
use crate::{
    oidc::{Answer, Filled, Pages, Trouble},
    state::Auth,
};

/// How long a step may take, its requests to the provider included.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// The routes of log-ins through the browser.
pub(super) fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Auth>: FromRef<S>,
{
    let mut router = Router::new();
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/login/sso/redirect");
        router = router.route(&path, get(begin)).route(&format!("{path}/{{idp_id}}"), get(begin_with));
    }
    router
        .route("/_cliquepay/login/callback/{idp_id}", get(come_back))
        .route("/_cliquepay/login/next", get(next))
        .route("/_cliquepay/login/new", post(new_account))
        .route("/_cliquepay/login/continue", post(go_on))
        .merge(login_page::router())
        .route("/_cliquepay/login/logout/{idp_id}", get(log_out))
        .route("/_cliquepay/login/out", get(logged_out))
}

/// Runs a step within its time, and shows what went wrong as a page.
pub(super) async fn page(
    auth: &Auth,
    headers: &HeaderMap,
    step: impl Future<Output = Result<Response, Trouble>> + Send,
) -> Response {
    if auth.sso.is_none() {
        return MatrixError::unrecognized("There are no log-ins through a browser here").into_response();
    }
    let options = EndpointOptions { cors: false, timeout: STEP_TIMEOUT, ..EndpointOptions::default() };
    let answer = async {
        match step.await {
            Ok(response) => response,
            Err(Trouble(status, problem)) => Pages::of(headers).problem(status, problem),
        }
    };
    bounded(answer, options).await
}

async fn begin(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    let step = auth.begin_login(None, asker.wish(), asker.ip, &asker.headers);
    page(&auth, &asker.headers, step).await
}

async fn begin_with(State(auth): State<Arc<Auth>>, Path(idp_id): Path<String>, asker: Asker) -> Response {
    let step = auth.begin_login(Some(&idp_id), asker.wish(), asker.ip, &asker.headers);
    page(&auth, &asker.headers, step).await
}

async fn come_back(State(auth): State<Arc<Auth>>, Path(idp_id): Path<String>, asker: Asker) -> Response {
    let query = &asker.query;
    let answer = Answer {
        state: query.owned("state"),
        code: query.owned("code"),
        error: query.owned("error"),
        issuer: query.owned("iss"),
    };
    page(&auth, &asker.headers, auth.come_back(&idp_id, answer, &asker.headers)).await
}

async fn next(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    let flow = asker.query.get("flow").unwrap_or_default();
    page(&auth, &asker.headers, auth.next_page(flow, &asker.headers)).await
}

async fn new_account(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        let field = |name: &str| form.owned(name).unwrap_or_default();
        let filled = Filled { flow: field("flow"), csrf: field("csrf"), localpart: field("localpart") };
        Arc::clone(&auth).name_account(filled, asker.ip, &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}

async fn go_on(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        let field = |name: &str| form.get(name).unwrap_or_default();
        auth.go_on(field("flow"), field("csrf"), &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}

async fn log_out(State(auth): State<Arc<Auth>>, Path(idp_id): Path<String>, asker: Asker) -> Response {
    page(&auth, &asker.headers, auth.logout_page(&idp_id, &asker.headers)).await
}

async fn logged_out(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    page(&auth, &asker.headers, async { Ok(Pages::of(&asker.headers).logged_out()) }).await
}
