//! `/_cliquepay/account`: the page of an account.
//! [Account management](https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{asker::Asker, sso::page};
use crate::state::Auth;

pub(super) async fn show(State(auth): State<Arc<Auth>>, asker: Asker) -> Response {
    page(&auth, &asker.headers, auth.account_page(&asker.query, &asker.headers)).await
}

pub(super) async fn send(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        auth.use_account(&form, &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}
