//! One provider: what it announces, its keys, and the requests to it.

use std::{future::Future, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{HeaderValue, Method, Request, header};
use http_kit::Clock;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{
    config::Secret,
    oidc::{
        config::{ClientAuth, ProviderKind, Settled},
        http::{UpstreamError, UpstreamHttp, allowed_url},
        token::{self, Claims, Expected, TokenError},
    },
};

/// How long what a provider announces, and its keys, are believed, in milliseconds.
const KEPT_MS: u64 = 3_600_000;
/// How soon the keys are fetched again where a token names one that is not among them, in milliseconds.
const KEYS_AGAIN_MS: u64 = 60_000;
/// Keys of one provider, at most.
const MAX_KEYS: usize = 64;

/// Why a provider was of no help.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("{0} was answered with status {1}")]
    Status(&'static str, u16),
    #[error("{0} cannot be used: {1}")]
    Document(&'static str, String),
    #[error("it refused: {0}")]
    Refused(String),
    #[error("the ID token is refused: {0}")]
    Token(#[from] TokenError),
}

/// What a provider announces ([OpenID Connect Discovery](https://openid.net/specs/openid-connect-discovery-1_0.html)).
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    end_session_endpoint: Option<String>,
    #[serde(default)]
    revocation_endpoint: Option<String>,
}

/// Something fetched and kept for a while; who wants it at the same time waits for the same request.
struct Kept<T>(Mutex<State<T>>);

type Fetch<T> = Shared<BoxFuture<'static, Result<Arc<T>, ProviderError>>>;

struct State<T> {
    value: Option<(u64, Arc<T>)>,
    running: Option<Fetch<T>>,
}

impl<T: Send + Sync + 'static> Kept<T> {
    fn new() -> Self {
        Self(Mutex::new(State { value: None, running: None }))
    }

    /// What was fetched less than `max_age_ms` ago, else what `fetch` brings; what is too old where that fails.
    async fn get<F>(&self, clock: &Clock, max_age_ms: u64, fetch: impl FnOnce() -> F) -> Result<Arc<T>, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>> + Send + 'static,
    {
        let running = {
            let mut state = self.0.lock();
            if let Some((at, value)) = &state.value
                && clock.now_ms().saturating_sub(*at) < max_age_ms
            {
                return Ok(Arc::clone(value));
            }
            state.running.get_or_insert_with(|| fetch().map(|done| done.map(Arc::new)).boxed().shared()).clone()
        };
        let fetched = running.clone().await;
        let mut state = self.0.lock();
        if state.running.as_ref().is_some_and(|other| other.ptr_eq(&running)) {
            state.running = None;
            if let Ok(value) = &fetched {
                state.value = Some((clock.now_ms(), Arc::clone(value)));
            }
        }
        match (fetched, &state.value) {
            (Err(_), Some((_, old))) => Ok(Arc::clone(old)),
            (fetched, _) => fetched,
        }
    }
}

/// What the token endpoint gave.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) claims: Option<Claims>,
    pub(crate) refresh: Option<Secret>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    id_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// What became of a refresh token.
#[derive(Debug)]
pub(crate) enum Refreshed {
    /// The account still stands.
    Stands(Tokens),
    /// The provider does not take the token any more.
    Ended,
}

/// What a log-in sends to the provider.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) challenge: &'a str,
    pub(crate) redirect_uri: &'a str,
    /// Whether the user is to log in also where the provider knows them still.
    pub(crate) again: bool,
}

/// A provider.
pub(crate) struct Provider {
    pub(crate) settled: Settled,
    http: Arc<dyn UpstreamHttp>,
    clock: Clock,
    metadata: Kept<Metadata>,
    keys: Kept<Vec<Jwk>>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("id", &self.settled.id).finish_non_exhaustive()
    }
}

impl Provider {
    pub(crate) fn new(settled: Settled, http: Arc<dyn UpstreamHttp>, clock: Clock) -> Self {
        Self { settled, http, clock, metadata: Kept::new(), keys: Kept::new() }
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        let (http, issuer) = (Arc::clone(&self.http), self.settled.issuer.clone());
        self.metadata.get(&self.clock, KEPT_MS, || discover(http, issuer)).await
    }

    async fn keys(&self, max_age_ms: u64) -> Result<Arc<Vec<Jwk>>, ProviderError> {
        let metadata = self.metadata().await?;
        let http = Arc::clone(&self.http);
        self.keys
            .get(&self.clock, max_age_ms, || fetch_keys(http, self.settled.issuer.clone(), metadata.jwks_uri.clone()))
            .await
    }

