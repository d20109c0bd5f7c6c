//! Checking who somebody says they are.

use std::net::IpAddr;

use http_kit::{MatrixError, Requester};
use users::accounts::Account;

use crate::{
    error::RouteError,
    interactive::{AuthDict, Binding, Flow, Identifier, Progress, Stage, Verdict, Ways, wanted_stage},
    operation::Operation,
    registration_tokens::RegistrationTokenError,
    state::Auth,
};

/// One text for all that can be wrong, so that it does not tell whether there is such a user.
const WRONG: &str = "The user name or the password is wrong";

impl Auth {
    /// Makes sure that whoever sent a request is the owner of the requester's account, by user-interactive
    /// authentication. `body` is the request's JSON body.
    ///
    /// Application services need not confirm anything.
    ///
    /// # Errors
    /// [`RouteError::Challenge`] until it is confirmed, 403 `M_FORBIDDEN` where it is somebody else.
    pub async fn confirm(&self, requester: &Requester, what: Operation, body: &[u8]) -> Result<(), RouteError> {
        if requester.appservice.is_some() {
            return Ok(());
        }
        let auth = auth_of(body)?;
        let ways = self.ways_of_owner(requester, &what).await?;
        if what == Operation::UploadSigningKeys && ways.page.is_some() && self.take_reset(requester.user) {
            return Ok(());
        }
        let binding = Binding::of_user(requester.user, requester.device_id.clone(), what, body);
        self.interact(auth, binding, &ways, Some(requester)).await.map(drop)
    }

    /// The ways to confirm that one is the owner of an account: whoever is logged in by the OAuth 2.0 API goes to the page of the account,
    /// others give their password or log in through their provider once more.
    async fn ways_of_owner(&self, requester: &Requester, what: &Operation) -> Result<Ways, RouteError> {
        let by_app = match &requester.device_id {
            Some(device) => self.users.tokens.grant_of(requester.user, device).await?.is_some(),
            None => false,
        };
        if let Some(page) = self.account_url(what).filter(|_| by_app) {
            let mut flows: Vec<Flow> = vec![&[Stage::Oauth]];
            if *what == Operation::UploadSigningKeys {
                flows.push(&[Stage::CrossSigningReset]);
            }
            return Ok(Ways { flows, page: Some(page) });
        }
        let account = self.users.accounts.get(requester.user).await?;
        let mut flows: Vec<Flow> = Vec::new();
        if account.is_some_and(|account| account.password_hash.is_some()) {
            flows.push(&[Stage::Password]);
        }
        if !self.providers_of(requester.user).await?.is_empty() {
            flows.push(&[Stage::Sso]);
        }
        if flows.is_empty() {
            flows.push(&[Stage::Password]);
        }
        Ok(Ways { flows, page: None })
    }

    /// One step of a user-interactive authentication.
    pub(crate) async fn interact(
        &self,
        auth: Option<AuthDict>,
        binding: Binding,
        ways: &Ways,
        requester: Option<&Requester>,
    ) -> Result<Progress, RouteError> {
        let auth = auth.unwrap_or_default();
        let ongoing = self.sessions.enter(auth.session.as_deref(), binding, &self.entropy)?;
        let mut token = None;
        let stage = match wanted_stage(&auth, &ways.flows) {
            Ok(None) => None,
            Ok(Some(stage)) => {
                let verdict = self.try_stage(stage, &auth, requester).await?;
                token = auth.token.filter(|_| stage == Stage::RegistrationToken);
                Some((stage, verdict))
            }
            Err(error) => Some((Stage::Dummy, Verdict::Failed(error))),
        };
        self.sessions.advance(&ongoing, ways, stage, token).map_err(RouteError::Challenge)
    }

    async fn try_stage(
        &self,
        stage: Stage,
        auth: &AuthDict,
        requester: Option<&Requester>,
    ) -> Result<Verdict, RouteError> {
        match stage {
            Stage::Dummy => Ok(Verdict::Passed),
            // Never asked for: requests do none of these.
            Stage::Sso | Stage::Oauth | Stage::CrossSigningReset => {
                Ok(Verdict::Failed(MatrixError::forbidden("This is confirmed on a page")))
            }
            Stage::RegistrationToken => self.try_token(auth.token.as_deref()).await,
            Stage::Password => match requester {
                Some(requester) => self.try_owner(auth, requester).await,
                None => Ok(Verdict::Failed(MatrixError::forbidden(WRONG))),
            },
        }
    }

