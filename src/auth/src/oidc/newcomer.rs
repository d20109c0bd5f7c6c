//! The first log-in: somebody whom the provider knows names an account here.

use std::{net::IpAddr, sync::Arc};

use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::value::to_raw_value;
use users::{UserNum, UsersError, accounts::NewAccount};

use crate::{
    config::Secret,
    error::RouteError,
    oidc::{
        Sso,
        flows::{FlowError, Goal, Newcomer, Step},
        identities::{Identities, Identity},
        login::{Trouble, add_cookies, ask_page, go, next_url, roles, same, sso},
        pages::{NewAccountPage, Pages},
        provider::Provider,
        token::Claims,
        words::Problem,
    },
    sessions::uninterrupted,
    state::Auth,
};

/// The longest suggestion for a user name, in characters.
const MAX_SUGGESTION: usize = 40;
/// The longest display name and address that are taken from claims, in characters.
const MAX_TEXT: usize = 200;

/// The step of somebody who has no account here.
pub(crate) fn of(
    auth: &Auth,
    index: usize,
    provider: &Provider,
    claims: &Claims,
    refresh: Option<Secret>,
    goal: Goal,
) -> Newcomer {
    let settled = &provider.settled;
    let text = |claim: &str| claims.text(claim).map(|text| text.chars().take(MAX_TEXT).collect::<String>());
    let email = text(&settled.email_claim);
    let name = claims.text(&settled.localpart_claim).map(suggestion).filter(|name| !name.is_empty());
    Newcomer {
        provider: index,
        subject: claims.subject.clone(),
        suggestion: name.or_else(|| email.as_deref().map(suggestion)).unwrap_or_default(),
        display_name: text(&settled.display_name_claim),
        email,
        admin: roles(provider, claims),
        refresh,
        goal,
        csrf: auth.entropy.token(""),
    }
}

/// A user name made of a claim: of an address what stands before the @, nothing of an id that says nothing.
fn suggestion(claim: &str) -> String {
    let name = claim.split('@').next().unwrap_or_default();
    let hex_or_dash = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    if name.len() == 36 && name.bytes().all(hex_or_dash) {
        return String::new();
    }
    let small = name.chars().map(|char| char.to_ascii_lowercase());
    let possible = small.filter(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || "._=-".contains(*char));
    possible.take(MAX_SUGGESTION).collect()
}

/// The form.
pub(crate) fn page(
    auth: &Auth,
    sso: &Sso,
    flow: &str,
    step: &Newcomer,
    localpart: &str,
    problem: Option<Problem>,
    headers: &HeaderMap,
) -> Response {
    let provider = sso.providers.get(step.provider).map_or("", |provider| provider.settled.name.as_str());
    let status = if problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let page = NewAccountPage {
        action: &sso.url("/_cliquepay/login/new"),
        flow,
        csrf: &step.csrf,
        provider,
        email: step.email.as_deref(),
        server: auth.server_name.as_str(),
        localpart,
        problem,
    };
    Pages::of(headers).new_account(status, &page)
}

/// What somebody filled in.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    pub(crate) flow: String,
    pub(crate) csrf: String,
    pub(crate) localpart: String,
}

