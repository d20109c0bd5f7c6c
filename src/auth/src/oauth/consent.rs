//! Letting an app in. [Authorisation code flow](https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-flow).

use std::net::IpAddr;

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::{
    error::RouteError,
    fields::Fields,
    oauth::{
        Oauth, Visitor,
        clients::Registered,
        codes::Consent,
        error::OauthError,
        pages::{ConsentPage, Where},
        redirect_uri,
        request::{AppRequest, ReturnTo},
        scope::Scope,
    },
    oidc::{FlowError, Pages, Problem, Purpose, Sso, Step, Target, Trouble, Waiting, add_cookies, go, guard, next_url},
    state::Auth,
};

/// What somebody answered to the question whether an app may in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    Deny,
    /// Somebody else wants to.
    Other,
}

impl Auth {
    /// Takes a browser that an app sends.
    pub(crate) async fn authorize(
        &self,
        query: &Fields,
        ip: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let (sso, oauth) = self.oauth_pages()?;
        self.limits.page_from(ip).map_err(RouteError::from)?;
        let unknown = Trouble(StatusCode::BAD_REQUEST, Problem::UnknownApp);
        let client = oauth.clients.find(query.get("client_id").ok_or(unknown)?).await?.ok_or(unknown)?;
        let bad = Trouble(StatusCode::BAD_REQUEST, Problem::AppReturn);
        let return_to = ReturnTo::parse(query, &client).ok_or(bad)?;
        let request = match AppRequest::parse(query, client, return_to.clone()) {
            Ok(request) => request,
            Err(error) => return refuse(sso, &return_to, &error),
        };
        let now = self.clock.now_ms();
        let since_ms = if request.login || request.create { now } else { 0 };
        let (create, hint) = (request.create, request.hint.clone());
        let waiting = self.waiting(Purpose::App(request.into()), create, hint, since_ms);
        self.begin_or_go_on(sso, waiting, headers).await
    }

    /// Begins a flow, and shows at once what comes after the log-in where the browser is logged in.
    pub(crate) async fn begin_or_go_on(
        &self,
        sso: &Sso,
        waiting: Waiting,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let begun = self.begin_step(sso, Step::Waiting(waiting.clone()))?;
        let mut page = self.go_on_waiting(&begun.id, waiting, headers).await?;
        add_cookies(page.headers_mut(), [Some(begun.cookie)]);
        Ok(page)
    }

    /// Who is logged in, for a flow that does not take every log-in.
    async fn visitor_of(
        &self,
        oauth: &Oauth,
        waiting: &Waiting,
        headers: &HeaderMap,
    ) -> Result<Option<Visitor>, Trouble> {
        match oauth.browsers.visitor(headers).filter(|visitor| visitor.since_ms >= waiting.since_ms) {
            // The account may have been closed since.
            Some(visitor) if self.open(visitor.user).await.is_ok() => Ok(Some(visitor)),
            _ => Ok(None),
        }
    }

    /// The page of a flow that waits for a log-in, or what comes after it.
    pub(crate) async fn go_on_waiting(
        &self,
        flow: &str,
        waiting: Waiting,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let (sso, oauth) = self.oauth_pages()?;
        let Some(visitor) = self.visitor_of(oauth, &waiting, headers).await? else {
            return Ok(self.log_in_page(sso, flow, &waiting, None, headers));
        };
        match &waiting.purpose {
            Purpose::App(request) => {
                let place = Where::App(&request.return_to.redirect_uri);
                self.consent_page(sso, flow, &visitor, (&request.client, &request.scope), place, headers).await
            }
            Purpose::Device(grant) => {
                if !oauth.devices.is_open(grant) {
                    return Err(Trouble(StatusCode::BAD_REQUEST, Problem::UnknownCode));
                }
                let place = Where::Device(&grant.user_code);
                self.consent_page(sso, flow, &visitor, (&grant.client, &grant.scope), place, headers).await
            }
            Purpose::Account(path) => {
                sso.flows.take(flow, headers)?;
                go(&sso.url(path), [sso.flows.forget(flow)])
            }
            Purpose::Client(target) => self.go_on_client(sso, flow, &visitor, target.clone(), headers).await,
        }
    }

