//! The pages of an account. They work without scripts.

use std::fmt::Write as _;

use axum::response::Response;
use http::StatusCode;
use users::devices::Device;

use crate::{
    oauth::{account::Wanted, account_words::words},
    oidc::{Pages, Problem, escape},
    operation::Operation,
};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What every form of an account has.
pub(crate) struct AccountForm<'a> {
    pub(crate) action: &'a str,
    pub(crate) wanted: &'a Wanted,
    pub(crate) csrf: &'a str,
    pub(crate) user_id: &'a str,
    /// The first page.
    pub(crate) home: &'a str,
    pub(crate) problem: Option<Problem>,
}

/// What the first page has besides.
pub(crate) struct Overview<'a> {
    pub(crate) display_name: &'a str,
    /// Links to the others.
    pub(crate) devices: &'a str,
    pub(crate) password: Option<String>,
    pub(crate) reset: &'a str,
    pub(crate) deactivate: &'a str,
    pub(crate) log_out_csrf: &'a str,
}

impl AccountForm<'_> {
    /// A form with these fields.
    fn form(&self, fields: &str, button: &str) -> String {
        let mut out = format!("<form method=\"post\" action=\"{}\">", escape(self.action));
        let Wanted { action, device, session } = self.wanted;
        for (name, value) in [
            ("action", Some(action.name())),
            ("device_id", device.as_deref().map(AsRef::as_ref)),
            ("session", session.as_deref()),
            ("csrf", Some(self.csrf)),
        ] {
            if let Some(value) = value {
                let _ = write!(out, "<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value));
            }
        }
        let _ = write!(out, "{fields}<button type=\"submit\">{}</button></form>", escape(button));
        out
    }

    fn status(&self) -> StatusCode {
        self.problem.map_or(StatusCode::OK, Problem::status)
    }
}

impl Pages {
    fn account_page(self, form: &AccountForm<'_>, title: &str, body: &str) -> Response {
        let who = escape(&self.words().you_are.replace("{}", form.user_id));
        let back = link(form.home, words(self.language()).back);
        let body = format!("<p>{who}</p>{}{body}<p>{back}</p>", self.alert(form.problem));
        self.page(form.status(), title, &body, "")
    }

    pub(crate) fn overview(self, form: &AccountForm<'_>, page: &Overview<'_>) -> Response {
        let words = words(self.language());
        let name = field("display_name", "text", words.display_name, page.display_name, "nickname", "");
        let mut body = format!("<p>{}</p>", escape(&self.words().you_are.replace("{}", form.user_id)));
        body.push_str(&self.alert(form.problem));
        body.push_str(&form.form(&name, words.save));
        body.push_str("<ul>");
        let links = [
            (Some(page.devices), words.devices),
            (page.password.as_deref(), words.change_password),
            (Some(page.reset), words.reset),
            (Some(page.deactivate), words.deactivate),
        ];
        for (place, text) in links {
            if let Some(place) = place {
                let _ = write!(body, "<li>{}</li>", link(place, text));
            }
        }
        let wanted = Wanted { action: super::Action::LogOut, device: None, session: None };
        let log_out = AccountForm { wanted: &wanted, csrf: page.log_out_csrf, problem: None, ..*form };
        let _ = write!(body, "</ul>{}", log_out.form("", words.log_out));
        self.page(form.status(), words.account, &body, "")
    }

    pub(crate) fn devices(self, form: &AccountForm<'_>, devices: &[(String, Device)], now_ms: u64) -> Response {
        let words = words(self.language());
        let mut body = format!("<p>{}</p><ul>", escape(words.devices_text));
        for (place, device) in devices {
            let name = device.display_name.as_deref().unwrap_or(device.device_id.as_str());
            let _ = write!(body, "<li>{}<br>{}</li>", link(place, name), self.seen(device, now_ms));
        }
        body.push_str("</ul>");
        self.account_page(form, words.devices, &body)
    }

    pub(crate) fn device(self, form: &AccountForm<'_>, device: &Device, delete: &str, now_ms: u64) -> Response {
        let words = words(self.language());
        let name = device.display_name.as_deref().unwrap_or_default();
        let line =
            |label: &str, text: &str| format!("<p>{} <span class=\"place\">{}</span></p>", escape(label), escape(text));
        let mut body = line(&format!("{}:", words.device_id), device.device_id.as_str());
        let _ = write!(body, "<p>{}</p>", self.seen(device, now_ms));
        if let Some(ip) = device.last_seen_ip {
            body.push_str(&line(words.from, &ip.to_string()));
        }
        if form.wanted.action == super::Action::DeviceDelete {
            let _ = write!(
                body,
                "{}<p>{}</p>",
                line(&format!("{}:", words.device_name), name),
                escape(words.log_device_out_text)
            );
            body.push_str(&form.form("", words.log_device_out));
            return self.account_page(form, words.log_device_out, &body);
        }
        body.push_str(&form.form(&field("device_name", "text", words.device_name, name, "off", ""), words.save));
        let _ = write!(body, "<p>{}</p>", link(delete, words.log_device_out));
        self.account_page(form, words.device, &body)
    }

