//! The services as they run.

use std::sync::Arc;

use auth::{
    UpstreamHttp,
    appservices::{Appservices, Registration},
};
use axum::extract::FromRef;
use engine::Engine;
use futures::future::join_all;
use http_kit::Authenticator;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use store::{Clock, Db};
use users::Users;

use crate::{
    delivery::{Mailbox, Trim},
    interest::MembersKept,
    link::Link,
};

/// What [`Services`] are made of.
pub struct ServicesParts {
    /// Their registrations.
    pub registrations: Arc<Appservices>,
    /// Rooms.
    pub engine: Arc<Engine>,
    /// Local users.
    pub users: Arc<Users>,
    /// The database.
    pub db: Arc<Db>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Turns tokens into requesters.
    pub authenticator: Arc<dyn Authenticator>,
    /// How requests reach the services.
    pub http: Arc<dyn UpstreamHttp>,
    /// For ids of transactions, and jitter.
    pub seed: u64,
}

/// The application services of this server.
pub struct Services {
    /// Their registrations.
    pub registrations: Arc<Appservices>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) users: Arc<Users>,
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) link: Link,
    pub(crate) mailboxes: Arc<[Mailbox]>,
    pub(crate) members_kept: MembersKept,
    pub(crate) trim: Trim,
    rng: Mutex<StdRng>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("count", &self.registrations.all().len()).finish_non_exhaustive()
    }
}

impl Services {
    /// The services. What happens from now on is kept for those that are to be told. Nothing is sent before [`Services::run`].
    pub fn new(parts: ServicesParts) -> Arc<Self> {
        let ServicesParts { registrations, engine, users, db, clock, authenticator, http, seed } = parts;
        let mailboxes: Arc<[Mailbox]> = registrations.all().iter().map(|service| Mailbox::of(service)).collect();
        if registrations.all().iter().any(|service| service.url.is_some()) {
            let all = Arc::clone(&mailboxes);
            engine.follow(Arc::new(move || all.iter().for_each(Mailbox::wake)));
        }
        if registrations.all().iter().any(|service| service.receive_ephemeral) {
            let all = Arc::clone(&mailboxes);
            engine.typing.watch(Box::new(move |room| all.iter().for_each(|mailbox| mailbox.typing(room))));
            let all = Arc::clone(&mailboxes);
            users.presence.watch(Box::new(move |users| all.iter().for_each(|mailbox| mailbox.presence(users))));
        }
        Arc::new(Self {
            trim: Trim::of(registrations.all().len()),
            registrations,
            engine,
            users,
            db,
            clock,
            authenticator,
            link: Link::new(http),
            mailboxes,
            members_kept: MembersKept::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
        })
    }

    /// Tells each service what concerns it, until `stop` resolves. What is under way then is sent again after the next start.
    pub async fn run(self: Arc<Self>, stop: impl Future<Output = ()> + Send) {
        let deliveries = join_all((0..self.registrations.all().len()).map(|index| self.deliver(index)));
        tokio::select! {
            biased;
            () = stop => {}
            _ = async { deliveries.await; std::future::pending::<()>().await } => {}
        }
    }

    pub(crate) fn service(&self, index: usize) -> Option<&Registration> {
        self.registrations.all().get(index).map(|service| &**service)
    }

    pub(crate) fn random(&self) -> u64 {
        self.rng.lock().next_u64()
    }
}

/// The state of the routes of this crate.
#[derive(Debug, Clone)]
pub struct Api(pub Arc<Services>);

impl FromRef<Api> for Arc<dyn Authenticator> {
    fn from_ref(api: &Api) -> Self {
        Arc::clone(&api.0.authenticator)
    }
}
