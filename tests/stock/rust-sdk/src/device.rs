//! One device of somebody: a client with sliding sync and encryption, and what the steps ask of it.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use matrix_sdk::{
    Client, Room, RoomState,
    encryption::{BackupDownloadStrategy, EncryptionSettings, VerificationState},
    ruma::{
        OwnedEventId, RoomId,
        api::client::{
            account::register::v3 as register,
            keys::upload_keys,
            uiaa::{AuthData, Dummy},
        },
        events::room::message::RoomMessageEventContent,
    },
    sliding_sync::VersionBuilder,
};
use matrix_sdk_ui::{
    room_list_service::RoomListLoadingState,
    sync_service::{State, SyncService},
    timeline::{RoomExt as _, Timeline},
};

/// The password of everybody.
pub const PASSWORD: &str = "a long enough password";
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something to see, and gives it.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await? {
                return anyhow::Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    seen.await.with_context(|| format!("never came: {what}"))?
}

/// A client as Element X builds it: sliding sync is found by asking the server.
pub async fn client(url: &str) -> Result<Client> {
    let settings = EncryptionSettings {
        auto_enable_cross_signing: true,
        auto_enable_backups: true,
        backup_download_strategy: BackupDownloadStrategy::AfterDecryptionFailure,
    };
    let builder = Client::builder()
        .homeserver_url(url)
        .sliding_sync_version_builder(VersionBuilder::DiscoverNative)
        .handle_refresh_tokens()
        .with_encryption_settings(settings);
    Ok(builder.build().await?)
}

/// Makes an account and leaves it.
pub async fn register(url: &str, name: &str) -> Result<()> {
    let mut request = register::Request::new();
    request.username = Some(name.to_owned());
    request.password = Some(PASSWORD.to_owned());
    request.auth = Some(AuthData::Dummy(Dummy::new()));
    request.inhibit_login = true;
    client(url).await?.matrix_auth().register(request).await?;
    Ok(())
}

pub struct Device {
    pub client: Client,
    pub service: SyncService,
}

impl Device {
    /// Logs in with a password, and syncs.
    pub async fn log_in(url: &str, user: &str, name: &str) -> Result<Self> {
        let client = client(url).await?;
        client.matrix_auth().login_username(user, PASSWORD).initial_device_display_name(name).await?;
        Self::start(client).await
    }

    /// Syncs with a client that is logged in; returns once the room list is there and the device has its keys on the server.
    pub async fn start(client: Client) -> Result<Self> {
        client.encryption().wait_for_e2ee_initialization_tasks().await;
        let service = SyncService::builder(client.clone()).with_offline_mode().build().await?;
        service.start().await;
        let device = Self { client, service };
        device.is_running().await?;
        let list = device.service.room_list_service().all_rooms().await?;
        let loading = list.loading_state();
        eventually("the room list", || async {
            Ok(matches!(loading.get(), RoomListLoadingState::Loaded { .. }).then_some(()))
        })
        .await?;
        eventually("one-time keys on the server", || async {
            let counts = device.client.send(upload_keys::v3::Request::new()).await?.one_time_key_counts;
            Ok(counts.values().any(|count| *count >= 50_u32.into()).then_some(()))
        })
        .await?;
        Ok(device)
    }

    pub async fn is_running(&self) -> Result<()> {
        let state = self.service.state();
        eventually("the sync", || async {
            match state.get() {
                State::Running => Ok(Some(())),
                State::Error(error) => bail!("the sync ended: {error}"),
                State::Terminated => bail!("the sync was terminated"),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Waits until the device's own state of verification is this.
    pub async fn becomes(&self, wanted: VerificationState) -> Result<()> {
        let state = self.client.encryption().verification_state();
        eventually("a state of verification", || async { Ok((state.get() == wanted).then_some(())) }).await
    }

    /// Waits until the room list has a room in a state.
    pub async fn room(&self, room_id: &RoomId, state: RoomState) -> Result<Room> {
        eventually("a room", || async { Ok(self.client.get_room(room_id).filter(|room| room.state() == state)) }).await
    }

    /// Opens a room as an app does: subscribes to it, and builds its timeline.
    pub async fn open(&self, room_id: &RoomId) -> Result<Timeline> {
        let room = self.room(room_id, RoomState::Joined).await?;
        self.service.room_list_service().subscribe_to_rooms(&[room_id]).await;
        Ok(room.timeline().await?)
    }

    /// Says something, which is sent encrypted; gives the event's id.
    pub async fn say(&self, room_id: &RoomId, text: &str) -> Result<OwnedEventId> {
        let room = self.room(room_id, RoomState::Joined).await?;
        ensure!(room.latest_encryption_state().await?.is_encrypted(), "the room is not encrypted");
        let sent = room.send(RoomMessageEventContent::text_plain(text)).await?;
        Ok(sent.response.event_id)
    }

    /// Waits until a message is in the timeline, once, decrypted.
    pub async fn reads(&self, timeline: &Timeline, event_id: &OwnedEventId, text: &str) -> Result<()> {
        let what = format!("\"{text}\" for {}", self.client.user_id().context("nobody")?);
        let body = eventually(&what, || async {
            let item = timeline.item_by_event_id(event_id).await;
            Ok(item.and_then(|item| Some(item.content().as_message()?.body().to_owned())))
        })
        .await?;
        ensure!(body == text, "{body} is not {text}");
        let items = timeline.items().await;
        let copies =
            items.iter().filter_map(|item| item.as_event()).filter(|item| item.event_id() == Some(event_id)).count();
        ensure!(copies == 1, "{copies} copies of {text}");
        Ok(())
    }

    /// Waits until a message is in the timeline that cannot be decrypted.
    pub async fn cannot_read(&self, timeline: &Timeline, event_id: &OwnedEventId) -> Result<()> {
        eventually("a message that cannot be read", || async {
            let item = timeline.item_by_event_id(event_id).await;
            if item.as_ref().is_some_and(|item| item.content().as_message().is_some()) {
                bail!("it can be read");
            }
            Ok(item.filter(|item| item.content().is_unable_to_decrypt()).map(drop))
        })
        .await
    }
}
