//! Who an application service acts as.
//! [Identity assertion](https://spec.matrix.org/v1.19/application-service-api/#identity-assertion).

use std::sync::atomic::{AtomicU64, Ordering};

use http_kit::{AuthError, RequestMeta, Requester, RequesterInfo};
use quick_cache::sync::Cache;
use ruma::{DeviceId, OwnedUserId, UserId};
use users::UserNum;

use super::registration::Registration;
use crate::{error::token_error, state::Auth};

/// Users of application services that are at hand.
const KEPT: usize = 20_000;

/// Local users whom services acted as, so that the next request reads nothing.
#[derive(Debug)]
pub(crate) struct ServiceUsers {
    /// The service's place and the user, to the user's number and the epoch in which that was read.
    known: Cache<(usize, OwnedUserId), (UserNum, u64)>,
    /// Entries of an earlier epoch do not count.
    epoch: AtomicU64,
}

impl Default for ServiceUsers {
    fn default() -> Self {
        Self { known: Cache::new(KEPT), epoch: AtomicU64::new(0) }
    }
}

impl ServiceUsers {
    /// Has every user looked up anew: one of them was closed.
    pub(crate) fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}

impl Auth {
    /// The requester that a service's token stands for, with what the request says of whom it acts as.
    pub(crate) async fn act_as(
        &self,
        (index, service): (usize, &Registration),
        meta: RequestMeta<'_>,
    ) -> Result<Requester, AuthError> {
        self.appservices.heard_from(index);
        let user_id = match meta.asserted_user() {
            None => service.sender.clone(),
            Some(name) => UserId::parse(&*name)
                .ok()
                .filter(|user_id| service.acts_as(user_id))
                .ok_or_else(|| AuthError::Forbidden(format!("{name} is no user of this application service")))?,
        };
        let user = self.service_user(index, &user_id).await?;
        let device_id = match meta.asserted_device() {
            None => None,
            Some(device) => {
                let device = <&DeviceId>::from(&*device);
                Some(self.users.devices.get(user, device).await.map_err(|error| match error {
                    users::UsersError::DeviceNotFound => AuthError::UnknownDevice,
                    error => token_error(error),
                })?)
            }
        };
        let appservice = Some(service.behind(&user_id));
        let device_id = device_id.map(|device| device.device_id);
        // What a service does is the service's doing: it has no rights of an administrator, whoever it acts as.
        Ok(Requester::new(RequesterInfo { user_id, user, device_id, admin: false, appservice }))
    }

    async fn service_user(&self, index: usize, user_id: &UserId) -> Result<UserNum, AuthError> {
        let key = (index, user_id.to_owned());
        let epoch = self.service_users.epoch();
        if let Some((user, since)) = self.service_users.known.get(&key)
            && since == epoch
        {
            return Ok(user);
        }
        let account = self.users.accounts.by_user_id(user_id).await.map_err(token_error)?;
        match account {
            Some(account) if !account.deactivated => {
                self.service_users.known.insert(key, (account.num, epoch));
                Ok(account.num)
            }
            Some(_) => Err(AuthError::Forbidden(format!("The account {user_id} was closed"))),
            None => Err(AuthError::Forbidden(format!("{user_id} is not registered: register it first"))),
        }
    }
}