impl Auth {
    /// Creates the account that a newcomer named, and logs them in.
    pub(crate) async fn name_account(
        self: Arc<Self>,
        filled: Filled,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let sso = sso(&self)?;
        let step = match sso.flows.look(&filled.flow, headers)? {
            Step::Newcomer(step) if same(&step.csrf, &filled.csrf) => step,
            _ => return Err(FlowError::Unknown.into()),
        };
        self.limits.registration_from(ip).map_err(RouteError::from)?;
        let localpart = filled.localpart.trim().to_ascii_lowercase();
        let again = |problem| Ok(page(&self, sso, &filled.flow, &step, &localpart, Some(problem), headers));
        if let Some(problem) = self.problem_of(&localpart).await? {
            return again(problem);
        }
        let created = uninterrupted({
            let (auth, step, localpart) = (Arc::clone(&self), step.clone(), localpart.clone());
            async move { auth.create_for(step, localpart).await }
        })
        .await;
        let user = match created {
            Ok(user) => user,
            // Somebody was faster.
            Err(RouteError::Users(UsersError::UserInUse)) => return again(Problem::NameTaken),
            Err(error) => return Err(error.into()),
        };
        // Of two answers to one form only the first gets here with a name that was free.
        let _ = sso.flows.take(&filled.flow, headers)?;
        let provider = sso.providers.get(step.provider).ok_or(FlowError::Unknown)?;
        let identity = (provider.settled.issuer.clone(), step.subject.clone());
        let user_id = self.open(user).await?;
        self.take_over(sso, provider, &identity, user, step.admin, step.refresh).await?;
        let target = match step.goal {
            Goal::Waiting(waiting) => {
                let cookie = self.log_browser_in(user, user_id)?;
                return go(&next_url(sso, &waiting), [Some(cookie), sso.flows.forget(&filled.flow)]);
            }
            Goal::Client(target) if target.trusted => {
                return self.finish(sso, (user, &user_id), &target, &filled.flow, headers).await;
            }
            Goal::Client(target) => target,
            // Nobody becomes a newcomer by confirming something.
            Goal::Confirm { .. } => return Err(FlowError::Unknown.into()),
        };
        // They have just filled in a form of ours; the question where it goes is still to be put.
        let asked = self.asking(user, user_id, target);
        let begun = self.begin_step(sso, Step::Asked(asked.clone()))?;
        let mut response = ask_page(sso, &begun.id, &asked, headers);
        add_cookies(response.headers_mut(), [Some(begun.cookie), sso.flows.forget(&filled.flow)]);
        Ok(response)
    }

    pub(crate) async fn problem_of(&self, localpart: &str) -> Result<Option<Problem>, Trouble> {
        match self.check_free(localpart).await {
            Ok(()) => Ok(None),
            Err(RouteError::Users(UsersError::UserInUse)) => Ok(Some(Problem::NameTaken)),
            Err(RouteError::Users(UsersError::InvalidLocalpart(_))) if self.is_reserved(localpart) => {
                Ok(Some(Problem::NameReserved))
            }
            Err(RouteError::Users(UsersError::InvalidLocalpart(_))) => Ok(Some(Problem::NameInvalid)),
            Err(RouteError::Matrix(error)) if error.errcode == "M_EXCLUSIVE" => Ok(Some(Problem::NameReserved)),
            Err(error) => Err(error.into()),
        }
    }

    /// The account and whose it is, in one commit. If the identity has an account by now, that is the one.
    async fn create_for(&self, step: Newcomer, localpart: String) -> Result<UserNum, RouteError> {
        let internal = |error: &dyn std::fmt::Display| RouteError::Matrix(http_kit::MatrixError::internal(error));
        let sso = self.sso.as_ref().ok_or_else(|| internal(&"there are no providers"))?;
        let provider = sso.providers.get(step.provider).ok_or_else(|| internal(&"there is no such provider"))?;
        let identity: Identity = (provider.settled.issuer.clone(), step.subject);
        if let Some(row) = sso.identities.find(&identity).await? {
            return Ok(row.user);
        }
        let now = self.clock.now_ms();
        let link = |user| Identities::link(&identity, user, now);
        let account = self.users.register_with(NewAccount::user(localpart), None, link).await?;
        if let Some(name) = &step.display_name {
            let value = to_raw_value(name).map_err(|error| internal(&error))?;
            // An account without a display name is one all the same.
            if let Err(error) = self.users.profiles.set(account.num, "displayname", &value).await {
                tracing::warn!(%error, user_id = %account.user_id, "a display name was not taken from the provider");
            }
        }
        tracing::info!(provider = %provider.settled.id, user_id = %account.user_id, "an account was made at a first log-in");
        Ok(account.num)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_suggest_user_names_that_are_possible() {
        for (claim, name) in [
            ("Ann@example.org", "ann"),
            ("Google_123", "google_123"),
            ("Ann-Marie O'Neil", "ann-marieoneil"),
            ("Ännchen", "nnchen"),
            ("11111111-aaaa-4bbb-8ccc-000000000001", ""),
            ("<script>", "script"),
            ("", ""),
        ] {
            assert_eq!(suggestion(claim), name, "{claim}");
        }
        assert_eq!(suggestion(&"x".repeat(500)).len(), MAX_SUGGESTION);
    }
}
