//! The authorisation rules for the common cases, from room state that was parsed once.
//!
//! [`RoomAuthView`] answers exactly as [`crate::auth::check_dependent`] would (a property test compares the two), or says
//! [`AuthError::Undecided`] where it does not keep enough to tell. It also answers questions that are asked before there is an
//! event: may this user invite, kick, ban, redact?

mod levels;

use std::collections::HashSet;

use ruma::{
    Int, OwnedUserId, UserId,
    events::{
        TimelineEventType,
        room::{history_visibility::HistoryVisibility, member::MembershipState, power_levels::UserPowerLevel},
    },
    room::JoinRuleKind,
    room_version_rules::AuthorizationRules,
    state_res::events::{RoomCreateEvent, RoomJoinRulesEvent, RoomPowerLevelsIntField as IntField},
};

use self::levels::Levels;
use crate::{auth::AuthError, pdu::Pdu, visibility};

/// A part of the state that may be malformed: then whatever depends on it is refused.
type Parsed<T> = Result<T, AuthError>;

/// What decides about most events, parsed: the create event, power levels, join rule and history visibility.
#[derive(Debug, Clone)]
pub struct RoomAuthView {
    rules: AuthorizationRules,
    create_sender: OwnedUserId,
    room_creator: OwnedUserId,
    federate: Parsed<bool>,
    creators: Parsed<HashSet<OwnedUserId>>,
    levels: Option<Levels>,
    join_rule: Parsed<JoinRuleKind>,
    history_visibility: HistoryVisibility,
}

const NOT_JOINED: AuthError = AuthError::denied("sender is not joined to the room");
const TOO_WEAK: AuthError = AuthError::denied("sender's power level is too low");

impl RoomAuthView {
    /// Parses the state. Malformed parts do not fail here but where they are needed, as in the full check.
    pub fn new(
        rules: &AuthorizationRules,
        create: &Pdu,
        power_levels: Option<&Pdu>,
        join_rules: Option<&Pdu>,
        history_visibility: Option<&Pdu>,
    ) -> Self {
        let event = RoomCreateEvent::new(create);
        let creators = event.creators(rules).map_err(AuthError::from);
        // Before version 11 the content names the one creator.
        let room_creator = match &creators {
            Ok(creators) if !rules.use_room_create_sender => creators.iter().next().cloned(),
            _ => None,
        };
        let join_rule = match join_rules {
            Some(event) => RoomJoinRulesEvent::new(event).join_rule().map_err(AuthError::from),
            None => Err(AuthError::denied("the room has no join rules")),
        };
        Self {
            rules: rules.clone(),
            create_sender: create.sender.clone(),
            room_creator: room_creator.unwrap_or_else(|| create.sender.clone()),
            federate: event.federate().map_err(AuthError::from),
            creators,
            levels: power_levels.map(|event| Levels::new(event, rules)),
            join_rule,
            history_visibility: visibility::of_event(history_visibility),
        }
    }

    /// The room's creator: the sender of its create event, or before version 11 whom that event names.
    pub fn creator(&self) -> &UserId {
        &self.room_creator
    }

    /// Everyone with unlimited power (version 12), or the one creator.
    ///
    /// # Errors
    /// [`AuthError::Denied`] if the create event is malformed.
    pub fn creators(&self) -> Result<&HashSet<OwnedUserId>, AuthError> {
        self.creators.as_ref().map_err(Clone::clone)
    }

    /// Whether users of other servers may take part; `false` also if that cannot be read.
    pub fn federates(&self) -> bool {
        matches!(self.federate, Ok(true))
    }

    /// The join rule.
    ///
    /// # Errors
    /// [`AuthError::Denied`] if there is none or it is malformed.
    pub fn join_rule(&self) -> Result<&JoinRuleKind, AuthError> {
        self.join_rule.as_ref().map_err(Clone::clone)
    }

