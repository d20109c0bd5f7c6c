//! The seam between endpoints and the ways to log in: an access token goes in, a [`Requester`] comes out.

use std::{borrow::Cow, future::Future, net::IpAddr, ops::Deref, pin::Pin, sync::Arc};

use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, StatusCode, Uri, header, request::Parts};
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::auth_scheme::{
        AccessToken, AccessTokenOptional, AppserviceToken, AppserviceTokenOptional, AuthScheme, NoAccessToken,
        NoAuthentication,
    },
};

use crate::{
    ClientIp, MatrixError,
    token::{access_token, query_value},
};

/// Who makes a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Requester(Arc<RequesterInfo>);

/// What is known about who makes a request.
#[derive(Debug, Clone)]
pub struct RequesterInfo {
    /// The user that the request acts as.
    pub user_id: OwnedUserId,
    /// The user's interned number.
    pub user: u64,
    /// The device whose token was used. Application services may have none.
    pub device_id: Option<OwnedDeviceId>,
    /// Whether the user administers this server.
    pub admin: bool,
    /// Whether the account is [suspended](https://spec.matrix.org/v1.19/client-server-api/#account-suspension).
    pub suspended: bool,
    /// The application service that the token belongs to, if any.
    pub appservice: Option<Appservice>,
}

/// The application service behind a request.
#[derive(Debug, Clone)]
pub struct Appservice {
    /// Its id in its registration file.
    pub id: Arc<str>,
    /// Whether the rate limits hold for it.
    pub rate_limited: bool,
}

impl Requester {
    /// A requester with what is known about it.
    pub fn new(info: RequesterInfo) -> Self {
        Self(Arc::new(info))
    }

    /// Whose transaction ids a request's are among: the device's, or those of the application service where it names no device.
    pub fn transaction_scope(&self) -> &str {
        let device = self.device_id.as_deref().map(ruma::DeviceId::as_str);
        device.or_else(|| self.appservice.as_ref().map(|service| &*service.id)).unwrap_or_default()
    }

    /// Refuses what only administrators of this server may do.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`.
    pub fn only_admins(&self) -> Result<(), MatrixError> {
        if self.admin {
            return Ok(());
        }
        Err(MatrixError::forbidden("Only administrators of this server may do this"))
    }

    /// Refuses what nobody does whose account is suspended.
    ///
    /// # Errors
    /// 403 `M_USER_SUSPENDED`.
    pub fn not_suspended(&self) -> Result<(), MatrixError> {
        if !self.suspended {
            return Ok(());
        }
        Err(MatrixError::user_suspended(
            "You cannot do this while your account is suspended: ask the server's operator",
        ))
    }
}

impl Deref for Requester {
    type Target = RequesterInfo;

    fn deref(&self) -> &RequesterInfo {
        &self.0
    }
}

/// Where people log out.
const LOGGING_OUT: [&str; 4] = [
    "/_matrix/client/v3/logout",
    "/_matrix/client/v3/logout/all",
    "/_matrix/client/r0/logout",
    "/_matrix/client/r0/logout/all",
];

/// What of a request, besides its token, an [`Authenticator`] may look at.
#[derive(Debug, Clone, Copy)]
pub struct RequestMeta<'a> {
    headers: &'a HeaderMap,
    path: &'a str,
    query: Option<&'a str>,
    /// The client's address, if known.
    pub ip: Option<IpAddr>,
}

impl<'a> RequestMeta<'a> {
    /// The view of a request with these headers and this address.
    pub fn new(headers: &'a HeaderMap, uri: &'a Uri, ip: Option<IpAddr>) -> Self {
        Self { headers, path: uri.path(), query: uri.query(), ip }
    }

    /// The `User-Agent` header, if it is ASCII.
    pub fn user_agent(&self) -> Option<&'a str> {
        self.headers.get(header::USER_AGENT)?.to_str().ok()
    }

    /// Whether somebody logs out: what [locked accounts] can do, and nothing else.
    ///
    /// [locked accounts]: https://spec.matrix.org/v1.19/client-server-api/#account-locking
    pub fn logs_out(&self) -> bool {
        LOGGING_OUT.contains(&self.path)
    }

    /// The user that an application service [acts as].
    ///
    /// [acts as]: https://spec.matrix.org/v1.19/application-service-api/#identity-assertion
    pub fn asserted_user(&self) -> Option<Cow<'a, str>> {
        query_value(self.query?, "user_id")
    }

    /// The device that an application service acts as.
    pub fn asserted_device(&self) -> Option<Cow<'a, str>> {
        let query = self.query?;
        query_value(query, "device_id").or_else(|| query_value(query, "org.matrix.msc3202.device_id"))
    }
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The token is not, or no longer, valid. With `soft_logout` the device lives on.
    #[error("unknown access token")]
    UnknownToken {
        /// Whether the client keeps its device and encryption keys.
        soft_logout: bool,
    },
    /// The account is locked.
    #[error("the account is locked")]
    Locked,
    /// An application service asserted a user outside its namespaces.
    #[error("{0}")]
    Forbidden(String),
    /// An application service asserted a device that its user does not have.
    #[error("the user has no such device")]
    UnknownDevice,
    /// The look-up failed.
    #[error("{0}")]
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl From<AuthError> for MatrixError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::UnknownToken { soft_logout } => Self::unknown_token(soft_logout),
            AuthError::Locked => Self::user_locked(),
            AuthError::Forbidden(why) => Self::forbidden(why),
            AuthError::UnknownDevice => {
                Self::new(StatusCode::BAD_REQUEST, "M_UNKNOWN_DEVICE", "The user has no such device")
            }
            AuthError::Internal(error) => Self::internal(error),
        }
    }
}

