use store::ManualClock;

use super::*;

fn presence(max_users: usize) -> (Presence, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(1_000_000));
    let options = PresenceOptions { max_users, ..PresenceOptions::default() };
    (Presence::new(Arc::clone(&clock) as _, 7, options), clock)
}

fn users(changes: &[(UserNum, UserPresence)]) -> Vec<UserNum> {
    changes.iter().map(|(user, _)| *user).collect()
}

#[test]
fn time_makes_the_active_idle_and_the_silent_offline() {
    let (presence, clock) = presence(10);
    assert!(presence.active(1));
    let shown = |presence: &Presence| {
        let view = presence.get(1).unwrap();
        (view.state, view.currently_active, view.last_active_ago)
    };
    assert_eq!(shown(&presence), (PresenceState::Online, true, 0));
    // Clients go on syncing, the user does nothing.
    for _ in 0..10 {
        clock.advance(30_000);
        presence.syncing(1, PresenceState::Online);
        presence.tick();
    }
    assert_eq!(shown(&presence), (PresenceState::Unavailable, false, 300_000));
    presence.syncing(1, PresenceState::Online);
    assert_eq!(shown(&presence).0, PresenceState::Unavailable);
    assert!(presence.active(1));
    assert_eq!(shown(&presence), (PresenceState::Online, true, 0));
    clock.advance(60_000);
    assert_eq!(presence.tick(), [1]);
    assert_eq!(shown(&presence), (PresenceState::Offline, false, 60_000));
    assert!(presence.tick().is_empty());
    assert!(presence.syncing(1, PresenceState::Online));
    assert_eq!(shown(&presence), (PresenceState::Online, true, 0));
}

#[test]
fn what_is_read_has_decayed_already_without_a_tick() {
    let (presence, clock) = presence(10);
    presence.active(1);
    clock.advance(59_999);
    assert!(presence.get(1).unwrap().currently_active);
    clock.advance(1);
    let view = presence.get(1).unwrap();
    assert_eq!((view.state, view.currently_active), (PresenceState::Offline, false));
}

#[test]
fn changes_come_once_and_only_of_the_wanted() {
    let (presence, _) = presence(10);
    let start = presence.pos();
    assert!(presence.set(1, PresenceState::Online, Some("hello")).unwrap());
    assert!(!presence.set(1, PresenceState::Online, Some("hello")).unwrap());
    presence.active(2);
    presence.active(3);
    assert!(presence.set(1, PresenceState::Unavailable, None).unwrap());
    let (changes, next) = presence.changes(Some(start), |user| user != 3);
    assert_eq!(users(&changes), [2, 1]);
    assert_eq!(changes[1].1.status_msg, None);
    assert!(presence.changes(Some(next), |_| true).0.is_empty());
    assert!(!presence.active(3));
    assert!(presence.changes(Some(next), |_| true).0.is_empty());
    for from in [None, Some(PresencePos { epoch: 6, n: next.n })] {
        assert_eq!(users(&presence.changes(from, |_| true).0), [2, 3, 1]);
    }
}

#[test]
fn quiet_syncs_and_long_messages_change_nothing() {
    let (presence, _) = presence(10);
    assert!(!presence.syncing(1, PresenceState::Offline));
    assert_eq!(presence.get(1), None);
    presence.active(1);
    assert!(!presence.syncing(1, PresenceState::Offline));
    assert_eq!(presence.get(1).unwrap().state, PresenceState::Online);
    let long = "x".repeat(MAX_STATUS + 1);
    assert!(presence.set(1, PresenceState::Offline, Some(&long)).is_err());
    assert_eq!(presence.get(1).unwrap().state, PresenceState::Online);
}

#[test]
fn memory_is_bounded() {
    let (presence, _) = presence(3);
    for user in 0..10 {
        presence.active(user);
    }
    presence.set(7, PresenceState::Online, Some("newest")).unwrap();
    presence.active(10);
    assert_eq!(users(&presence.changes(None, |_| true).0), [9, 7, 10]);
    assert_eq!(presence.get(8), None);
}