    /// Who may see events sent now.
    pub fn history_visibility(&self) -> &HistoryVisibility {
        &self.history_visibility
    }

    /// A user's power level.
    ///
    /// # Errors
    /// [`AuthError::Denied`] if the create event or the power levels are malformed.
    pub fn user_power_level(&self, user: &UserId) -> Result<UserPowerLevel, AuthError> {
        let creators = self.creators()?;
        if self.rules.explicitly_privilege_room_creators && creators.contains(user) {
            return Ok(UserPowerLevel::Infinite);
        }
        let Some(levels) = &self.levels else {
            // Without power levels the creator alone has some.
            let level = if creators.contains(user) { Int::from(100) } else { IntField::UsersDefault.default_value() };
            return Ok(UserPowerLevel::Int(level));
        };
        match levels.users.as_ref().map_err(Clone::clone)?.get(user) {
            Some(level) => Ok(UserPowerLevel::Int(*level)),
            None => self.level(IntField::UsersDefault).map(UserPowerLevel::Int),
        }
    }

    /// The power level needed for an action, such as [`IntField::Ban`].
    ///
    /// # Errors
    /// [`AuthError::Denied`] if the power levels are malformed.
    pub fn level(&self, field: IntField) -> Result<Int, AuthError> {
        let set = match &self.levels {
            Some(levels) => levels.int(field).clone()?,
            None => None,
        };
        Ok(set.unwrap_or_else(|| field.default_value()))
    }

    /// The power level needed to send an event of this type.
    ///
    /// # Errors
    /// [`AuthError::Denied`] if the power levels are malformed.
    pub fn event_power_level(&self, event_type: &TimelineEventType, is_state: bool) -> Result<Int, AuthError> {
        if let Some(levels) = &self.levels
            && let Some(level) = levels.events.as_ref().map_err(Clone::clone)?.get(event_type)
        {
            return Ok(*level);
        }
        self.level(if is_state { IntField::StateDefault } else { IntField::EventsDefault })
    }

    /// May `sender`, whose membership is given, send an event without a state key?
    ///
    /// # Errors
    /// [`AuthError::Denied`]; or [`AuthError::Undecided`] for `m.room.power_levels`, and in versions 1 and 2 for an
    /// `m.room.redaction` below the redact level.
    pub fn can_send_message_like(
        &self,
        sender: &UserId,
        membership: &MembershipState,
        event_type: &TimelineEventType,
    ) -> Result<(), AuthError> {
        self.can_send(sender, membership, event_type, None)
    }

    /// May `sender`, whose membership is given, send this state event?
    ///
    /// # Errors
    /// [`AuthError::Denied`]; or [`AuthError::Undecided`] where the content matters: `m.room.member` and
    /// `m.room.power_levels`, and `m.room.redaction` as above.
    pub fn can_send_state(
        &self,
        sender: &UserId,
        membership: &MembershipState,
        event_type: &TimelineEventType,
        state_key: &str,
    ) -> Result<(), AuthError> {
        self.can_send(sender, membership, event_type, Some(state_key))
    }

    fn can_send(
        &self,
        sender: &UserId,
        membership: &MembershipState,
        event_type: &TimelineEventType,
        state_key: Option<&str>,
    ) -> Result<(), AuthError> {
        if *event_type == TimelineEventType::RoomCreate {
            return Err(AuthError::denied("the room has a create event"));
        }
        self.may_federate(sender)?;
        if self.rules.special_case_room_aliases && event_type.to_string() == "m.room.aliases" {
            return if state_key == Some(sender.server_name().as_str()) {
                Ok(())
            } else {
                Err(AuthError::denied("aliases must be under the sender's own server"))
            };
        }
        if *event_type == TimelineEventType::RoomMember {
            return match state_key {
                Some(_) => Err(AuthError::Undecided),
                None => Err(AuthError::denied("a membership needs a state key")),
            };
        }
        must_be_joined(membership)?;
        let power = self.user_power_level(sender)?;
        if *event_type == TimelineEventType::RoomThirdPartyInvite {
            return at_least(power, self.level(IntField::Invite)?);
        }
        at_least(power, self.event_power_level(event_type, state_key.is_some())?)?;
        if state_key.is_some_and(|key| key.starts_with('@') && key != sender.as_str()) {
            return Err(AuthError::denied("the state key is another user's id"));
        }
        match event_type {
            TimelineEventType::RoomPowerLevels => Err(AuthError::Undecided),
            TimelineEventType::RoomRedaction if self.rules.special_case_room_redaction => {
                at_least(power, self.level(IntField::Redact)?).map_err(|_| AuthError::Undecided)
            }
            _ => Ok(()),
        }
    }

