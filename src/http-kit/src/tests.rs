//! The whole layer, driven through axum's router.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{FromRef, State},
    response::Response,
    routing::post,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use ruma::{
    api::client::{
        account::whoami,
        alias::get_alias,
        directory::get_public_rooms,
        membership::kick_user,
        message::send_message_event,
        session::{get_login_types, login},
    },
    user_id,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    AuthError, AuthFuture, Authenticated, Authenticator, EndpointOptions, JsonBody, MatrixError, RawJson, RequestMeta,
    Requester, RequesterInfo, Ruma, RumaRouter as _, WithJson, finish, route_error, with_cors,
};

#[derive(Clone)]
struct App(Arc<dyn Authenticator>);

impl FromRef<App> for Arc<dyn Authenticator> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.0)
    }
}

struct Tokens;

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, token: &'a str, meta: RequestMeta<'a>) -> AuthFuture<'a> {
        Box::pin(async move {
            match token {
                "good" => Ok(Requester::new(RequesterInfo {
                    user_id: user_id!("@alice:example.org").to_owned(),
                    user: 7,
                    device_id: meta.asserted_device().map(|device| (&*device).into()),
                    admin: false,
                    suspended: false,
                    appservice: None,
                })),
                "expired" => Err(AuthError::UnknownToken { soft_logout: true }),
                "locked" => Err(AuthError::Locked),
                "broken" => Err(AuthError::Internal("the disk is on fire".into())),
                _ => Err(AuthError::UnknownToken { soft_logout: false }),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum RouteError {
    #[error("No room has the alias {0}")]
    NoSuchAlias(ruma::OwnedRoomAliasId),
    #[error("secret detail")]
    Disk,
}

impl From<RouteError> for MatrixError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::NoSuchAlias(_) => Self::not_found(error.to_string()),
            RouteError::Disk => Self::internal(error),
        }
    }
}
route_error!(RouteError);

async fn alias(
    State(_app): State<App>,
    request: Ruma<get_alias::v3::Request>,
) -> Result<get_alias::v3::Response, RouteError> {
    if request.body.room_alias.alias() == "disk" {
        return Err(RouteError::Disk);
    }
    Err(RouteError::NoSuchAlias(request.body.room_alias))
}

async fn who(request: Ruma<whoami::v3::Request>) -> Result<whoami::v3::Response, RouteError> {
    let mut response = whoami::v3::Response::new(request.requester.user_id.clone(), false);
    response.device_id.clone_from(&request.requester.device_id);
    Ok(response)
}

