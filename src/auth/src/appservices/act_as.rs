//! Who an application service acts as.
//! [Identity assertion](https://spec.matrix.org/v1.19/application-service-api/#identity-assertion).

use std::sync::atomic::{AtomicU64, Ordering};

use http_kit::{AuthError, RequestMeta, Requester, RequesterInfo};
use quick_cache::sync::Cache;
use ruma::{DeviceId, OwnedUserId, UserId};
use users::{UserNum, accounts::Account};

use super::registration::Registration;
use crate::{error::token_error, state::Auth};

/// Users of application services that are at hand.
const KEPT: usize = 20_000;

/// Local users whom services acted as, so that the next request reads nothing.
#[derive(Debug)]
pub(crate) struct ServiceUsers {
    /// The service's place and the user, to what was read and the epoch in which it was.
    known: Cache<(usize, OwnedUserId), (ServiceUser, u64)>,
    /// Entries of an earlier epoch do not count.
    epoch: AtomicU64,
}

/// What of an account counts when a service acts as its user.
#[derive(Debug, Clone, Copy)]
struct ServiceUser {
    num: UserNum,
    locked: bool,
    suspended: bool,
}

impl Default for ServiceUsers {
    fn default() -> Self {
        Self { known: Cache::new(KEPT), epoch: AtomicU64::new(0) }
    }
}

impl ServiceUsers {
    /// Has every user looked up anew: one of them was closed, locked or suspended, or is not any more.
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
        let ServiceUser { num: user, locked, suspended } = self.service_user(index, &user_id).await?;
        if locked && !meta.logs_out() {
            return Err(AuthError::Locked);
        }
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
        Ok(Requester::new(RequesterInfo { user_id, user, device_id, admin: false, suspended, appservice }))
    }

    async fn service_user(&self, index: usize, user_id: &UserId) -> Result<ServiceUser, AuthError> {
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
                let Account { num, locked, suspended, .. } = account;
                let user = ServiceUser { num, locked, suspended };
                self.service_users.known.insert(key, (user, epoch));
                Ok(user)
            }
            Some(_) => Err(AuthError::Forbidden(format!("The account {user_id} was closed"))),
            None => Err(AuthError::Forbidden(format!("{user_id} is not registered: register it first"))),
        }
    }
}