    async fn try_token(&self, token: Option<&str>) -> Result<Verdict, RouteError> {
        let token = token.ok_or_else(|| MatrixError::missing_param("auth.token"))?;
        if self.registration_tokens.is_valid(token).await.map_err(registration_error)? {
            return Ok(Verdict::Passed);
        }
        Ok(Verdict::Failed(MatrixError::unauthorized("This registration token is not valid")))
    }

    async fn try_owner(&self, auth: &AuthDict, requester: &Requester) -> Result<Verdict, RouteError> {
        let password = auth.password.clone().ok_or_else(|| MatrixError::missing_param("auth.password"))?;
        let account = match named(auth.identifier.as_ref(), auth.user.as_deref())? {
            Some(name) => self.find_account(name).await?,
            // Who else than the requester could be meant.
            None => self.users.accounts.get(requester.user).await?,
        };
        let own = account.filter(|account| account.num == requester.user);
        // It counts as a try, whoever was named: else this would be a way to guess around the limit.
        self.limits.confirms(requester.user_id.localpart())?;
        let hash = own.as_ref().and_then(|account| account.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        if own.is_none() {
            return Err(MatrixError::forbidden("You can confirm this with your own password only").into());
        }
        Ok(if right { Verdict::Passed } else { Verdict::Failed(MatrixError::forbidden("The password is wrong")) })
    }

    /// The account that a name (a localpart in any case, or a full user id) belongs to, whether or not it is open.
    pub(crate) async fn find_account(&self, name: &str) -> Result<Option<Account>, RouteError> {
        let Some(localpart) = self.localpart_of(name) else {
            return Ok(None);
        };
        Ok(self.users.accounts.find(localpart).await?)
    }

    /// The localpart of a name; none for users of other servers.
    pub(crate) fn localpart_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        match name.strip_prefix('@') {
            Some(full) => {
                full.split_once(':').filter(|(_, server)| self.server_name == *server).map(|(local, _)| local)
            }
            None => Some(name),
        }
    }

    /// The account that a name and a password open.
    pub(crate) async fn open_account(
        &self,
        name: &str,
        password: String,
        ip: Option<IpAddr>,
    ) -> Result<Account, RouteError> {
        self.limits.login_as(self.localpart_of(name).unwrap_or(name), ip)?;
        let account = self.find_account(name).await?;
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        match account {
            Some(account) if account.deactivated || right => Ok(usable(account)?),
            _ => Err(MatrixError::forbidden(WRONG).into()),
        }
    }
}

/// An account that can be logged in to.
///
/// # Errors
/// 403 `M_USER_DEACTIVATED` and 401 `M_USER_LOCKED`.
pub(crate) fn usable(account: Account) -> Result<Account, MatrixError> {
    if account.deactivated {
        return Err(MatrixError::user_deactivated("This account was closed"));
    }
    if account.locked {
        return Err(MatrixError::user_locked());
    }
    Ok(account)
}

/// The user that an identifier, or its deprecated form, names.
pub(crate) fn named<'a>(
    identifier: Option<&'a Identifier>,
    user: Option<&'a str>,
) -> Result<Option<&'a str>, MatrixError> {
    match identifier {
        Some(identifier) if identifier.kind == "m.id.user" => {
            let user = identifier.user.as_deref().ok_or_else(|| MatrixError::missing_param("identifier.user"))?;
            Ok(Some(user))
        }
        Some(identifier) => {
            Err(MatrixError::unknown(format!("Log in with your user name: {} is not supported", identifier.kind)))
        }
        None => Ok(user),
    }
}

/// The `auth` object of a request's body.
pub(crate) fn auth_of(body: &[u8]) -> Result<Option<AuthDict>, MatrixError> {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        auth: Option<AuthDict>,
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| MatrixError::bad_json(format!("auth: {error}")))?;
    Ok(body.auth)
}

pub(crate) fn registration_error(error: RegistrationTokenError) -> MatrixError {
    match error {
        RegistrationTokenError::Invalid => MatrixError::unauthorized("This registration token is not valid"),
        error => MatrixError::internal(error),
    }
}
