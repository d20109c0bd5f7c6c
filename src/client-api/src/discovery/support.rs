//! `GET /.well-known/matrix/support`

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    OwnedUserId,
    api::client::discovery::discover_support::{Contact, ContactRole, Request, Response},
};
use serde::Deserialize;

use crate::{ApiError, App};

/// The section `[client_api.support]`: where people find help with this server. Without anything in it nothing is told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupportConfig {
    /// The URL of a page with help.
    pub page: Option<String>,
    /// Whom to ask.
    pub contacts: Vec<SupportContact>,
}

/// Somebody to ask, by a Matrix account or by e-mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Given")]
pub struct SupportContact {
    role: String,
    matrix_id: Option<OwnedUserId>,
    email_address: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    role: Option<String>,
    matrix_id: Option<OwnedUserId>,
    email_address: Option<String>,
}

impl TryFrom<Given> for SupportContact {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        let Given { role, matrix_id, email_address } = given;
        if matrix_id.is_none() && email_address.is_none() {
            return Err("a contact needs a matrix_id or an email_address");
        }
        Ok(Self { role: role.unwrap_or_else(|| "m.role.admin".to_owned()), matrix_id, email_address })
    }
}

impl From<&SupportContact> for Option<Contact> {
    fn from(contact: &SupportContact) -> Self {
        let role = ContactRole::from(contact.role.as_str());
        let mut told = match (&contact.matrix_id, &contact.email_address) {
            (Some(id), _) => Contact::with_matrix_id(role, id.clone()),
            (None, Some(email)) => Contact::with_email_address(role, email.clone()),
            (None, None) => return None,
        };
        told.email_address.clone_from(&contact.email_address);
        Some(told)
    }
}

pub(super) async fn handler(State(app): State<App>, _: Ruma<Request>) -> Result<Response, ApiError> {
    let SupportConfig { page, contacts } = &app.config.support;
    if page.is_none() && contacts.is_empty() {
        return Err(MatrixError::not_found("This server names nobody to ask").into());
    }
    let mut response = Response::with_contacts(contacts.iter().filter_map(Option::from).collect());
    response.support_page.clone_from(page);
    Ok(response)
}
