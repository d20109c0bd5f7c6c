//! Users and aliases that application services have for themselves, or make when somebody asks for them.
//! [Querying](https://spec.matrix.org/v1.19/application-service-api/#querying).

use appservices::Known;
use engine::{AliasRow, Room};
use http::StatusCode;
use http_kit::{MatrixError, Requester};
use ruma::{RoomAliasId, UserId};
use users::accounts::Account;

use crate::{ApiError, App};

impl App {
    /// What an alias of this server points at; a service may make it now.
    ///
    /// # Errors
    /// 408 where a service that may know it does not answer, and those of the store.
    pub(crate) async fn local_alias(&self, alias: &RoomAliasId) -> Result<Option<AliasRow>, ApiError> {
        let found = self.engine.alias(alias.as_str()).await?;
        let Some(services) = self.services.as_ref().filter(|_| found.is_none()) else { return Ok(found) };
        match services.ask_for_alias(alias).await {
            Known::Yes => Ok(self.engine.alias(alias.as_str()).await?),
            Known::No => Ok(None),
            Known::Unanswered => Err(unanswered()),
        }
    }

    /// The account of a local user; a service may make it now.
    ///
    /// # Errors
    /// 408 where a service that may know it does not answer, and those of the store.
    pub(crate) async fn local_account(&self, user_id: &UserId) -> Result<Option<Account>, ApiError> {
        let found = self.users.accounts.by_user_id(user_id).await?;
        let Some(services) = self.services.as_ref().filter(|_| found.is_none()) else { return Ok(found) };
        match services.ask_for_user(user_id).await {
            Known::Yes => Ok(self.users.accounts.by_user_id(user_id).await?),
            Known::No => Ok(None),
            Known::Unanswered => Err(unanswered()),
        }
    }

    /// Whether somebody may make an alias, as far as services are concerned: none that another service has for itself, and a service only
    /// those of its namespaces.
    ///
    /// # Errors
    /// 400 `M_EXCLUSIVE`.
    pub(crate) fn may_have_alias(&self, requester: &Requester, alias: &RoomAliasId) -> Result<(), ApiError> {
        let Some(services) = &self.services else { return Ok(()) };
        let own = requester.appservice.as_ref().map(|service| &*service.id);
        if own.is_some() && !self.is_own_alias(requester, alias) {
            return Err(MatrixError::exclusive("This alias is in no namespace of yours").into());
        }
        match services.registrations.owner_of_alias(alias, own) {
            Some(_) => Err(MatrixError::exclusive("This alias belongs to an application service").into()),
            None => Ok(()),
        }
    }

    /// Whether a requester is a service of whose users one is in a room.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn is_in_by_service(&self, requester: &Requester, room: &Room) -> Result<bool, ApiError> {
        let own = requester.appservice.as_ref().zip(self.services.as_ref());
        let Some(service) = own.and_then(|(service, services)| services.registrations.by_id(&service.id)) else {
            return Ok(false);
        };
        for user in room.info().local_members.iter() {
            let name = self.engine.ids.name(store::IdKind::User, *user).await.map_err(engine::EngineError::from)?;
            if name.is_some_and(|name| <&UserId>::try_from(&*name).is_ok_and(|user_id| service.acts_as(user_id))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a requester is a service that has an alias in its namespaces: it manages it, whoever made it.
    pub(crate) fn is_own_alias(&self, requester: &Requester, alias: &RoomAliasId) -> bool {
        let own = requester.appservice.as_ref().zip(self.services.as_ref());
        let service = own.and_then(|(service, services)| services.registrations.by_id(&service.id));
        service.is_some_and(|service| service.namespaces.aliases.has(alias.as_str()))
    }
}

fn unanswered() -> ApiError {
    let why = "A bridge that may know this does not answer: try again later";
    MatrixError::unknown(why).with_status(StatusCode::REQUEST_TIMEOUT).into()
}
