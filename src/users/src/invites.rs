//! Whose invitations a user takes. [Invite permission](https://spec.matrix.org/v1.19/client-server-api/#invite-permission), and by whom
//! they come ([MSC4155](https://github.com/matrix-org/matrix-spec-proposals/pull/4155), under its unstable name).

use ruma::UserId;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::{
    Users,
    error::Result,
    push::{Extent, Pattern},
    tables::UserNum,
};

/// Under the name of before it was in the specification, too (MSC4380).
const ALL: [&str; 2] = ["m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"];
const BY_SENDER: &str = "org.matrix.msc4155.invite_permission_config";

/// What becomes of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InviteAnswer {
    /// It is shown.
    Show,
    /// It is taken, and not shown: who sent it does not learn of that.
    Hide,
    /// It is refused.
    Refuse,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    default_action: Option<String>,
}

/// Lists of patterns. Of a list that is none nothing is known.
#[derive(Deserialize)]
#[serde(default)]
struct BySender {
    enabled: bool,
    #[serde(deserialize_with = "patterns")]
    allowed_users: Vec<String>,
    #[serde(deserialize_with = "patterns")]
    ignored_users: Vec<String>,
    #[serde(deserialize_with = "patterns")]
    blocked_users: Vec<String>,
    #[serde(deserialize_with = "patterns")]
    allowed_servers: Vec<String>,
    #[serde(deserialize_with = "patterns")]
    ignored_servers: Vec<String>,
    #[serde(deserialize_with = "patterns")]
    blocked_servers: Vec<String>,
}

impl Default for BySender {
    fn default() -> Self {
        Self {
            enabled: true,
            allowed_users: Vec::new(),
            ignored_users: Vec::new(),
            blocked_users: Vec::new(),
            allowed_servers: Vec::new(),
            ignored_servers: Vec::new(),
            blocked_servers: Vec::new(),
        }
    }
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let texts = value.as_array().into_iter().flatten();
    Ok(texts.filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect())
}

impl BySender {
    /// Users before servers, and what allows before what forbids.
    fn answer(&self, sender: &UserId) -> InviteAnswer {
        let (user, server) = (sender.as_str(), sender.server_name().as_str());
        let rules = [
            (&self.allowed_users, user, InviteAnswer::Show),
            (&self.ignored_users, user, InviteAnswer::Hide),
            (&self.blocked_users, user, InviteAnswer::Refuse),
            (&self.allowed_servers, server, InviteAnswer::Show),
            (&self.ignored_servers, server, InviteAnswer::Hide),
            (&self.blocked_servers, server, InviteAnswer::Refuse),
        ];
        let names =
            |list: &[String], name: &str| list.iter().any(|pattern| Pattern::new(pattern, Extent::Whole).matches(name));
        let found = rules.into_iter().find(|(list, name, _)| names(list, name));
        found.filter(|_| self.enabled).map_or(InviteAnswer::Show, |(.., answer)| answer)
    }
}

impl Users {
    /// What becomes of an invitation of `sender` to a user.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn invite_answer(&self, user: UserNum, sender: &UserId) -> Result<InviteAnswer> {
        for kind in ALL {
            let all: Config = self.config(user, kind).await?;
            if all.default_action.is_some_and(|action| action == "block") {
                return Ok(InviteAnswer::Refuse);
            }
        }
        let by_sender: BySender = self.config(user, BY_SENDER).await?;
        Ok(by_sender.answer(sender))
    }

    async fn config<T: DeserializeOwned + Default>(&self, user: UserNum, kind: &str) -> Result<T> {
        let content = self.account_data.get(user, None, kind).await?;
        Ok(content.and_then(|content| serde_json::from_str(content.get()).ok()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn users_come_before_servers_and_what_allows_before_what_forbids() {
        let config: BySender = serde_json::from_value(json!({
            "allowed_users": ["@ann:evil.example", "@both:x"],
            "ignored_users": ["@bore*:*", "@both:x"],
            "blocked_users": ["@pest:good.example"],
            "allowed_servers": ["good.example"],
            "ignored_servers": null,
            "blocked_servers": ["*.example", 7],
        }))
        .unwrap();
        for (sender, wanted) in [
            ("@ann:evil.example", InviteAnswer::Show),
            ("@both:x", InviteAnswer::Show),
            ("@boredom:good.example", InviteAnswer::Hide),
            ("@pest:good.example", InviteAnswer::Refuse),
            ("@carl:good.example", InviteAnswer::Show),
            ("@carl:evil.example", InviteAnswer::Refuse),
            ("@carl:example", InviteAnswer::Show),
        ] {
            assert_eq!(config.answer(<&UserId>::try_from(sender).unwrap()), wanted, "{sender}");
        }
    }

    #[test]
    fn it_can_be_switched_off() {
        let config: BySender = serde_json::from_value(json!({"enabled": false, "blocked_servers": ["*"]})).unwrap();
        assert_eq!(config.answer(<&UserId>::try_from("@a:b").unwrap()), InviteAnswer::Show);
    }
}