/// What [`Authenticator::authenticate`] returns.
pub type AuthFuture<'a> = Pin<Box<dyn Future<Output = Result<Requester, AuthError>> + Send + 'a>>;

/// Resolves access tokens. Called on every authenticated request: the warm path must not touch the store.
pub trait Authenticator: Send + Sync + 'static {
    /// Who `token` belongs to.
    fn authenticate<'a>(&'a self, token: &'a str, meta: RequestMeta<'a>) -> AuthFuture<'a>;
}

/// How an endpoint's authentication scheme becomes the `requester` of [`Ruma`](crate::Ruma).
pub trait ClientAuth: AuthScheme {
    /// [`Requester`] where a token is required, `Option<Requester>` where it is optional, `()` where there is none.
    type Identity: Send;

    /// Resolves the token that the request carries, if any.
    fn identify(
        token: Option<&str>,
        authenticator: &dyn Authenticator,
        meta: RequestMeta<'_>,
    ) -> impl Future<Output = Result<Self::Identity, MatrixError>> + Send;
}

async fn required(
    token: Option<&str>,
    authenticator: &dyn Authenticator,
    meta: RequestMeta<'_>,
) -> Result<Requester, MatrixError> {
    let token = token.ok_or_else(|| MatrixError::missing_token("This endpoint needs an access token: log in first"))?;
    Ok(authenticator.authenticate(token, meta).await?)
}

impl ClientAuth for NoAuthentication {
    type Identity = ();

    async fn identify(_: Option<&str>, _: &dyn Authenticator, _: RequestMeta<'_>) -> Result<(), MatrixError> {
        Ok(())
    }
}

impl ClientAuth for NoAccessToken {
    type Identity = ();

    async fn identify(_: Option<&str>, _: &dyn Authenticator, _: RequestMeta<'_>) -> Result<(), MatrixError> {
        Ok(())
    }
}

impl ClientAuth for AccessToken {
    type Identity = Requester;

    async fn identify(
        token: Option<&str>,
        authenticator: &dyn Authenticator,
        meta: RequestMeta<'_>,
    ) -> Result<Requester, MatrixError> {
        required(token, authenticator, meta).await
    }
}

impl ClientAuth for AccessTokenOptional {
    type Identity = Option<Requester>;

    async fn identify(
        token: Option<&str>,
        authenticator: &dyn Authenticator,
        meta: RequestMeta<'_>,
    ) -> Result<Option<Requester>, MatrixError> {
        match token {
            Some(_) => required(token, authenticator, meta).await.map(Some),
            None => Ok(None),
        }
    }
}

impl ClientAuth for AppserviceToken {
    type Identity = Requester;

    async fn identify(
        token: Option<&str>,
        authenticator: &dyn Authenticator,
        meta: RequestMeta<'_>,
    ) -> Result<Requester, MatrixError> {
        let requester = required(token, authenticator, meta).await?;
        if requester.appservice.is_none() {
            return Err(MatrixError::forbidden("Only application services may use this endpoint"));
        }
        Ok(requester)
    }
}

/// The token of a request to `/login` or `/register`. Clients send their old, perhaps expired, one there: only an application
/// service's counts.
#[derive(Debug, Clone)]
pub enum ServiceToken {
    /// There was none.
    Missing,
    /// It is no application service's.
    Other,
    /// It is the one of this application service.
    Of(Requester),
}

impl ServiceToken {
    /// The application service.
    ///
    /// # Errors
    /// 401 `M_MISSING_TOKEN` and `M_UNKNOWN_TOKEN`.
    pub fn required(self) -> Result<Requester, MatrixError> {
        match self {
            Self::Of(requester) => Ok(requester),
            Self::Missing => Err(MatrixError::missing_token("This needs the token of an application service")),
            Self::Other => Err(MatrixError::unknown_token(false)),
        }
    }
}

impl ClientAuth for AppserviceTokenOptional {
    type Identity = ServiceToken;

    async fn identify(
        token: Option<&str>,
        authenticator: &dyn Authenticator,
        meta: RequestMeta<'_>,
    ) -> Result<ServiceToken, MatrixError> {
        let Some(token) = token else { return Ok(ServiceToken::Missing) };
        match authenticator.authenticate(token, meta).await {
            Ok(requester) if requester.appservice.is_some() => Ok(ServiceToken::Of(requester)),
            Err(AuthError::Internal(error)) => Err(MatrixError::internal(error)),
            _ => Ok(ServiceToken::Other),
        }
    }
}

/// Resolves the token of a request whose head is `parts`.
pub(crate) async fn identify<A: ClientAuth>(
    parts: &Parts,
    authenticator: &dyn Authenticator,
) -> Result<A::Identity, MatrixError> {
    let token = access_token(&parts.headers, parts.uri.query());
    let meta = RequestMeta::new(&parts.headers, &parts.uri, ClientIp::of(&parts.extensions));
    A::identify(token.as_deref(), authenticator, meta).await
}

/// The requester, as an extractor for endpoints that are not described by a ruma request type.
#[derive(Debug, Clone)]
pub struct Authenticated(pub Requester);

impl<S> FromRequestParts<S> for Authenticated
where
    S: Send + Sync,
    Arc<dyn Authenticator>: FromRef<S>,
{
    type Rejection = MatrixError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, MatrixError> {
        let authenticator = <Arc<dyn Authenticator>>::from_ref(state);
        identify::<AccessToken>(parts, &*authenticator).await.map(Self)
    }
}
