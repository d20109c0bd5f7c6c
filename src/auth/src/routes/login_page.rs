//! This server's own log-in page, below `/_cliquepay/login`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, Path, Request, State},
    response::Response,
    routing::{get, post},
};

use super::{asker::Asker, sso::page};
use crate::{
    oauth::{Credentials, NewcomerForm},
    state::Auth,
};

/// The routes of the page.
pub(super) fn router<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<Auth>: FromRef<S>,
{
    Router::new()
        .route("/_cliquepay/login/password", post(password))
        .route("/_cliquepay/login/create", get(new_account).post(create))
        .route("/_cliquepay/login/known", get(known))
        .route("/_cliquepay/login/with/{idp_id}", get(with))
}

async fn password(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        let field = |name: &str| form.owned(name).unwrap_or_default();
        let (flow, csrf) = (field("flow"), field("csrf"));
        let given = Credentials { flow, csrf, name: field("username"), password: field("password") };
        auth.log_in_here(given, asker.ip, &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}

async fn create(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        let field = |name: &str| form.owned(name).unwrap_or_default();
        let given = NewcomerForm {
            flow: field("flow"),
            csrf: field("csrf"),
            localpart: field("localpart"),
            password: field("password"),
            token: field("token"),
        };
        Arc::clone(&auth).create_here(given, asker.ip, &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}

async fn new_account(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    let flow = asker.query.get("flow").unwrap_or_default();
    page(&auth, &asker.headers, async { auth.other_page(flow, true, &asker.headers) }).await
}

async fn known(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    let flow = asker.query.get("flow").unwrap_or_default();
    page(&auth, &asker.headers, async { auth.other_page(flow, false, &asker.headers) }).await
}

async fn with(State(auth): State<Arc<Auth>>, Path(idp_id): Path<String>, asker: Asker) -> Response {
    let flow = asker.query.get("flow").unwrap_or_default();
    page(&auth, &asker.headers, auth.log_in_with(&idp_id, flow, asker.ip, &asker.headers)).await
}
