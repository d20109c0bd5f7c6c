//! The sections `[auth.sso]` and `[[auth.oidc]]` of the configuration.

use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use url::Url;

use crate::{
    config::Secret,
    oidc::{http::allowed_url, redirect::Allowed},
};

/// Providers, at most: every client shows a button for each.
const MAX_PROVIDERS: usize = 20;
/// The shortest time between two looks at a provider, in seconds.
const MIN_RECHECK_SECONDS: u32 = 60;

/// Why providers cannot be used as they are configured.
#[derive(Debug, thiserror::Error)]
pub enum OidcConfigError {
    /// A provider's option.
    #[error("auth.oidc `{id}`: {option}: {why}")]
    Provider {
        /// The provider's id, as far as it has one.
        id: String,
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Something that concerns all of them.
    #[error("{0}")]
    All(String),
}

/// The section `[auth.sso]`: log-ins through the browser.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SsoConfig {
    /// Where clients may be sent back to without a question: URLs whose scheme, host and port must be equal, and whose path
    /// must be the beginning of the client's. For all others a page asks first, and names the host. Default: none.
    pub trusted_redirects: Vec<String>,
    /// How long somebody has for the provider's pages, and then for ours, in seconds. Default 15 minutes.
    pub login_seconds: u32,
    /// How long a client may take to exchange the login token it is sent back with, in seconds. Default 2 minutes.
    pub token_seconds: u32,
    /// Log-ins that can be under way at the same time. Default 10000.
    pub max_logins: usize,
}

impl Default for SsoConfig {
    fn default() -> Self {
        Self { trusted_redirects: Vec::new(), login_seconds: 900, token_seconds: 120, max_logins: 10_000 }
    }
}

/// How a provider differs from the standard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// As OpenID Connect says.
    #[default]
    Generic,
    /// Amazon Cognito: names of its claims, and its own shape of logging out.
    Cognito,
}

/// How this server shows the provider who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// With HTTP's basic authentication.
    Basic,
    /// In the form that is posted.
    Post,
}

/// One of the sections `[[auth.oidc]]`: an OpenID Connect provider that people log in through.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// What it is called in URLs. It should never change: the provider redirects to it.
    pub id: String,
    /// The name that people see.
    pub name: String,
    /// Which logo clients show, as the specification's `brand`.
    #[serde(default)]
    pub brand: Option<String>,
    /// How it differs from the standard.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Its issuer, exactly as its tokens name it.
    pub issuer: String,
    /// Who this server is to it.
    pub client_id: String,
    /// The secret that goes with that, if it has one.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// A file with the secret.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// How the secret is sent. Default basic.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
    /// What is asked for. Default `openid`, `email`, `profile`.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// Algorithms by which ID tokens may be signed. Default RS256.
    #[serde(default)]
    pub algorithms: Option<Vec<Algorithm>>,
    /// The claim that suggests a user name. Default `preferred_username`, with Cognito `cognito:username`.
    #[serde(default)]
    pub localpart_claim: Option<String>,
    /// The claim that becomes the first display name. Default `name`.
    #[serde(default)]
    pub display_name_claim: Option<String>,
    /// The claim by which the first page shows whose account at the provider it is. Default `email`. It is not used otherwise.
    #[serde(default)]
    pub email_claim: Option<String>,
    /// The claim with the names of groups. Default `groups`, with Cognito `cognito:groups`.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Who is in this group is an administrator, who is not is none, from each log-in on. Unset: roles are left alone.
    #[serde(default)]
    pub admin_group: Option<String>,
    /// The page at which one logs out of the provider. Unset: the one that the provider announces.
    #[serde(default)]
    pub logout_url: Option<String>,
    /// How often it is asked whether somebody's account there still stands, in seconds. Default 15 minutes.
    #[serde(default)]
    pub recheck_seconds: Option<u32>,
    /// Whether clients may log in with an ID token that they got themselves (`org.matrix.login.jwt`). Default no.
    #[serde(default)]
    pub id_token_login: bool,
    /// For whom such tokens may be made out, besides `client_id`.
    #[serde(default)]
    pub id_token_audiences: Vec<String>,
}

