//! Push rules: kept as account data `m.push_rules`, changed by the rules of the specification, compiled for counting
//! (client-server API, "Push notifications").

mod compiled;
mod event;
mod glob;

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache;
use ruma::{
    UserId,
    push::{
        Action, ConditionalPushRule, EventMatchConditionData, NewPushRule, PushCondition, RemovePushRuleError,
        RuleKind, Ruleset, ScalarJsonValue,
    },
    user_id,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::Pos;

pub(crate) use self::glob::{Extent, Pattern};
pub use self::{
    compiled::{Actions, CompiledRules, PushContext},
    event::PushEvent,
};

use self::event::MAX_PATH;
use crate::{
    account_data::{AccountData, Change, PUSH_RULES, Watcher},
    core::Core,
    error::{Result, UsersError},
    tables::UserNum,
};

/// A rule id's length in bytes, at most.
const MAX_RULE_ID: usize = 255;
/// Rules of a user's own, at most: each costs time on every message that the user gets.
const MAX_RULES: usize = 500;
/// Patterns with wildcards that are looked for in bodies, at most: these cost the most.
const MAX_BODY_GLOBS: usize = 100;
/// Conditions and actions of a rule, at most.
const MAX_PARTS: usize = 32;

pub(crate) type RulesCache = Arc<Cache<UserNum, Arc<CompiledRules>>>;

pub(crate) fn cache(users: usize) -> RulesCache {
    Arc::new(Cache::new(users))
}

pub(crate) fn invalidator(cache: &RulesCache) -> Watcher {
    let cache = Arc::clone(cache);
    Arc::new(move |user| drop(cache.remove(&user)))
}

#[derive(Serialize, Deserialize)]
struct Content {
    global: Ruleset,
}

/// The push rules of local users.
pub struct PushRules {
    core: Arc<Core>,
    account_data: Arc<AccountData>,
    compiled: RulesCache,
    /// Compiled, the default rules are the same for everybody.
    default: Arc<CompiledRules>,
}

impl std::fmt::Debug for PushRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushRules").finish_non_exhaustive()
    }
}

/// The rules that every user starts with.
pub fn server_default(user: &UserId) -> Ruleset {
    let mut rules = Ruleset::server_default(user);
    // They silence threads that one did not subscribe to: not for those whose apps know nothing of subscriptions.
    rules.postcontent.clear();
    rules.override_ = rules.override_.into_iter().map(as_other_messages).collect();
    rules.underride = rules.underride.into_iter().map(as_other_messages).collect();
    rules
}

/// The rules about polls ([MSC3930](https://github.com/matrix-org/matrix-spec-proposals/pull/3930)) ask for the type as those about other
/// messages do, by `event_match`: what clients from before `event_property_is` understand, too.
fn as_other_messages(mut rule: ConditionalPushRule) -> ConditionalPushRule {
    if rule.rule_id.starts_with(".org.matrix.msc3930.") {
        for condition in &mut rule.conditions {
            if let PushCondition::EventPropertyIs(data) = condition
                && let ScalarJsonValue::String(value) = &data.value
            {
                *condition = EventMatchConditionData::new(data.key.clone(), value.clone()).into();
            }
        }
    }
    rule
}

impl PushRules {
    pub(crate) fn new(core: Arc<Core>, account_data: Arc<AccountData>, compiled: RulesCache) -> Self {
        let anybody = user_id!("@anybody:server");
        let default = Arc::new(CompiledRules::new(&server_default(anybody), anybody));
        Self { core, account_data, compiled, default }
    }

