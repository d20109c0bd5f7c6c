//! This server's own log-in page: with a password or through a provider, and new accounts.
//! [User registration](https://spec.matrix.org/v1.19/client-server-api/#user-registration).

use std::{net::IpAddr, sync::Arc};

use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use ruma::OwnedUserId;
use users::{UserNum, UsersError, accounts::NewAccount};

use crate::{
    error::RouteError,
    interactive::{Flow, Progress, Stage},
    oauth::pages::{CreatePage, LoginPage},
    oidc::{
        FlowError, Pages, Problem, Purpose, Sso, Step, Target, Trouble, Waiting, add_cookies, go, next_url, same, sso,
    },
    password::PasswordError,
    sessions::{DeviceWish, uninterrupted},
    state::Auth,
};

/// What somebody filled in to log in.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) flow: String,
    pub(crate) csrf: String,
    pub(crate) name: String,
    pub(crate) password: String,
}

/// What somebody filled in for a new account.
#[derive(Debug, Default)]
pub(crate) struct NewcomerForm {
    pub(crate) flow: String,
    pub(crate) csrf: String,
    pub(crate) localpart: String,
    pub(crate) password: String,
    pub(crate) token: String,
}

impl Auth {
    /// Whether people log in on a page of this server first, whatever for.
    pub(crate) fn has_login_page(&self) -> bool {
        self.oauth.is_some() && self.config.password.enabled
    }

    /// Lets somebody log in, for a client that wants a login token.
    pub(crate) fn ask_who(
        &self,
        target: Target,
        create: bool,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        self.limits.page_from(ip).map_err(RouteError::from)?;
        // A browser that is logged in asks nobody who its user is: they are to see that somebody wants their token.
        let waiting = self.waiting(Purpose::Client(target), create, None, self.clock.now_ms());
        self.begin_waiting(waiting, headers)
    }

    pub(crate) fn waiting(&self, purpose: Purpose, create: bool, hint: Option<String>, since_ms: u64) -> Waiting {
        Waiting { purpose, since_ms, create, hint, csrf: self.entropy.token("") }
    }

