//! `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::{
    api::{
        IncomingRequest, Metadata,
        client::push::set_pushrule::v3::{Request, Response},
        error::DeserializationError,
    },
    push::RuleKind,
};
use serde_json::{Map, Value};

use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<NewRule>) -> Result<Response, ApiError> {
    let Ruma { body: NewRule(body), requester, .. } = request;
    let (after, before) = (body.after.as_deref(), body.before.as_deref());
    app.users.push_rules.put(requester.user, body.rule, after, before).await?;
    Ok(Response::new())
}

/// The request, in which `conditions` may be left out: a rule without any always matches.
pub(super) struct NewRule(Request);

impl Metadata for NewRule {
    const METHOD: http::Method = Request::METHOD;
    const RATE_LIMITED: bool = Request::RATE_LIMITED;
    type Authentication = <Request as Metadata>::Authentication;
    type PathBuilder = <Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Request::PATH_BUILDER;
}

impl IncomingRequest for NewRule {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let kind = path_args.first().map(|kind| RuleKind::from(*kind));
        if !matches!(kind, Some(RuleKind::Override | RuleKind::Underride)) {
            return Request::try_from_http_request_inner(request, path_args).map(Self);
        }
        let (parts, body) = request.into_parts();
        let mut rule: Map<String, Value> = serde_json::from_slice(body)?;
        rule.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
        let body = serde_json::to_vec(&rule)?;
        Request::try_from_http_request_inner(http::Request::from_parts(parts, &body[..]), path_args).map(Self)
    }
}
