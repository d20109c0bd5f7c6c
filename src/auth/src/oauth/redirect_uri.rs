//! Where an app takes its answers. [Redirect URI validation](https://spec.matrix.org/v1.19/client-server-api/#redirect-uri-validation).

use url::{Host, Url};

/// The longest URI, in bytes.
const MAX_LENGTH: usize = 2048;
/// The hosts of this machine, as they must be written.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What kind of program an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Application {
    /// A web site.
    Web,
    /// A program on somebody's device.
    Native,
}

/// Reads a URI of a client's, with nothing in it that a browser reads otherwise than a person does.
pub(crate) fn plain_url(text: &str) -> Result<Url, &'static str> {
    if text.len() > MAX_LENGTH {
        return Err("it is too long");
    }
    if text.bytes().any(|byte| !byte.is_ascii_graphic() || b"\\\"'<>`".contains(&byte)) {
        return Err("there are characters in it that do not belong into a URI");
    }
    let url = Url::parse(text).map_err(|_| "it is no URI")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("there must be no user name in it");
    }
    Ok(url)
}

/// Reads the client's own address, the base of all its others.
pub(crate) fn client_uri(text: &str) -> Result<Url, &'static str> {
    let url = plain_url(text)?;
    if url.scheme() != "https" || !text.starts_with("https://") {
        return Err("it must begin with https://");
    }
    match url.host() {
        Some(Host::Domain(name)) if name.trim_end_matches('.').contains('.') => Ok(url),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => Ok(url),
        _ => Err("its host must be a full name"),
    }
}

/// Whether `text` is an `https` address on the client's own host, or below it.
pub(crate) fn is_of_client(text: &str, client: &Url) -> Result<(), &'static str> {
    let url = plain_url(text)?;
    if url.scheme() != "https" || !text.starts_with("https://") {
        return Err("it must begin with https://");
    }
    let (Some(own), Some(host)) = (client.host_str(), url.host_str()) else { return Err("there is no host in it") };
    let below = || host.strip_suffix(own).is_some_and(|rest| rest.ends_with('.'));
    let named = matches!(client.host(), Some(Host::Domain(_)));
    if host == own || (named && below()) { Ok(()) } else { Err("it must be on the host of client_uri, or below it") }
}

/// Whether a client may register this URI.
pub(crate) fn check(text: &str, application: Application, client: &Url) -> Result<(), &'static str> {
    let url = plain_url(text)?;
    if url.fragment().is_some() {
        return Err("there must be no fragment in it");
    }
    match (application, url.scheme()) {
        (_, "https") => is_of_client(text, client),
        (Application::Web, _) => Err("it must begin with https://"),
        (Application::Native, "http") => check_loopback(text),
        (Application::Native, scheme) => check_private(text, scheme, client),
    }
}

fn check_loopback(text: &str) -> Result<(), &'static str> {
    match split_loopback(text) {
        Some((_, "", _)) => Ok(()),
        Some(_) => Err("there must be no port in it: any is taken later"),
        None => Err("http is for localhost, 127.0.0.1 and [::1] only"),
    }
}

/// Host, port with its colon, and the rest of an `http` URI on this machine.
fn split_loopback(text: &str) -> Option<(&str, &str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = LOOPBACK.into_iter().find(|host| authority.strip_prefix(host).is_some_and(is_port))?;
    Some((host, authority.strip_prefix(host)?, path))
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => {
            digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        }
        None => text.is_empty(),
    }
}

/// A scheme of the app's own: it begins with the client's host in reverse.
fn check_private(text: &str, scheme: &str, client: &Url) -> Result<(), &'static str> {
    let Some(Host::Domain(host)) = client.host() else {
        return Err("client_uri has no name that a scheme could begin with");
    };
    let reversed: Vec<&str> = host.split('.').rev().collect();
    let own = reversed.join(".");
    if !scheme.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
        return Err("its scheme must begin with the host of client_uri in reverse");
    }
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    if rest.starts_with("//") { Err("there must be no host in it") } else { Ok(()) }
}

/// Whether a URI of a request is one that was registered: the very same text, but for the port on this machine.
pub(crate) fn matches(registered: &str, given: &str) -> bool {
    if registered == given {
        return true;
    }
    match (split_loopback(registered), split_loopback(given)) {
        (Some((host, "", path)), Some((other, _, given_path))) => host == other && same_path(path, given_path),
        _ => false,
    }
}

/// An empty path is the root.
fn same_path(one: &str, other: &str) -> bool {
    let root = |path: &'_ str| path.is_empty() || path == "/";
    one == other || (root(one) && root(other))
}