    /// When a device was last seen, as exactly as it is known.
    fn seen(self, device: &Device, now_ms: u64) -> String {
        let words = words(self.language());
        let ago = device.last_seen_ts.map(|seen| now_ms.saturating_sub(seen));
        let text = match ago {
            None => words.never_seen.to_owned(),
            Some(ms) if ms < HOUR_MS => words.just_now.to_owned(),
            Some(ms) if ms < 2 * DAY_MS => words.hours_ago.replace("{}", &(ms / HOUR_MS).max(2).to_string()),
            Some(ms) => words.days_ago.replace("{}", &(ms / DAY_MS).to_string()),
        };
        escape(&format!("{} {text}", words.last_seen))
    }

    pub(crate) fn password(self, form: &AccountForm<'_>, min_length: usize) -> Response {
        let words = words(self.language());
        let hint = super::words::words(self.language()).password_hint.replace("{}", &min_length.to_string());
        let fields = format!(
            "{}{}<p>{}</p>{}",
            field("password", "password", words.old_password, "", "current-password", " required"),
            field("new_password", "password", words.new_password, "", "new-password", " required"),
            escape(&hint),
            tick("log_out", words.log_all_out, ""),
        );
        self.account_page(form, words.change_password, &form.form(&fields, words.change_password))
    }

    pub(crate) fn password_changed(self) -> Response {
        let words = words(self.language());
        self.page(StatusCode::OK, words.password_changed, &format!("<p>{}</p>", escape(words.closed_text)), "")
    }

    pub(crate) fn deactivate(self, form: &AccountForm<'_>) -> Response {
        let words = words(self.language());
        let fields = format!("{}{}", tick("agreed", words.agreed, " required"), tick("erase", words.erase, ""));
        let body = format!("<p>{}</p>{}", escape(words.deactivate_text), form.form(&fields, words.deactivate));
        self.account_page(form, words.deactivate, &body)
    }

    pub(crate) fn closed(self) -> Response {
        let words = words(self.language());
        self.page(StatusCode::OK, words.closed, &format!("<p>{}</p>", escape(words.closed_text)), "")
    }

    pub(crate) fn reset(self, form: &AccountForm<'_>) -> Response {
        let words = words(self.language());
        let body = format!(
            "<p>{}</p><p>{}</p>{}",
            escape(words.reset_text),
            escape(words.not_expected),
            form.form("", words.reset_button)
        );
        self.account_page(form, words.reset, &body)
    }

    pub(crate) fn confirm(self, form: &AccountForm<'_>, what: &Operation) -> Response {
        let words = words(self.language());
        let body = format!("{}{}", self.what(what), form.form("", words.allow));
        self.account_page(form, words.confirm, &body)
    }

    /// What a client wants, with a warning.
    fn what(self, what: &Operation) -> String {
        let words = words(self.language());
        let text = words.confirm_text.replace("{}", &words.what(what));
        format!("<p>{}</p><p>{}</p>", escape(&text), escape(words.not_expected))
    }

    /// The same for those who confirm it at a provider.
    pub(crate) fn confirm_with(self, user_id: &str, what: &Operation, providers: &[(String, String)]) -> Response {
        let words = words(self.language());
        let mut body = format!("<p>{}</p>{}<ul>", escape(user_id), self.what(what));
        for (place, name) in providers {
            let text = words.confirm_with.replace("{}", name);
            let _ = write!(body, "<li><a class=\"go\" href=\"{}\">{}</a></li>", escape(place), escape(&text));
        }
        body.push_str("</ul>");
        self.page(StatusCode::OK, words.confirm, &body, "")
    }

    /// The end of a confirmation: the client that opened the page is told.
    pub(crate) fn approved(self) -> Response {
        let words = words(self.language());
        self.page_that_tells(words.approved, &format!("<p role=\"status\">{}</p>", escape(words.approved_text)))
    }
}

fn link(place: &str, text: &str) -> String {
    format!("<a href=\"{}\">{}</a>", escape(place), escape(text))
}

fn field(name: &str, kind: &str, label: &str, value: &str, autocomplete: &str, more: &str) -> String {
    format!(
        "<label for=\"{name}\">{}</label><input id=\"{name}\" name=\"{name}\" type=\"{kind}\" value=\"{}\" maxlength=\"512\" \
         autocomplete=\"{autocomplete}\"{more}>",
        escape(label),
        escape(value)
    )
}

fn tick(name: &str, label: &str, more: &str) -> String {
    format!(
        "<p><label class=\"tick\"><input type=\"checkbox\" name=\"{name}\" value=\"yes\"{more}> {}</label></p>",
        escape(label)
    )
}