async fn login_types(_request: Ruma<get_login_types::v3::Request>) -> Result<RawJson, MatrixError> {
    Ok(RawJson(Bytes::from_static(br#"{"flows":[]}"#)))
}

async fn send(request: Ruma<send_message_event::v3::Request>) -> Result<RawJson, MatrixError> {
    Ok(RawJson(
        json!({ "type": request.body.event_type.to_string(), "body": request.json_body, "path": request.uri.path() })
            .to_string()
            .into(),
    ))
}

async fn kick(request: Ruma<kick_user::v3::Request>) -> Result<kick_user::v3::Response, MatrixError> {
    Err(MatrixError::forbidden(request.body.user_id.to_string()))
}

async fn rooms(request: Ruma<get_public_rooms::v3::Request>) -> Result<RawJson, MatrixError> {
    std::future::pending::<()>().await;
    Ok(RawJson(request.json_body))
}

async fn log_in(_request: Ruma<login::v3::Request>) -> Result<RawJson, MatrixError> {
    Ok(RawJson(Bytes::from_static(b"{}")))
}

#[derive(Deserialize)]
struct Reason {
    why: String,
}

async fn ban_with_reason(
    request: Ruma<WithJson<ruma::api::client::membership::ban_user::v3::Request, Reason>>,
) -> Result<RawJson, MatrixError> {
    let WithJson { json, path, .. } = &request.body;
    Ok(RawJson(json!({ "why": json.why, "path": path, "via": request.query("via") }).to_string().into()))
}

#[derive(Deserialize)]
struct Dinner {
    title: String,
}

async fn dinner(Authenticated(who): Authenticated, JsonBody(dinner): JsonBody<Dinner>) -> RawJson {
    RawJson(json!({ "who": who.user_id, "title": dinner.title }).to_string().into())
}

fn app() -> Router {
    let router = Router::new()
        .ruma(alias)
        .ruma(who)
        .ruma(log_in)
        .ruma(ban_with_reason)
        .ruma(login_types)
        .ruma_with(EndpointOptions::default().body_limit(2000), send)
        .ruma_with(EndpointOptions { body_timeout: Duration::from_millis(5), ..EndpointOptions::default() }, kick)
        .ruma_with(EndpointOptions::default().timeout(Duration::from_millis(5)), rooms)
        .route("/own/dinner", with_cors(post(dinner)));
    finish(router).with_state(App(Arc::new(Tokens)))
}

async fn call(method: Method, path: &str, token: Option<&str>, body: impl Into<Body>) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    app().oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(path: &str, token: Option<&str>) -> (u16, Value) {
    read(call(Method::GET, path, token, Body::empty()).await).await
}

fn code((status, body): (u16, Value)) -> (u16, String) {
    (status, body["errcode"].as_str().unwrap_or_default().to_owned())
}

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const SEND: &str = "/_matrix/client/v3/rooms/!r:example.org/send/m.room.message/t1";
const KICK: &str = "/_matrix/client/v3/rooms/!r:example.org/kick";

#[tokio::test]
async fn tokens_are_required_and_resolved() {
    assert_eq!(code(get(WHOAMI, None).await), (401, "M_MISSING_TOKEN".into()));
    let (status, body) = get(WHOAMI, Some("wrong")).await;
    assert_eq!((status, &body["errcode"], &body["soft_logout"]), (401, &json!("M_UNKNOWN_TOKEN"), &json!(false)));
    let (status, body) = get(WHOAMI, Some("expired")).await;
    assert_eq!((status, &body["errcode"], &body["soft_logout"]), (401, &json!("M_UNKNOWN_TOKEN"), &json!(true)));
    assert_eq!(code(get(WHOAMI, Some("locked")).await), (401, "M_USER_LOCKED".into()));
    let (status, body) = get(WHOAMI, Some("broken")).await;
    assert_eq!((status, &body["errcode"]), (500, &json!("M_UNKNOWN")));
    assert!(!body.to_string().contains("fire"), "{body}");
}

#[tokio::test]
async fn every_path_of_an_endpoint_and_both_places_for_a_token() {
    for path in [WHOAMI, "/_matrix/client/r0/account/whoami"] {
        assert_eq!(get(path, Some("good")).await, (200, json!({ "user_id": "@alice:example.org" })));
    }
    let (_, body) = get(&format!("{WHOAMI}?access_token=good&device_id=D%20X"), None).await;
    assert_eq!(body, json!({ "user_id": "@alice:example.org", "device_id": "D X" }));
}

#[tokio::test]
async fn path_arguments_are_decoded_and_checked() {
    let (status, body) = get("/_matrix/client/v3/directory/room/%23a%2Fb%3Aexample.org", Some("good")).await;
    assert_eq!((status, &body["error"]), (404, &json!("No room has the alias #a/b:example.org")));
    for bad in ["nohash%3Aexample.org", "%23x", "%ff%fe"] {
        let answer = get(&format!("/_matrix/client/v3/directory/room/{bad}"), Some("good")).await;
        assert_eq!(code(answer), (400, "M_INVALID_PARAM".into()), "{bad}");
    }
}

#[tokio::test]
async fn internal_errors_keep_their_detail() {
    let (status, body) = get("/_matrix/client/v3/directory/room/%23disk%3Aexample.org", Some("good")).await;
    assert_eq!((status, &body["errcode"]), (500, &json!("M_UNKNOWN")));
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[tokio::test]
async fn bodies_that_are_wrong_say_how() {
    let kick = async |body: &'static str| read(call(Method::POST, KICK, Some("good"), body).await).await;
    assert_eq!(code(kick("{").await), (400, "M_NOT_JSON".into()));
    assert_eq!(code(kick("kick").await), (400, "M_NOT_JSON".into()));
    assert_eq!(code(kick(r#"{"user_id": 3, "#).await), (400, "M_NOT_JSON".into()));
    assert_eq!(code(kick(r#"{"user_id": "@b:c"} x"#).await), (400, "M_NOT_JSON".into()));

    let (status, body) = kick(r#"{"reason": "x"}"#).await;
    assert_eq!((status, &body["errcode"], &body["field"]), (400, &json!("M_MISSING_PARAM"), &json!("user_id")));
    let (status, body) = kick("").await;
    assert_eq!((status, &body["errcode"], &body["field"]), (400, &json!("M_MISSING_PARAM"), &json!("user_id")));
    let (status, body) = kick(r#"{"user_id": 3}"#).await;
    assert_eq!((status, &body["errcode"], &body["field"]), (400, &json!("M_BAD_JSON"), &json!("user_id")));
    let (status, body) = kick(r#"{"user_id": "bob"}"#).await;
    assert_eq!((status, &body["errcode"], &body["field"]), (400, &json!("M_BAD_JSON"), &json!("user_id")));
    assert_eq!(code(kick(r#" ["@bob:example.org", null, null]"#).await), (400, "M_BAD_JSON".into()));
    assert_eq!(code(kick(r#""x""#).await), (400, "M_BAD_JSON".into()));
    let invalid = call(Method::POST, KICK, Some("good"), Body::from(&b"{\"user_id\":\"\xff\"}"[..])).await;
    assert_eq!(code(read(invalid).await), (400, "M_NOT_JSON".into()));
    // In a field that nobody reads, too.
    let ignored = Body::from(&b"{\"user_id\":\"@bob:example.org\",\"x\":\"\xff\"}"[..]);
    assert_eq!(code(read(call(Method::POST, KICK, Some("good"), ignored).await).await), (400, "M_NOT_JSON".into()));

    let (status, body) = kick(r#"{"user_id": "@bob:example.org"}"#).await;
    assert_eq!((status, &body["error"]), (403, &json!("@bob:example.org")));
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_depth() {
    let send = async |body: String| read(call(Method::PUT, SEND, Some("good"), body).await).await;
    let (status, body) = send(r#"{"a":{}}"#.to_owned()).await;
    assert_eq!((status, &body["type"], &body["path"]), (200, &json!("m.room.message"), &json!(SEND)));
    assert_eq!(code(send(format!(r#"{{"a":"{}"}}"#, "x".repeat(2000))).await), (413, "M_TOO_LARGE".into()));
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(send(nested(99)).await.0, 200);
    assert_eq!(code(send(nested(100)).await), (400, "M_BAD_JSON".into()));

    let chunks = |count: usize| {
        let text = std::iter::once(r#"{"a":""#.to_owned())
            .chain((0..count).map(|_| "x".repeat(100)))
            .chain(std::iter::once(r#""}"#.to_owned()));
        let parts: Vec<Result<Bytes, std::io::Error>> = text.map(|part| Ok(part.into())).collect();
        Body::from_stream(futures::stream::iter(parts))
    };
    assert_eq!(read(call(Method::PUT, SEND, Some("good"), chunks(3)).await).await.0, 200);
    assert_eq!(code(read(call(Method::PUT, SEND, Some("good"), chunks(30)).await).await), (413, "M_TOO_LARGE".into()));
    assert_eq!(code(read(call(Method::PUT, SEND, None, chunks(30)).await).await), (401, "M_MISSING_TOKEN".into()));
}

#[tokio::test]
async fn slow_bodies_and_slow_handlers_end() {
    let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(code(read(call(Method::POST, KICK, Some("good"), body).await).await), (408, "M_UNKNOWN".into()));
    assert_eq!(code(get("/_matrix/client/v3/publicRooms", None).await), (504, "M_UNKNOWN".into()));
}

#[tokio::test]
async fn what_is_not_there_is_unrecognized() {
    assert_eq!(code(get("/_matrix/client/v3/nothing", None).await), (404, "M_UNRECOGNIZED".into()));
    let wrong = call(Method::DELETE, WHOAMI, None, Body::empty()).await;
    assert_eq!(code(read(wrong).await), (405, "M_UNRECOGNIZED".into()));
}

#[tokio::test]
async fn every_answer_carries_cors_headers() {
    let answers = [
        (Method::GET, "/_matrix/client/v3/login", StatusCode::OK),
        (Method::GET, WHOAMI, StatusCode::UNAUTHORIZED),
        (Method::GET, "/_matrix/client/v3/nothing", StatusCode::NOT_FOUND),
        (Method::PATCH, WHOAMI, StatusCode::METHOD_NOT_ALLOWED),
        (Method::OPTIONS, WHOAMI, StatusCode::NO_CONTENT),
        (Method::OPTIONS, "/_matrix/client/v3/nothing", StatusCode::NO_CONTENT),
        (Method::POST, "/own/dinner", StatusCode::UNAUTHORIZED),
        (Method::OPTIONS, "/own/dinner", StatusCode::NO_CONTENT),
    ];
    for (method, path, status) in answers {
        let response = call(method.clone(), path, None, Body::empty()).await;
        assert_eq!(response.status(), status, "{method} {path}");
        let header = |name| response.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(header(header::ACCESS_CONTROL_ALLOW_ORIGIN), ["*"], "{method} {path}");
        assert_eq!(
            header(header::ACCESS_CONTROL_ALLOW_METHODS),
            ["GET, POST, PUT, DELETE, OPTIONS"],
            "{method} {path}"
        );
        assert_eq!(
            header(header::ACCESS_CONTROL_ALLOW_HEADERS),
            ["X-Requested-With, Content-Type, Authorization"],
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn plain_handlers_have_the_same_refusals() {
    let dinner = async |body: &'static str| read(call(Method::POST, "/own/dinner", Some("good"), body).await).await;
    assert_eq!(dinner(r#"{"title":"Pizza"}"#).await, (200, json!({ "who": "@alice:example.org", "title": "Pizza" })));
    assert_eq!(code(dinner("{").await), (400, "M_NOT_JSON".into()));
    let (_, body) = dinner(r#"{"title":1}"#).await;
    assert_eq!((&body["errcode"], &body["field"]), (&json!("M_BAD_JSON"), &json!("title")));
}

#[tokio::test]
async fn limit_errors_say_when_to_come_back() {
    use axum::response::IntoResponse as _;
    let response = MatrixError::limit_exceeded(Duration::from_millis(1500)).into_response();
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    let (status, body) = read(response).await;
    assert_eq!((status, &body["errcode"], &body["retry_after_ms"]), (429, &json!("M_LIMIT_EXCEEDED"), &json!(1500)));
}

#[tokio::test]
async fn a_parser_that_panics_costs_an_error_only() {
    let answer = call(Method::POST, "/_matrix/client/v3/login", None, "{}").await;
    assert_eq!(code(read(answer).await), (400, "M_BAD_JSON".into()));
}

#[tokio::test]
async fn an_endpoint_can_have_a_body_of_our_own() {
    let ban = "/_matrix/client/v3/rooms/!r:example.org/ban?via=a%20b";
    let answer = call(Method::POST, ban, Some("good"), r#"{"why":"x"}"#).await;
    assert_eq!(read(answer).await, (200, json!({ "why": "x", "path": ["!r:example.org"], "via": "a b" })));
    let (_, body) = read(call(Method::POST, ban, Some("good"), r#"{"why":1}"#).await).await;
    assert_eq!((&body["errcode"], &body["field"]), (&json!("M_BAD_JSON"), &json!("why")));
    assert_eq!(code(read(call(Method::POST, ban, None, "{}").await).await), (401, "M_MISSING_TOKEN".into()));
}