/// What people are told about where an answer goes: the host, or the scheme of an app's own.
pub(crate) fn place(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    match (url.scheme(), url.host_str(), url.port()) {
        ("http" | "https", Some(host), Some(port)) => format!("{host}:{port}"),
        ("http" | "https", Some(host), None) => host.to_owned(),
        (scheme, ..) => format!("{scheme}:"),
    }
}

/// What `form-action` of a content security policy must name, so that a form's answer may lead there.
pub(crate) fn policy_source(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else { return String::new() };
    match (url.scheme(), url.host()) {
        // The policy's grammar has no IPv6 addresses.
        ("http" | "https", Some(Host::Ipv6(_))) => format!("{}:", url.scheme()),
        ("http" | "https", Some(_)) => url.origin().ascii_serialization(),
        (scheme, _) => format!("{scheme}:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(application: Application, uri: &str) -> bool {
        check(uri, application, &client_uri("https://example.com/").unwrap()).is_ok()
    }

    #[test]
    fn web_clients_have_https_on_their_own_host() {
        for good in [
            "https://example.com/callback",
            "https://app.example.com/callback",
            "https://example.com:5173/?query=value",
            "https://example.com",
        ] {
            assert!(verdict(Application::Web, good), "{good}");
            assert!(verdict(Application::Native, good), "{good}");
        }
        for bad in [
            "https://example.com/callback#fragment",
            "https://example.com/callback#",
            "http://example.com/callback",
            "http://localhost/",
            "com.example.app:/callback",
            "https://example.org/",
            "https://badexample.com/",
            "https://example.com.evil.org/",
            "https://user@example.com/",
            "https://user:pw@example.com/",
            "https://example.com@evil.org/",
            "https://evil.org\\@example.com/",
            "https://exam\nple.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "//example.com/",
            "https:example.com/x",
            "",
        ] {
            assert!(!verdict(Application::Web, bad), "{bad}");
        }
    }

    #[test]
    fn native_clients_have_their_own_scheme_or_this_machine_without_a_port() {
        for good in [
            "com.example.app:/callback",
            "com.example:/",
            "com.example:callback",
            "http://localhost/callback",
            "http://127.0.0.1/callback",
            "http://127.0.0.1",
            "http://[::1]/callback?x=y",
        ] {
            assert!(verdict(Application::Native, good), "{good}");
        }
        for bad in [
            "example:/callback",
            "com.example.app://callback",
            "com.examples:/callback",
            "https://localhost/callback",
            "http://localhost:1234/callback",
            "http://localhost:80/callback",
            "http://localhost.evil.org/",
            "http://127.0.0.2/",
            "http://127.1/",
            "http://[::2]/",
            "http://user@localhost/",
            "http://localhost/callback#x",
            "javascript:alert(1)",
        ] {
            assert!(!verdict(Application::Native, bad), "{bad}");
        }
    }

    #[test]
    fn a_uri_is_the_registered_one_to_the_letter_and_on_any_port_of_this_machine() {
        for (registered, given) in [
            ("https://example.com/cb", "https://example.com/cb"),
            ("http://localhost/cb", "http://localhost:1234/cb"),
            ("http://127.0.0.1/", "http://127.0.0.1:65535"),
            ("http://[::1]/cb?x", "http://[::1]:9/cb?x"),
        ] {
            assert!(matches(registered, given), "{given}");
        }
        for (registered, given) in [
            ("https://example.com/cb", "https://example.com/cb/"),
            ("https://example.com/cb", "https://example.com/cb?x"),
            ("https://example.com/cb", "https://example.com:443/cb"),
            ("https://example.com/cb", "https://EXAMPLE.com/cb"),
            ("https://example.com/cb", "https://example.com/x/../cb"),
            ("http://localhost/cb", "http://127.0.0.1:1234/cb"),
            ("http://localhost/cb", "http://localhost:1234/evil"),
            ("http://localhost/cb", "http://localhost:1234@evil.org/cb"),
            ("http://localhost/cb", "http://localhost.evil.org/cb"),
            ("http://localhost/cb", "http://localhost:99999/cb"),
            ("http://localhost/cb", "https://localhost:1234/cb"),
        ] {
            assert!(!matches(registered, given), "{given}");
        }
    }

    #[test]
    fn clients_have_a_full_name() {
        for bad in ["http://example.com", "https://com/", "https://localhost/", "https:///", "https://a@b.c/", "x"] {
            assert!(client_uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn policies_name_origins_and_schemes() {
        assert_eq!(policy_source("https://example.com/cb?x"), "https://example.com");
        assert_eq!(policy_source("http://127.0.0.1:81/cb"), "http://127.0.0.1:81");
        assert_eq!(policy_source("http://[::1]:81/cb"), "http:");
        assert_eq!(policy_source("com.example.app:/cb"), "com.example.app:");
    }
}
