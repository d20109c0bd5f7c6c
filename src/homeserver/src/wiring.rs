//! Puts the parts together.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use appservices::{Services, ServicesParts};
use auth::{AccountHook, Auth, AuthParts, HookFuture, UpstreamParts, WebClient, appservices::Appservices};
use client_api::{App, AppParts, WeakApp};
use engine::{CacheSizes, Engine, Identity, RoomNum};
use expenses::{Expenses, LedgerIndex, OtherServers, RemoteInvitation};
use federation::{Disabled, Federation, FederationParts, NetTransport, Transport, remote::RemoteInvitee};
use http_kit::{MatrixError, RateLimits, Requester, RequesterInfo};
use media::{
    Media, MediaParts,
    blobs::Blobs,
    preview::web::{NoWeb, Web},
    remote::{NoRemoteMedia, RemoteMedia},
};
use notify::{Notify, NotifyParts};
use rand::{SeedableRng as _, rngs::StdRng};
use ruma::{OwnedEventId, UserId};
use search::Search;
use store::{Clock, CommitterOptions, Db, Ids, Migration, SCHEMA_VERSION, Store, SystemClock, open_schema};
use store_rocksdb::{RocksDbOptions, RocksDbStore};
use users::{Users, UsersOptions};

use crate::{
    bridged::MadeByServices,
    config::Config,
    error::StartError,
    keys,
    media_links::{self, ForOthers},
    older_history::FromOthers,
    push_gateways::WebGateway,
    remote_rooms::FederatedRooms,
    remotes::Remotes,
};

/// Steps from older schemas to today's. There are none yet.
const MIGRATIONS: &[Migration] = &[];

/// Ids whose numbers are kept in memory.
const IDS_KEPT: usize = 100_000;

/// How long an application service may take for an answer: some do their work before they answer.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(60);

/// The server's parts.
pub struct Parts {
    pub db: Arc<Db>,
    pub engine: Arc<Engine>,
    pub auth: Arc<Auth>,
    pub services: Arc<Services>,
    pub app: App,
    pub expenses: Arc<Expenses>,
    pub federation: Arc<Federation>,
    pub media: Arc<Media>,
    pub search: Option<Arc<Search>>,
}

/// What the server is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To answer requests.
    Serve,
    /// To look at the data, or to change something beside it.
    Maintain,
}

