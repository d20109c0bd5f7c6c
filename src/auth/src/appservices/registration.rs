//! One registration file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use http_kit::Appservice;
use ruma::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use url::Url;

use super::namespaces::{Namespace, Namespaces, Pattern};
use crate::config::Secret;

/// The longest id, in bytes.
const MAX_ID: usize = 255;
/// Expressions in a namespace, at most.
const MAX_PATTERNS: usize = 100;
/// Protocols of a service, at most.
const MAX_PROTOCOLS: usize = 100;

/// Why a registration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// A file or the folder cannot be read.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
    /// A file is not YAML.
    #[error("{}: {}", .0.display(), .1)]
    Yaml(PathBuf, String),
    /// A field has a value that cannot be used.
    #[error("{}: {}: {}", .file.display(), .field, .why)]
    Field {
        /// The file.
        file: PathBuf,
        /// Where in it, such as `namespaces.users[0].regex`.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// Two services have the same id, token or user.
    #[error("{}: {} is that of {}, too: each service needs its own", .file.display(), .field, .other.display())]
    Shared {
        /// What they share.
        field: &'static str,
        /// The one.
        file: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// There are too many of them.
    #[error("there are more than {0} registration files")]
    TooMany(usize),
}

/// An application service, as its registration file describes it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Its id; it never changes.
    pub id: Arc<str>,
    /// Where it is reached; nothing is sent to one that has no address.
    pub url: Option<Url>,
    /// What it shows to this server.
    pub as_token: Secret,
    /// What this server shows to it.
    pub hs_token: Secret,
    /// The user that it is where it names none.
    pub sender: OwnedUserId,
    /// Whether rate limits hold for its users; they never do for its sender.
    pub rate_limited: bool,
    /// Whether it is told of typing, receipts and presence.
    pub receive_ephemeral: bool,
    /// Whether it asked for those by the name from before they were part of the specification, and so knows only the old name of the
    /// list that they come in.
    pub old_ephemeral: bool,
    /// What it bridges to, by name.
    pub protocols: Vec<String>,
    /// What it is interested in.
    pub namespaces: Namespaces,
}

#[derive(Deserialize)]
struct Draft {
    id: String,
    url: Option<String>,
    as_token: String,
    hs_token: String,
    sender_localpart: String,
    namespaces: DraftNamespaces,
    rate_limited: Option<bool>,
    receive_ephemeral: Option<bool>,
    /// What it was called before it was part of the specification.
    #[serde(rename = "de.sorunome.msc2409.push_ephemeral")]
    push_ephemeral: Option<bool>,
    protocols: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DraftNamespaces {
    users: Option<Vec<DraftPattern>>,
    aliases: Option<Vec<DraftPattern>>,
    rooms: Option<Vec<DraftPattern>>,
}

#[derive(Deserialize)]
struct DraftPattern {
    exclusive: bool,
    regex: String,
}

impl Registration {
    /// Reads the text of a registration file.
    ///
    /// # Errors
    /// Which field cannot be used, and why.
    pub fn parse(file: &Path, text: &str, server_name: &ServerName) -> Result<Self, RegistrationError> {
        let draft = draft(file, text)?;
        Self::check(draft, server_name).map_err(|(field, why)| RegistrationError::Field {
            file: file.to_owned(),
            field,
            why,
        })
    }

