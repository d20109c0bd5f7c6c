//! Who may see an event.
//! [Room history visibility](https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility).

use ruma::events::room::{history_visibility::HistoryVisibility, member::MembershipState};
use serde::Deserialize;

use crate::pdu::Pdu;

/// The visibility an `m.room.history_visibility` event sets; `shared` if there is none or its value is not understood.
pub fn of_event(event: Option<&Pdu>) -> HistoryVisibility {
    #[derive(Deserialize)]
    struct Content {
        history_visibility: HistoryVisibility,
    }
    event
        .and_then(|event| serde_json::from_str::<Content>(event.content.get()).ok())
        .map_or(HistoryVisibility::Shared, |content| understood(content.history_visibility))
}

fn understood(visibility: HistoryVisibility) -> HistoryVisibility {
    match visibility {
        known @ (HistoryVisibility::WorldReadable
        | HistoryVisibility::Invited
        | HistoryVisibility::Joined
        | HistoryVisibility::Shared) => known,
        _ => HistoryVisibility::Shared,
    }
}

/// Whether a user may see an event.
///
/// `visibility` and `membership` are those *at the event*: the room's setting and the user's membership in the state before it.
/// `joined_since` says whether the user was joined at any time after the event, even if not any more.
pub fn visible(visibility: &HistoryVisibility, membership: &MembershipState, joined_since: bool) -> bool {
    if *membership == MembershipState::Join {
        return true;
    }
    match visibility {
        HistoryVisibility::WorldReadable => true,
        HistoryVisibility::Joined => false,
        HistoryVisibility::Invited => *membership == MembershipState::Invite,
        // Shared, and whatever is not understood.
        _ => joined_since,
    }
}

/// The same for an event that itself changes who may see it: the user's own `m.room.member` event or an
/// `m.room.history_visibility` event. Seeing it before *or* after the change is enough. Each pair is what held before and what
/// holds after the event.
pub fn visible_across(
    visibility: (&HistoryVisibility, &HistoryVisibility),
    membership: (&MembershipState, &MembershipState),
    joined_since: bool,
) -> bool {
    visible(visibility.0, membership.0, joined_since) || visible(visibility.1, membership.1, joined_since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISIBILITIES: [HistoryVisibility; 4] = [
        HistoryVisibility::WorldReadable,
        HistoryVisibility::Shared,
        HistoryVisibility::Invited,
        HistoryVisibility::Joined,
    ];

    #[test]
    fn members_see_everything() {
        for visibility in &VISIBILITIES {
            assert!(visible(visibility, &MembershipState::Join, false));
        }
    }

    #[test]
    fn strangers_see_only_what_the_world_may_read() {
        for membership in [MembershipState::Leave, MembershipState::Ban, MembershipState::Knock] {
            let seen = VISIBILITIES.map(|visibility| visible(&visibility, &membership, false));
            assert_eq!(seen, [true, false, false, false]);
        }
    }

    #[test]
    fn later_members_see_shared_history() {
        let seen = VISIBILITIES.map(|visibility| visible(&visibility, &MembershipState::Leave, true));
        assert_eq!(seen, [true, true, false, false]);
    }

    #[test]
    fn the_invited_see_from_their_invite_on_where_allowed() {
        let before_joining = VISIBILITIES.map(|visibility| visible(&visibility, &MembershipState::Invite, false));
        assert_eq!(before_joining, [true, false, true, false]);
        let having_joined = VISIBILITIES.map(|visibility| visible(&visibility, &MembershipState::Invite, true));
        assert_eq!(having_joined, [true, true, true, false]);
    }

    #[test]
    fn an_unknown_value_means_shared() {
        let odd = HistoryVisibility::from("telepathic");
        assert!(!visible(&odd, &MembershipState::Leave, false));
        assert!(visible(&odd, &MembershipState::Leave, true));
    }

    #[test]
    fn changes_are_visible_from_either_side() {
        let joined = &HistoryVisibility::Joined;
        let (leave, join) = (&MembershipState::Leave, &MembershipState::Join);
        assert!(visible_across((joined, joined), (leave, join), false), "own join");
        assert!(visible_across((joined, joined), (join, leave), false), "own leave");
        assert!(visible_across((joined, &HistoryVisibility::WorldReadable), (leave, leave), false), "opening");
        assert!(!visible_across((joined, joined), (leave, &MembershipState::Ban), false));
    }
}