/// Opens the data folder and makes all parts. `on_fatal` is told when the store has failed.
pub fn open(
    config: &Config,
    purpose: Purpose,
    on_fatal: impl Fn() + Send + Sync + 'static,
) -> Result<Parts, StartError> {
    std::fs::create_dir_all(&config.data_dir).map_err(StartError::Io)?;
    let mut options = RocksDbOptions::new(config.data_dir.join("db"));
    options.sync = config.store.sync;
    options.cache_bytes = config.store.cache_mib << 20;
    options.write_buffer_bytes = config.store.write_buffer_mib << 20;
    let store: Arc<dyn Store> = Arc::new(RocksDbStore::open(&options)?);
    open_schema(&*store, SCHEMA_VERSION, MIGRATIONS)?;
    let db = Db::open(store, CommitterOptions::default(), move |_| on_fatal())?;
    let ids = Arc::new(Ids::new(Arc::clone(&db), IDS_KEPT));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keys = keys::load_or_make(&config.data_dir)?;
    let identity = Identity { server_name: config.server_name.clone(), key: keys.current };
    let engine = Arc::new(Engine::new(
        Arc::clone(&db),
        Arc::clone(&ids),
        identity,
        Arc::clone(&clock),
        Arc::new(LedgerIndex),
        CacheSizes::default(),
    ));
    let users = Users::new(
        Arc::clone(&db),
        ids,
        Arc::clone(&clock),
        config.server_name.clone(),
        clock.now_ms(),
        UsersOptions::default(),
    );
    let forget = Arc::clone(&engine);
    users.devices.on_delete(Arc::new(move |user, device| {
        let ops = forget.forget_device(user, device.as_str());
        Box::pin(std::future::ready(Ok(ops)))
    }));
    let hook = Arc::new(Accounts { engine: Arc::clone(&engine), app: OnceLock::new(), media: OnceLock::new() });
    let mut auth_config = config.auth.clone();
    auth_config.appservices = Arc::new(Appservices::load(&config.appservices, &config.server_name)?);
    let auth = Auth::new(AuthParts {
        users: Arc::clone(&users),
        db: Arc::clone(&db),
        clock: Arc::clone(&clock),
        rng: StdRng::from_rng(&mut rand::rng()),
        server_name: config.server_name.clone(),
        config: auth_config,
        hook: Arc::clone(&hook) as _,
        upstream: upstream(config)?,
    })?;
    let services = services(&engine, &users, &db, &clock, &auth)?;
    let mut federation_config = config.federation.clone();
    federation_config.old_keys = keys.old;
    let federation = Federation::new(FederationParts {
        engine: Arc::clone(&engine),
        users: Arc::clone(&users),
        db: Arc::clone(&db),
        clock: Arc::clone(&clock),
        rng: Box::new(StdRng::from_rng(&mut rand::rng())),
        transport: transport(config, Arc::clone(&clock))?,
        config: federation_config,
    });
    let _ = federation.made.set(Arc::new(MadeByServices(Arc::clone(&services))));
    let notify = Notify::new(NotifyParts {
        db: Arc::clone(&db),
        users: Arc::clone(&users),
        clock: Arc::clone(&clock),
        rng: StdRng::from_rng(&mut rand::rng()),
        gateway: Arc::new(WebGateway::new(config, Arc::clone(&clock))?),
    });
    let mut parts = AppParts::new(
        Arc::clone(&engine),
        Arc::clone(&users),
        Arc::clone(&auth) as _,
        notify,
        client_api::ClientApiConfig { password_changes: config.auth.password.enabled, ..config.client_api.clone() },
        Box::new(StdRng::from_rng(&mut rand::rng())),
    );
    parts = parts.with_services(Arc::clone(&services));
    if config.federation.enabled {
        parts = parts.with_remote_rooms(Arc::new(FederatedRooms(Arc::clone(&federation))));
    }
    let search = search(config, purpose, &engine)?;
    if let Some(search) = &search {
        parts = parts.with_search(Arc::clone(search));
    }
    let limits = rate_limits(config, &clock);
    let parts = parts.with_remotes(Arc::new(Remotes(Arc::clone(&federation)))).with_limits(Arc::clone(&limits));
    let app = App::new(parts);
    let _ = hook.app.set(app.downgrade());
    let _ = app.older.set(Arc::new(FromOthers(Arc::clone(&federation))));
    let expenses = Expenses::new(
        Arc::clone(&engine),
        users,
        Arc::clone(&auth) as _,
        config.client_api.default_room_version.clone(),
        Box::new(StdRng::from_rng(&mut rand::rng())),
    );
    if config.federation.enabled {
        expenses.with_others(Arc::new(Others(Arc::clone(&federation))));
    }
    expenses.with_limits(Arc::clone(&limits));
    let _ = federation.limits.set(Arc::clone(&limits));
    let media = media(config, &db, clock, limits, &auth, &federation)?;
    let _ = hook.media.set(Arc::clone(&media));
    Ok(Parts { db, engine, auth, services, app, expenses, federation, media, search })
}

fn services(
    engine: &Arc<Engine>,
    users: &Arc<Users>,
    db: &Arc<Db>,
    clock: &Arc<dyn Clock>,
    auth: &Arc<Auth>,
) -> Result<Arc<Services>, StartError> {
    Ok(Services::new(ServicesParts {
        registrations: Arc::clone(&auth.appservices),
        engine: Arc::clone(engine),
        users: Arc::clone(users),
        db: Arc::clone(db),
        clock: Arc::clone(clock),
        authenticator: Arc::clone(auth) as _,
        http: Arc::new(WebClient::with_timeout(SERVICE_TIMEOUT).map_err(StartError::Upstream)?),
        seed: rand::random(),
    }))
}

fn search(config: &Config, purpose: Purpose, engine: &Arc<Engine>) -> Result<Option<Arc<Search>>, StartError> {
    if purpose != Purpose::Serve || !config.search.enabled {
        return Ok(None);
    }
    let (folder, memory) = (config.data_dir.join("search"), config.search.memory_mib << 20);
    Ok(Some(Search::open(Arc::clone(engine), Some(&folder), memory)?))
}

fn rate_limits(config: &Config, clock: &Arc<dyn Clock>) -> Arc<RateLimits> {
    let clock = Arc::clone(clock);
    Arc::new(RateLimits::new(&config.rate_limits, &http_kit::Clock::new(move || clock.now_ms())))
}

