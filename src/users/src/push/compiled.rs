//! Push rules made ready for being asked often.

use ruma::{
    Int, RoomId, UInt, UserId,
    power_levels::NotificationPowerLevelsKey,
    push::{
        Action, AnyPushRuleRef, PushCondition, PushConditionPowerLevelsCtx, RoomMemberCountIs, Ruleset,
        ScalarJsonValue, Tweak,
    },
};
use serde_json::{Map, Value};
use std::{ops::RangeBounds, sync::Arc};

use super::{
    event::{Leaf, MAX_PATH, PushEvent},
    glob::{Extent, Pattern},
};

/// What is to happen on an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// Counts as a notification, and goes to the user's pushers.
    pub notify: bool,
    /// Is to stand out.
    pub highlight: bool,
    /// The sound to play.
    pub sound: Option<Arc<str>>,
    /// Tweaks that mean nothing to a server: an app and its push gateway agree on them.
    pub custom: Option<Arc<Map<String, Value>>>,
}

/// The largest value of a custom tweak, in bytes; what is larger does not go to push gateways.
const MAX_TWEAK: usize = 1024;

static NONE: Actions = Actions { notify: false, highlight: false, sound: None, custom: None };

impl Actions {
    fn new(actions: &[Action]) -> Self {
        Self {
            notify: actions.iter().any(Action::should_notify),
            highlight: actions.iter().any(Action::is_highlight),
            sound: actions.iter().find_map(Action::sound).map(|sound| Arc::from(sound.as_str())),
            custom: custom_tweaks(actions),
        }
    }
}

fn custom_tweaks(actions: &[Action]) -> Option<Arc<Map<String, Value>>> {
    let mut tweaks = Map::new();
    for action in actions {
        let Action::SetTweak(tweak) = action else { continue };
        if matches!(tweak, Tweak::Sound(_) | Tweak::Highlight(_)) || tweak.set_tweak().len() > MAX_TWEAK {
            continue;
        }
        let value = tweak.value().filter(|value| value.get().len() <= MAX_TWEAK);
        let value = value.and_then(|value| serde_json::from_str(value.get()).ok());
        tweaks.insert(tweak.set_tweak().to_owned(), value.unwrap_or_default());
    }
    (!tweaks.is_empty()).then(|| Arc::new(tweaks))
}

/// The room, and the user in it, at the time of the event.
#[derive(Debug, Clone, Copy)]
pub struct PushContext<'a> {
    /// The user whose rules are asked.
    pub user_id: &'a UserId,
    /// The room.
    pub room_id: &'a RoomId,
    /// Joined members of the room.
    pub member_count: u64,
    /// The user's display name in the room.
    pub display_name: &'a str,
    /// Who may notify everybody; without it nobody may.
    pub power_levels: Option<&'a PushConditionPowerLevelsCtx>,
    /// Whether the user follows the thread that the event is in; nothing where it is in none.
    pub follows_thread: Option<bool>,
}

/// A property that a condition asks for.
#[derive(Debug, Clone)]
enum Property {
    /// Of the room, whatever the event says.
    RoomId,
    /// The body, in lower case already.
    Body,
    Path(Box<str>),
}

#[derive(Debug, Clone)]
enum Scalar {
    /// The id of the user who is asked: rules that differ in it alone are shared.
    OwnId,
    Value(Leaf<'static>),
}

#[derive(Debug, Clone)]
enum Check {
    Matches(Property, Pattern),
    /// The property is the user's own id, in any case.
    MatchesOwnId(Box<str>),
    Is(Box<str>, Scalar),
    Contains(Box<str>, Scalar),
    DisplayName,
    MemberCount(RoomMemberCountIs),
    MayNotify(NotificationPowerLevelsKey),
    FollowsThread(bool),
}

#[derive(Debug, Clone)]
struct Rule {
    checks: Vec<Check>,
    /// One of the older rules about mentions.
    unless_mentions: bool,
    actions: Actions,
}

/// A user's push rules, compiled: those that are enabled and could match, in the order of their priority.
#[derive(Debug, Clone, Default)]
pub struct CompiledRules {
    rules: Vec<Rule>,
}

impl CompiledRules {
    /// Compiles the rules of a user. Conditions that are not known here never hold, so their rules are left out.
    pub fn new(rules: &Ruleset, user: &UserId) -> Self {
        let enabled = rules.iter().filter(|rule| rule.enabled());
        Self { rules: enabled.filter_map(|rule| Rule::new(rule, user)).collect() }
    }

