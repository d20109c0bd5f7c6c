//! The pages to log in here and to let apps in. They work without scripts.

use std::fmt::Write as _;

use axum::response::Response;
use http::StatusCode;

use crate::{
    oauth::{redirect_uri, words::words},
    oidc::{Pages, Problem, escape, hidden},
};

/// The page to log in.
pub(crate) struct LoginPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) server: &'a str,
    pub(crate) name: &'a str,
    pub(crate) with_password: bool,
    /// Links to providers, with their names.
    pub(crate) providers: &'a [(String, String)],
    /// Where somebody gets an account.
    pub(crate) create: Option<String>,
    pub(crate) problem: Option<Problem>,
}

/// The page for a new account.
pub(crate) struct CreatePage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) server: &'a str,
    pub(crate) localpart: &'a str,
    pub(crate) min_length: usize,
    /// Whether there is a field for a registration token, and it must be filled in.
    pub(crate) token: Option<bool>,
    pub(crate) providers: &'a [(String, String)],
    pub(crate) log_in: String,
    pub(crate) problem: Option<Problem>,
}

/// Where an app that asks for access is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Where<'a> {
    /// It is answered at this URI.
    App(&'a str),
    /// It is on a device that shows this code.
    Device(&'a str),
}

/// The question whether an app may in.
pub(crate) struct ConsentPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) host: &'a str,
    pub(crate) terms: Option<&'a str>,
    pub(crate) policy: Option<&'a str>,
    pub(crate) device: &'a str,
    /// The name of the device that is logged in under that id.
    pub(crate) replaces: Option<String>,
    pub(crate) place: Where<'a>,
}

/// The question which code a device shows.
pub(crate) struct LinkPage<'a> {
    pub(crate) action: &'a str,
    pub(crate) user_code: &'a str,
    pub(crate) problem: Option<Problem>,
}

impl Pages {
    pub(crate) fn log_in(self, status: StatusCode, page: &LoginPage<'_>) -> Response {
        let words = words(self.language());
        let mut body =
            format!("<p>{}</p>{}", escape(&words.log_in_at.replace("{}", page.server)), self.alert(page.problem));
        if page.with_password {
            let _ = write!(
                body,
                "<form method=\"post\" action=\"{action}\">{hidden}<label for=\"username\">{name}</label>\
                 <input id=\"username\" name=\"username\" value=\"{value}\" required maxlength=\"300\" autocomplete=\"username\" \
                 autocapitalize=\"none\" spellcheck=\"false\"><label for=\"password\">{password}</label>\
                 <input id=\"password\" name=\"password\" type=\"password\" required maxlength=\"512\" autocomplete=\"current-password\">\
                 <button type=\"submit\">{button}</button></form>",
                action = escape(page.action),
                hidden = hidden(page.flow, page.csrf),
                name = escape(self.words().user_name),
                value = escape(page.name),
                password = escape(words.password),
                button = escape(words.log_in),
            );
        }
        body.push_str(&self.provider_list(page.providers, page.with_password));
        if let Some(link) = &page.create {
            let _ = write!(body, "<p><a href=\"{}\">{}</a></p>", escape(link), escape(words.no_account));
        }
        self.page(status, words.log_in, &body, "")
    }

    fn provider_list(self, providers: &[(String, String)], others: bool) -> String {
        let mut list = String::new();
        if providers.is_empty() {
            return list;
        }
        if others {
            let _ = write!(list, "<p>{}</p>", escape(words(self.language()).or));
        }
        list.push_str("<ul>");
        for (link, name) in providers {
            let text = escape(&self.words().log_in_with.replace("{}", name));
            let _ = write!(list, "<li><a class=\"go\" href=\"{}\">{text}</a></li>", escape(link));
        }
        list.push_str("</ul>");
        list
    }

