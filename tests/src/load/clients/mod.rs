//! What people wait for in their clients: the first sync, older messages, a search, a file. And what they cost a server while
//! nothing happens.
//!
//! What takes long to make (a hundred thousand messages) is made once by [`fill`], and written down in a [`Prepared`]; [`measure`]
//! then runs on a quiet machine.

pub mod fill;
pub mod measure;
pub mod words;

use serde::{Deserialize, Serialize};

use super::{LoadError, setup::Account};
use crate::http::bearer;

/// An account that outlives a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// The full Matrix id.
    pub user_id: String,
    /// The access token.
    pub access_token: String,
}

impl Login {
    /// Takes an account down.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        let value = account.token.to_str().unwrap_or_default();
        let token = value.strip_prefix("Bearer ").unwrap_or_default();
        Self { user_id: account.user_id.clone(), access_token: token.to_owned() }
    }

    /// The account again.
    ///
    /// # Errors
    /// [`LoadError::Http`] for a token that no header can carry.
    pub fn account(&self) -> Result<Account, LoadError> {
        Ok(Account { user_id: self.user_id.clone(), token: bearer(&self.access_token)? })
    }
}

/// What a server was filled with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// Users with many rooms, each with how many.
    pub with_rooms: Vec<(usize, Login)>,
    /// Users that poll while nothing happens.
    pub idle: Vec<Login>,
    /// The member of the rooms that are searched.
    pub reader: Login,
    /// The first of those rooms, which is paged through.
    pub room_id: String,
    /// Messages in all of them.
    pub messages: usize,
    /// Messages in each of them.
    pub messages_per_room: usize,
}