    /// Does a redaction by `sender` take effect on an event of `target_sender`? In versions 1 and 2 this is decided when the
    /// redaction is authorised; from version 3 on it is a condition of its own:
    /// [handling redactions](https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions).
    ///
    /// # Errors
    /// [`AuthError::Denied`] if it does not.
    pub fn can_redact(&self, sender: &UserId, target_sender: &UserId) -> Result<(), AuthError> {
        if sender.server_name() == target_sender.server_name() {
            return Ok(());
        }
        at_least(self.user_power_level(sender)?, self.level(IntField::Redact)?)
    }

    /// May `sender` invite someone whose membership is `target` (without a third-party invite)?
    ///
    /// # Errors
    /// [`AuthError::Denied`] if not.
    pub fn can_invite(
        &self,
        sender: &UserId,
        membership: &MembershipState,
        target: &MembershipState,
    ) -> Result<(), AuthError> {
        self.may_federate(sender)?;
        must_be_joined(membership)?;
        if matches!(target, MembershipState::Join | MembershipState::Ban) {
            return Err(AuthError::denied("who is joined or banned cannot be invited"));
        }
        at_least(self.user_power_level(sender)?, self.level(IntField::Invite)?)
    }

    /// May `sender` make `target`, another user, leave: kick, withdraw an invite, refuse a knock, or lift a ban?
    ///
    /// # Errors
    /// [`AuthError::Denied`] if not.
    pub fn can_kick(
        &self,
        sender: &UserId,
        membership: &MembershipState,
        target: &UserId,
        target_membership: &MembershipState,
    ) -> Result<(), AuthError> {
        self.may_federate(sender)?;
        must_be_joined(membership)?;
        let power = self.user_power_level(sender)?;
        let ban = self.level(IntField::Ban)?;
        if *target_membership == MembershipState::Ban {
            at_least(power, ban)?;
        }
        at_least(power, self.level(IntField::Kick)?)?;
        self.outranks(power, target)
    }

    /// May `sender` ban `target`?
    ///
    /// # Errors
    /// [`AuthError::Denied`] if not.
    pub fn can_ban(&self, sender: &UserId, membership: &MembershipState, target: &UserId) -> Result<(), AuthError> {
        self.may_federate(sender)?;
        must_be_joined(membership)?;
        let power = self.user_power_level(sender)?;
        at_least(power, self.level(IntField::Ban)?)?;
        self.outranks(power, target)
    }

    /// May `user` leave (or decline an invite, or withdraw a knock)?
    ///
    /// # Errors
    /// [`AuthError::Denied`] if there is nothing to leave.
    pub fn can_leave(&self, user: &UserId, membership: &MembershipState) -> Result<(), AuthError> {
        self.may_federate(user)?;
        match membership {
            MembershipState::Join | MembershipState::Invite => Ok(()),
            MembershipState::Knock if self.rules.knocking => Ok(()),
            _ => Err(AuthError::denied("not joined, invited or knocking")),
        }
    }

