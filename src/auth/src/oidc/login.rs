//! The steps of a log-in through the browser.
//! [Client login via SSO](https://spec.matrix.org/v1.19/client-server-api/#client-login-via-sso).

use std::net::IpAddr;

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_kit::MatrixError;
use ruma::{OwnedUserId, UserId};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;
use users::{UserNum, UsersError};

use crate::{
    config::Secret,
    error::RouteError,
    oidc::{
        Sso,
        flows::{Asked, AtProvider, Begun, FlowError, Goal, Step},
        identities::Identity,
        newcomer,
        pages::{AskPage, Pages, guard},
        provider::{Attempt, Provider, ProviderError},
        redirect::Target,
        token::Claims,
        words::Problem,
    },
    state::Auth,
};

/// By this prefix leaked login tokens can be found.
const LOGIN_PREFIX: &str = "cpl_";
/// The longest code that is passed on, in bytes.
const MAX_CODE: usize = 4096;

/// Why a page does not show what was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble(pub(crate) StatusCode, pub(crate) Problem);

impl Trouble {
    /// The detail goes to the log, never to the browser.
    #[track_caller]
    pub(crate) fn internal(detail: impl std::fmt::Display) -> Self {
        drop(MatrixError::internal(detail));
        Self(StatusCode::INTERNAL_SERVER_ERROR, Problem::Internal)
    }
}

impl From<FlowError> for Trouble {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Unknown => Self(StatusCode::BAD_REQUEST, Problem::Over),
            FlowError::OtherBrowser => Self(StatusCode::FORBIDDEN, Problem::OtherBrowser),
        }
    }
}

impl From<UsersError> for Trouble {
    fn from(error: UsersError) -> Self {
        Self::internal(error)
    }
}

impl From<RouteError> for Trouble {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Matrix(error) if error.status == StatusCode::TOO_MANY_REQUESTS => {
                Self(StatusCode::TOO_MANY_REQUESTS, Problem::TooMany)
            }
            error => Self::internal(error),
        }
    }
}

/// What a client wants of a log-in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Where it takes its login token.
    pub(crate) redirect_url: Option<&'a str>,
    /// Whether it knows that people may be asked for a password on the way, and offers nothing else
    /// ([OAuth 2.0 aware clients](https://spec.matrix.org/v1.19/client-server-api/#oauth-20-aware-clients)).
    pub(crate) aware: bool,
    /// Whether its user wants a new account.
    pub(crate) create: bool,
}

/// What a provider sent the browser back with.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) state: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) issuer: Option<String>,
}

pub(crate) fn sso(auth: &Auth) -> Result<&Sso, Trouble> {
    auth.sso.as_ref().ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))
}

