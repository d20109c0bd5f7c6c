//! `POST /_cliquepay/oauth/consent`: what somebody answered to the question whether an app may in.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use crate::{
    oauth::Decision,
    routes::{asker::Asker, sso::page},
    state::Auth,
};

pub(super) async fn handler(State(auth): State<Arc<Auth>>, asker: Asker, request: Request) -> Response {
    let step = async {
        let form = asker.form(request.into_body()).await?;
        let decision = match form.get("decision") {
            Some("allow") => Decision::Allow,
            Some("other") => Decision::Other,
            _ => Decision::Deny,
        };
        let field = |name: &str| form.get(name).unwrap_or_default();
        auth.decide(field("flow"), field("csrf"), decision, &asker.headers).await
    };
    page(&auth, &asker.headers, step).await
}
