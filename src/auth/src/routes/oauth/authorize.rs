//! `GET /_cliquepay/oauth/authorize`: where apps send browsers.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use crate::{
    routes::{asker::Asker, sso::page},
    state::Auth,
};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    page(&auth, &asker.headers, auth.authorize(&asker.query, asker.ip, &asker.headers)).await
}
