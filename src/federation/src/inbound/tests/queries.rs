use std::sync::Arc;

use engine::Direction;
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use ruma::{OwnedRoomId, RoomAliasId, RoomVersionId, UserId, directory::Filter};
use serde_json::{Value, json, value::to_raw_value};

use crate::{
    CallError, CallLimits, MadeOnDemand,
    testing::{TestServer, World},
};

fn missing<T: std::fmt::Debug>(result: Result<T, CallError>) -> bool {
    result.unwrap_err().is_status(StatusCode::NOT_FOUND)
}

#[tokio::test]
async fn profiles_and_aliases_are_asked_of_their_servers() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let ann = one.register("ann").await;
    let account = one.users().accounts.by_user_id(&ann).await.unwrap().unwrap();
    for (key, value) in [("displayname", json!("Ann")), ("m.tz", json!("Europe/Berlin"))] {
        one.users().profiles.set(account.num, key, &to_raw_value(&value).unwrap()).await.unwrap();
    }
    let whole = two.query_profile(&ann, None).await.unwrap();
    assert_eq!(Value::Object(whole), json!({"displayname": "Ann", "m.tz": "Europe/Berlin"}));
    let field = two.query_profile(&ann, Some("displayname")).await.unwrap();
    assert_eq!(Value::Object(field), json!({"displayname": "Ann"}));
    assert!(two.query_profile(&ann, Some("avatar_url")).await.unwrap().is_empty());
    assert!(missing(two.query_profile(&one.user_id("nobody"), None).await));

    let room = one.create_room(&ann, RoomVersionId::V11).await;
    let alias = <&RoomAliasId>::try_from("#kitchen:one").unwrap();
    let known = one.room(&room).await;
    one.engine().set_alias(alias.as_str(), &known, &ann).await.unwrap();
    let (found, servers) = two.query_directory(alias).await.unwrap();
    assert_eq!((found, servers), (room, vec!["one".try_into().unwrap()]));
    assert!(missing(two.query_directory(<&RoomAliasId>::try_from("#none:one").unwrap()).await));
}

/// Makes the alias that it is asked for, and no user.
struct Maker(Arc<TestServer>, OwnedRoomId);

impl MadeOnDemand for Maker {
    fn user<'a>(&'a self, _: &'a UserId) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    fn alias<'a>(&'a self, alias: &'a RoomAliasId) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let room = self.0.room(&self.1).await;
            self.0.engine().set_alias(alias.as_str(), &room, &self.0.user_id("ann")).await.unwrap();
            true
        })
    }
}

#[tokio::test]
async fn an_alias_may_be_made_when_another_server_asks_for_it() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let ann = one.register("ann").await;
    let room = one.create_room(&ann, RoomVersionId::V11).await;
    let alias = <&RoomAliasId>::try_from("#bridged:one").unwrap();
    assert!(missing(two.query_directory(alias).await));
    let _ = one.federation().made.set(Arc::new(Maker(Arc::clone(one), room.clone())));
    assert_eq!(two.query_directory(alias).await.unwrap().0, room);
}