    fn check(draft: Draft, server_name: &ServerName) -> Result<Self, (String, String)> {
        let wrong = |field: &str, why: &str| (field.to_owned(), why.to_owned());
        for (field, text) in [("id", &draft.id), ("as_token", &draft.as_token), ("hs_token", &draft.hs_token)] {
            if text.trim().is_empty() {
                return Err(wrong(field, "it is empty"));
            }
        }
        if draft.id.len() > MAX_ID {
            return Err(wrong("id", "it is longer than 255 bytes"));
        }
        if !draft.hs_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("hs_token", "it has characters that no HTTP header can have"));
        }
        let sender = sender(&draft.sender_localpart, server_name)
            .ok_or_else(|| wrong("sender_localpart", "it is no localpart of a user id (no @, no colon, no blank)"))?;
        let protocols = draft.protocols.unwrap_or_default();
        if protocols.len() > MAX_PROTOCOLS {
            return Err(wrong("protocols", "there are more than 100"));
        }
        let DraftNamespaces { users, aliases, rooms } = draft.namespaces;
        Ok(Self {
            id: draft.id.into(),
            url: url(draft.url)?,
            as_token: draft.as_token.into(),
            hs_token: draft.hs_token.into(),
            sender,
            rate_limited: draft.rate_limited.unwrap_or(true),
            receive_ephemeral: draft.receive_ephemeral.or(draft.push_ephemeral).unwrap_or(false),
            old_ephemeral: draft.receive_ephemeral.is_none() && draft.push_ephemeral == Some(true),
            protocols,
            namespaces: Namespaces {
                users: namespace("users", users)?,
                aliases: namespace("aliases", aliases)?,
                rooms: namespace("rooms", rooms)?,
            },
        })
    }

    /// Whether it may act as a local user.
    pub fn acts_as(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.sender.server_name()
            && (self.sender == user_id || self.namespaces.users.has(user_id.as_str()))
    }

    /// Whether nobody else may have a user id.
    pub fn owns_user(&self, user_id: &UserId) -> bool {
        user_id.server_name() == self.sender.server_name()
            && (self.sender == user_id || self.namespaces.users.owns(user_id.as_str()))
    }

    /// What a requester says of the service that it belongs to.
    pub(crate) fn behind(&self, user_id: &UserId) -> Appservice {
        Appservice { id: Arc::clone(&self.id), rate_limited: self.rate_limited && self.sender != user_id }
    }

    /// What both of two services have and only one of them may.
    pub(super) fn clashes(&self, other: &Self) -> Option<&'static str> {
        let same = [
            ("id", self.id == other.id),
            ("as_token", self.as_token == other.as_token),
            ("hs_token", self.hs_token == other.hs_token),
            ("sender_localpart", self.sender == other.sender),
        ];
        same.into_iter().find(|(_, same)| *same).map(|(field, _)| field)
    }
}

/// The fields of a file, with the place in it where one is missing or of another kind.
fn draft(file: &Path, text: &str) -> Result<Draft, RegistrationError> {
    let mut place = None;
    let parsed = serde_saphyr::with_deserializer_from_str(text, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            place = Some(error.path().to_string());
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        // The first line says it; the rest is a drawing of the place, which may hold a token.
        let why = error.without_snippet().to_string();
        match place.filter(|place| place != ".") {
            Some(field) => RegistrationError::Field { file: file.to_owned(), field, why },
            None => RegistrationError::Yaml(file.to_owned(), why),
        }
    })
}

fn sender(localpart: &str, server_name: &ServerName) -> Option<OwnedUserId> {
    let possible = localpart.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b':' | b'@'));
    if localpart.is_empty() || !possible {
        return None;
    }
    UserId::parse(format!("@{localpart}:{server_name}")).ok()
}

fn url(text: Option<String>) -> Result<Option<Url>, (String, String)> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = |why: &str| ("url".to_owned(), why.to_owned());
    let mut url = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it must begin with http:// or https:// and name a host"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must have no user name, no query and no fragment"));
    }
    // Paths are appended to it.
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(Some(url))
}