    pub(crate) fn create(self, status: StatusCode, page: &CreatePage<'_>) -> Response {
        let words = words(self.language());
        let mut body =
            format!("<p>{}</p>{}", escape(&words.create_at.replace("{}", page.server)), self.alert(page.problem));
        let _ = write!(
            body,
            "<form method=\"post\" action=\"{action}\">{hidden}<label for=\"localpart\">{name}</label>\
             <input id=\"localpart\" name=\"localpart\" value=\"{value}\" required maxlength=\"200\" autocomplete=\"username\" \
             autocapitalize=\"none\" spellcheck=\"false\" aria-describedby=\"hint\"><p id=\"hint\">{hint}</p>\
             <label for=\"password\">{password}</label><input id=\"password\" name=\"password\" type=\"password\" required \
             maxlength=\"512\" autocomplete=\"new-password\" aria-describedby=\"length\"><p id=\"length\">{length}</p>",
            action = escape(page.action),
            hidden = hidden(page.flow, page.csrf),
            name = escape(self.words().user_name),
            value = escape(page.localpart),
            hint = escape(&self.words().name_hint.replace("{}", page.server)),
            password = escape(words.password),
            length = escape(&words.password_hint.replace("{}", &page.min_length.to_string())),
        );
        if let Some(required) = page.token {
            let (label, required) = if required { (words.token, " required") } else { (words.token_optional, "") };
            let _ = write!(
                body,
                "<label for=\"token\">{}</label><input id=\"token\" name=\"token\" maxlength=\"64\" autocomplete=\"off\" \
                 autocapitalize=\"none\" spellcheck=\"false\"{required}>",
                escape(label)
            );
        }
        let _ = write!(body, "<button type=\"submit\">{}</button></form>", escape(words.create));
        body.push_str(&self.provider_list(page.providers, true));
        let _ = write!(body, "<p><a href=\"{}\">{}</a></p>", escape(&page.log_in), escape(words.have_account));
        self.page(status, words.create, &body, "")
    }

    pub(crate) fn consent(self, page: &ConsentPage<'_>) -> Response {
        let words = words(self.language());
        let place =
            |label: &str, text: &str| format!("<p>{} <span class=\"place\">{}</span></p>", escape(label), escape(text));
        let mut body = place(&words.wants_access.replace("{}", page.name), page.user_id);
        body.push_str(&place(words.comes_from, page.host));
        let _ = write!(body, "<p>{}</p>", escape(words.what_it_may));
        let device = match &page.replaces {
            Some(name) => words.replaces.replace("{}", name),
            None => words.new_device.replace("{}", page.device),
        };
        let _ = write!(body, "<p>{}</p>", escape(&device));
        let warning = match page.place {
            Where::App(uri) => {
                body.push_str(&place(words.goes_to, &redirect_uri::place(uri)));
                words.only_if_you_began
            }
            Where::Device(code) => {
                body.push_str(&place(words.shows_code, code));
                words.only_own_device
            }
        };
        let _ = write!(body, "<p>{}</p>", escape(warning));
        for (link, text) in [(page.terms, words.terms), (page.policy, words.policy)] {
            if let Some(link) = link {
                let (link, text) = (escape(link), escape(text));
                let _ =
                    write!(body, "<p><a href=\"{link}\" rel=\"noreferrer noopener\" target=\"_blank\">{text}</a></p>");
            }
        }
        let button = |value: &str, text: &str| {
            format!("<button type=\"submit\" name=\"decision\" value=\"{value}\">{}</button> ", escape(text))
        };
        let _ = write!(
            body,
            "<form method=\"post\" action=\"{}\">{}{}{}{}</form>",
            escape(page.action),
            hidden(page.flow, page.csrf),
            button("allow", words.allow),
            button("deny", words.deny),
            button("other", words.not_you),
        );
        let source = match page.place {
            Where::App(uri) => redirect_uri::policy_source(uri),
            Where::Device(_) => String::new(),
        };
        self.page_with(StatusCode::OK, words.let_in, &body, "", &source)
    }

    pub(crate) fn link(self, status: StatusCode, page: &LinkPage<'_>) -> Response {
        let words = words(self.language());
        let body = format!(
            "<p>{text}</p>{problem}<form method=\"post\" action=\"{action}\"><label for=\"user_code\">{label}</label>\
             <input id=\"user_code\" name=\"user_code\" value=\"{value}\" required maxlength=\"32\" autocomplete=\"off\" \
             autocapitalize=\"characters\" spellcheck=\"false\"><p>{warning}</p><button type=\"submit\">{button}</button></form>",
            text = escape(words.enter_code),
            problem = self.alert(page.problem),
            action = escape(page.action),
            label = escape(words.code),
            value = escape(page.user_code),
            warning = escape(words.only_own_device),
            button = escape(words.go_on),
        );
        self.page(status, words.link_device, &body, "")
    }

    pub(crate) fn device_done(self, allowed: bool) -> Response {
        let words = words(self.language());
        let (title, text) =
            if allowed { (words.device_in, words.device_in_text) } else { (words.device_out, words.device_out_text) };
        self.page(StatusCode::OK, title, &format!("<p>{}</p>", escape(text)), "")
    }

    /// What went wrong, above a form.
    pub(crate) fn alert(self, problem: Option<Problem>) -> String {
        problem.map_or_else(String::new, |problem| {
            format!("<p class=\"error\" role=\"alert\">{}</p>", escape(self.words().problem(problem)))
        })
    }
}
