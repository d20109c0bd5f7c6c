//! Users and aliases that application services make when other servers ask for them.

use std::sync::Arc;

use appservices::{Known, Services};
use federation::MadeOnDemand;
use futures::{FutureExt as _, future::BoxFuture};
use ruma::{RoomAliasId, UserId};

/// [`MadeOnDemand`] by [`Services`].
pub struct MadeByServices(pub Arc<Services>);

impl MadeOnDemand for MadeByServices {
    fn user<'a>(&'a self, user_id: &'a UserId) -> BoxFuture<'a, bool> {
        self.0.ask_for_user(user_id).map(|known| known == Known::Yes).boxed()
    }

    fn alias<'a>(&'a self, alias: &'a RoomAliasId) -> BoxFuture<'a, bool> {
        self.0.ask_for_alias(alias).map(|known| known == Known::Yes).boxed()
    }
}