    /// What is to happen on an event: the actions of the first rule that matches. Nothing for the user's own events.
    pub fn evaluate(&self, event: &PushEvent<'_>, context: &PushContext<'_>) -> &Actions {
        if event.get_str("sender") == Some(context.user_id.as_str()) {
            return &NONE;
        }
        self.rules.iter().find(|rule| rule.applies(event, context)).map_or(&NONE, |rule| &rule.actions)
    }

    /// Whether any rule asks for [`PushContext::display_name`]: the default ones do not.
    pub fn ask_display_name(&self) -> bool {
        self.rules.iter().any(|rule| rule.checks.iter().any(|check| matches!(check, Check::DisplayName)))
    }

    /// Whether any rule asks for [`PushContext::follows_thread`]: those of users who never followed a thread do not.
    pub fn ask_subscription(&self) -> bool {
        self.rules.iter().any(|rule| rule.checks.iter().any(|check| matches!(check, Check::FollowsThread(_))))
    }

    /// How many rules there are to ask, for tests and metrics.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule can match.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn new(rule: AnyPushRuleRef<'_>, user: &UserId) -> Option<Self> {
        let glob = |path: &str, pattern: &str| Some(vec![Check::matches(path, pattern, user)?]);
        let mut checks = match rule {
            AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) | AnyPushRuleRef::PostContent(rule) => {
                rule.conditions.iter().map(|condition| Check::new(condition, user)).collect::<Option<Vec<_>>>()
            }
            AnyPushRuleRef::Content(rule) => glob("content.body", &rule.pattern),
            AnyPushRuleRef::Room(rule) => glob("room_id", rule.rule_id.as_str()),
            AnyPushRuleRef::Sender(rule) => glob("sender", rule.rule_id.as_str()),
            _ => None,
        }?;
        checks.sort_by_key(Check::cost);
        let unless_mentions = match rule {
            AnyPushRuleRef::Content(rule) => rule.rule_id == ".m.rule.contains_user_name",
            AnyPushRuleRef::Room(_) | AnyPushRuleRef::Sender(_) => false,
            _ => matches!(rule.rule_id(), ".m.rule.contains_display_name" | ".m.rule.roomnotif"),
        };
        Some(Self { checks, unless_mentions, actions: Actions::new(rule.actions()) })
    }

    fn applies(&self, event: &PushEvent<'_>, context: &PushContext<'_>) -> bool {
        !(self.unless_mentions && event.has_mentions()) && self.checks.iter().all(|check| check.holds(event, context))
    }
}

impl Check {
    fn new(condition: &PushCondition, user: &UserId) -> Option<Self> {
        #[allow(deprecated)] // Clients may still have rules with display names.
        match condition {
            PushCondition::EventMatch(data) => Self::matches(&data.key, &data.pattern, user),
            PushCondition::ContainsDisplayName => Some(Self::DisplayName),
            PushCondition::RoomMemberCount(data) => Some(Self::MemberCount(data.is)),
            PushCondition::SenderNotificationPermission(data) => Some(Self::MayNotify(data.key.clone())),
            PushCondition::ThreadSubscription(data) => Some(Self::FollowsThread(data.subscribed)),
            PushCondition::EventPropertyIs(data) if data.key.len() <= MAX_PATH => {
                Some(Self::Is(data.key.as_str().into(), Scalar::new(&data.value, user)))
            }
            PushCondition::EventPropertyContains(data) if data.key.len() <= MAX_PATH => {
                Some(Self::Contains(data.key.as_str().into(), Scalar::new(&data.value, user)))
            }
            _ => None,
        }
    }