fn media(
    config: &Config,
    db: &Arc<Db>,
    clock: Arc<dyn Clock>,
    limits: Arc<RateLimits>,
    auth: &Arc<Auth>,
    federation: &Arc<Federation>,
) -> Result<Arc<Media>, StartError> {
    let blobs = match (&config.media.s3, &config.media.dir) {
        (Some(bucket), _) => Blobs::bucket(bucket)?,
        (None, Some(folder)) => Blobs::folder(folder)?,
        (None, None) => Blobs::folder(&config.data_dir.join("media"))?,
    };
    let remote: Arc<dyn RemoteMedia> = if config.federation.enabled {
        Arc::new(media_links::FromOthers(Arc::clone(federation)))
    } else {
        Arc::new(NoRemoteMedia)
    };
    let web: Arc<dyn Web> = if config.media.url_previews.enabled {
        let private = config.media.url_previews.allow_private_addresses;
        Arc::new(media_links::Links(federation::Web::new(private, Arc::clone(&clock))?))
    } else {
        Arc::new(NoWeb)
    };
    let media = Media::new(MediaParts {
        db: Arc::clone(db),
        clock,
        rng: Box::new(StdRng::from_rng(&mut rand::rng())),
        server_name: config.server_name.clone(),
        authenticator: Arc::clone(auth) as _,
        blobs,
        remote,
        limits,
        web,
        config: config.media.clone(),
    });
    let _ = federation.own_media.set(Arc::new(ForOthers(Arc::clone(&media))));
    Ok(media)
}

/// What log-ins through providers need; nothing where there are none.
fn upstream(config: &Config) -> Result<Option<UpstreamParts>, StartError> {
    if config.auth.oidc.is_empty() {
        return Ok(None);
    }
    let http = WebClient::new().map_err(StartError::Upstream)?;
    Ok(Some(UpstreamParts { http: Arc::new(http), seal_key: keys::load_or_make_seal_key(&config.data_dir)? }))
}

fn transport(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<dyn Transport>, StartError> {
    if !config.federation.enabled {
        return Ok(Arc::new(Disabled));
    }
    Ok(Arc::new(NetTransport::new(&config.federation, clock)?))
}

/// Other servers, as ledgers need them.
struct Others(Arc<Federation>);

impl OtherServers for Others {
    fn invite(&self, invitation: RemoteInvitation) {
        let federation = Arc::clone(&self.0);
        let RemoteInvitation { room, sender, invited, content, device } = invitation;
        let invitee = RemoteInvitee { room, sender, invited, content, device };
        tokio::spawn(async move {
            let invited = invitee.invited.clone();
            if let Err(error) = federation.invite(invitee).await {
                tracing::info!(%error, user_id = %invited, "an invitation to a new group failed");
            }
        });
    }

    fn want(&self, room: RoomNum, missing: Vec<OwnedEventId>) {
        let federation = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(error) = federation.want_ledger(room, &missing).await {
                tracing::warn!(%error, "a ledger was not asked for");
            }
        });
    }

    fn pending(&self, room: RoomNum) -> bool {
        self.0.awaits_ledger(room)
    }
}

/// What follows elsewhere when an account is changed: whoever closes theirs leaves their rooms, and names stand in rooms, too.
struct Accounts {
    engine: Arc<Engine>,
    /// Made after the log-ins that it uses.
    app: OnceLock<WeakApp>,
    media: OnceLock<Arc<Media>>,
}

impl AccountHook for Accounts {
    fn deactivate<'a>(&'a self, user: u64, user_id: &'a UserId, erase: bool) -> HookFuture<'a> {
        Box::pin(async move {
            self.engine.leave_all(user, user_id).await?;
            if let Some(media) = self.media.get().filter(|_| erase) {
                media.remove_all_of(user).await?;
            }
            Ok(())
        })
    }

    fn set_display_name<'a>(&'a self, user: u64, user_id: &'a UserId, name: &'a str) -> HookFuture<'a> {
        Box::pin(async move {
            let app = self.app.get().and_then(WeakApp::upgrade).ok_or("the server is starting or stopping")?;
            let info = RequesterInfo {
                user_id: user_id.to_owned(),
                user,
                device_id: None,
                admin: false,
                suspended: false,
                appservice: None,
            };
            let value = serde_json::value::to_raw_value(name)?;
            let set = app.set_profile_field(&Requester::new(info), "displayname", &value).await;
            Ok(set.map_err(MatrixError::from)?)
        })
    }
}