    /// Where somebody goes to log in.
    pub(crate) async fn authorization_url(&self, attempt: &Attempt<'_>) -> Result<String, ProviderError> {
        let metadata = self.metadata().await?;
        let mut url = endpoint(&self.settled.issuer, "authorization_endpoint", &metadata.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settled.client_id)
            .append_pair("redirect_uri", attempt.redirect_uri)
            .append_pair("scope", &self.settled.scopes)
            .append_pair("state", attempt.state)
            .append_pair("nonce", attempt.nonce)
            // Whether or not it is announced: Cognito does not, and checks it all the same.
            .append_pair("code_challenge", attempt.challenge)
            .append_pair("code_challenge_method", "S256");
        if attempt.again {
            // The second has the provider say since when somebody is logged in (OpenID Connect Core, section 3.1.2.1).
            url.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
        }
        Ok(url.into())
    }

    /// Exchanges a code. The ID token is there and right in every way.
    pub(crate) async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        nonce: &str,
        redirect_uri: &str,
    ) -> Result<(Claims, Option<Secret>), ProviderError> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let tokens = self.token_request(&fields, Some(nonce)).await?;
        let missing = || ProviderError::Document("the answer with tokens", "there is no id_token in it".to_owned());
        Ok((tokens.claims.ok_or_else(missing)?, tokens.refresh))
    }

    /// Tries a refresh token of a subject.
    pub(crate) async fn refresh(&self, refresh: &Secret, subject: &str) -> Result<Refreshed, ProviderError> {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.reveal())];
        match self.token_request(&fields, None).await {
            Err(ProviderError::Refused(code)) if code == "invalid_grant" => Ok(Refreshed::Ended),
            Err(error) => Err(error),
            Ok(tokens) if tokens.claims.as_ref().is_some_and(|claims| claims.subject != subject) => {
                Err(TokenError::Claim("sub").into())
            }
            Ok(tokens) => Ok(Refreshed::Stands(tokens)),
        }
    }

    async fn token_request(&self, fields: &[(&str, &str)], nonce: Option<&str>) -> Result<Tokens, ProviderError> {
        let metadata = self.metadata().await?;
        let url = endpoint(&self.settled.issuer, "token_endpoint", &metadata.token_endpoint)?;
        let body = self.post("the token endpoint", &url, fields).await?;
        let answer: TokenAnswer = parse("the answer with tokens", &body)?;
        let claims = match &answer.id_token {
            None => None,
            Some(token) => {
                let audience = [self.settled.client_id.as_str()];
                let expected = self.expected(&audience, nonce, answer.access_token.as_deref());
                Some(self.verify(token, &expected).await?)
            }
        };
        Ok(Tokens { claims, refresh: answer.refresh_token.filter(|token| !token.is_empty()).map(Secret::from) })
    }

    /// Checks an ID token that a client got itself.
    pub(crate) async fn verify_foreign(&self, token: &str) -> Result<Claims, ProviderError> {
        let others = self.settled.id_token_audiences.iter().map(String::as_str);
        let audiences: Vec<&str> = others.chain([self.settled.client_id.as_str()]).collect();
        self.verify(token, &self.expected(&audiences, None, None)).await
    }

    fn expected<'a>(
        &'a self,
        audiences: &'a [&'a str],
        nonce: Option<&'a str>,
        access_token: Option<&'a str>,
    ) -> Expected<'a> {
        Expected {
            issuer: &self.settled.issuer,
            audiences,
            algorithms: &self.settled.algorithms,
            nonce,
            access_token,
            now_ms: self.clock.now_ms(),
        }
    }

    async fn verify(&self, token: &str, expected: &Expected<'_>) -> Result<Claims, ProviderError> {
        let header = token::header(token, expected.algorithms)?;
        let keys = self.keys(KEPT_MS).await?;
        if let Some(key) = token::find_key(&header, &keys) {
            return Ok(token::verify(token, &header, key, expected)?);
        }
        // The keys may have been changed since.
        let keys = self.keys(KEYS_AGAIN_MS).await?;
        let key = token::find_key(&header, &keys).ok_or(TokenError::UnknownKey)?;
        Ok(token::verify(token, &header, key, expected)?)
    }

    /// Gives a refresh token back, where the provider has a place for that.
    pub(crate) async fn revoke(&self, refresh: &Secret) -> Result<(), ProviderError> {
        let metadata = self.metadata().await?;
        let Some(place) = &metadata.revocation_endpoint else { return Ok(()) };
        let url = endpoint(&self.settled.issuer, "revocation_endpoint", place)?;
        self.post("the revocation endpoint", &url, &[("token", refresh.reveal())]).await.map(drop)
    }

    /// Where a browser goes to log out of the provider, and comes back from to `back`.
    pub(crate) async fn logout_url(&self, back: &str) -> Result<Option<String>, ProviderError> {
        let mut url = match &self.settled.logout_url {
            Some(url) => url.clone(),
            None => match &self.metadata().await?.end_session_endpoint {
                Some(place) => endpoint(&self.settled.issuer, "end_session_endpoint", place)?,
                None => return Ok(None),
            },
        };
        let back_field =
            if self.settled.kind == ProviderKind::Cognito { "logout_uri" } else { "post_logout_redirect_uri" };
        url.query_pairs_mut().append_pair("client_id", &self.settled.client_id).append_pair(back_field, back);
        Ok(Some(url.into()))
    }

    async fn post(&self, what: &'static str, url: &Url, fields: &[(&str, &str)]) -> Result<Bytes, ProviderError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if let Some((ClientAuth::Basic, secret)) = &self.settled.secret {
            request = request.header(header::AUTHORIZATION, basic(&self.settled.client_id, secret)?);
        }
        let bad = |error: http::Error| ProviderError::Document(what, error.to_string());
        let response = self.http.call(request.body(self.form(fields).into()).map_err(bad)?).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        #[derive(Deserialize)]
        struct Failure {
            error: String,
        }
        if status.is_client_error()
            && let Ok(Failure { error }) = serde_json::from_slice(response.body())
        {
            return Err(ProviderError::Refused(error.chars().filter(|char| !char.is_control()).take(100).collect()));
        }
        Err(ProviderError::Status(what, status.as_u16()))
    }
}