#[tokio::test]
async fn directories_are_paged_and_searched() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let ann = one.register("ann").await;
    for name in ["Kitchen", "Garden", "Cellar"] {
        let room = one.create_room_by(&ann, RoomVersionId::V11, |plan| plan.name = Some(name.into())).await;
        one.engine().set_public(one.room(&room).await.num, true).await.unwrap();
    }
    let server = &*one.name;
    let first = two.query_public_rooms(server, &Filter::default(), None, Some(2)).await.unwrap();
    assert_eq!((first.chunk.len(), first.total_room_count_estimate), (2, 3));
    let next = first.next_batch.as_deref();
    let second = two.query_public_rooms(server, &Filter::default(), next, Some(2)).await.unwrap();
    assert_eq!((second.chunk.len(), second.next_batch), (1, None));
    let mut filter = Filter::new();
    filter.generic_search_term = Some("gard".to_owned());
    let found = two.query_public_rooms(server, &filter, None, None).await.unwrap();
    assert_eq!(found.chunk[0].name.as_deref(), Some("Garden"));
    let bad = two.query_public_rooms(server, &Filter::default(), Some("x"), None).await;
    assert!(bad.unwrap_err().is_status(StatusCode::BAD_REQUEST));
    let target = "/_matrix/federation/v1/publicRooms?limit=1".to_owned();
    let page: Value = two.client.json(server, Method::GET, target, None, CallLimits::default()).await.unwrap();
    assert_eq!(page["chunk"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn spaces_are_shown_as_far_as_a_server_may_look() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let ann = one.register("ann").await;
    let space = one
        .create_room_by(&ann, RoomVersionId::V11, |plan| {
            plan.creation_content.insert("type".to_owned(), json!("m.space"));
        })
        .await;
    let open = one.create_room(&ann, RoomVersionId::V11).await;
    let closed = one.create_room_by(&ann, RoomVersionId::V11, |plan| plan.preset = engine::Preset::Private).await;
    for child in [&open, &closed] {
        one.set(&space, &ann, "m.space.child", child.as_str(), json!({"via": ["one"]})).await.unwrap();
    }
    one.set(&space, &ann, "m.space.child", "!far:away", json!({"via": ["away"]})).await.unwrap();
    let view = two.query_hierarchy(&one.name, &space, false).await.unwrap();
    assert_eq!(view.room.children_state.len(), 3);
    assert_eq!(view.children.iter().map(|room| &room.room_id).collect::<Vec<_>>(), [&open]);
    assert_eq!(view.inaccessible_children, std::slice::from_ref(&closed));
    assert!(two.query_hierarchy(&one.name, &space, true).await.unwrap().room.children_state.is_empty());
    assert!(missing(two.query_hierarchy(&one.name, &closed, false).await));
    // Whoever is in the space may join: so their server may know.
    let allow = json!([{"type": "m.room_membership", "room_id": space}]);
    let rule = json!({"join_rule": "restricted", "allow": allow});
    one.set(&closed, &ann, "m.room.join_rules", "", rule).await.unwrap();
    assert!(missing(two.query_hierarchy(&one.name, &closed, false).await));
    let ben = world.server("two").register("ben").await;
    one.member(&space, &ben, &ben, "join").await.unwrap();
    let view = two.query_hierarchy(&one.name, &closed, false).await.unwrap();
    assert_eq!(view.room.summary.allowed_room_ids, [space.to_string()]);
}

#[tokio::test]
async fn a_server_that_tells_of_another_room_is_not_believed() {
    let world = World::new(&["one"]);
    let answer = json!({"room": {"room_id": "!other:evil", "num_joined_members": 1}, "children": []});
    let answer = axum::routing::get(move || async move { axum::Json(answer) });
    let path = "/_matrix/federation/v1/hierarchy/{room}";
    world.mesh.answer_by("evil", axum::Router::new().route(path, answer));
    let one = world.server("one").federation();
    let evil = "evil".try_into().unwrap();
    let told = one.query_hierarchy(evil, ruma::room_id!("!asked:evil"), false).await;
    assert!(matches!(told, Err(CallError::BadReply(_))));
}

#[tokio::test]
async fn open_id_tokens_are_redeemed_without_a_signature() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let ann = one.register("ann").await;
    let account = one.users().accounts.by_user_id(&ann).await.unwrap().unwrap();
    one.users().openid.issue(account.num, "secret").await.unwrap();
    let ask = |token: &str| format!("/_matrix/federation/v1/openid/userinfo?access_token={token}");
    let (server, limits) = (&*one.name, CallLimits::default());
    let told: Value = two.client.json(server, Method::GET, ask("secret"), None, limits).await.unwrap();
    assert_eq!(told, json!({"sub": ann}));
    let refused: Result<Value, _> = two.client.json(server, Method::GET, ask("other"), None, limits).await;
    assert!(refused.unwrap_err().is_status(StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn the_time_that_a_server_tells_has_to_be_in_the_direction() {
    let world = World::new(&["one", "two"]);
    let (one, two) = (world.server("one"), world.server("two").federation());
    let ann = one.register("ann").await;
    let room = one.create_room(&ann, RoomVersionId::V11).await;
    let ben = world.server("two").register("ben").await;
    one.member(&room, &ben, &ben, "join").await.unwrap();
    let (first, at) = two.query_timestamp(&one.name, &room, 0, Direction::Forward).await.unwrap();
    assert_eq!(one.rows(&room).await[0].event_id(), first.as_str());
    assert!(at > 0);
    assert!(missing(two.query_timestamp(&one.name, &room, 1, Direction::Backward).await));
    let answer = json!({"event_id": first, "origin_server_ts": 5});
    let answer = axum::routing::get(move || async move { axum::Json(answer) });
    let path = "/_matrix/federation/v1/timestamp_to_event/{room}";
    world.mesh.answer_by("evil", axum::Router::new().route(path, answer));
    let told = two.query_timestamp("evil".try_into().unwrap(), &room, 6, Direction::Forward).await;
    assert!(matches!(told, Err(CallError::BadReply(_))));
}
