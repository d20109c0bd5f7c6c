use std::{
    ops::Deref,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
};

use appservices::Services;
use axum::extract::FromRef;
use engine::{Engine, Room, Viewer};
use http_kit::{Authenticator, RateLimits, Requester};
use notify::Notify;
use parking_lot::Mutex;
use rand::Rng;
use ruma::{RoomId, RoomVersionId};
use search::Search;
use serde::Deserialize;
use users::Users;

use crate::{
    NoRemoteRooms, RemoteRooms,
    delayed::DelayedConfig,
    discovery::SupportConfig,
    error::ApiError,
    keys::sharers,
    remote_queries::{NoOtherServers, RemoteQueries},
    rtc::RtcConfig,
    spaces::Walks,
    sync::SyncState,
    timeline::OlderHistory,
    voip::TurnConfig,
};

/// What an operator may decide about the Client-Server API.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientApiConfig {
    /// The version of rooms whose creator asks for none.
    pub default_room_version: RoomVersionId,
    /// The longest long poll, in seconds.
    pub max_sync_timeout_seconds: u64,
    /// Whether presence is kept and shown.
    pub presence: bool,
    /// Whether users may list their rooms in the public directory.
    pub allow_public_rooms: bool,
    /// Whether the public directory can be read without an account.
    pub public_rooms_without_auth: bool,
    /// The URL clients reach this server at, for `/.well-known/matrix/client`; none leaves it unserved.
    pub public_base_url: Option<String>,
    /// Whether people have passwords here that they can change. Not read from this section: it is what `[auth.password]` says.
    #[serde(skip)]
    pub password_changes: bool,
    /// A relay for calls.
    pub turn: TurnConfig,
    /// Where people find help, for `/.well-known/matrix/support`.
    pub support: SupportConfig,
    /// Servers that carry calls with many people.
    pub rtc: RtcConfig,
    /// Events that are sent later.
    pub delayed_events: DelayedConfig,
}

impl Default for ClientApiConfig {
    fn default() -> Self {
        Self {
            default_room_version: RoomVersionId::V12,
            max_sync_timeout_seconds: 120,
            presence: true,
            allow_public_rooms: true,
            public_rooms_without_auth: false,
            public_base_url: None,
            password_changes: true,
            turn: TurnConfig::default(),
            support: SupportConfig::default(),
            rtc: RtcConfig::default(),
            delayed_events: DelayedConfig::default(),
        }
    }
}

/// What the handlers work with.
#[derive(Clone)]
pub struct App(Arc<AppParts>);

/// An [`App`] for what the app itself holds: it keeps nothing alive.
#[derive(Clone, Default)]
pub struct WeakApp(Weak<AppParts>);

impl WeakApp {
    /// The app, while it is there.
    pub fn upgrade(&self) -> Option<App> {
        self.0.upgrade().map(App)
    }
}

/// The parts of an [`App`].
pub struct AppParts {
    /// Rooms.
    pub engine: Arc<Engine>,
    /// Accounts and what belongs to them.
    pub users: Arc<Users>,
    /// Turns tokens into requesters.
    pub authenticator: Arc<dyn Authenticator>,
    /// The operator's choices.
    pub config: ClientApiConfig,
    /// Randomness, injected.
    pub rng: Mutex<Box<dyn Rng + Send>>,
    /// Application services, where there are any.
    pub services: Option<Arc<Services>>,
    /// Other servers.
    pub remotes: Arc<dyn RemoteQueries>,
    /// What users may do in a time.
    pub limits: Arc<RateLimits>,
    /// Pushers.
    pub notify: Arc<Notify>,
    /// Walks through spaces that clients may go on with.
    pub(crate) walks: Walks,
    /// Fetches history that is not here, where other servers take part; set once.
    pub older: OnceLock<Arc<dyn OlderHistory>>,
    /// The index of what was said, where there is one.
    pub(crate) search: Option<Arc<Search>>,
    /// Rooms of other servers.
    pub(crate) remote: Arc<dyn RemoteRooms>,
    /// What `/sync` remembers.
    pub(crate) sync: SyncState,
    /// See [`App::close`].
    pub(crate) closing: AtomicBool,
    /// When it was last written down when devices were seen, in Unix milliseconds.
    pub(crate) devices_flushed: AtomicU64,
}

