//! The cases, and what each may cost. (A transaction costs the check of its own signature.)

use ruma::RoomVersionId;

use super::{Bounds, LEAST, besiege, graph, keys, told, wire};
use crate::pdus::gap::{MAX_CALLS, MAX_TIME};

const MIB: usize = 1 << 20;
/// What a few requests say.
const LITTLE: usize = 64 << 10;

macro_rules! sieges {
    ($($name:ident: $version:ident, $attack:path, { $($bound:ident: $limit:expr),* };)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                let bounds = Bounds { $($bound: $limit,)* ..LEAST };
                besiege(stringify!($name), RoomVersionId::$version, bounds, |pair| Box::pin($attack(pair))).await;
            }
        )*
    };
}

sieges! {
    wrong_signatures: V11, wire::wrong_signatures, { checks: 51 };
    wrong_hashes: V11, wire::wrong_hashes, { checks: 21, events: 20 };
    many_signatures: V11, wire::many_signatures,
        { checks: 9, calls: 1, for_keys: 1, sent: LITTLE, received: LITTLE };
    the_same_again: V11, wire::the_same_again, { checks: 20 * 51, events: 1 };
    depths: V11, wire::depths, { checks: 4, events: 2 };
    ten_thousand_references: V11, wire::ten_thousand_references, { checks: 4 };
    numbers: V11, wire::numbers, { checks: 4 };
    numbers_of_old: V5, wire::numbers, { checks: 4 };
    duplicate_keys: V11, wire::duplicate_keys, { checks: 6, events: 2 };
    nested: V11, wire::nested, { checks: 3 };
    bodies: V11, wire::bodies, { seconds: 120 };
    unknown_rooms: V11, wire::unknown_rooms, { checks: 20 };
    at_once: V11, wire::at_once,
        { checks: 100, calls: 40, sent: LITTLE, received: LITTLE, seconds: 5 };

    circles_of_history: V1, graph::circles_of_history, { checks: 20, calls: 12, sent: LITTLE, received: LITTLE };
    circles_of_history_in_version_2: V2, graph::circles_of_history,
        { checks: 20, calls: 12, sent: LITTLE, received: LITTLE };
    circles_with_a_state: V1, graph::circles_with_a_state,
        { checks: 40, calls: 30, events: 6, sent: LITTLE, received: LITTLE, seconds: 3 };
    circles_with_a_state_in_version_2: V2, graph::circles_with_a_state,
        { checks: 40, calls: 30, events: 6, sent: LITTLE, received: LITTLE, seconds: 3 };
    circles_of_authority: V1, graph::circles_of_authority,
        { checks: 20, calls: 12, sent: LITTLE, received: LITTLE, seconds: 2 };
    one_id_for_two: V1, graph::one_id_for_two, { checks: 6, events: 1 };
    auth_events_of_another_room: V11, graph::auth_events_of_another_room,
        { checks: 20, calls: 6, sent: LITTLE, received: LITTLE };
    auth_events_of_another_room_in_version_1: V1, graph::auth_events_of_another_room,
        { checks: 20, calls: 6, sent: LITTLE, received: LITTLE };
    authority_without_end: V11, graph::authority_without_end,
        { checks: 60, calls: 60, sent: LITTLE, received: MIB, seconds: 3 };
    authority_with_strangers: V11, graph::authority_with_strangers,
        { checks: 10, calls: 3, events: 2, sent: LITTLE, received: 2 * MIB };
    history_without_end: V11, graph::history_without_end,
        { checks: 140, calls: 20, sent: LITTLE, received: 2 * MIB, seconds: 3 };
    the_same_page: V11, graph::the_same_page,
        { checks: 140, calls: 20, sent: LITTLE, received: 2 * MIB, seconds: 3 };
    backfill_without_end: V11, graph::backfill_without_end,
        { checks: 1200, calls: 100, events: 70, sent: LITTLE, received: 4 * MIB, seconds: 10 };
    a_hundred_branches: V11, graph::a_hundred_branches, { checks: 102, events: 110 };
    two_stories: V11, graph::two_stories, { checks: 12, events: 6 };

    keys_of_nobody: V11, keys::of_nobody, { checks: 5, calls: 50, for_keys: 50, sent: LITTLE, seconds: 60 };
    keys_of_the_silent: V11, keys::of_the_silent,
        { checks: 1, calls: 50, for_keys: 50, sent: LITTLE, seconds: 61 };
    keys_that_flip: V11, keys::that_flip,
        { calls: 5, for_keys: 5, events: 1, sent: LITTLE, received: LITTLE, seconds: 60 };
    keys_too_many: V11, keys::too_many, { checks: 1, calls: 4, for_keys: 4, sent: LITTLE, received: LITTLE, seconds: 30 };

    a_hundred_thousand_ids: V11, told::a_hundred_thousand_ids,
        { checks: 6, calls: 60, sent: MIB, received: 32 * MIB, seconds: 5 };
    a_state_made_up: V11, told::a_state_made_up,
        { checks: 2010, calls: 10, events: 2010, locked: 3000, sent: MIB, received: 4 * MIB, seconds: 3 };
    a_state_of_old: V11, told::a_state_of_old,
        { checks: 12, calls: 10, events: 7, sent: LITTLE, received: LITTLE, seconds: 3 };
    another_event: V11, told::another_event,
        { checks: 6, calls: 60, sent: LITTLE, received: MIB, seconds: 5 };
    many_gaps: V11, told::many_gaps,
        { checks: 600, calls: 20 * 20, sent: MIB, received: 4 * MIB, seconds: 30 };
    silence: V11, told::silence, { checks: 2, calls: 3, sent: LITTLE, seconds: MAX_TIME / 1000 };
    slowness: V11, told::slowness, { checks: 6, calls: MAX_CALLS, sent: MIB, received: MIB, seconds: MAX_TIME / 1000 + 31 };
    huge_answers: V11, told::huge_answers, { checks: 2, calls: 3, sent: LITTLE, received: 0 };
}