impl Auth {
    /// Sends a browser to a provider, or asks to which.
    pub(crate) async fn begin_login(
        &self,
        provider: Option<&str>,
        wish: Wish<'_>,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let bad = Trouble(StatusCode::BAD_REQUEST, Problem::BadRedirect);
        let given = wish.redirect_url.ok_or(bad)?;
        let target = Target::parse(given, &sso.allowed).map_err(|_| bad)?;
        let found = match (provider, &*sso.providers) {
            (None, all) if self.has_login_page() && (wish.aware || all.len() != 1) => {
                return self.ask_who(target, wish.create, ip, headers);
            }
            (None, [only]) => (0, only),
            (None, _) => return Ok(choose(sso, given, headers)),
            (Some(id), _) => sso.find(id).ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))?,
        };
        self.go_to_provider(sso, found, (Goal::Client(target), false), ip).await
    }

    /// Sends a browser to a provider; with `again` whoever is logged in there already has to show once more who they are.
    pub(crate) async fn go_to_provider(
        &self,
        sso: &Sso,
        (index, provider): (usize, &Provider),
        (goal, again): (Goal, bool),
        ip: Option<IpAddr>,
    ) -> Result<Response, Trouble> {
        self.limits.login_from(ip).map_err(RouteError::from)?;
        let (nonce, verifier) = (self.entropy.token(""), self.entropy.token(""));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let again_since = again.then(|| self.clock.now_ms());
        let step = AtProvider { provider: index, nonce: nonce.clone(), verifier, again_since, goal };
        let begun = self.begin_step(sso, Step::AtProvider(step))?;
        let redirect_uri = callback(sso, provider);
        let attempt =
            Attempt { state: &begun.id, nonce: &nonce, challenge: &challenge, redirect_uri: &redirect_uri, again };
        let url = provider.authorization_url(&attempt).await.map_err(|error| trouble(provider, &error))?;
        go(&url, [Some(begun.cookie)])
    }

    pub(crate) fn begin_step(&self, sso: &Sso, step: Step) -> Result<Begun, Trouble> {
        sso.flows.begin(step, &self.entropy).ok_or_else(|| Trouble::internal("a cookie could not be made"))
    }

    /// Takes a browser that comes back from a provider.
    pub(crate) async fn come_back(&self, id: &str, answer: Answer, headers: &HeaderMap) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let (index, provider) = sso.find(id).ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))?;
        let over = Trouble(StatusCode::BAD_REQUEST, Problem::Over);
        let state = answer.state.as_deref().ok_or(over)?;
        // From here on this state is used up, whatever comes of it.
        let Step::AtProvider(step) = sso.flows.take(state, headers)? else { return Err(over) };
        // RFC 9207: whose answer it is, where the provider says so. Each has an address of its own as well.
        let foreign = answer.issuer.is_some_and(|issuer| issuer != provider.settled.issuer);
        if step.provider != index || foreign {
            return Err(Trouble(StatusCode::BAD_REQUEST, Problem::Refused));
        }
        if let Some(error) = answer.error {
            let shown: String = error.chars().take(100).flat_map(char::escape_debug).collect();
            tracing::info!(provider = id, error = shown, "a provider sent somebody back with an error");
            let cancelled = error == "access_denied";
            let problem = if cancelled { Problem::Cancelled } else { Problem::Refused };
            return Err(Trouble(StatusCode::FORBIDDEN, problem));
        }
        let code = answer.code.filter(|code| (1..=MAX_CODE).contains(&code.len())).ok_or(over)?;
        let exchanged = provider.exchange(&code, &step.verifier, &step.nonce, &callback(sso, provider)).await;
        let (claims, refresh) = exchanged.map_err(|error| trouble(provider, &error))?;
        // Who takes the wish for it out of the address, or a provider that does not know it, ends here.
        if step.again_since.is_some_and(|since| !claims.logged_in_since(since)) {
            return Err(Trouble(StatusCode::FORBIDDEN, Problem::NotAskedAgain));
        }
        let identity = (provider.settled.issuer.clone(), claims.subject.clone());
        let begun = match sso.identities.find(&identity).await? {
            None if matches!(step.goal, Goal::Confirm { .. }) => {
                return Err(Trouble(StatusCode::FORBIDDEN, Problem::OtherAccount));
            }
            None => {
                self.begin_step(sso, Step::Newcomer(newcomer::of(self, index, provider, &claims, refresh, step.goal)))?
            }
            Some(row) => {
                let user_id = self.open(row.user).await?;
                self.take_over(sso, provider, &identity, row.user, roles(provider, &claims), refresh).await?;
                match step.goal {
                    Goal::Confirm { session, user } => {
                        let mut page = self.confirmed(&session, (user, row.user), headers)?;
                        add_cookies(page.headers_mut(), [sso.flows.forget(state)]);
                        return Ok(page);
                    }
                    Goal::Waiting(waiting) => {
                        let cookie = self.log_browser_in(row.user, user_id)?;
                        return go(&next_url(sso, &waiting), [Some(cookie), sso.flows.forget(state)]);
                    }
                    Goal::Client(target) if target.trusted => {
                        let link = self.link_for(sso, row.user, &target).await?;
                        return go(&link, [sso.flows.forget(state)]);
                    }
                    Goal::Client(target) => {
                        self.begin_step(sso, Step::Asked(self.asking(row.user, user_id, target)))?
                    }
                }
            }
        };
        go(&next_url(sso, &begun.id), [Some(begun.cookie), sso.flows.forget(state)])
    }

    /// The user id of an account that is open, and not locked.
    pub(crate) async fn open(&self, user: UserNum) -> Result<OwnedUserId, Trouble> {
        match self.users.accounts.get(user).await? {
            Some(account) if account.locked => Err(Trouble(StatusCode::FORBIDDEN, Problem::Locked)),
            Some(account) if !account.deactivated => Ok(account.user_id),
            _ => Err(Trouble(StatusCode::FORBIDDEN, Problem::Closed)),
        }
    }

    /// What a log-in changes about an account: its role, and what its provider is asked again with.
    pub(crate) async fn take_over(
        &self,
        sso: &Sso,
        provider: &Provider,
        identity: &Identity,
        user: UserNum,
        admin: Option<bool>,
        refresh: Option<Secret>,
    ) -> Result<(), Trouble> {
        self.apply_role(user, admin).await?;
        if let Some(refresh) = refresh {
            let sealer = sso.sealer.as_ref();
            let sealed = sealer.and_then(|sealer| sealer.seal(&refresh, &[&identity.0, &identity.1], &self.entropy));
            let sealed = sealed.ok_or_else(|| Trouble::internal("a token could not be encrypted"))?;
            let due = self.clock.now_ms().saturating_add(provider.settled.recheck_ms);
            sso.identities.keep_grant(identity, user, sealed, due).await?;
        }
        Ok(())
    }

    /// Makes somebody an administrator, or takes that away.
    pub(crate) async fn apply_role(&self, user: UserNum, admin: Option<bool>) -> users::Result<()> {
        let Some(admin) = admin else { return Ok(()) };
        match self.users.accounts.get(user).await? {
            Some(account) if account.admin != admin && !account.deactivated => self.set_admin(user, admin).await,
            _ => Ok(()),
        }
    }

    pub(crate) fn asking(&self, user: UserNum, user_id: OwnedUserId, target: Target) -> Asked {
        Asked { user, user_id, target, csrf: self.entropy.token("") }
    }

    /// Where a client gets its login token.
    pub(crate) async fn link_for(&self, sso: &Sso, user: UserNum, target: &Target) -> Result<String, Trouble> {
        Ok(target.with_token(&self.login_token(user, sso.token_ms).await?))
    }

    /// A token by which another client can log in as this user, once.
    pub(crate) async fn login_token(&self, user: UserNum, lifetime_ms: u64) -> users::Result<String> {
        let token = self.entropy.token(LOGIN_PREFIX);
        self.users.tokens.issue_login(user, &token, self.clock.now_ms().saturating_add(lifetime_ms)).await?;
        Ok(token)
    }

    /// The last page, which takes the browser to the client.
    pub(crate) async fn finish(
        &self,
        sso: &Sso,
        (user, user_id): (UserNum, &UserId),
        target: &Target,
        flow: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let link = self.link_for(sso, user, target).await?;
        let mut response = Pages::of(headers).done(user_id.as_str(), &link);
        add_cookies(response.headers_mut(), [sso.flows.forget(flow)]);
        Ok(response)
    }

    /// The page of the step that a browser is in.
    pub(crate) async fn next_page(&self, flow: &str, headers: &HeaderMap) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        match sso.flows.look(flow, headers)? {
            Step::Waiting(waiting) => self.go_on_waiting(flow, waiting, headers).await,
            Step::AtProvider(_) | Step::Confirming { .. } => Err(FlowError::Unknown.into()),
            Step::Newcomer(step) => Ok(newcomer::page(self, sso, flow, &step, &step.suggestion, None, headers)),
            Step::Asked(step) => Ok(ask_page(sso, flow, &step, headers)),
        }
    }

    /// Goes on to a place that the user agreed to.
    pub(crate) async fn go_on(&self, flow: &str, csrf: &str, headers: &HeaderMap) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        match sso.flows.look(flow, headers)? {
            Step::Asked(step) if same(&step.csrf, csrf) => {}
            _ => return Err(FlowError::Unknown.into()),
        }
        let Step::Asked(step) = sso.flows.take(flow, headers)? else { return Err(FlowError::Unknown.into()) };
        // It may have been closed while the page was open.
        self.open(step.user).await?;
        self.finish(sso, (step.user, &step.user_id), &step.target, flow, headers).await
    }
}

