//! Where a client may be sent with a login token.
//! [Client login via SSO](https://spec.matrix.org/v1.19/client-server-api/#client-login-via-sso).

use url::Url;

/// The longest URL, in bytes.
const MAX_LENGTH: usize = 2048;
/// Schemes in which a browser would run or show what the URL itself contains.
const NEVER: &[&str] =
    &["javascript", "data", "vbscript", "blob", "file", "filesystem", "about", "view-source", "ws", "wss", "ftp"];

/// A place that needs no question.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    url: Url,
    /// And what lies below it.
    below: bool,
}

impl Allowed {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = check(text).map_err(|why| format!("{text}: {why}"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("{text}: no query and no fragment, please"));
        }
        Ok(Self { url, below: true })
    }

    /// The web app that this server comes with: the page at its root alone.
    pub(crate) fn own(base: &Url) -> Self {
        let mut url = base.clone();
        url.set_path("/");
        Self { url, below: false }
    }

    fn covers(&self, url: &Url) -> bool {
        let same = |f: fn(&Url) -> Option<&str>| f(&self.url) == f(url);
        let (own, path) = (self.url.path(), url.path());
        // A path ends where a segment ends: `/app` covers `/app/x`, not `/apple`.
        let below = path
            .strip_prefix(own)
            .is_some_and(|rest| rest.is_empty() || own.is_empty() || own.ends_with('/') || rest.starts_with('/'));
        self.url.scheme() == url.scheme()
            && same(Url::host_str)
            && self.url.port_or_known_default() == url.port_or_known_default()
            && (own == path || (self.below && below))
    }
}

/// A URL that a client gave as its own.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    url: Url,
    /// Whether the operator named it.
    pub(crate) trusted: bool,
}

impl Target {
    pub(crate) fn parse(text: &str, allowed: &[Allowed]) -> Result<Self, &'static str> {
        let url = check(text)?;
        let trusted = allowed.iter().any(|one| one.covers(&url));
        Ok(Self { url, trusted })
    }

    /// What people are told about where it goes: the host, or the scheme of an app's own.
    pub(crate) fn place(&self) -> String {
        match (self.url.host_str(), self.url.port()) {
            (Some(host), Some(port)) if matches!(self.url.scheme(), "http" | "https") => format!("{host}:{port}"),
            (Some(host), None) if matches!(self.url.scheme(), "http" | "https") => host.to_owned(),
            _ => format!("{}:", self.url.scheme()),
        }
    }

    /// Whether an app on this device takes it, and not a web site.
    pub(crate) fn is_app(&self) -> bool {
        !matches!(self.url.scheme(), "http" | "https")
    }

    /// The URL with the login token.
    pub(crate) fn with_token(&self, token: &str) -> String {
        let mut url = self.url.clone();
        // One that was there already could be somebody else's.
        let kept: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(name, _)| name != "loginToken").collect();
        if kept.len() != url.query_pairs().count() {
            url.query_pairs_mut().clear().extend_pairs(kept);
        }
        url.query_pairs_mut().append_pair("loginToken", token);
        url.into()
    }
}

fn check(text: &str) -> Result<Url, &'static str> {
    if text.len() > MAX_LENGTH {
        return Err("it is too long");
    }
    // Browsers take what a parser mends for something else than people read.
    if text.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\' || byte == b' ') {
        return Err("there are characters in it that do not belong into a URL");
    }
    let url = Url::parse(text).map_err(|_| "it is no URL")?;
    if NEVER.contains(&url.scheme()) {
        return Err("this kind of URL is not allowed");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("there must be no user name in it");
    }
    if matches!(url.scheme(), "http" | "https") && !url.has_host() {
        return Err("there is no host in it");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(url: &str) -> Vec<Allowed> {
        vec![Allowed::parse(url).unwrap()]
    }

    #[test]
    fn of_this_server_the_web_app_alone_is_trusted() {
        let list = [Allowed::own(&Url::parse("https://chat.example:8448/below").unwrap())];
        let trusted = |url: &str| Target::parse(url, &list).unwrap().trusted;
        assert!(trusted("https://chat.example:8448/") && trusted("https://chat.example:8448/?login=1#/home"));
        assert!(!trusted("https://chat.example:8448/below") && !trusted("https://chat.example/"));
        assert!(
            !trusted("https://chat.example:8448/_matrix/media/v3/download/x/y")
                && !trusted("http://chat.example:8448/")
        );
    }

    #[test]
    fn only_the_very_place_that_was_named_is_trusted() {
        let list = allowed("https://app.example/client/");
        let trusted = |url: &str| Target::parse(url, &list).unwrap().trusted;
        for good in
            ["https://app.example/client/", "https://app.example:443/client/x?y=1#z", "https://APP.example/client/a"]
        {
            assert!(trusted(good), "{good}");
        }
        for other in [
            "http://app.example/client/",
            "https://app.example/",
            "https://app.example/clients",
            "https://app.example:8443/client/",
            "https://app.example.evil.org/client/",
            "https://evil.org/https://app.example/client/",
            "https://app.example/client/../x",
            "https://app.example/client/%2e%2e/x",
        ] {
            assert!(!trusted(other), "{other}");
        }
        let list = allowed("https://app.example/client");
        assert!(Target::parse("https://app.example/client/x", &list).unwrap().trusted);
        assert!(!Target::parse("https://app.example/client2", &list).unwrap().trusted);
        let list = allowed("element://vector/webapp/");
        assert!(Target::parse("element://vector/webapp/?x=1", &list).unwrap().trusted);
        assert!(!Target::parse("element://other/webapp/", &list).unwrap().trusted);
    }

    #[test]
    fn what_a_browser_would_run_or_misread_is_refused() {
        for bad in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "file:///etc/passwd",
            "https://app.example@evil.org/",
            "https://app.example\\@evil.org/",
            "https:\n//evil.org",
            "//evil.org",
            "/relative",
            "",
            "https://",
            " https://evil.org",
        ] {
            assert!(Target::parse(bad, &[]).is_err(), "{bad}");
        }
        assert!(Target::parse(&format!("https://x.org/{}", "x".repeat(MAX_LENGTH)), &[]).is_err());
    }

    #[test]
    fn a_token_is_added_to_what_the_client_gave_and_replaces_another() {
        let target = |url: &str| Target::parse(url, &[]).unwrap();
        assert_eq!(target("https://x.org/a?b=c#d").with_token("t"), "https://x.org/a?b=c&loginToken=t#d");
        assert_eq!(target("https://x.org/?loginToken=old&a=1").with_token("t"), "https://x.org/?a=1&loginToken=t");
        assert_eq!(target("app.io:/cb").with_token("t"), "app.io:/cb?loginToken=t");
        assert_eq!(target("https://x.org:8443/").place(), "x.org:8443");
        assert_eq!(target("app.io:/cb").place(), "app.io:");
    }
}