    /// A client that wants a login token gets it, or the question is put whether it may.
    async fn go_on_client(
        &self,
        sso: &Sso,
        flow: &str,
        visitor: &Visitor,
        target: Target,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        sso.flows.take(flow, headers)?;
        if target.trusted {
            return self.finish(sso, (visitor.user, &visitor.user_id), &target, flow, headers).await;
        }
        let asked = self.asking(visitor.user, visitor.user_id.clone(), target);
        let begun = self.begin_step(sso, Step::Asked(asked))?;
        go(&next_url(sso, &begun.id), [Some(begun.cookie), sso.flows.forget(flow)])
    }

    async fn consent_page(
        &self,
        sso: &Sso,
        flow: &str,
        visitor: &Visitor,
        (client, scope): (&Registered, &Scope),
        place: Where<'_>,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let replaces = self.users.devices.get(visitor.user, &scope.device_id).await.ok();
        let pages = Pages::of(headers);
        let language = pages.language().code();
        Ok(pages.consent(&ConsentPage {
            action: &sso.url("/_cliquepay/oauth/consent"),
            flow,
            csrf: &visitor.csrf(flow),
            user_id: visitor.user_id.as_str(),
            name: &client.client.name(language),
            host: &client.client.host(),
            terms: client.client.text("tos_uri", language),
            policy: client.client.text("policy_uri", language),
            device: scope.device_id.as_str(),
            replaces: replaces.map(|device| device.display_name.unwrap_or_else(|| device.device_id.to_string())),
            place,
        }))
    }

    /// Does what somebody answered.
    pub(crate) async fn decide(
        &self,
        flow: &str,
        csrf: &str,
        decision: Decision,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let (sso, oauth) = self.oauth_pages()?;
        let Step::Waiting(waiting) = sso.flows.look(flow, headers)? else { return Err(FlowError::Unknown.into()) };
        let visitor = self.visitor_of(oauth, &waiting, headers).await?;
        // Whoever was logged out or changed meanwhile is asked again: the page was shown to somebody else.
        let Some(visitor) = visitor.filter(|visitor| visitor.sent(flow, csrf)) else {
            return go(&next_url(sso, flow), []);
        };
        let Step::Waiting(waiting) = sso.flows.take(flow, headers)? else { return Err(FlowError::Unknown.into()) };
        let forget = sso.flows.forget(flow);
        if decision == Decision::Other {
            let again = self.waiting(waiting.purpose, false, None, self.clock.now_ms());
            let begun = self.begin_step(sso, Step::Waiting(again))?;
            return go(&next_url(sso, &begun.id), [Some(begun.cookie), forget, oauth.browsers.log_out(headers)]);
        }
        match waiting.purpose {
            Purpose::App(request) if decision == Decision::Allow => {
                let consent = Consent {
                    client: request.client.id.clone(),
                    redirect_uri: request.return_to.redirect_uri.clone(),
                    scope: request.scope.clone(),
                    challenge: request.challenge.clone(),
                    user: visitor.user,
                };
                let code = oauth.codes.issue(consent, &self.entropy);
                go(&answer(sso, &request.return_to, &[("code", &code)])?, [forget])
            }
            Purpose::App(request) => {
                let denied = [("error", "access_denied"), ("error_description", "The user did not agree")];
                go(&answer(sso, &request.return_to, &denied)?, [forget])
            }
            Purpose::Device(grant) => {
                let allowed = (decision == Decision::Allow).then_some(visitor.user);
                if !oauth.devices.answer(&grant, allowed) {
                    return Err(Trouble(StatusCode::BAD_REQUEST, Problem::UnknownCode));
                }
                let mut page = Pages::of(headers).device_done(allowed.is_some());
                add_cookies(page.headers_mut(), [forget]);
                Ok(page)
            }
            Purpose::Client(_) | Purpose::Account(_) => Err(FlowError::Unknown.into()),
        }
    }
}

fn answer(sso: &Sso, return_to: &ReturnTo, pairs: &[(&str, &str)]) -> Result<String, Trouble> {
    return_to.with(pairs, &sso.issuer()).ok_or(Trouble(StatusCode::BAD_REQUEST, Problem::AppReturn))
}

/// Tells an app what is wrong with its request. The place is one that it registered.
fn refuse(sso: &Sso, return_to: &ReturnTo, error: &OauthError) -> Result<Response, Trouble> {
    let place = redirect_uri::place(&return_to.redirect_uri);
    tracing::info!(place, error = error.code, why = error.why, "an app's request is refused");
    let pairs = [("error", error.code), ("error_description", error.why.as_str())];
    let mut response = go(&answer(sso, return_to, &pairs)?, [])?;
    guard(response.headers_mut());
    Ok(response)
}