    /// May `user`, whose membership is given, knock?
    ///
    /// # Errors
    /// [`AuthError::Denied`] if not.
    pub fn can_knock(&self, user: &UserId, membership: &MembershipState) -> Result<(), AuthError> {
        if !self.rules.knocking {
            return Err(AuthError::denied("this room version has no knocking"));
        }
        self.may_federate(user)?;
        let open = match self.join_rule()? {
            JoinRuleKind::Knock => true,
            JoinRuleKind::KnockRestricted => self.rules.knock_restricted_join_rule,
            _ => false,
        };
        if !open {
            return Err(AuthError::denied("the join rule does not allow knocking"));
        }
        if matches!(membership, MembershipState::Ban | MembershipState::Invite | MembershipState::Join) {
            return Err(AuthError::denied("who is banned, invited or joined cannot knock"));
        }
        Ok(())
    }

    /// May `user`, whose membership is given, join? `authorised_by` is the user named in `join_authorised_via_users_server` and
    /// that user's membership.
    ///
    /// # Errors
    /// [`AuthError::Denied`] if not; [`AuthError::Undecided`] instead for the room's creator, who may join right after the create
    /// event whatever the rules.
    pub fn can_join(
        &self,
        user: &UserId,
        membership: &MembershipState,
        authorised_by: Option<(&UserId, &MembershipState)>,
    ) -> Result<(), AuthError> {
        self.may_federate(user)?;
        self.creators()?;
        match self.may_join(membership, authorised_by) {
            Err(_) if user == self.room_creator => Err(AuthError::Undecided),
            verdict => verdict,
        }
    }

    fn may_join(
        &self,
        membership: &MembershipState,
        authorised_by: Option<(&UserId, &MembershipState)>,
    ) -> Result<(), AuthError> {
        if *membership == MembershipState::Ban {
            return Err(AuthError::denied("banned from the room"));
        }
        let welcome = matches!(membership, MembershipState::Invite | MembershipState::Join);
        match self.join_rule()? {
            JoinRuleKind::Public => Ok(()),
            JoinRuleKind::Invite if welcome => Ok(()),
            JoinRuleKind::Knock if welcome && self.rules.knocking => Ok(()),
            JoinRuleKind::Restricted if self.rules.restricted_join_rule => {
                if welcome {
                    Ok(())
                } else {
                    self.vouched_for(authorised_by)
                }
            }
            JoinRuleKind::KnockRestricted if self.rules.knock_restricted_join_rule => {
                if welcome {
                    Ok(())
                } else {
                    self.vouched_for(authorised_by)
                }
            }
            _ => Err(AuthError::denied("the join rule does not allow it")),
        }
    }

    fn vouched_for(&self, authorised_by: Option<(&UserId, &MembershipState)>) -> Result<(), AuthError> {
        let Some((by, membership)) = authorised_by else {
            return Err(AuthError::denied("neither invited nor vouched for by a member"));
        };
        if *membership != MembershipState::Join {
            return Err(AuthError::denied("who vouches is not joined"));
        }
        at_least(self.user_power_level(by)?, self.level(IntField::Invite)?)
    }

    fn may_federate(&self, sender: &UserId) -> Result<(), AuthError> {
        let federate = *self.federate.as_ref().map_err(Clone::clone)?;
        if federate || self.create_sender.server_name() == sender.server_name() {
            return Ok(());
        }
        Err(AuthError::denied("the room does not federate"))
    }

    fn outranks(&self, power: UserPowerLevel, target: &UserId) -> Result<(), AuthError> {
        if self.user_power_level(target)? < power { Ok(()) } else { Err(TOO_WEAK) }
    }
}

fn must_be_joined(membership: &MembershipState) -> Result<(), AuthError> {
    if *membership == MembershipState::Join { Ok(()) } else { Err(NOT_JOINED) }
}

fn at_least(power: UserPowerLevel, needed: Int) -> Result<(), AuthError> {
    if power >= needed { Ok(()) } else { Err(TOO_WEAK) }
}
