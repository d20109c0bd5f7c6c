//! What a browser does: keeps cookies, follows nothing by itself, sends forms.

use std::collections::BTreeMap;

use super::*;

pub(in crate::tests) struct Browser<'a> {
    server: &'a Server,
    pub(in crate::tests) cookies: BTreeMap<String, String>,
    pub(in crate::tests) language: &'static str,
}

#[derive(Debug)]
pub(in crate::tests) struct Page {
    pub(in crate::tests) status: u16,
    pub(in crate::tests) headers: http::HeaderMap,
    pub(in crate::tests) body: String,
}

impl<'a> Browser<'a> {
    pub(in crate::tests) fn new(server: &'a Server) -> Self {
        Self { server, cookies: BTreeMap::new(), language: "en" }
    }

    pub(in crate::tests) async fn get(&mut self, url: &str) -> Page {
        self.send(Method::GET, url, String::new()).await
    }

    pub(in crate::tests) async fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send(Method::POST, url, form).await
    }

    /// Sends the form of a page, with its hidden fields and some of the user's.
    pub(in crate::tests) async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let (flow, csrf) = (page.field("flow"), page.field("csrf"));
        let mut all = vec![("flow", flow.as_str()), ("csrf", csrf.as_str())];
        all.extend(fields);
        self.post(&page.action(), &all).await
    }

    async fn send(&mut self, method: Method, url: &str, body: String) -> Page {
        let path = url.strip_prefix(BASE).unwrap_or(url);
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .extension(ClientIp(Ipv4Addr::LOCALHOST.into()))
            .header(header::COOKIE, cookies.join("; "))
            .header(header::ACCEPT_LANGUAGE, self.language)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = self.server.app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        for line in head.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, rest) = line.split_once('=').unwrap();
            let (value, flags) = rest.split_once(';').unwrap();
            if flags.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Page { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }
}

impl Page {
    pub(in crate::tests) fn location(&self) -> String {
        let location = self.headers.get(header::LOCATION).unwrap_or_else(|| panic!("no redirect: {}", self.body));
        location.to_str().unwrap().to_owned()
    }

    /// The value of an input.
    pub(in crate::tests) fn field(&self, name: &str) -> String {
        let (_, rest) =
            self.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{}", self.body));
        unescape(rest.split('"').next().unwrap())
    }

    pub(in crate::tests) fn action(&self) -> String {
        let (_, rest) = self.body.split_once("action=\"").unwrap_or_else(|| panic!("no form in {}", self.body));
        unescape(rest.split('"').next().unwrap())
    }

    /// Where the client is: in a redirect, or in the link of the last page.
    pub(in crate::tests) fn client_url(&self) -> String {
        if self.status == 302 {
            return self.location();
        }
        let (_, rest) = self.body.split_once("href=\"").unwrap_or_else(|| panic!("no link in {}", self.body));
        unescape(rest.split('"').next().unwrap())
    }

    pub(in crate::tests) fn login_token(&self) -> String {
        let url = url::Url::parse(&self.client_url()).unwrap();
        let found = url.query_pairs().find(|(name, _)| name == "loginToken");
        found.unwrap_or_else(|| panic!("no token in {url}")).1.into_owned()
    }

    #[track_caller]
    pub(in crate::tests) fn assert_shows(&self, status: u16, words: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(words), "{words} is not in {}", self.body);
    }
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