/// A provider with everything settled.
#[derive(Debug, Clone)]
pub(crate) struct Settled {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) brand: Option<String>,
    pub(crate) kind: ProviderKind,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) secret: Option<(ClientAuth, Secret)>,
    pub(crate) scopes: String,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) localpart_claim: String,
    pub(crate) display_name_claim: String,
    pub(crate) email_claim: String,
    pub(crate) groups_claim: String,
    pub(crate) admin_group: Option<String>,
    pub(crate) logout_url: Option<Url>,
    pub(crate) recheck_ms: u64,
    pub(crate) id_token_login: bool,
    pub(crate) id_token_audiences: Vec<String>,
}

/// A configuration that can work.
pub(crate) struct Checked {
    pub(crate) providers: Vec<Settled>,
    /// Where browsers reach this server, where that is needed.
    pub(crate) base: Option<Url>,
    pub(crate) allowed: Vec<Allowed>,
}

/// Checks what concerns all providers.
pub(crate) fn check_all(
    sso: &SsoConfig,
    providers: &[OidcConfig],
    oauth: Option<bool>,
    public_base_url: Option<&str>,
) -> Result<Checked, OidcConfigError> {
    let all = |why: &str| OidcConfigError::All(why.to_owned());
    for (name, value) in [
        ("auth.sso.login_seconds", sso.login_seconds as usize),
        ("auth.sso.token_seconds", sso.token_seconds as usize),
        ("auth.sso.max_logins", sso.max_logins),
    ] {
        if value == 0 {
            return Err(OidcConfigError::All(format!("{name} must be above zero")));
        }
    }
    let allowed = sso.trusted_redirects.iter().map(|url| Allowed::parse(url)).collect::<Result<_, _>>();
    let allowed = allowed.map_err(|bad: String| OidcConfigError::All(format!("auth.sso.trusted_redirects: {bad}")))?;
    let needs_base = match oauth {
        _ if !providers.is_empty() => true,
        Some(wanted) => wanted,
        // Where nobody said, it is there if it can be.
        None => public_base_url.is_some_and(|base| allowed_url(base).is_ok()),
    };
    if !needs_base {
        return Ok(Checked { providers: Vec::new(), base: None, allowed });
    }
    if providers.len() > MAX_PROVIDERS {
        return Err(OidcConfigError::All(format!("auth.oidc: more than {MAX_PROVIDERS} providers")));
    }
    let base = public_base_url
        .ok_or_else(|| all("auth.oidc, or auth.oauth, needs client_api.public_base_url: people are sent back to it"))?;
    let base = allowed_url(base).map_err(|why| OidcConfigError::All(format!("client_api.public_base_url: {why}")))?;
    let settled = providers.iter().map(OidcConfig::settle).collect::<Result<Vec<_>, _>>()?;
    for (index, provider) in settled.iter().enumerate() {
        let before = settled.get(..index).unwrap_or_default();
        if before.iter().any(|other| other.id == provider.id) {
            return Err(provider.refused("id", "another provider has it already"));
        }
        // Whom an identity belongs to is decided by issuer and subject alone.
        if before.iter().any(|other| other.issuer == provider.issuer) {
            return Err(provider.refused("issuer", "another provider has it already"));
        }
    }
    Ok(Checked { providers: settled, base: Some(base), allowed })
}

impl Settled {
    fn refused(&self, option: &'static str, why: impl Into<String>) -> OidcConfigError {
        OidcConfigError::Provider { id: self.id.clone(), option, why: why.into() }
    }
}

