//! The page of an account. [Account management](https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management).

use std::sync::Arc;

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use ruma::OwnedDeviceId;
use url::form_urlencoded;
use users::UsersError;

use crate::{
    error::RouteError,
    fields::Fields,
    interactive::Stage,
    oauth::{
        Visitor,
        account_pages::{AccountForm, Overview},
    },
    oidc::{Pages, Problem, Purpose, Trouble, add_cookies, go},
    operation::Operation,
    password::PasswordError,
    state::Auth,
};

/// Where the page is.
const PATH: &str = "/_cliquepay/account";
/// How long ago somebody who does something delicate may have shown who they are, in milliseconds.
const DELICATE_MS: u64 = 600_000;
/// The longest display name that is taken, in bytes: it is sent in many events.
const MAX_NAME: usize = 1024;

/// What somebody wants to do on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Profile,
    DevicesList,
    DeviceView,
    DeviceDelete,
    Deactivate,
    ResetCrossSigning,
    /// Let a client of theirs do what has no page of its own.
    Confirm,
    Password,
    LogOut,
}

impl Action {
    const ALL: [Self; 9] = [
        Self::Profile,
        Self::DevicesList,
        Self::DeviceView,
        Self::DeviceDelete,
        Self::Deactivate,
        Self::ResetCrossSigning,
        Self::Confirm,
        Self::Password,
        Self::LogOut,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Profile => "org.matrix.profile",
            Self::DevicesList => "org.matrix.devices_list",
            Self::DeviceView => "org.matrix.device_view",
            Self::DeviceDelete => "org.matrix.device_delete",
            Self::Deactivate => "org.matrix.account_deactivate",
            Self::ResetCrossSigning => "org.matrix.cross_signing_reset",
            Self::Confirm => "com.cliquepay.confirm",
            Self::Password => "com.cliquepay.password",
            Self::LogOut => "com.cliquepay.log_out",
        }
    }

    /// What some were called before they were in the specification (MSC4191).
    fn old_name(self) -> Option<&'static str> {
        match self {
            Self::DevicesList => Some("org.matrix.sessions_list"),
            Self::DeviceView => Some("org.matrix.session_view"),
            Self::DeviceDelete => Some("org.matrix.session_end"),
            _ => None,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name || action.old_name() == Some(name))
    }

    /// What apps may link to.
    pub(crate) fn public_names() -> Vec<&'static str> {
        let public = Self::ALL.into_iter().filter(|action| action.name().starts_with("org.matrix."));
        let (new, old): (Vec<_>, Vec<_>) = public.map(|action| (action.name(), action.old_name())).unzip();
        new.into_iter().chain(old.into_iter().flatten()).collect()
    }

    /// Whether whoever finds a browser logged in must not be able to do it.
    fn is_delicate(self) -> bool {
        matches!(self, Self::Deactivate | Self::ResetCrossSigning | Self::DeviceDelete | Self::Confirm | Self::Password)
    }
}

/// What an address of the page asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) action: Action,
    pub(crate) device: Option<OwnedDeviceId>,
    /// The confirmation that a client waits for.
    pub(crate) session: Option<String>,
}

impl Wanted {
    fn parse(fields: &Fields) -> Self {
        let text = |name: &str| fields.get(name).filter(|text| (1..=255).contains(&text.len()));
        // What is not known is shown the way to everything.
        let action = text("action").and_then(Action::parse).unwrap_or(Action::Profile);
        Self { action, device: text("device_id").map(Into::into), session: text("session").map(str::to_owned) }
    }

    /// The address of this.
    pub(crate) fn path(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("action", self.action.name());
        for (name, value) in
            [("device_id", self.device.as_deref().map(AsRef::as_ref)), ("session", self.session.as_deref())]
        {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{PATH}?{}", query.finish())
    }
}

impl Auth {
    /// Where somebody confirms an operation, without the confirmation's id. None without an authorization server.
    pub(crate) fn account_url(&self, what: &Operation) -> Option<String> {
        let (sso, _) = self.sso.as_ref().zip(self.oauth.as_ref())?;
        let (action, device) = what.page();
        Some(sso.url(&Wanted { action, device: device.cloned(), session: None }.path()))
    }

