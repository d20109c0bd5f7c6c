//! Users and aliases that a service makes when it is asked.

use http::StatusCode;
use ruma::{room_alias_id, user_id};

use super::{bridge::Fate, *};
use crate::Known;

fn answered(status: StatusCode, body: Value) -> Fate {
    Fate::Answer(status, body)
}

#[tokio::test(start_paused = true)]
async fn only_who_has_the_namespace_is_asked() {
    let hs = Hs::new(&[QUIET, IRC]).await;
    hs.bridge.answer("GET irc.test/base/_matrix/app/v1/users/%40irc_new%3Ahs", answered(StatusCode::OK, json!({})));
    hs.bridge.answer("GET irc.test/base/_matrix/app/v1/rooms/%23irc_x%3Ahs", answered(StatusCode::OK, json!({})));
    assert_eq!(hs.services.ask_for_user(user_id!("@irc_new:hs")).await, Known::Yes);
    assert_eq!(hs.services.ask_for_user(user_id!("@irc_other:hs")).await, Known::No);
    assert_eq!(hs.services.ask_for_user(user_id!("@new:hs")).await, Known::No);
    assert_eq!(hs.services.ask_for_alias(room_alias_id!("#irc_x:hs")).await, Known::Yes);
    assert_eq!(hs.services.ask_for_alias(room_alias_id!("#x:hs")).await, Known::No);
    let asked = hs.bridge.asked.lock().clone();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|seen| seen.token == "Bearer irc-hs" && !seen.target.contains("access_token")));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_asked_once_more() {
    let hs = Hs::new(&[IRC]).await;
    hs.bridge.answer("GET irc.test", Fate::Silent);
    assert_eq!(hs.services.ask_for_user(user_id!("@irc_new:hs")).await, Known::Unanswered);
    assert_eq!(hs.bridge.asked.lock().len(), 2);
    hs.bridge.answer("GET irc.test", Fate::Unreachable);
    assert_eq!(hs.services.ask_for_user(user_id!("@irc_new:hs")).await, Known::No);
    hs.bridge.answer("GET irc.test", answered(StatusCode::INTERNAL_SERVER_ERROR, json!({})));
    assert_eq!(hs.services.ask_for_user(user_id!("@irc_new:hs")).await, Known::No);
}

#[tokio::test(start_paused = true)]
async fn an_old_one_is_asked_where_it_listens() {
    let hs = Hs::new(&[IRC]).await;
    let unknown = answered(StatusCode::NOT_FOUND, json!({"errcode": "M_UNRECOGNIZED"}));
    hs.bridge.answer("GET irc.test/base/_matrix/app/v1/", unknown);
    hs.bridge
        .answer("GET irc.test/base/users/%40irc_new%3Ahs?access_token=irc-hs", answered(StatusCode::OK, json!({})));
    assert_eq!(hs.services.ask_for_user(user_id!("@irc_new:hs")).await, Known::Yes);
}
