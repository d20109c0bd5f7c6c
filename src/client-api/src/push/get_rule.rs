//! `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`

use axum::extract::State;
use http_kit::Ruma;
use ruma::{
    api::client::push::{
        PushRule,
        get_pushrule::v3::{Request, Response},
    },
    push::{AnyPushRuleRef, ConditionalPushRuleInit},
};

use super::find;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    let rules = app.users.push_rules.get(requester.user).await?;
    Ok(Response::new(to_client(find(&rules, body.kind, &body.rule_id)?)))
}

/// ruma 0.17 panics on the kind of the rules about threads.
fn to_client(rule: AnyPushRuleRef<'_>) -> PushRule {
    let AnyPushRuleRef::PostContent(rule) = rule else { return rule.into() };
    let rule = rule.clone();
    let init = ConditionalPushRuleInit {
        actions: rule.actions,
        default: rule.default,
        enabled: rule.enabled,
        rule_id: rule.rule_id,
        conditions: rule.conditions,
    };
    init.into()
}