    fn matches(path: &str, pattern: &str, user: &UserId) -> Option<Self> {
        if path.len() > MAX_PATH {
            return None;
        }
        let (property, extent) = match path {
            "room_id" => (Property::RoomId, Extent::Whole),
            "content.body" => (Property::Body, Extent::Words),
            _ if pattern == user.as_str() && !pattern.contains(['*', '?']) => {
                return Some(Self::MatchesOwnId(path.into()));
            }
            _ => (Property::Path(path.into()), Extent::Whole),
        };
        match Pattern::new(pattern, extent) {
            Pattern::Never => None,
            pattern => Some(Self::Matches(property, pattern)),
        }
    }

    /// What is cheap and fails often comes first.
    fn cost(&self) -> u8 {
        match self {
            Self::MemberCount(_) | Self::FollowsThread(_) => 0,
            Self::Matches(Property::Path(path), Pattern::Equal(_)) if **path == *"type" => 1,
            Self::Matches(Property::Path(_) | Property::RoomId, Pattern::Equal(_)) | Self::MatchesOwnId(_) => 2,
            Self::Is(..) => 2,
            Self::Contains(..) => 3,
            Self::MayNotify(_) => 4,
            Self::Matches(..) => 5,
            Self::DisplayName => 6,
        }
    }

    fn holds(&self, event: &PushEvent<'_>, context: &PushContext<'_>) -> bool {
        match self {
            Self::Matches(Property::RoomId, pattern) => pattern.matches(context.room_id.as_str()),
            Self::Matches(Property::Body, pattern) => {
                event.lower_body().is_some_and(|body| pattern.matches_lower(body))
            }
            Self::Matches(Property::Path(path), pattern) => {
                event.get_str(path).is_some_and(|value| pattern.matches(value))
            }
            Self::MatchesOwnId(path) => {
                event.get_str(path).is_some_and(|value| equal_in_any_case(value, context.user_id.as_str()))
            }
            Self::Is(path, scalar) => event.get(path).is_some_and(|leaf| scalar.is(leaf, context.user_id)),
            Self::Contains(path, scalar) => match event.get(path) {
                Some(Leaf::Array(items)) => items.iter().any(|item| scalar.is(item, context.user_id)),
                _ => false,
            },
            Self::DisplayName => event
                .lower_body()
                .is_some_and(|body| Pattern::new(context.display_name, Extent::Words).matches_lower(body)),
            Self::MemberCount(is) => {
                let count = UInt::try_from(context.member_count).unwrap_or(UInt::MAX);
                is.contains(&count)
            }
            Self::MayNotify(key) => may_notify(event, context, key),
            Self::FollowsThread(wanted) => context.follows_thread == Some(*wanted),
        }
    }
}

fn may_notify(event: &PushEvent<'_>, context: &PushContext<'_>, key: &NotificationPowerLevelsKey) -> bool {
    let Some(power_levels) = context.power_levels else {
        return false;
    };
    let sender = event.get_str("sender").and_then(|sender| <&UserId>::try_from(sender).ok());
    sender.is_some_and(|sender| power_levels.has_sender_notification_permission(sender, key))
}

fn equal_in_any_case(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() { a.eq_ignore_ascii_case(b) } else { a.to_lowercase() == b.to_lowercase() }
}

impl Scalar {
    fn new(value: &ScalarJsonValue, user: &UserId) -> Self {
        Self::Value(match value {
            ScalarJsonValue::Null => Leaf::Null,
            ScalarJsonValue::Bool(value) => Leaf::Bool(*value),
            ScalarJsonValue::Integer(value) => Leaf::Int(int(*value)),
            ScalarJsonValue::String(value) if value == user.as_str() => return Self::OwnId,
            ScalarJsonValue::String(value) => Leaf::Str(value.clone().into()),
        })
    }

    fn is(&self, leaf: &Leaf<'_>, user: &UserId) -> bool {
        match self {
            Self::OwnId => leaf.as_str() == Some(user.as_str()),
            Self::Value(value) => value == leaf,
        }
    }
}

fn int(value: Int) -> i64 {
    value.into()
}