    /// A user's rules: the server's default ones with what the user changed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn get(&self, user: UserNum) -> Result<Ruleset> {
        let user_id = self.core.user_id(user).await?;
        let stored = self.account_data.get(user, None, PUSH_RULES).await?;
        Ok(merged(stored.as_deref().map(|content| content.get().as_bytes()), &user_id))
    }

    /// The content of `m.push_rules`, which clients expect in an initial sync even of a user who never changed a rule.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn content(&self, user: UserNum) -> Result<Box<RawValue>> {
        let global = self.get(user).await?;
        serde_json::value::to_raw_value(&Content { global }).map_err(|_| UsersError::NotAnObject("push rules"))
    }

    /// A user's rules, compiled; kept in memory until they change.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn compiled(&self, user: UserNum) -> Result<Arc<CompiledRules>> {
        if let Some(compiled) = self.compiled.get(&user) {
            return Ok(compiled);
        }
        self.compiled
            .get_or_insert_async(&user, async {
                let Some(content) = self.account_data.get(user, None, PUSH_RULES).await? else {
                    return Ok(Arc::clone(&self.default));
                };
                let user_id = self.core.user_id(user).await?;
                let rules = merged(Some(content.get().as_bytes()), &user_id);
                Ok(Arc::new(CompiledRules::new(&rules, &user_id)))
            })
            .await
    }

    /// Adds a rule of the user's own or replaces it, perhaps at a place given relative to another one.
    ///
    /// # Errors
    /// [`UsersError::InsertRule`], [`UsersError::TooLarge`], [`UsersError::InvalidId`] and those of the store.
    pub async fn put(
        &self,
        user: UserNum,
        rule: NewPushRule,
        after: Option<&str>,
        before: Option<&str>,
    ) -> Result<Option<Pos>> {
        check_rule(&rule)?;
        self.change(user, |rules| {
            rules.insert(rule, after, before)?;
            let own = rules.iter().filter(|rule| !rule.is_server_default()).count();
            if own > MAX_RULES || body_globs(rules) > MAX_BODY_GLOBS {
                return Err(UsersError::TooLarge {
                    what: "the number of push rules",
                    limit: if own > MAX_RULES { MAX_RULES } else { MAX_BODY_GLOBS },
                });
            }
            Ok(())
        })
        .await
    }

    /// Adds the rules about threads that a user follows and about all others, where the user has not got them yet.
    /// [MSC4306](https://github.com/matrix-org/matrix-spec-proposals/pull/4306)
    ///
    /// # Errors
    /// Those of the store.
    pub async fn follow_threads(&self, user: UserNum) -> Result<()> {
        if self.compiled(user).await?.ask_subscription() || !self.get(user).await?.postcontent.is_empty() {
            return Ok(());
        }
        let user_id = self.core.user_id(user).await?;
        self.change(user, |rules| {
            if rules.postcontent.is_empty() {
                rules.postcontent = Ruleset::server_default(&user_id).postcontent;
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Removes a rule of the user's own.
    ///
    /// # Errors
    /// [`UsersError::RuleNotFound`], [`UsersError::ServerDefaultRule`] and those of the store.
    pub async fn delete(&self, user: UserNum, kind: RuleKind, rule_id: &str) -> Result<Option<Pos>> {
        self.change(user, |rules| match rules.remove(kind, rule_id) {
            Err(RemovePushRuleError::ServerDefault) => Err(UsersError::ServerDefaultRule),
            Err(_) => Err(UsersError::RuleNotFound),
            Ok(()) => Ok(()),
        })
        .await
    }

    /// Switches a rule on or off.
    ///
    /// # Errors
    /// [`UsersError::RuleNotFound`] and those of the store.
    pub async fn set_enabled(
        &self,
        user: UserNum,
        kind: RuleKind,
        rule_id: &str,
        enabled: bool,
    ) -> Result<Option<Pos>> {
        self.change(user, |rules| rules.set_enabled(kind, rule_id, enabled).map_err(|_| UsersError::RuleNotFound)).await
    }

    /// Sets what a rule does.
    ///
    /// # Errors
    /// [`UsersError::RuleNotFound`], [`UsersError::TooLarge`] and those of the store.
    pub async fn set_actions(
        &self,
        user: UserNum,
        kind: RuleKind,
        rule_id: &str,
        actions: Vec<Action>,
    ) -> Result<Option<Pos>> {
        check_parts(&[], &actions)?;
        self.change(user, |rules| rules.set_actions(kind, rule_id, actions).map_err(|_| UsersError::RuleNotFound)).await
    }

    async fn change(&self, user: UserNum, change: impl FnOnce(&mut Ruleset) -> Result<()>) -> Result<Option<Pos>> {
        let user_id = self.core.user_id(user).await?;
        self.account_data
            .modify(user, None, PUSH_RULES, |old| {
                let mut global = merged(old, &user_id);
                change(&mut global)?;
                let text =
                    serde_json::to_vec(&Content { global }).map_err(|_| UsersError::NotAnObject("push rules"))?;
                Ok(Change::Put(Bytes::from(text)))
            })
            .await
    }
}

/// What the user stored, brought up to this server's default rules.
fn merged(stored: Option<&[u8]>, user: &UserId) -> Ruleset {
    let default = server_default(user);
    match stored.and_then(|stored| serde_json::from_slice::<Content>(stored).ok()) {
        Some(Content { mut global }) => {
            global.update_with_server_default(default);
            global
        }
        None => default,
    }
}

fn body_globs(rules: &Ruleset) -> usize {
    let is_glob = |pattern: &str| pattern.contains(['*', '?']);
    let in_body = |condition: &&PushCondition| match condition {
        PushCondition::EventMatch(data) => data.key == "content.body" && is_glob(&data.pattern),
        _ => false,
    };
    let conditional = rules.override_.iter().chain(&rules.underride);
    let conditions = conditional.flat_map(|rule| &rule.conditions).filter(in_body).count();
    conditions + rules.content.iter().filter(|rule| is_glob(&rule.pattern)).count()
}

fn check_rule(rule: &NewPushRule) -> Result<()> {
    if rule.rule_id().is_empty() || rule.rule_id().len() > MAX_RULE_ID {
        return Err(UsersError::InvalidId("the rule id"));
    }
    match rule {
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => check_parts(&rule.conditions, &rule.actions),
        NewPushRule::Content(rule) => {
            check_pattern("content.body", &rule.pattern)?;
            check_parts(&[], &rule.actions)
        }
        NewPushRule::Room(rule) => check_parts(&[], &rule.actions),
        NewPushRule::Sender(rule) => check_parts(&[], &rule.actions),
        _ => Err(UsersError::InvalidId("the kind of rule")),
    }
}

fn check_parts(conditions: &[PushCondition], actions: &[Action]) -> Result<()> {
    if conditions.len() > MAX_PARTS || actions.len() > MAX_PARTS {
        return Err(UsersError::TooLarge { what: "the push rule", limit: MAX_PARTS });
    }
    conditions.iter().try_for_each(|condition| match condition {
        PushCondition::EventMatch(data) => check_pattern(&data.key, &data.pattern),
        PushCondition::EventPropertyIs(data) => check_pattern(&data.key, ""),
        PushCondition::EventPropertyContains(data) => check_pattern(&data.key, ""),
        _ => Ok(()),
    })
}

fn check_pattern(path: &str, pattern: &str) -> Result<()> {
    let extent = if path == "content.body" { Extent::Words } else { Extent::Whole };
    if path.len() > MAX_PATH || !Pattern::is_acceptable(pattern, extent) {
        return Err(UsersError::TooLarge { what: "a pattern of the push rule", limit: glob::MAX_PATTERN });
    }
    Ok(())
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
