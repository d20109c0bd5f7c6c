//! The pages of a log-in. They work without scripts, in English and German.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::oidc::words::{Language, Problem, Words};

/// The colours are those of the web app (`src/web/src/styles/tokens.css`).
const STYLE: &str = "\
:root{color-scheme:light;--paper:#fcfcfa;--surface:#fff;--ink:#17181c;--muted:#585b63;--line:#85878f;--accent:#2743c9;--on-accent:#fff;--bad:#8c2012;--bad-soft:#fbebe7}\
@media(prefers-color-scheme:dark){:root{color-scheme:dark;--paper:#101114;--surface:#17191d;--ink:#ececea;--muted:#a9acb4;--line:#6f737c;--accent:#9bacff;--on-accent:#0e1330;--bad:#ffa697;--bad-soft:#351d1a}}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0;padding:min(12vh,6rem) 1.25rem 2rem;background:var(--paper);color:var(--ink);overflow-wrap:anywhere}\
main{max-width:26rem;margin:0 auto}\
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}\
p{margin:0 0 1rem}\
a{color:var(--accent)}\
label{display:block;margin:1.5rem 0 .4rem;font-weight:600}\
input{font:inherit;width:100%;box-sizing:border-box;min-height:2.75rem;padding:.6rem .8rem;border:1px solid var(--line);border-radius:.5rem;background:var(--surface);color:inherit}\
input[aria-invalid]{border:2px solid var(--bad)}\
#hint,#length{margin-top:.4rem;font-size:.875rem;color:var(--muted)}\
button,.go{display:block;box-sizing:border-box;width:100%;min-height:2.75rem;font:inherit;font-weight:600;text-align:center;margin:1.5rem 0 0;padding:.6rem 1.2rem;border:0;border-radius:.5rem;background:var(--accent);color:var(--on-accent);text-decoration:none;cursor:pointer}\
button:focus-visible,.go:focus-visible,input:focus-visible{outline:3px solid var(--accent);outline-offset:2px}\
button+button{margin-top:.75rem;border:1px solid var(--line);background:none;color:var(--accent)}\
.error{border-radius:.5rem;padding:.75rem .9rem;background:var(--bad-soft);color:var(--bad)}\
.place{font-weight:700}\
label.tick{margin:1rem 0;font-weight:400}\
.tick input{width:auto;min-height:0;vertical-align:middle}\
form+p,ul+p{margin-top:1.5rem}\
input+p{margin-top:1rem}\
ul{list-style:none;margin:0;padding:0}\
li{margin:.75rem 0}\
li .go{margin:0}";

/// What tells a client that opened a page that its user is done with it, as the specification has it.
const TELL: &str = "if(window.onAuthDone){window.onAuthDone()}\
else if(window.opener&&window.opener.postMessage){window.opener.postMessage(\"authDone\",\"*\")}";

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(Sha256::digest(STYLE)));

/// Nothing is loaded, nothing runs, forms go nowhere else but to what is named, and no other page shows these in a frame.
fn policy(form_action: &str, tells: bool) -> HeaderValue {
    let (style, space) = (&*STYLE_HASH, if form_action.is_empty() { "" } else { " " });
    let script =
        if tells { format!("script-src 'sha256-{}'; ", STANDARD.encode(Sha256::digest(TELL))) } else { String::new() };
    let policy = format!(
        "default-src 'none'; {script}style-src 'sha256-{style}'; form-action 'self'{space}{form_action}; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy)
        .unwrap_or(HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'"))
}

/// A text as it may stand in HTML, in attributes too.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of text around would let a name pose as another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            char if char.is_control() => {}
            char => out.push(char),
        }
    }
    out
}

/// The form that names an account.
pub(crate) struct NewAccountPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) email: Option<&'a str>,
    pub(crate) server: &'a str,
    pub(crate) localpart: &'a str,
    pub(crate) problem: Option<Problem>,
}

/// The question whether to go on to a place.
pub(crate) struct AskPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) place: &'a str,
    pub(crate) app: bool,
}

/// The pages in one language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages(Language);

