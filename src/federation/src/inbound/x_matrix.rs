//! Who sent a request.
//! [Request authentication](https://spec.matrix.org/v1.19/server-server-api/#request-authentication).

use crate::{Api, inbound::canonical::canonical};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use http::{HeaderMap, header, request::Parts};
use http_kit::{ClientIp, MatrixError};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedServerName, ServerName, UInt,
    api::federation::authentication::{XMatrix, XMatrixParseError},
};

/// `Authorization` headers of one request that are looked at: a server may sign with several keys.
const MAX_SIGNATURES: usize = 4;

/// What a request says about who signed it, all of it by the same server and to this one.
pub(super) fn claims(headers: &HeaderMap, us: &ServerName) -> Result<Vec<XMatrix>, MatrixError> {
    let mut claims: Vec<XMatrix> = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION).iter().take(MAX_SIGNATURES) {
        match XMatrix::try_from(value) {
            Ok(claim) => claims.push(claim),
            Err(XMatrixParseError::NotFound) => {}
            Err(error) => return Err(MatrixError::unauthorized(format!("The Authorization header: {error}"))),
        }
    }
    let Some(first) = claims.first() else {
        return Err(MatrixError::unauthorized("This request must be signed: it has no X-Matrix Authorization header"));
    };
    if first.origin == us {
        return Err(MatrixError::unauthorized("This server sends itself no requests"));
    }
    if claims.iter().any(|claim| claim.origin != first.origin) {
        return Err(MatrixError::unauthorized("The signatures are of different servers"));
    }
    // Servers from before there was a destination leave it out; it is part of what is signed all the same.
    if let Some(other) = claims.iter().filter_map(|claim| claim.destination.as_ref()).find(|name| *name != us) {
        return Err(MatrixError::unauthorized(format!("This request is for {other}, this is {us}")));
    }
    Ok(claims)
}

/// Checks the signatures; one that is right is enough.
pub(super) async fn verify(
    api: &Api,
    claims: &[XMatrix],
    parts: &Parts,
    body: &[u8],
) -> Result<OwnedServerName, MatrixError> {
    let Some(origin) = claims.first().map(|claim| claim.origin.clone()) else {
        return Err(MatrixError::unauthorized("This request must be signed"));
    };
    let text = signed_text(parts, body, &origin, api.server_name())?;
    let now_ms = api.clock.now_ms();
    let now = UInt::new(now_ms).map(MilliSecondsSinceUnixEpoch);
    let ids: Vec<String> = claims.iter().map(|claim| claim.key.to_string()).collect();
    // Anybody can say to be anybody: whoever makes us ask for keys is counted by the address.
    if !api.keys.knows(&origin, &ids, now_ms).await {
        api.check_stranger(ClientIp::of(&parts.extensions))?;
    }
    let keys = api.keys.fetch_for_request(&origin, ids, now_ms).await;
    let mut known = false;
    for claim in claims {
        let Some(key) = keys.get(&origin, claim.key.as_str(), now) else { continue };
        known = true;
        if UnparsedPublicKey::new(&ED25519, &key).verify(text.as_bytes(), claim.sig.as_bytes()).is_ok() {
            api.client.heard_from(&origin);
            return Ok(origin);
        }
    }
    Err(MatrixError::unauthorized(if known {
        format!("The signature of {origin} does not match this request")
    } else {
        format!("The key that this request is signed with cannot be had of {origin}")
    }))
}

/// The canonical JSON that is signed: over the path and query exactly as they came, since encoding is the sender's choice.
fn signed_text(parts: &Parts, body: &[u8], origin: &ServerName, us: &ServerName) -> Result<String, MatrixError> {
    let uri = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let content = if body.is_empty() { String::new() } else { format!("\"content\":{},", content(body)?) };
    let text = |text: &str| serde_json::to_string(text).map_err(MatrixError::internal);
    let (origin, us, uri) = (text(origin.as_str())?, text(us.as_str())?, text(uri)?);
    let method = text(parts.method.as_str())?;
    Ok(format!("{{{content}\"destination\":{us},\"method\":{method},\"origin\":{origin},\"uri\":{uri}}}"))
}

fn content(body: &[u8]) -> Result<String, MatrixError> {
    let text = std::str::from_utf8(body)
        .map_err(|error| MatrixError::not_json(format!("The body is not valid UTF-8: {error}")))?;
    canonical(text).map_err(|error| MatrixError::not_json(format!("The body is not valid JSON: {error}")))
}