/// The question whether to go on to where a client wants its token.
pub(crate) fn ask_page(sso: &Sso, flow: &str, step: &Asked, headers: &HeaderMap) -> Response {
    Pages::of(headers).ask(&AskPage {
        action: &sso.url("/_cliquepay/login/continue"),
        flow,
        csrf: &step.csrf,
        user_id: step.user_id.as_str(),
        place: &step.target.place(),
        app: step.target.is_app(),
    })
}

/// Compares two secrets; the time that takes depends on their hashes alone.
pub(crate) fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

/// Whether a user is an administrator, as far as the provider decides that.
pub(crate) fn roles(provider: &Provider, claims: &Claims) -> Option<bool> {
    let group = provider.settled.admin_group.as_deref()?;
    Some(claims.lists(&provider.settled.groups_claim, group))
}

fn callback(sso: &Sso, provider: &Provider) -> String {
    sso.url(&format!("/_cliquepay/login/callback/{}", provider.settled.id))
}

fn choose(sso: &Sso, redirect_url: &str, headers: &HeaderMap) -> Response {
    let encoded: String = form_urlencoded::byte_serialize(redirect_url.as_bytes()).collect();
    let link = |provider: &Provider| {
        let path = format!("/_matrix/client/v3/login/sso/redirect/{}?redirectUrl={encoded}", provider.settled.id);
        sso.url(&path)
    };
    let links: Vec<_> = sso.providers.iter().map(|provider| (link(provider), provider.settled.name.as_str())).collect();
    Pages::of(headers).choose(&links)
}

fn trouble(provider: &Provider, error: &ProviderError) -> Trouble {
    tracing::warn!(provider = %provider.settled.id, %error, "a log-in through a provider failed");
    match error {
        ProviderError::Refused(_) | ProviderError::Token(_) => Trouble(StatusCode::FORBIDDEN, Problem::Refused),
        _ => Trouble(StatusCode::BAD_GATEWAY, Problem::Unreachable),
    }
}

pub(crate) fn add_cookies<const N: usize>(headers: &mut HeaderMap, cookies: [Option<HeaderValue>; N]) {
    for cookie in cookies.into_iter().flatten() {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// Where a browser is shown its next step.
pub(crate) fn next_url(sso: &Sso, flow: &str) -> String {
    sso.url(&format!("/_cliquepay/login/next?flow={flow}"))
}

/// Leads a browser on; after a form, too.
pub(crate) fn go<const N: usize>(url: &str, cookies: [Option<HeaderValue>; N]) -> Result<Response, Trouble> {
    let location = HeaderValue::from_str(url).map_err(Trouble::internal)?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    guard(response.headers_mut());
    add_cookies(response.headers_mut(), cookies);
    Ok(response)
}