impl Pages {
    /// In the language that the browser prefers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let wanted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self(Language::preferred(wanted))
    }

    pub(crate) fn language(self) -> Language {
        self.0
    }

    pub(crate) fn words(self) -> &'static Words {
        self.0.words()
    }

    pub(crate) fn problem(self, status: StatusCode, problem: Problem) -> Response {
        let words = self.words();
        let text = escape(words.problem(problem));
        let body = format!("<p class=\"error\" role=\"alert\">{text}</p><p>{}</p>", escape(words.begin_again));
        self.page(status, words.failed, &body, "")
    }

    pub(crate) fn choose(self, links: &[(String, &str)]) -> Response {
        let mut body = String::from("<ul>");
        for (link, name) in links {
            let text = escape(&self.words().log_in_with.replace("{}", name));
            let _ = write!(body, "<li><a class=\"go\" href=\"{}\">{text}</a></li>", escape(link));
        }
        body.push_str("</ul>");
        self.page(StatusCode::OK, self.words().choose, &body, "")
    }

    pub(crate) fn new_account(self, status: StatusCode, page: &NewAccountPage<'_>) -> Response {
        let words = self.words();
        let mut body = format!("<p>{}", escape(&words.known_as.replace("{}", page.provider)));
        if let Some(email) = page.email {
            let _ = write!(body, " (<span class=\"place\">{}</span>)", escape(email));
        }
        let _ = write!(body, "</p><p>{}</p>", escape(words.choose_name));
        let (mut invalid, mut described) = ("", "hint");
        if let Some(problem) = page.problem {
            let text = escape(words.problem(problem));
            let _ = write!(body, "<p class=\"error\" id=\"problem\" role=\"alert\">{text}</p>");
            (invalid, described) = (" aria-invalid=\"true\"", "problem hint");
        }
        let _ = write!(
            body,
            "<form method=\"post\" action=\"{action}\">{hidden}<label for=\"localpart\">{label}</label>\
             <input id=\"localpart\" name=\"localpart\" value=\"{value}\" required maxlength=\"200\" autocomplete=\"username\" \
             autocapitalize=\"none\" spellcheck=\"false\" aria-describedby=\"{described}\"{invalid}>\
             <p id=\"hint\">{hint}</p><button type=\"submit\">{button}</button></form>",
            action = escape(page.action),
            hidden = hidden(page.flow, page.csrf),
            label = escape(words.user_name),
            value = escape(page.localpart),
            hint = escape(&words.name_hint.replace("{}", page.server)),
            button = escape(words.create),
        );
        self.page(status, words.welcome, &body, "")
    }

    pub(crate) fn ask(self, page: &AskPage<'_>) -> Response {
        let words = self.words();
        let question = if page.app { words.go_to_app } else { words.go_to_site };
        let body = format!(
            "<p>{who}</p><p>{question} <span class=\"place\">{place}</span></p><p>{warning}</p>\
             <form method=\"post\" action=\"{action}\">{hidden}<button type=\"submit\">{button}</button></form>",
            who = escape(&words.you_are.replace("{}", page.user_id)),
            question = escape(question),
            place = escape(page.place),
            warning = escape(words.only_if_you_began),
            action = escape(page.action),
            hidden = hidden(page.flow, page.csrf),
            button = escape(words.go_on),
        );
        self.page(StatusCode::OK, words.go_on_question, &body, "")
    }

    /// The end: the browser goes on by itself, or by the link. A redirect would not do, since what follows a form is held to
    /// `form-action` by some browsers.
    pub(crate) fn done(self, user_id: &str, link: &str) -> Response {
        let words = self.words();
        let link = escape(link);
        let body = format!(
            "<p>{}</p><p><a class=\"go\" href=\"{link}\">{}</a></p>",
            escape(&words.you_are.replace("{}", user_id)),
            escape(words.go_on)
        );
        self.page(
            StatusCode::OK,
            words.logged_in,
            &body,
            &format!("<meta http-equiv=\"refresh\" content=\"0;url={link}\">"),
        )
    }

    pub(crate) fn log_out(self, provider: &str, link: Option<&str>) -> Response {
        let words = self.words();
        let body = match link {
            Some(link) => format!(
                "<p>{}</p><p><a class=\"go\" href=\"{}\">{}</a></p>",
                escape(&words.log_out_why.replace("{}", provider)),
                escape(link),
                escape(&words.log_out_of.replace("{}", provider))
            ),
            None => format!("<p>{}</p>", escape(&words.no_log_out.replace("{}", provider))),
        };
        self.page(StatusCode::OK, words.log_out, &body, "")
    }

    pub(crate) fn logged_out(self) -> Response {
        let body = format!("<p>{}</p>", escape(self.words().logged_out_text));
        self.page(StatusCode::OK, self.words().logged_out, &body, "")
    }

    pub(crate) fn page(self, status: StatusCode, title: &str, body: &str, head: &str) -> Response {
        self.page_with(status, title, body, head, "")
    }

    /// A page that tells the client that opened it.
    pub(crate) fn page_that_tells(self, title: &str, body: &str) -> Response {
        let mut response = self.page(StatusCode::OK, title, &format!("{body}<script>{TELL}</script>"), "");
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy("", true));
        response
    }

    /// A page whose form may lead to another place, too.
    pub(crate) fn page_with(
        self,
        status: StatusCode,
        title: &str,
        body: &str,
        head: &str,
        form_action: &str,
    ) -> Response {
        let title = escape(title);
        let html = format!(
            "<!DOCTYPE html><html lang=\"{lang}\"><head><meta charset=\"utf-8\"><title>{title} – CliquePay</title>\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\">{head}\
             <style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>",
            lang = self.0.code(),
        );
        let mut response = (status, Body::from(html)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, policy(form_action, false));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Language"));
        guard(headers);
        response
    }
}

pub(crate) fn hidden(flow: &str, csrf: &str) -> String {
    format!(
        "<input type=\"hidden\" name=\"flow\" value=\"{}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">",
        escape(flow),
        escape(csrf)
    )
}

/// What holds for every answer of a log-in: nothing is kept, and addresses with codes and tokens are told to nobody.
pub(crate) fn guard(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