impl Provider {
    /// A form with what shows who this server is, as far as that does not stand in the head.
    fn form(&self, fields: &[(&str, &str)]) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        match &self.settled.secret {
            Some((ClientAuth::Basic, _)) => {}
            Some((ClientAuth::Post, secret)) => {
                form.append_pair("client_id", &self.settled.client_id).append_pair("client_secret", secret.reveal());
            }
            None => {
                form.append_pair("client_id", &self.settled.client_id);
            }
        }
        form.finish()
    }
}

/// RFC 6749, section 2.3.1: both parts are encoded as in forms.
fn basic(client_id: &str, secret: &Secret) -> Result<HeaderValue, ProviderError> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(client_id), encode(secret.reveal())));
    let mut value = HeaderValue::from_str(&format!("Basic {pair}"))
        .map_err(|error| ProviderError::Document("the client's secret", error.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address that a provider named. One on the network must not lead us to plain HTTP on this machine.
fn endpoint(issuer: &str, what: &'static str, url: &str) -> Result<Url, ProviderError> {
    let url = allowed_url(url).map_err(|why| ProviderError::Document(what, why))?;
    if issuer.starts_with("https:") && url.scheme() != "https" {
        return Err(ProviderError::Document(what, format!("{url}: it must begin with https://")));
    }
    Ok(url)
}

fn parse<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|error| ProviderError::Document(what, error.to_string()))
}

async fn get(http: &dyn UpstreamHttp, issuer: &str, what: &'static str, url: &str) -> Result<Bytes, ProviderError> {
    let url = endpoint(issuer, what, url)?;
    let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json").body(Bytes::new());
    let response = http.call(request.map_err(|error| ProviderError::Document(what, error.to_string()))?).await?;
    match response.status().as_u16() {
        200 => Ok(response.into_body()),
        status => Err(ProviderError::Status(what, status)),
    }
}

async fn discover(http: Arc<dyn UpstreamHttp>, issuer: String) -> Result<Metadata, ProviderError> {
    const WHAT: &str = "the discovery document";
    let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let metadata: Metadata = parse(WHAT, &get(&*http, &issuer, WHAT, &place).await?)?;
    if metadata.issuer != issuer {
        return Err(ProviderError::Document(WHAT, format!("it is of another issuer, {}", metadata.issuer)));
    }
    Ok(metadata)
}

async fn fetch_keys(http: Arc<dyn UpstreamHttp>, issuer: String, place: String) -> Result<Vec<Jwk>, ProviderError> {
    const WHAT: &str = "the key set";
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let set: KeySet = parse(WHAT, &get(&*http, &issuer, WHAT, &place).await?)?;
    // Kinds of keys that nobody here knows may stand among them. Shared secrets are never used.
    let known = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    Ok(known.filter(|key| !matches!(key.algorithm, AlgorithmParameters::OctetKey(_))).collect())
}
