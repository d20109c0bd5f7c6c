//! Push rules: what notifies whom. [Push Rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules).

mod delete_rule;
mod get_actions;
mod get_all;
mod get_enabled;
mod get_global;
mod get_notifications;
mod get_pushers;
mod get_rule;
mod set_actions;
mod set_enabled;
mod set_pusher;
mod set_rule;
mod source;

use axum::Router;
use http_kit::RumaRouter;
use ruma::push::{AnyPushRuleRef, RuleKind, Ruleset};
use users::UsersError;

use crate::{ApiError, App};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .ruma(get_all::handler)
        .ruma(get_global::handler)
        .ruma(get_rule::handler)
        .ruma(set_rule::handler)
        .ruma(delete_rule::handler)
        .ruma(get_enabled::handler)
        .ruma(set_enabled::handler)
        .ruma(get_actions::handler)
        .ruma(set_actions::handler)
        .ruma(get_pushers::handler)
        .ruma(set_pusher::handler)
        .ruma(get_notifications::handler)
}

fn find<'a>(rules: &'a Ruleset, kind: RuleKind, rule_id: &str) -> Result<AnyPushRuleRef<'a>, ApiError> {
    rules.get(kind, rule_id).ok_or_else(|| UsersError::RuleNotFound.into())
}
