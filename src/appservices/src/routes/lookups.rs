//! `GET /_matrix/client/v3/thirdparty/location` and `…/user`, with a protocol or without.

use axum::extract::State;
use http::Uri;
use http_kit::{MatrixError, RawJson, Ruma};
use ruma::api::client::thirdparty::{
    get_location_for_protocol, get_location_for_room_alias, get_user_for_protocol, get_user_for_user_id,
};
use serde_json::Value;

use super::RouteError;
use crate::{
    link::encoded,
    queries::Lookup,
    services::{Api, Services},
};

/// Fields that a client can give, at most.
const MAX_FIELDS: usize = 50;

/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`
pub(super) async fn locations(
    State(api): State<Api>,
    request: Ruma<get_location_for_protocol::v3::Request>,
) -> Result<RawJson, RouteError> {
    of_protocol(&api.0, Lookup::Location, &request.body.protocol, &request.uri).await
}

/// `GET /_matrix/client/v3/thirdparty/user/{protocol}`
pub(super) async fn users(
    State(api): State<Api>,
    request: Ruma<get_user_for_protocol::v3::Request>,
) -> Result<RawJson, RouteError> {
    of_protocol(&api.0, Lookup::User, &request.body.protocol, &request.uri).await
}

/// `GET /_matrix/client/v3/thirdparty/location`
pub(super) async fn locations_of_alias(
    State(api): State<Api>,
    request: Ruma<get_location_for_room_alias::v3::Request>,
) -> Result<RawJson, RouteError> {
    let query = format!("alias={}", encoded(request.body.alias.as_str()));
    found(api.0.look_up(Lookup::Location, None, &query).await)
}

/// `GET /_matrix/client/v3/thirdparty/user`
pub(super) async fn users_of_user(
    State(api): State<Api>,
    request: Ruma<get_user_for_user_id::v3::Request>,
) -> Result<RawJson, RouteError> {
    let query = format!("userid={}", encoded(request.body.userid.as_str()));
    found(api.0.look_up(Lookup::User, None, &query).await)
}

async fn of_protocol(services: &Services, what: Lookup, protocol: &str, uri: &Uri) -> Result<RawJson, RouteError> {
    found(services.look_up(what, Some(protocol), &fields(uri)?).await)
}

/// The fields that a client gives, without its token and whom it acts as.
fn fields(uri: &Uri) -> Result<String, MatrixError> {
    const OURS: [&str; 4] = ["access_token", "user_id", "device_id", "org.matrix.msc3202.device_id"];
    let given = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let fields: Vec<String> = given
        .filter(|(name, _)| !OURS.contains(&&**name))
        .map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value)))
        .collect();
    if fields.len() > MAX_FIELDS {
        return Err(MatrixError::invalid_param("fields", "there are more than 50"));
    }
    Ok(fields.join("&"))
}

fn found(list: Vec<Value>) -> Result<RawJson, RouteError> {
    if list.is_empty() {
        return Err(MatrixError::not_found("No bridge knows this").into());
    }
    Ok(RawJson(Value::Array(list).to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_handed_on() {
        let uri: Uri = "/x?access_token=secret&channel=%23a+b&user_id=@a:b&network=n".parse().unwrap();
        assert_eq!(fields(&uri).unwrap(), "channel=%23a%20b&network=n");
        let many = (0..=MAX_FIELDS).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
        assert!(fields(&format!("/x?{many}").parse().unwrap()).is_err());
    }
}