impl AppParts {
    /// Puts the parts together.
    pub fn new(
        engine: Arc<Engine>,
        users: Arc<Users>,
        authenticator: Arc<dyn Authenticator>,
        notify: Arc<Notify>,
        config: ClientApiConfig,
        rng: Box<dyn Rng + Send>,
    ) -> Self {
        Self {
            engine,
            users,
            authenticator,
            config,
            rng: Mutex::new(rng),
            services: None,
            limits: Arc::new(RateLimits::off()),
            notify,
            remotes: Arc::new(NoOtherServers),
            walks: Walks::default(),
            older: OnceLock::new(),
            search: None,
            remote: Arc::new(NoRemoteRooms),
            sync: SyncState::default(),
            closing: AtomicBool::new(false),
            devices_flushed: AtomicU64::new(0),
        }
    }

    /// The same parts with application services; without this there are none.
    #[must_use]
    pub fn with_services(mut self, services: Arc<Services>) -> Self {
        self.services = Some(services);
        self
    }

    /// The same parts with other servers to ask; without this there are none.
    #[must_use]
    pub fn with_remotes(mut self, remotes: Arc<dyn RemoteQueries>) -> Self {
        self.remotes = remotes;
        self
    }

    /// The same with an index to search; without this nothing can be searched.
    #[must_use]
    pub fn with_search(mut self, search: Arc<Search>) -> Self {
        self.search = Some(search);
        self
    }

    /// The same with a way to rooms of other servers.
    #[must_use]
    pub fn with_remote_rooms(mut self, remote: Arc<dyn RemoteRooms>) -> Self {
        self.remote = remote;
        self
    }

    /// The same with limits on what users do; without this there are none.
    #[must_use]
    pub fn with_limits(mut self, limits: Arc<RateLimits>) -> Self {
        self.limits = limits;
        self
    }

    /// A random string of ASCII letters and digits.
    pub fn random_string(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut rng = self.rng.lock();
        let mut out = String::with_capacity(length);
        while out.len() < length {
            // Six bits at a time; the two values beyond the alphabet are drawn again.
            let index = (rng.next_u32() >> 26) as usize;
            if let Some(letter) = ALPHABET.get(index) {
                out.push(char::from(*letter));
            }
        }
        out
    }
}

impl App {
    /// The same app, without keeping it alive.
    pub fn downgrade(&self) -> WeakApp {
        WeakApp(Arc::downgrade(&self.0))
    }

    /// An app of these parts.
    pub fn new(parts: AppParts) -> Self {
        let engine = Arc::clone(&parts.engine);
        parts.users.device_lists.on_change(Arc::new(move |user| {
            let engine = Arc::clone(&engine);
            Box::pin(async move { sharers(&engine, user).await })
        }));
        let notify = Arc::clone(&parts.notify);
        parts.engine.on_news(Arc::new(move |news| notify.heard(news.room, news.members, &news.users)));
        Self(Arc::new(parts))
    }

    /// A room that exists here, whoever asks.
    ///
    /// # Errors
    /// 404 `M_NOT_FOUND`.
    pub async fn room(&self, room_id: &RoomId) -> Result<Arc<Room>, ApiError> {
        Ok(self.engine.room(room_id).await?)
    }

    /// A room and the requester as its viewer, where the requester is or was in it.
    ///
    /// # Errors
    /// 403 `M_FORBIDDEN`, also for rooms that do not exist: strangers are not told which do.
    pub async fn room_of<'a>(
        &self,
        room_id: &RoomId,
        requester: &'a Requester,
    ) -> Result<(Arc<Room>, Viewer<'a>), ApiError> {
        let room = match self.engine.room(room_id).await {
            Err(engine::EngineError::UnknownRoom) => return Err(ApiError::not_in_room()),
            other => other?,
        };
        let viewer = self.engine.viewer(room.num, &requester.user_id, requester.user).await?;
        Ok((room, viewer))
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

impl FromRef<App> for Arc<dyn Authenticator> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.authenticator)
    }
}
