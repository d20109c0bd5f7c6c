//! What an app sends a browser here with. [Authorisation request](https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-flow).

use url::{Url, form_urlencoded};

use crate::{
    fields::Fields,
    oauth::{clients::Registered, codes::Challenge, error::OauthError, scope::Scope},
};

/// The longest `state`, in bytes.
const MAX_STATE: usize = 2048;
/// The longest name that is filled in for somebody, in bytes.
const MAX_HINT: usize = 255;

/// Where in the address an app wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Query,
    Fragment,
}

/// Where an answer goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnTo {
    pub(crate) redirect_uri: String,
    mode: Mode,
    state: Option<String>,
}

/// A request that may be put to somebody.
#[derive(Debug, Clone)]
pub(crate) struct AppRequest {
    pub(crate) client: Registered,
    pub(crate) scope: Scope,
    pub(crate) challenge: Challenge,
    pub(crate) return_to: ReturnTo,
    /// Whether the user wants a new account.
    pub(crate) create: bool,
    /// Whether they are to show who they are in any case.
    pub(crate) login: bool,
    /// The user name that is filled in for them.
    pub(crate) hint: Option<String>,
}

impl ReturnTo {
    /// Where an answer to this client would go. None where that place cannot be trusted: then nobody is sent there.
    pub(crate) fn parse(query: &Fields, client: &Registered) -> Option<Self> {
        let redirect_uri = query.get("redirect_uri").filter(|uri| client.client.may_return_to(uri))?;
        let mode = match query.get("response_mode") {
            Some("fragment") => Mode::Fragment,
            _ => Mode::Query,
        };
        let state = query.get("state").filter(|state| state.len() <= MAX_STATE).map(str::to_owned);
        Some(Self { redirect_uri: redirect_uri.to_owned(), mode, state })
    }

    /// The address with an answer in it, which also says whose answer it is (RFC 9207).
    pub(crate) fn with(&self, answer: &[(&str, &str)], issuer: &str) -> Option<String> {
        let mut url = Url::parse(&self.redirect_uri).ok()?;
        let state = self.state.as_deref().map(|state| ("state", state));
        let pairs = answer.iter().copied().chain(state).chain([("iss", issuer)]);
        match self.mode {
            Mode::Query => {
                url.query_pairs_mut().extend_pairs(pairs);
            }
            Mode::Fragment => {
                let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                url.set_fragment(Some(&text));
            }
        }
        Some(url.into())
    }
}

impl AppRequest {
    /// The rest of a request. What is wrong with it the app is told.
    pub(crate) fn parse(query: &Fields, client: Registered, return_to: ReturnTo) -> Result<Self, OauthError> {
        for unsupported in ["request", "request_uri"] {
            if query.has(unsupported) {
                let code = if unsupported == "request" { "request_not_supported" } else { "request_uri_not_supported" };
                return Err(OauthError::new(code, format!("{unsupported} is not supported")));
            }
        }
        if query.get("state").is_some_and(|state| state.len() > MAX_STATE) {
            return Err(OauthError::invalid_request("state is too long"));
        }
        if query.get("response_type") != Some("code") {
            return Err(OauthError::new("unsupported_response_type", "response_type must be code"));
        }
        if !client.client.may("authorization_code") {
            return Err(OauthError::new("unauthorized_client", "The client did not register for codes"));
        }
        if !matches!(query.get("response_mode"), None | Some("query" | "fragment")) {
            return Err(OauthError::invalid_request("response_mode must be query or fragment"));
        }
        if query.get("code_challenge_method") != Some("S256") {
            return Err(OauthError::invalid_request("code_challenge_method must be S256"));
        }
        let challenge = query.get("code_challenge").and_then(Challenge::parse);
        let challenge = challenge.ok_or_else(|| OauthError::invalid_request("code_challenge is no SHA-256 hash"))?;
        let scope = Scope::parse(query.get("scope").unwrap_or_default());
        let scope = scope.map_err(|why| OauthError::new("invalid_scope", why))?;
        let prompts: Vec<&str> = query.get("prompt").unwrap_or_default().split(' ').collect();
        if prompts.contains(&"none") {
            return Err(OauthError::new("interaction_required", "Somebody has to agree to it"));
        }
        let hint = query.get("login_hint").map(|hint| hint.strip_prefix("mxid:").unwrap_or(hint).to_owned());
        Ok(Self {
            client,
            scope,
            challenge,
            return_to,
            create: prompts.contains(&"create"),
            login: prompts.contains(&"login"),
            hint: hint.filter(|hint| hint.len() <= MAX_HINT),
        })
    }
}