    /// Whether a user agreed on the page that their keys are replaced; once.
    pub(crate) fn take_reset(&self, user: users::UserNum) -> bool {
        let until = self.oauth.as_ref().and_then(|oauth| oauth.resets.remove(&user));
        until.is_some_and(|(_, until)| until > self.clock.now_ms())
    }

    /// Who may do what is wanted, as far as this browser shows. Else the page to log in on.
    async fn visitor_for(&self, wanted: &Wanted, headers: &HeaderMap) -> Result<Result<Visitor, Response>, Trouble> {
        let (_, oauth) = self.oauth_pages()?;
        let now = self.clock.now_ms();
        let since = if wanted.action.is_delicate() { now.saturating_sub(DELICATE_MS) } else { 0 };
        match oauth.browsers.visitor(headers).filter(|visitor| visitor.since_ms >= since) {
            Some(visitor) if self.open(visitor.user).await.is_ok() => Ok(Ok(visitor)),
            _ => {
                let waiting = self.waiting(Purpose::Account(wanted.path()), false, None, since);
                self.begin_waiting(waiting, headers).map(Err)
            }
        }
    }

    /// Shows the page.
    pub(crate) async fn account_page(&self, query: &Fields, headers: &HeaderMap) -> Result<Response, Trouble> {
        let wanted = Wanted::parse(query);
        match self.visitor_for(&wanted, headers).await? {
            Ok(visitor) => self.show_account(&wanted, &visitor, None, headers).await,
            Err(page) => Ok(page),
        }
    }

