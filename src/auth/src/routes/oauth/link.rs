//! `/_cliquepay/oauth/link`: where people enter the code that a device shows.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use crate::{
    routes::{asker::Asker, sso::page},
    state::Auth,
};

pub(super) async fn show(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    let user_code = asker.query.get("user_code").unwrap_or_default();
    page(&auth, &asker.headers, async { auth.link_page(user_code, &asker.headers) }).await
}

pub(super) async fn send(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        auth.link(form.get("user_code").unwrap_or_default(), asker.ip, &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}
