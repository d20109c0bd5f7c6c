//! What services, and clients about them, may ask for.

use http::StatusCode;

use super::{bridge::Fate, *};

const PING: &str = "/v1/appservice/irc/ping";

#[tokio::test(start_paused = true)]
async fn a_ping_goes_there_and_back() {
    let text = QUIET.replace("http://quiet.test", "");
    let hs = Hs::new(&[IRC, &text]).await;
    let ping = async |token: &str, path: &str| {
        let (status, body) = hs.request(Method::POST, token, path, json!({"transaction_id": "meow"})).await;
        (status, body["errcode"].as_str().unwrap_or_default().to_owned(), body)
    };
    let code = |answer: &(u16, String, Value)| (answer.0, answer.1.clone());
    let target = "POST irc.test/base/_matrix/app/v1/ping";
    hs.bridge.answer(target, Fate::Answer(StatusCode::OK, json!({})));
    assert_eq!(ping("irc-as", PING).await.2, json!({"duration_ms": 0}));
    let asked = hs.bridge.asked.lock().clone();
    assert_eq!((&asked[0].body, asked[0].token.as_str()), (&json!({"transaction_id": "meow"}), "Bearer irc-hs"));
    let forbidden = json!({"errcode": "M_FORBIDDEN"});
    hs.bridge.answer(target, Fate::Answer(StatusCode::FORBIDDEN, forbidden.clone()));
    let bad = ping("irc-as", PING).await;
    assert_eq!(code(&bad), (502, "M_BAD_STATUS".into()));
    assert_eq!((&bad.2["status"], &bad.2["body"]), (&json!(403), &json!(forbidden.to_string())));
    hs.bridge.answer(target, Fate::Unreachable);
    assert_eq!(code(&ping("irc-as", PING).await), (502, "M_CONNECTION_FAILED".into()));
    hs.bridge.answer(target, Fate::Silent);
    assert_eq!(code(&ping("irc-as", PING).await), (504, "M_CONNECTION_TIMEOUT".into()));
    assert_eq!(code(&ping("quiet-as", PING).await), (403, "M_FORBIDDEN".into()));
    assert_eq!(code(&ping("quiet-as", "/v1/appservice/quiet/ping").await), (400, "M_URL_NOT_SET".into()));
    assert_eq!(code(&ping("nobody", PING).await), (401, "M_UNKNOWN_TOKEN".into()));
}

#[tokio::test(start_paused = true)]
async fn networks_are_shown_as_their_bridges_describe_them() {
    let hs = Hs::new(&[IRC, QUIET]).await;
    let protocol = |networks: &[&str], icon: &str| {
        let instances: Vec<Value> =
            networks.iter().map(|id| json!({"network_id": id, "desc": id, "fields": {"network": id}})).collect();
        let body = json!({"user_fields": ["nick"], "location_fields": [], "icon": icon, "field_types": {}, "instances": instances});
        Fate::Answer(StatusCode::OK, body)
    };
    hs.bridge
        .answer("GET irc.test/base/_matrix/app/v1/thirdparty/protocol/irc", protocol(&["libera", "oftc"], "mxc://a/b"));
    hs.bridge.answer("GET quiet.test/_matrix/app/v1/thirdparty/protocol/irc", protocol(&["libera"], "mxc://c/d"));
    let (status, all) = hs.get("/v3/thirdparty/protocols").await;
    assert_eq!((status, all.as_object().unwrap().len()), (200, 1));
    assert_eq!(all["irc"]["icon"], "mxc://a/b");
    let ids: Vec<&str> =
        all["irc"]["instances"].as_array().unwrap().iter().map(|one| one["instance_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["irc|libera", "irc|oftc", "quiet|libera"]);
    assert_eq!(hs.get("/v3/thirdparty/protocol/irc").await, (200, all["irc"].clone()));
    for missing in ["smoke", "pigeon"] {
        assert_eq!(hs.get(&format!("/v3/thirdparty/protocol/{missing}")).await.0, 404, "{missing}");
    }
    assert_eq!(hs.request(Method::GET, "nobody", "/v3/thirdparty/protocols", Value::Null).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn places_and_people_of_networks_are_looked_up() {
    let hs = Hs::new(&[IRC, QUIET]).await;
    let location = json!({"alias": "#irc_x:hs", "protocol": "irc", "fields": {"channel": "#x"}});
    let user = json!({"userid": GHOST, "protocol": "irc", "fields": {}});
    let app = "_matrix/app/v1/thirdparty";
    let list = |value: &Value| Fate::Answer(StatusCode::OK, json!([value]));
    hs.bridge.answer(&format!("GET irc.test/base/{app}/location/irc?channel=%23x"), list(&location));
    hs.bridge.answer(&format!("GET irc.test/base/{app}/location?alias=%23irc_x%3Ahs"), list(&location));
    hs.bridge.answer(&format!("GET irc.test/base/{app}/user/irc?nick=ann"), list(&user));
    hs.bridge.answer(&format!("GET irc.test/base/{app}/user?userid=%40irc_ann%3Ahs"), list(&user));
    assert_eq!(hs.get("/v3/thirdparty/location/irc?channel=%23x").await, (200, json!([location])));
    assert_eq!(hs.get("/v3/thirdparty/location?alias=%23irc_x%3Ahs").await, (200, json!([location])));
    assert_eq!(hs.get("/v3/thirdparty/user/irc?nick=ann").await, (200, json!([user])));
    assert_eq!(hs.get("/v3/thirdparty/user?userid=%40irc_ann%3Ahs").await, (200, json!([user])));
    assert_eq!(hs.get("/v3/thirdparty/user/irc?nick=ben").await.0, 404);
}

#[tokio::test]
async fn a_service_has_directories_of_its_own() {
    let hs = Hs::new(&[IRC, QUIET]).await;
    let (one, two) = (hs.room().await, hs.room().await);
    let put = async |token: &str, network: &str, room: &Room, visibility: &str| {
        let path = format!("/v3/directory/list/appservice/{network}/{}", room.id);
        hs.request(Method::PUT, token, &path, json!({"visibility": visibility})).await.0
    };
    let listed = async |instance: Option<&str>| hs.services.published(instance).await.unwrap();
    assert_eq!(put("irc-as", "libera", &one, "public").await, 200);
    assert_eq!(put("irc-as", "libera", &two, "public").await, 200);
    assert_eq!(put("quiet-as", "libera", &one, "public").await, 200);
    assert_eq!(put("irc-as", "libera", &two, "private").await, 200);
    assert_eq!(put("irc-as", "oftc", &two, "public").await, 200);
    assert_eq!(put("irc-as", "libera", &two, "friends").await, 400);
    assert_eq!(listed(Some("irc|libera")).await, Some(vec![one.num]));
    assert_eq!(listed(Some("irc|oftc")).await, Some(vec![two.num]));
    assert_eq!(listed(Some("irc|other")).await, Some(vec![]));
    assert_eq!(listed(Some("other|libera")).await, None);
    assert_eq!(listed(None).await, Some(vec![one.num, two.num]));
    let path = "/v3/directory/list/appservice/libera/!nowhere:hs";
    assert_eq!(hs.request(Method::PUT, "irc-as", path, json!({"visibility": "public"})).await.0, 404);
}