    async fn show_account(
        &self,
        wanted: &Wanted,
        visitor: &Visitor,
        problem: Option<Problem>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let (sso, _) = self.oauth_pages()?;
        let action = sso.url(PATH);
        let link = |action, device: Option<&OwnedDeviceId>| {
            sso.url(&Wanted { action, device: device.cloned(), session: None }.path())
        };
        let csrf_of = |action: Action| visitor.csrf(&Wanted { action, device: None, session: None }.path());
        let form = AccountForm {
            action: &action,
            wanted,
            csrf: &visitor.csrf(&wanted.path()),
            user_id: visitor.user_id.as_str(),
            home: &link(Action::Profile, None),
            problem,
        };
        let pages = Pages::of(headers);
        match wanted.action {
            Action::Profile | Action::LogOut => {
                let (name, _) = self.users.profiles.names(visitor.user).await?;
                let account = self.users.accounts.get(visitor.user).await?;
                let has_password =
                    self.config.password.enabled && account.is_some_and(|account| account.password_hash.is_some());
                Ok(pages.overview(
                    &form,
                    &Overview {
                        display_name: name.as_deref().unwrap_or_default(),
                        devices: &link(Action::DevicesList, None),
                        password: has_password.then(|| link(Action::Password, None)),
                        reset: &link(Action::ResetCrossSigning, None),
                        deactivate: &link(Action::Deactivate, None),
                        log_out_csrf: &csrf_of(Action::LogOut),
                    },
                ))
            }
            Action::DevicesList => {
                let devices = self.users.devices.list(visitor.user).await?;
                let devices: Vec<_> = devices
                    .into_iter()
                    .map(|device| (link(Action::DeviceView, Some(&device.device_id)), device))
                    .collect();
                Ok(pages.devices(&form, &devices, self.clock.now_ms()))
            }
            Action::DeviceView | Action::DeviceDelete => {
                let id = wanted.device.as_ref().ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchDevice))?;
                let device = match self.users.devices.get(visitor.user, id).await {
                    Ok(device) => device,
                    Err(UsersError::DeviceNotFound) => {
                        return Err(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchDevice));
                    }
                    Err(error) => return Err(error.into()),
                };
                let delete = link(Action::DeviceDelete, Some(id));
                Ok(pages.device(&form, &device, &delete, self.clock.now_ms()))
            }
            Action::Password => Ok(pages.password(&form, self.config.password.min_length)),
            Action::Deactivate => Ok(pages.deactivate(&form)),
            Action::ResetCrossSigning => Ok(pages.reset(&form)),
            Action::Confirm => match self.pending_for(wanted, visitor) {
                Some(what) => Ok(pages.confirm(&form, &what)),
                None => Err(Trouble(StatusCode::BAD_REQUEST, Problem::Over)),
            },
        }
    }

    /// What a client of this user waits for.
    fn pending_for(&self, wanted: &Wanted, visitor: &Visitor) -> Option<Operation> {
        let (user, what) = self.sessions.pending(wanted.session.as_deref()?)?;
        // A page that speaks of one thing must not confirm another.
        (user == visitor.user && what.page() == (wanted.action, wanted.device.as_ref())).then_some(what)
    }

    /// Does what somebody sent a form of the page for.
    pub(crate) async fn use_account(self: &Arc<Self>, form: &Fields, headers: &HeaderMap) -> Result<Response, Trouble> {
        let wanted = Wanted::parse(form);
        let visitor = match self.visitor_for(&wanted, headers).await? {
            Ok(visitor) => visitor,
            Err(page) => return Ok(page),
        };
        if !visitor.sent(&wanted.path(), form.get("csrf").unwrap_or_default()) {
            return Err(Trouble(StatusCode::FORBIDDEN, Problem::OtherBrowser));
        }
        match self.change_account(&wanted, &visitor, form, headers).await {
            Ok(response) => Ok(response),
            Err(Refused::Again(problem)) => self.show_account(&wanted, &visitor, Some(problem), headers).await,
            Err(Refused::Trouble(trouble)) => Err(trouble),
        }
    }

    async fn change_account(
        self: &Arc<Self>,
        wanted: &Wanted,
        visitor: &Visitor,
        form: &Fields,
        headers: &HeaderMap,
    ) -> Result<Response, Refused> {
        let (sso, oauth) = self.oauth_pages()?;
        let to = |action| go(&sso.url(&Wanted { action, device: None, session: None }.path()), []);
        let pages = Pages::of(headers);
        match wanted.action {
            Action::Profile => {
                let name = form.get("display_name").unwrap_or_default().trim();
                if name.len() > MAX_NAME {
                    return Err(Refused::Again(Problem::NameTooLong));
                }
                let account = self.users.accounts.get(visitor.user).await.map_err(Trouble::from)?;
                if account.is_some_and(|account| account.suspended) {
                    return Err(Refused::Again(Problem::Suspended));
                }
                let set = self.hook.set_display_name(visitor.user, &visitor.user_id, name).await;
                set.map_err(Trouble::internal)?;
                Ok(to(Action::Profile)?)
            }
            Action::DeviceView => {
                let (device, name) = (wanted.device.as_ref(), form.get("device_name").unwrap_or_default().trim());
                let device = device.ok_or(Trouble(StatusCode::NOT_FOUND, Problem::NoSuchDevice))?;
                let name = Some(name.to_owned()).filter(|name| !name.is_empty());
                match self.users.devices.rename(visitor.user, device, name).await {
                    Err(UsersError::TooLarge { .. }) => return Err(Refused::Again(Problem::NameTooLong)),
                    Err(UsersError::DeviceNotFound) => {}
                    other => other.map_err(Trouble::from)?,
                }
                Ok(to(Action::DevicesList)?)
            }
            Action::DeviceDelete => {
                if let Some(device) = wanted.device.clone() {
                    self.users.devices.delete(visitor.user, &[device]).await.map_err(Trouble::from)?;
                    self.after_logout(visitor.user).await.map_err(Trouble::from)?;
                }
                match &wanted.session {
                    Some(_) => {
                        self.approve(wanted, visitor);
                        Ok(pages.approved())
                    }
                    None => Ok(to(Action::DevicesList)?),
                }
            }
            Action::Password => {
                self.change_password_here(visitor, form).await?;
                let mut response = pages.password_changed();
                // Whoever else was logged in on these pages is not any more; this browser is, under a new name.
                let cookie = self.log_browser_in(visitor.user, visitor.user_id.clone())?;
                add_cookies(response.headers_mut(), [Some(cookie)]);
                Ok(response)
            }
            Action::Deactivate => {
                if form.get("agreed") != Some("yes") {
                    return Err(Refused::Again(Problem::NotAgreed));
                }
                let erase = form.get("erase") == Some("yes");
                self.close_account(visitor.user, visitor.user_id.clone(), erase).await.map_err(Trouble::from)?;
                let mut response = pages.closed();
                add_cookies(response.headers_mut(), [oauth.browsers.log_out(headers)]);
                Ok(response)
            }
            Action::ResetCrossSigning => {
                if !self.approve(wanted, visitor) {
                    let until = self.clock.now_ms().saturating_add(DELICATE_MS);
                    oauth.resets.insert(visitor.user, until);
                }
                Ok(pages.approved())
            }
            Action::Confirm if self.approve(wanted, visitor) => Ok(pages.approved()),
            Action::Confirm => Err(Trouble(StatusCode::BAD_REQUEST, Problem::Over).into()),
            Action::LogOut => {
                let mut response = pages.logged_out();
                add_cookies(response.headers_mut(), [oauth.browsers.log_out(headers)]);
                Ok(response)
            }
            Action::DevicesList => Ok(to(Action::DevicesList)?),
        }
    }

    /// Tells the client that waits for it that its user agrees.
    fn approve(&self, wanted: &Wanted, visitor: &Visitor) -> bool {
        let stages = [Stage::Oauth, Stage::CrossSigningReset];
        let session = wanted.session.as_deref().filter(|_| self.pending_for(wanted, visitor).is_some());
        session.is_some_and(|session| self.sessions.approve(session, visitor.user, &stages))
    }

    async fn change_password_here(self: &Arc<Self>, visitor: &Visitor, form: &Fields) -> Result<(), Refused> {
        let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
        let (old, new) = (text("password"), text("new_password"));
        match self.passwords.check_new(&new) {
            Ok(()) => {}
            Err(PasswordError::TooShort(_)) => return Err(Refused::Again(Problem::PasswordTooShort)),
            Err(_) => return Err(Refused::Again(Problem::PasswordTooLong)),
        }
        if self.limits.confirms(visitor.user_id.localpart()).is_err() {
            return Err(Refused::Again(Problem::TooMany));
        }
        let hash = self.users.accounts.get(visitor.user).await.map_err(Trouble::from)?;
        let hash = hash.and_then(|account| account.password_hash);
        let failed = |error: PasswordError| match error {
            PasswordError::Busy => Refused::Again(Problem::TooMany),
            error => Refused::Trouble(RouteError::Password(error).into()),
        };
        if !self.passwords.verify(old, hash).await.map_err(failed)? {
            return Err(Refused::Again(Problem::WrongPassword));
        }
        let hash = self.passwords.hash(new, self.entropy.bytes()).await.map_err(failed)?;
        self.users.accounts.set_password_hash(visitor.user, Some(hash)).await.map_err(Trouble::from)?;
        self.end_browsers(visitor.user);
        if form.get("log_out") == Some("yes") {
            self.users.devices.delete_all(visitor.user, None).await.map_err(Trouble::from)?;
            self.after_logout(visitor.user).await.map_err(Trouble::from)?;
        }
        Ok(())
    }
}

/// Why a form of the page was not followed.
enum Refused {
    /// It is shown again, with what is wrong.
    Again(Problem),
    Trouble(Trouble),
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}