impl OidcConfig {
    fn settle(&self) -> Result<Settled, OidcConfigError> {
        let refused =
            |option: &'static str, why: String| OidcConfigError::Provider { id: self.id.clone(), option, why };
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if !(1..=64).contains(&self.id.len()) || !self.id.bytes().all(plain) || self.id.starts_with('.') {
            return Err(refused("id", "it has 1 to 64 characters of a-z, 0-9 and -_.".to_owned()));
        }
        for (option, text) in [("name", &self.name), ("client_id", &self.client_id)] {
            if text.trim().is_empty() {
                return Err(refused(option, "it is empty".to_owned()));
            }
        }
        let brand_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if self.brand.as_ref().is_some_and(|brand| !(1..=255).contains(&brand.len()) || !brand.bytes().all(brand_char))
        {
            return Err(refused("brand", "it has 1 to 255 characters of a-z, 0-9 and -_.".to_owned()));
        }
        let issuer = allowed_url(&self.issuer).map_err(|why| refused("issuer", why))?;
        if issuer.query().is_some() || issuer.fragment().is_some() {
            return Err(refused("issuer", "an issuer has no query and no fragment".to_owned()));
        }
        let logout_url = self.logout_url.as_deref().map(allowed_url).transpose();
        let scopes = match &self.scopes {
            Some(scopes) => scopes.clone(),
            None => ["openid", "email", "profile"].map(str::to_owned).to_vec(),
        };
        if !scopes.iter().any(|scope| scope == "openid") {
            return Err(refused("scopes", "without `openid` there are no ID tokens".to_owned()));
        }
        let algorithms = self.algorithms.clone().unwrap_or_else(|| vec![Algorithm::RS256]);
        if algorithms.is_empty() {
            return Err(refused("algorithms", "it is empty".to_owned()));
        }
        if algorithms.iter().any(|one| matches!(one, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)) {
            return Err(refused(
                "algorithms",
                "tokens must be signed with a key pair: no HS256, HS384, HS512".to_owned(),
            ));
        }
        let recheck = self.recheck_seconds.unwrap_or(900);
        if recheck < MIN_RECHECK_SECONDS {
            return Err(refused("recheck_seconds", format!("it must be at least {MIN_RECHECK_SECONDS}")));
        }
        let cognito = self.kind == ProviderKind::Cognito;
        let claim = |own: &Option<String>, generic: &str, of_cognito: &str| {
            own.clone().unwrap_or_else(|| if cognito { of_cognito } else { generic }.to_owned())
        };
        Ok(Settled {
            id: self.id.clone(),
            name: self.name.clone(),
            brand: self.brand.clone(),
            kind: self.kind,
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            secret: self.secret()?.map(|secret| (self.client_auth.unwrap_or(ClientAuth::Basic), secret)),
            scopes: scopes.join(" "),
            algorithms,
            localpart_claim: claim(&self.localpart_claim, "preferred_username", "cognito:username"),
            display_name_claim: claim(&self.display_name_claim, "name", "name"),
            email_claim: claim(&self.email_claim, "email", "email"),
            groups_claim: claim(&self.groups_claim, "groups", "cognito:groups"),
            admin_group: self.admin_group.clone(),
            logout_url: logout_url.map_err(|why| refused("logout_url", why))?,
            recheck_ms: u64::from(recheck) * 1000,
            id_token_login: self.id_token_login,
            id_token_audiences: self.id_token_audiences.clone(),
        })
    }

    fn secret(&self) -> Result<Option<Secret>, OidcConfigError> {
        let refused =
            |option: &'static str, why: String| OidcConfigError::Provider { id: self.id.clone(), option, why };
        let secret = match (&self.client_secret, &self.client_secret_file) {
            (Some(_), Some(_)) => {
                return Err(refused("client_secret_file", "client_secret is set, too: choose one".to_owned()));
            }
            (Some(secret), None) => secret.clone(),
            (None, Some(path)) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| refused("client_secret_file", format!("{}: {error}", path.display())))?;
                Secret::from(text.trim().to_owned())
            }
            (None, None) => {
                if self.client_auth.is_some() {
                    return Err(refused("client_auth", "there is no secret to send".to_owned()));
                }
                return Ok(None);
            }
        };
        if secret.reveal().is_empty() {
            return Err(refused("client_secret", "it is empty".to_owned()));
        }
        Ok(Some(secret))
    }
}
