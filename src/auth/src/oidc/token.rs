//! ID tokens, and everything about them that has to be right.
//! [ID token validation](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, Jwk, PublicKeyUse},
};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 32 << 10;
/// The longest subject, in bytes (OpenID Connect Core, section 2: 255 characters).
const MAX_SUBJECT: usize = 255;
/// By how much clocks may differ, in seconds.
const LEEWAY_SECONDS: i64 = 30;

/// What is wrong with an ID token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is no signed token")]
    Malformed,
    #[error("it is signed by an algorithm that is not allowed")]
    Algorithm,
    #[error("its key is not known")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("its claim {0} is missing or wrong")]
    Claim(&'static str),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
}

/// What a token is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    /// Whom it may be made out for; one of them suffices.
    pub(crate) audiences: &'a [&'a str],
    pub(crate) algorithms: &'a [Algorithm],
    /// The nonce that was sent, where there was one.
    pub(crate) nonce: Option<&'a str>,
    /// The access token that came with it.
    pub(crate) access_token: Option<&'a str>,
    /// Unix milliseconds.
    pub(crate) now_ms: u64,
}

/// The claims of a token that is right.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    pub(crate) subject: String,
    /// Unix seconds.
    pub(crate) issued_at: i64,
    all: Map<String, Value>,
}

impl Claims {
    /// A claim that is a text and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Whether the token says that its user showed who they are after `since_ms`, in Unix milliseconds.
    pub(crate) fn logged_in_since(&self, since_ms: u64) -> bool {
        let since = i64::try_from(since_ms / 1000).unwrap_or(i64::MAX).saturating_sub(LEEWAY_SECONDS);
        self.all.get("auth_time").and_then(Value::as_f64).is_some_and(|seconds| seconds as i64 >= since)
    }

    /// Whether a claim that lists names has this one.
    pub(crate) fn lists(&self, name: &str, wanted: &str) -> bool {
        match self.all.get(name) {
            Some(Value::Array(names)) => names.iter().any(|name| name == wanted),
            Some(Value::String(only)) => only == wanted,
            _ => false,
        }
    }
}

/// The header of a token whose algorithm is allowed. Nothing is believed yet.
pub(crate) fn header(token: &str, algorithms: &[Algorithm]) -> Result<Header, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Malformed);
    }
    // `none` is no algorithm to the library: that, too, is one that is not allowed.
    let first = token.split('.').next().unwrap_or_default();
    let object =
        URL_SAFE_NO_PAD.decode(first).ok().and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
    let named = object.ok_or(TokenError::Malformed)?;
    let header = decode_header(token).map_err(|_| match named.get("alg") {
        Some(Value::String(name)) if name.parse::<Algorithm>().is_err() => TokenError::Algorithm,
        _ => TokenError::Malformed,
    })?;
    // Extensions that a token declares critical and that nobody here knows make it invalid (RFC 7515, section 4.1.11).
    if named.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    if !algorithms.contains(&header.alg) { Err(TokenError::Algorithm) } else { Ok(header) }
}

/// The key that a token was signed with; without a key id it must be the only one that fits.
pub(crate) fn find_key<'a>(header: &Header, keys: &'a [Jwk]) -> Option<&'a Jwk> {
    let mut fitting = keys.iter().filter(|key| fits(key, header.alg));
    match &header.kid {
        Some(kid) => fitting.find(|key| key.common.key_id.as_ref() == Some(kid)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

/// Whether a key is for signatures by this algorithm.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let kind = matches!(
        (&key.algorithm, algorithm),
        (AlgorithmParameters::RSA(_), RS256 | RS384 | RS512 | PS256 | PS384 | PS512)
            | (AlgorithmParameters::EllipticCurve(_), ES256 | ES384)
            | (AlgorithmParameters::OctetKeyPair(_), EdDSA)
    );
    let named = key.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{algorithm:?}"));
    let purpose = key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    kind && named && purpose
}

/// Checks a token with a key.
pub(crate) fn verify(token: &str, header: &Header, key: &Jwk, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    let key = DecodingKey::from_jwk(key).map_err(|_| TokenError::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    // The library's clock is not ours: claims are checked below.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let all = decode::<Map<String, Value>>(token, &key, &validation).map_err(|_| TokenError::Signature)?.claims;
    check(all, header.alg, expected)
}

fn check(all: Map<String, Value>, algorithm: Algorithm, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    let text = |name: &'static str| all.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(TokenError::Claim("iss"));
    }
    check_audience(&all, expected.audiences)?;
    let issued_at = check_times(&all, expected.now_ms)?;
    // Cognito's access tokens are signed by the same issuer.
    if all.contains_key("token_use") && text("token_use") != Some("id") {
        return Err(TokenError::Claim("token_use"));
    }
    if let Some(nonce) = expected.nonce
        && text("nonce") != Some(nonce)
    {
        return Err(TokenError::Claim("nonce"));
    }
    if let (Some(given), Some(access)) = (all.get("at_hash"), expected.access_token)
        && given.as_str() != Some(&*at_hash(access, algorithm))
    {
        return Err(TokenError::Claim("at_hash"));
    }
    let subject = text("sub").filter(|sub| (1..=MAX_SUBJECT).contains(&sub.len())).ok_or(TokenError::Claim("sub"))?;
    Ok(Claims { subject: subject.to_owned(), issued_at, all })
}

fn check_audience(all: &Map<String, Value>, audiences: &[&str]) -> Result<(), TokenError> {
    let wanted = |audience: &Value| audience.as_str().is_some_and(|audience| audiences.contains(&audience));
    let (ours, several) = match all.get("aud") {
        Some(Value::Array(list)) => (list.iter().any(wanted), list.len() > 1),
        Some(one) => (wanted(one), false),
        None => (false, false),
    };
    if !ours {
        return Err(TokenError::Claim("aud"));
    }
    match all.get("azp") {
        Some(party) if !wanted(party) => Err(TokenError::Claim("azp")),
        None if several => Err(TokenError::Claim("azp")),
        _ => Ok(()),
    }
}

/// Returns when the token was issued.
fn check_times(all: &Map<String, Value>, now_ms: u64) -> Result<i64, TokenError> {
    let now = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let seconds = |name: &'static str| match all.get(name) {
        None => Ok(None),
        // Fractions are allowed; a whole second is fine enough.
        Some(value) => value.as_f64().map(|seconds| Some(seconds as i64)).ok_or(TokenError::Claim(name)),
    };
    let expires = seconds("exp")?.ok_or(TokenError::Claim("exp"))?;
    let issued = seconds("iat")?.ok_or(TokenError::Claim("iat"))?;
    if expires.saturating_add(LEEWAY_SECONDS) <= now {
        return Err(TokenError::Expired);
    }
    let begins = seconds("nbf")?.unwrap_or(issued).max(issued);
    if begins.saturating_sub(LEEWAY_SECONDS) > now { Err(TokenError::NotYet) } else { Ok(issued) }
}

/// The left half of the access token's hash.
fn at_hash(access: &str, algorithm: Algorithm) -> String {
    use Algorithm::{ES384, EdDSA, PS384, PS512, RS384, RS512};
    let hash = match algorithm {
        RS384 | PS384 | ES384 => Sha384::digest(access).to_vec(),
        RS512 | PS512 | EdDSA => Sha512::digest(access).to_vec(),
        _ => Sha256::digest(access).to_vec(),
    };
    URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or_default())
}