fn namespace(name: &str, drafts: Option<Vec<DraftPattern>>) -> Result<Namespace, (String, String)> {
    let drafts = drafts.unwrap_or_default();
    if drafts.len() > MAX_PATTERNS {
        return Err((format!("namespaces.{name}"), format!("there are more than {MAX_PATTERNS}")));
    }
    let patterns = drafts.into_iter().enumerate().map(|(index, draft)| {
        Pattern::new(&draft.regex, draft.exclusive).map_err(|why| (format!("namespaces.{name}[{index}].regex"), why))
    });
    Ok(Namespace(patterns.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use ruma::{server_name, user_id};

    use super::*;

    const WHOLE: &str = r##"
id: "IRC Bridge"
url: "http://127.0.0.1:1234/base/"
as_token: "as hidden"
hs_token: hs-hidden
sender_localpart: "_irc_bot"
rate_limited: false
receive_ephemeral: true
protocols: [irc]
unknown: {of: [no, interest]}
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_bridge_.*"
  aliases:
    - exclusive: false
      regex: "#_irc_bridge_.*"
  rooms: []
"##;

    fn parse(text: &str) -> Result<Registration, String> {
        Registration::parse(Path::new("irc.yaml"), text, server_name!("example.org")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_read_whole() {
        let service = parse(WHOLE).unwrap();
        assert_eq!((&*service.id, service.sender.as_str()), ("IRC Bridge", "@_irc_bot:example.org"));
        assert_eq!(service.url.as_ref().map(Url::as_str), Some("http://127.0.0.1:1234/base"));
        assert_eq!((service.as_token.reveal(), service.hs_token.reveal()), ("as hidden", "hs-hidden"));
        assert!(!service.rate_limited && service.receive_ephemeral);
        assert_eq!(service.protocols, ["irc"]);
        assert!(service.acts_as(user_id!("@_irc_bot:example.org")) && service.owns_user(&service.sender));
        assert!(service.acts_as(user_id!("@_irc_bridge_ann:example.org")));
        assert!(!service.acts_as(user_id!("@_irc_bridge_ann:elsewhere.org")));
        assert!(!service.acts_as(user_id!("@ann:example.org")));
        assert!(service.namespaces.aliases.has("#_irc_bridge_x:example.org"));
        assert!(!service.namespaces.aliases.owns("#_irc_bridge_x:example.org") && service.namespaces.rooms.is_empty());
        assert!(!format!("{service:?}").contains("hidden"));
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let text = "id: x\nurl: null\nas_token: 123\nhs_token: h\nsender_localpart: bot\nnamespaces: {}\n";
        let service = parse(text).unwrap();
        assert!(service.url.is_none() && service.rate_limited && !service.receive_ephemeral);
        assert_eq!(service.as_token.reveal(), "123");
        let pushed = parse(&format!("{text}de.sorunome.msc2409.push_ephemeral: true\n")).unwrap();
        assert!(pushed.receive_ephemeral && pushed.old_ephemeral);
        let both =
            parse(&format!("{text}de.sorunome.msc2409.push_ephemeral: true\nreceive_ephemeral: true\n")).unwrap();
        assert!(both.receive_ephemeral && !both.old_ephemeral);
    }

    #[test]
    fn errors_name_the_file_and_the_field() {
        for (from, to, said) in [
            ("id: \"IRC Bridge\"\n", "", "irc.yaml: "),
            ("id: \"IRC Bridge\"\n", "", "id"),
            ("id: \"IRC Bridge\"", "id: \"\"", "irc.yaml: id: it is empty"),
            ("id: \"IRC Bridge\"", "id: [1]", "irc.yaml: id: "),
            ("http://127.0.0.1:1234/base/", "ftp://x", "irc.yaml: url: it must begin with http"),
            ("http://127.0.0.1:1234/base/", "here", "irc.yaml: url: "),
            ("hs-hidden", "\"hs hidden\"", "irc.yaml: hs_token: it has characters"),
            ("\"_irc_bot\"", "\"@_irc_bot\"", "irc.yaml: sender_localpart: it is no localpart"),
            ("\"@_irc_bridge_.*\"", "\"(\"", "irc.yaml: namespaces.users[0].regex: "),
            ("exclusive: false", "exclusive: perhaps", "irc.yaml: namespaces.aliases[0].exclusive: "),
            ("rooms: []", "rooms: [", "irc.yaml: "),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            let error = parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(said) && !error.contains("hidden"), "{error} does not say {said}");
        }
    }
}
