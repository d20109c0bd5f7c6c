//! What an app says of itself when it registers. [Client metadata](https://spec.matrix.org/v1.19/client-server-api/#client-metadata).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::oauth::redirect_uri::{self, Application};

/// Redirect URIs of one client, at most.
const MAX_URIS: usize = 20;
/// The longest name, in characters.
const MAX_NAME: usize = 200;
/// Fields in other languages, at most.
const MAX_LOCALIZED: usize = 60;
/// The longest name of a language, in bytes (RFC 5646 suggests 35).
const MAX_LANGUAGE: usize = 35;

/// The ways to get tokens.
const CODE_GRANT: &str = "authorization_code";
const REFRESH_GRANT: &str = "refresh_token";
pub(crate) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Why a registration is refused (RFC 7591, section 3.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    RedirectUri(String),
    Metadata(String),
}

/// What was taken of a client's metadata. It is what the client is: two with the same are one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) client_uri: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) redirect_uris: Vec<String>,
    grant_types: Vec<String>,
    response_types: Vec<String>,
    token_endpoint_auth_method: String,
    application_type: String,
    /// `client_name`, `logo_uri`, `tos_uri`, `policy_uri`, and those with a language behind a `#`.
    #[serde(flatten)]
    texts: BTreeMap<String, String>,
}

impl Client {
    /// Takes what is understood, and refuses what may not be.
    pub(crate) fn parse(fields: &Map<String, Value>) -> Result<Self, Refusal> {
        let metadata = |field: &str, why: &str| Refusal::Metadata(format!("{field}: {why}"));
        let client_uri = text(fields, "client_uri")?.ok_or_else(|| metadata("client_uri", "it is missing"))?;
        let base = redirect_uri::client_uri(&client_uri).map_err(|why| metadata("client_uri", why))?;
        let application_type = text(fields, "application_type")?.unwrap_or_else(|| "web".to_owned());
        let application = match application_type.as_str() {
            "web" => Application::Web,
            "native" => Application::Native,
            _ => return Err(metadata("application_type", "it is neither web nor native")),
        };
        let method = text(fields, "token_endpoint_auth_method")?.unwrap_or_else(|| "none".to_owned());
        if method != "none" {
            return Err(metadata("token_endpoint_auth_method", "clients have no secrets here: it must be none"));
        }
        let known_grants = [CODE_GRANT, REFRESH_GRANT, DEVICE_GRANT];
        let grant_types = known(fields, "grant_types", &known_grants, &[CODE_GRANT, REFRESH_GRANT])?;
        let response_types = known(fields, "response_types", &["code"], &["code"])?;
        let redirect_uris = list(fields, "redirect_uris")?.unwrap_or_default();
        let with_code = grant_types.iter().any(|grant| grant == CODE_GRANT);
        if with_code && redirect_uris.is_empty() {
            return Err(Refusal::RedirectUri("redirect_uris: at least one is needed".to_owned()));
        }
        if with_code && response_types.is_empty() {
            return Err(metadata("response_types", "code is needed"));
        }
        for uri in &redirect_uris {
            redirect_uri::check(uri, application, &base)
                .map_err(|why| Refusal::RedirectUri(format!("redirect_uris: {uri}: {why}")))?;
        }
        let texts = texts(fields, &base)?;
        Ok(Self {
            client_uri,
            redirect_uris,
            grant_types,
            response_types,
            token_endpoint_auth_method: method,
            application_type,
            texts,
        })
    }

    /// The id of whoever has this metadata: the same for all who register it, so that an app used by many is kept once.
    pub(crate) fn id(&self) -> Result<String, serde_json::Error> {
        Ok(URL_SAFE_NO_PAD.encode(Sha256::digest(serde_json::to_vec(self)?)))
    }

    pub(crate) fn may(&self, grant: &str) -> bool {
        self.grant_types.iter().any(|one| one == grant)
    }

    pub(crate) fn may_return_to(&self, uri: &str) -> bool {
        uri.len() <= 2048 && self.redirect_uris.iter().any(|registered| redirect_uri::matches(registered, uri))
    }

    /// The host of the client's own page.
    pub(crate) fn host(&self) -> String {
        redirect_uri::place(&self.client_uri)
    }

    /// What people see as its name: in their language, where it has one there; its host, where it has none.
    pub(crate) fn name(&self, language: &str) -> String {
        self.text("client_name", language).map_or_else(|| self.host(), str::to_owned)
    }

    /// A text in a language, or in none, or in any.
    pub(crate) fn text(&self, field: &str, language: &str) -> Option<&str> {
        let of_language = self.texts.iter().find(|(key, _)| {
            key.split_once('#').is_some_and(|(name, tag)| {
                name == field && tag.split('-').next().is_some_and(|main| main.eq_ignore_ascii_case(language))
            })
        });
        of_language.map(|(_, text)| text).or_else(|| self.texts.get(field)).map(String::as_str)
    }
}

