//! Which links are followed.

use url::Url;

use super::PreviewError;
use crate::config::PreviewConfig;

/// The longest link, in bytes.
const MAX_LINK: usize = 2048;

/// See the module.
#[derive(Debug)]
pub(super) struct Rules {
    ports: Vec<u16>,
    deny: Vec<String>,
}

fn refused(why: &str) -> PreviewError {
    PreviewError::NotAllowed(why.to_owned())
}

impl Rules {
    pub(super) fn new(config: &PreviewConfig) -> Self {
        let deny = config.deny.iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
        Self { ports: config.ports.clone(), deny }
    }

    /// A link of a client as the URL that is asked for.
    pub(super) fn link(&self, link: &str) -> Result<Url, PreviewError> {
        let url = Url::parse(link).map_err(|error| PreviewError::NotAllowed(format!("This is no link: {error}")))?;
        self.check(url)
    }

    /// A URL that a page or a redirect names.
    pub(super) fn next(&self, from: &Url, to: &str) -> Result<Url, PreviewError> {
        let url = from.join(to).map_err(|error| PreviewError::NotAllowed(format!("It leads to no link: {error}")))?;
        self.check(url)
    }

    fn check(&self, mut url: Url) -> Result<Url, PreviewError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("Only links of the web are followed"));
        }
        if url.as_str().len() > MAX_LINK {
            return Err(refused("The link is too long"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("Links with a user name in them are not followed"));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !self.ports.is_empty() && !self.ports.contains(&port) {
            return Err(refused("Links to this port are not followed"));
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        if host.is_empty() || self.deny.iter().any(|pattern| is_like(pattern, host)) {
            return Err(refused("Links to this site are not followed"));
        }
        url.set_fragment(None);
        Ok(url)
    }
}

/// Whether a host is the one of a pattern, or one of its sub-domains where that begins with `*.`.
fn is_like(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_links_of_the_web_are_followed() {
        let deny = vec!["evil.example".to_owned(), "*.Corp.example".to_owned(), "[2001:db8::1]".to_owned()];
        let rules = Rules::new(&PreviewConfig { deny, ..PreviewConfig::default() });
        for good in [
            "https://example.org",
            "http://example.org/a?b=c#d",
            "HTTPS://EXAMPLE.ORG:443/",
            "https://corp.example/",
            "https://not-evil.example/",
            "https://xevil.example/",
            "http://1.2.3.4/",
        ] {
            assert!(rules.link(good).is_ok(), "{good}");
        }
        assert_eq!(rules.link("http://Example.org/a#frag").unwrap().as_str(), "http://example.org/a");
        for bad in [
            "",
            "example.org",
            "ftp://example.org/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://ann:secret@example.org/",
            "https://ann@example.org/",
            "https://example.org:22/",
            "http://example.org:6379/",
            "https://evil.example/",
            "https://EVIL.example./",
            "https://a.b.corp.example/",
            "https://[2001:db8::1]/",
            &format!("https://example.org/{}", "x".repeat(2048)),
        ] {
            assert!(rules.link(bad).is_err(), "{bad}");
        }
        let from = rules.link("https://example.org/a/b").unwrap();
        assert_eq!(rules.next(&from, "../c").unwrap().as_str(), "https://example.org/c");
        for bad in ["//evil.example/x", "file:///etc/passwd", "https://example.org:25/", "http://"] {
            assert!(rules.next(&from, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operator_may_open_all_ports() {
        let rules = Rules::new(&PreviewConfig { ports: Vec::new(), ..PreviewConfig::default() });
        assert!(rules.link("http://example.org:12345/").is_ok());
    }
}