    /// Shows the log-in page of a new flow.
    pub(crate) fn begin_waiting(&self, waiting: Waiting, headers: &HeaderMap) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let begun = self.begin_step(sso, Step::Waiting(waiting.clone()))?;
        let mut page = self.log_in_page(sso, &begun.id, &waiting, None, headers);
        add_cookies(page.headers_mut(), [Some(begun.cookie)]);
        Ok(page)
    }

    /// The page that the flow asks for: to log in, or for a new account.
    pub(crate) fn log_in_page(
        &self,
        sso: &Sso,
        flow: &str,
        waiting: &Waiting,
        problem: Option<Problem>,
        headers: &HeaderMap,
    ) -> Response {
        match self.page_flows() {
            Some(flows) if waiting.create => self.create_page(
                sso,
                flow,
                waiting,
                (flows, waiting.hint.as_deref().unwrap_or_default()),
                problem,
                headers,
            ),
            _ => self.password_page(sso, flow, waiting, waiting.hint.as_deref().unwrap_or_default(), problem, headers),
        }
    }

    fn password_page(
        &self,
        sso: &Sso,
        flow: &str,
        waiting: &Waiting,
        name: &str,
        problem: Option<Problem>,
        headers: &HeaderMap,
    ) -> Response {
        let status = problem.map_or(StatusCode::OK, |problem| problem.status());
        Pages::of(headers).log_in(
            status,
            &LoginPage {
                action: &sso.url("/_cliquepay/login/password"),
                flow,
                csrf: &waiting.csrf,
                server: self.server_name.as_str(),
                name,
                with_password: self.config.password.enabled,
                providers: &self.provider_links(sso, flow),
                create: self.page_flows().map(|_| sso.url(&format!("/_cliquepay/login/create?flow={flow}"))),
                problem,
            },
        )
    }

    /// The ways to show that one may have an account with a password; none where nobody can.
    fn page_flows(&self) -> Option<&'static [Flow]> {
        self.registration_flows().ok().filter(|_| self.config.password.enabled)
    }

    fn provider_links(&self, sso: &Sso, flow: &str) -> Vec<(String, String)> {
        let link = |id: &str| sso.url(&format!("/_cliquepay/login/with/{id}?flow={flow}"));
        sso.providers.iter().map(|one| (link(&one.settled.id), one.settled.name.clone())).collect()
    }

    fn create_page(
        &self,
        sso: &Sso,
        flow: &str,
        waiting: &Waiting,
        (flows, localpart): (&[Flow], &str),
        problem: Option<Problem>,
        headers: &HeaderMap,
    ) -> Response {
        let status = problem.map_or(StatusCode::OK, |problem| problem.status());
        let by_token = flows.iter().any(|flow| flow.contains(&Stage::RegistrationToken));
        let open = flows.iter().any(|flow| flow.contains(&Stage::Dummy));
        Pages::of(headers).create(
            status,
            &CreatePage {
                action: &sso.url("/_cliquepay/login/create"),
                flow,
                csrf: &waiting.csrf,
                server: self.server_name.as_str(),
                localpart,
                min_length: self.config.password.min_length,
                token: by_token.then_some(!open),
                providers: &self.provider_links(sso, flow),
                log_in: sso.url(&format!("/_cliquepay/login/known?flow={flow}")),
                problem,
            },
        )
    }

    /// The flow of a form of this page, if the form is one that this browser was shown.
    fn waiting_of(&self, sso: &Sso, flow: &str, csrf: Option<&str>, headers: &HeaderMap) -> Result<Waiting, Trouble> {
        match sso.flows.look(flow, headers)? {
            Step::Waiting(waiting) if csrf.is_none_or(|csrf| same(&waiting.csrf, csrf)) => Ok(waiting),
            _ => Err(FlowError::Unknown.into()),
        }
    }

    /// The page to log in, or the one for a new account, of a flow that may have asked for the other.
    pub(crate) fn other_page(&self, flow: &str, create: bool, headers: &HeaderMap) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let waiting = Waiting { create, ..self.waiting_of(sso, flow, None, headers)? };
        Ok(self.log_in_page(sso, flow, &waiting, None, headers))
    }

    /// Sends the browser of a flow to a provider.
    pub(crate) async fn log_in_with(
        &self,
        provider: &str,
        flow: &str,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let waiting = self.waiting_of(sso, flow, None, headers)?;
        // A client of old has a log-in at the provider count, however it came by it; what does not take every log-in here does not there.
        let again = waiting.since_ms > 0 && !matches!(waiting.purpose, Purpose::Client(_));
        let found = sso.find(provider).ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchProvider))?;
        self.go_to_provider(sso, found, (crate::oidc::Goal::Waiting(flow.to_owned()), again), ip).await
    }

    /// Logs a browser in with a name and a password.
    pub(crate) async fn log_in_here(
        &self,
        given: Credentials,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(self)?;
        let waiting = self.waiting_of(sso, &given.flow, Some(&given.csrf), headers)?;
        let name = given.name.trim();
        let again = |problem| Ok(self.password_page(sso, &given.flow, &waiting, name, Some(problem), headers));
        if !self.config.password.enabled {
            return Err(FlowError::Unknown.into());
        }
        if self.limits.login_from(ip).is_err() {
            return again(Problem::TooMany);
        }
        let account = match self.open_account(name, given.password, ip).await {
            Ok(account) => account,
            Err(RouteError::Password(PasswordError::Busy)) => return again(Problem::TooMany),
            Err(RouteError::Matrix(error)) => match error.status {
                StatusCode::TOO_MANY_REQUESTS => return again(Problem::TooMany),
                // A closed account is not told from a wrong password: not everybody may know.
                StatusCode::FORBIDDEN => return again(Problem::WrongPassword),
                // Nobody is told who did not know the password.
                StatusCode::UNAUTHORIZED => return again(Problem::Locked),
                _ => return Err(RouteError::Matrix(error).into()),
            },
            Err(error) => return Err(error.into()),
        };
        let cookie = self.log_browser_in(account.num, account.user_id)?;
        go(&next_url(sso, &given.flow), [Some(cookie)])
    }

    /// Logs a browser in: the header that tells it.
    pub(crate) fn log_browser_in(&self, user: UserNum, user_id: OwnedUserId) -> Result<HeaderValue, Trouble> {
        let (_, oauth) = self.oauth_pages()?;
        let cookie = oauth.browsers.log_in(user, user_id, &self.entropy);
        cookie.ok_or_else(|| Trouble::internal("a cookie could not be made"))
    }

    /// Creates an account and logs the browser in.
    pub(crate) async fn create_here(
        self: Arc<Self>,
        given: NewcomerForm,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(&self)?;
        let waiting = self.waiting_of(sso, &given.flow, Some(&given.csrf), headers)?;
        let flows = self.page_flows().ok_or(FlowError::Unknown)?;
        let localpart = given.localpart.trim().to_ascii_lowercase();
        let again =
            |problem| Ok(self.create_page(sso, &given.flow, &waiting, (flows, &localpart), Some(problem), headers));
        if self.limits.registration_from(ip).is_err() {
            return again(Problem::TooMany);
        }
        if let Some(problem) = self.problem_of(&localpart).await? {
            return again(problem);
        }
        match self.passwords.check_new(&given.password) {
            Ok(()) => {}
            Err(PasswordError::TooShort(_)) => return again(Problem::PasswordTooShort),
            Err(_) => return again(Problem::PasswordTooLong),
        }
        let token = Some(given.token.trim()).filter(|token| !token.is_empty());
        let Some(progress) = self.progress_of(flows, token).await? else { return again(Problem::WrongToken) };
        let created = uninterrupted({
            let (auth, localpart, password) = (Arc::clone(&self), localpart.clone(), given.password.clone());
            async move {
                let hash = auth.passwords.hash(password, auth.entropy.bytes()).await?;
                let new = NewAccount { password_hash: Some(hash), ..NewAccount::user(localpart) };
                auth.create(new, progress, DeviceWish::default(), true).await
            }
        })
        .await;
        let user_id = match created {
            Ok(response) => response.user_id,
            Err(RouteError::Users(UsersError::UserInUse)) => return again(Problem::NameTaken),
            Err(RouteError::Password(PasswordError::Busy)) => return again(Problem::TooMany),
            Err(RouteError::Matrix(error)) if error.status == StatusCode::UNAUTHORIZED => {
                return again(Problem::WrongToken);
            }
            Err(error) => return Err(error.into()),
        };
        let user = self.users.number(&user_id).await?;
        let cookie = self.log_browser_in(user, user_id)?;
        go(&next_url(sso, &given.flow), [Some(cookie)])
    }

    /// What shows that somebody may have an account; none where their token is not valid.
    async fn progress_of(&self, flows: &[Flow], token: Option<&str>) -> Result<Option<Progress>, Trouble> {
        let open = flows.iter().any(|flow| flow.contains(&Stage::Dummy));
        match token {
            None => Ok(open.then(Progress::default)),
            Some(token) => {
                let valid = self.registration_tokens.is_valid(token).await.map_err(Trouble::internal)?;
                Ok(valid.then(|| Progress::by_token(token)))
            }
        }
    }
}