/// The texts that people may see, with their languages.
fn texts(fields: &Map<String, Value>, base: &Url) -> Result<BTreeMap<String, String>, Refusal> {
    let mut texts = BTreeMap::new();
    for (key, value) in fields {
        let (field, tag) = key.split_once('#').unwrap_or((key, ""));
        if !matches!(field, "client_name" | "logo_uri" | "tos_uri" | "policy_uri") {
            continue;
        }
        let refused = |why: &str| Refusal::Metadata(format!("{key}: {why}"));
        let tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if tag.len() > MAX_LANGUAGE || !tag.bytes().all(tag_byte) || (tag.is_empty() && key.ends_with('#')) {
            return Err(refused("this is no language"));
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.trim().is_empty() => continue,
            Value::String(text) => text,
            _ => return Err(refused("it must be a text")),
        };
        if field == "client_name" {
            if text.chars().count() > MAX_NAME {
                return Err(refused("it is too long"));
            }
        } else {
            redirect_uri::is_of_client(text, base).map_err(refused)?;
        }
        texts.insert(key.clone(), text.clone());
        if texts.len() > MAX_LOCALIZED {
            return Err(Refusal::Metadata("there are too many languages".to_owned()));
        }
    }
    Ok(texts)
}

fn text(fields: &Map<String, Value>, field: &str) -> Result<Option<String>, Refusal> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Metadata(format!("{field}: it must be a text"))),
    }
}

fn list(fields: &Map<String, Value>, field: &str) -> Result<Option<Vec<String>>, Refusal> {
    let wrong = || Refusal::Metadata(format!("{field}: it must be a list of at most {MAX_URIS} texts"));
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) if items.len() <= MAX_URIS => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

/// What is understood of a list.
fn known(
    fields: &Map<String, Value>,
    field: &str,
    understood: &[&str],
    otherwise: &[&str],
) -> Result<Vec<String>, Refusal> {
    let Some(given) = list(fields, field)? else {
        return Ok(otherwise.iter().map(|one| (*one).to_owned()).collect());
    };
    let taken = understood.iter().filter(|one| given.iter().any(|other| other == *one));
    Ok(taken.map(|one| (*one).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(changes: Value) -> Result<Client, Refusal> {
        let mut metadata = json!({
            "client_name": "My App",
            "client_name#de": "Meine App",
            "client_uri": "https://example.com/",
            "logo_uri": "https://example.com/logo.png",
            "tos_uri": "https://example.com/tos.html",
            "redirect_uris": ["https://app.example.com/callback"],
            "token_endpoint_auth_method": "none",
            "response_types": ["code", "token"],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"],
            "application_type": "web",
            "contacts": ["ann@example.com"],
        });
        for (name, value) in changes.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        Client::parse(metadata.as_object().unwrap())
    }

    #[test]
    fn what_is_understood_is_taken_and_names_the_client() {
        let client = parse(json!({})).unwrap();
        let shown = serde_json::to_value(&client).unwrap();
        assert_eq!(shown["grant_types"], json!(["authorization_code", "refresh_token"]));
        assert_eq!(shown["response_types"], json!(["code"]));
        assert_eq!((shown["client_name#de"].as_str(), shown.get("contacts")), (Some("Meine App"), None));
        assert_eq!((client.name("de"), client.name("en")), ("Meine App".to_owned(), "My App".to_owned()));
        assert_eq!(serde_json::from_value::<Client>(shown).unwrap(), client);
        // The same metadata are the same client, in whatever order; others are another.
        assert_eq!(parse(json!({ "contacts": [] })).unwrap().id().unwrap(), client.id().unwrap());
        assert_ne!(parse(json!({ "client_name": "Mine" })).unwrap().id().unwrap(), client.id().unwrap());
        let nameless = parse(json!({ "client_name": null, "client_name#de": null })).unwrap();
        assert_eq!(nameless.name("de"), "example.com");
    }

    #[test]
    fn what_may_not_be_is_refused_by_name() {
        for (changes, field) in [
            (json!({ "client_uri": null }), "client_uri"),
            (json!({ "client_uri": "http://example.com/" }), "client_uri"),
            (json!({ "client_name": 3 }), "client_name"),
            (json!({ "client_name": "x".repeat(201) }), "client_name"),
            (json!({ "client_name#": "x" }), "client_name#"),
            (json!({ "logo_uri": "https://example.org/logo.png" }), "logo_uri"),
            (json!({ "tos_uri#fr": "http://example.com/" }), "tos_uri#fr"),
            (json!({ "application_type": "desktop" }), "application_type"),
            (json!({ "token_endpoint_auth_method": "client_secret_basic" }), "token_endpoint_auth_method"),
            (json!({ "response_types": ["token"] }), "response_types"),
            (json!({ "grant_types": "authorization_code" }), "grant_types"),
        ] {
            match parse(changes.clone()) {
                Err(Refusal::Metadata(why)) => assert!(why.starts_with(&format!("{field}:")), "{why}"),
                other => panic!("{changes}: {other:?}"),
            }
        }
        for uris in [json!([]), json!(null), json!(["http://example.com/"]), json!(["https://example.org/"])] {
            assert!(matches!(parse(json!({ "redirect_uris": uris })), Err(Refusal::RedirectUri(_))), "{uris}");
        }
        let many: Vec<String> = (0..21).map(|n| format!("https://example.com/{n}")).collect();
        assert!(parse(json!({ "redirect_uris": many })).is_err());
        let only_device = json!({ "redirect_uris": null, "grant_types": ["refresh_token", DEVICE_GRANT] });
        assert!(parse(only_device).unwrap().may(DEVICE_GRANT));
    }
}
