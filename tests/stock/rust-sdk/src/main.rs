//! Matrix as Element X speaks it: matrix-sdk with its `SyncService` on sliding sync, and encryption.
//!
//!     rust-sdk [--oauth] URL
//!
//! Runs against any homeserver with open registration. Prints a line for every step that held, and ends with status 1 at the first
//! that does not. With `--oauth` people log in through the OAuth 2.0 API: the program prints `open URL`, and reads from its standard
//! input where the browser was sent to.

#![recursion_limit = "256"]

mod device;
mod oauth;

use anyhow::{Context as _, Result, ensure};
use device::{Device, eventually, register};
use matrix_sdk::{
    RoomState,
    encryption::{VerificationState, verification::SasState},
    ruma::{
        OwnedEventId, OwnedRoomId,
        api::client::{receipt::create_receipt::v3::ReceiptType, room::create_room::v3 as create_room},
        events::{
            InitialStateEvent,
            receipt::{ReceiptThread, ReceiptType as Kind},
            room::encryption::RoomEncryptionEventContent,
        },
    },
};

struct Scene {
    phone: Device,
    bobs: Device,
    room_id: OwnedRoomId,
    recovery_key: String,
    said: Vec<(OwnedEventId, String)>,
}

fn held(step: &str) {
    println!("ok  {step}");
}

/// Alice and Bob, each with the identity that a first device makes by itself.
async fn sign_up(url: &str) -> Result<(Device, Device)> {
    let mut devices = Vec::new();
    for name in ["alice", "bob"] {
        let name = format!("{name}-{:08x}", rand::random::<u32>());
        register(url, &name).await?;
        let device = Device::log_in(url, &name, "A phone").await?;
        device.becomes(VerificationState::Verified).await?;
        devices.push(device);
    }
    let bobs = devices.pop().context("Bob")?;
    Ok((devices.pop().context("Alice")?, bobs))
}

async fn make_an_encrypted_room(phone: &Device, bobs: &Device) -> Result<OwnedRoomId> {
    let bob = bobs.client.user_id().context("Bob's name")?;
    let mut request = create_room::Request::new();
    request.name = Some("Two for dinner".to_owned());
    request.preset = Some(create_room::RoomPreset::PrivateChat);
    request.invite = vec![bob.to_owned()];
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    request.initial_state = vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
    let room_id = phone.client.create_room(request).await?.room_id().to_owned();
    let invitation = bobs.room(&room_id, RoomState::Invited).await?;
    invitation.join().await?;
    let room = phone.room(&room_id, RoomState::Joined).await?;
    eventually("Bob in the room", || async {
        let member = room.get_member_no_sync(bob).await?;
        Ok(member.filter(|member| member.membership().as_str() == "join"))
    })
    .await?;
    for device in [phone, bobs] {
        let room = device.room(&room_id, RoomState::Joined).await?;
        eventually("the room's name", || async {
            Ok(room.cached_display_name().filter(|name| name.to_string() == "Two for dinner"))
        })
        .await?;
    }
    Ok(room_id)
}

async fn talk(scene: &mut Scene) -> Result<()> {
    let (anns, bobs) = (scene.phone.open(&scene.room_id).await?, scene.bobs.open(&scene.room_id).await?);
    for (sender, text) in [(&scene.phone, "Hungry?"), (&scene.bobs, "Always. Grüße 🍝"), (&scene.phone, "At eight")]
    {
        let event_id = sender.say(&scene.room_id, text).await?;
        scene.phone.reads(&anns, &event_id, text).await?;
        scene.bobs.reads(&bobs, &event_id, text).await?;
        scene.said.push((event_id, text.to_owned()));
    }
    Ok(())
}

/// Receipts and typing come by the extensions of sliding sync.
async fn receipts_and_typing(scene: &Scene) -> Result<()> {
    let (phone, bobs) = (&scene.phone, &scene.bobs);
    let bob = bobs.client.user_id().context("Bob's name")?;
    let (mine, his) =
        (phone.room(&scene.room_id, RoomState::Joined).await?, bobs.room(&scene.room_id, RoomState::Joined).await?);
    let (last, _) = scene.said.last().context("nothing was said")?;
    his.send_single_receipt(ReceiptType::Read, ReceiptThread::Unthreaded, last.clone()).await?;
    eventually("Bob's receipt", || async {
        let receipt = mine.load_user_receipt(Kind::Read, ReceiptThread::Unthreaded, bob).await?;
        Ok(receipt.filter(|(event_id, _)| event_id == last))
    })
    .await?;
    let (_guard, mut typing) = mine.subscribe_to_typing_notifications();
    his.typing_notice(true).await?;
    let who =
        tokio::time::timeout(std::time::Duration::from_secs(60), typing.recv()).await.context("nobody types")??;
    ensure!(who == [bob], "{who:?} type");
    Ok(())
}

async fn back_up(scene: &mut Scene) -> Result<()> {
    let recovery = scene.phone.client.encryption().recovery();
    scene.recovery_key = match scene.phone.client.encryption().backups().are_enabled().await {
        // The first device made one by itself; the key that opens it from elsewhere is new.
        true => recovery.reset_key().await?,
        false => recovery.enable().wait_for_backups_to_upload().await?,
    };
    scene.phone.client.encryption().backups().wait_for_steady_state().await?;
    ensure!(scene.phone.client.encryption().backups().fetch_exists_on_server().await?, "there is no backup");
    Ok(())
}

/// A second device reads nothing of what was said, until its owner types the recovery key in.
async fn restore(url: &str, scene: &Scene) -> Result<Device> {
    let alice = scene.phone.client.user_id().context("Alice's name")?;
    let laptop = Device::log_in(url, alice.as_str(), "A laptop").await?;
    laptop.becomes(VerificationState::Unverified).await?;
    let timeline = laptop.open(&scene.room_id).await?;
    timeline.paginate_backwards(50).await?;
    for (event_id, _) in &scene.said {
        laptop.cannot_read(&timeline, event_id).await?;
    }
    laptop.client.encryption().recovery().recover(&scene.recovery_key).await?;
    laptop.becomes(VerificationState::Verified).await?;
    laptop.client.encryption().backups().download_room_keys_for_room(&scene.room_id).await?;
    for (event_id, text) in &scene.said {
        laptop.reads(&timeline, event_id, text).await?;
    }
    Ok(laptop)
}

/// Another second device, verified by emoji.
async fn verify(url: &str, scene: &Scene) -> Result<()> {
    let alice = scene.phone.client.user_id().context("Alice's name")?;
    let tablet = Device::log_in(url, alice.as_str(), "A tablet").await?;
    let identity = tablet.client.encryption().request_user_identity(alice).await?.context("no identity")?;
    let asking = identity.request_verification().await?;
    let asked = eventually("a request to verify", || async {
        Ok(scene.phone.client.encryption().get_verification_request(alice, asking.flow_id()).await)
    })
    .await?;
    asked.accept().await?;
    eventually("its acceptance", || async { Ok(asking.is_ready().then_some(())) }).await?;
    let mine = asking.start_sas().await?.context("no emoji")?;
    let theirs = eventually("its start", || async {
        let verification = scene.phone.client.encryption().get_verification(alice, asking.flow_id()).await;
        Ok(verification.and_then(|verification| verification.sas()))
    })
    .await?;
    theirs.accept().await?;
    for sas in [&mine, &theirs] {
        eventually("emoji", || async { Ok(matches!(sas.state(), SasState::KeysExchanged { .. }).then_some(())) })
            .await?;
    }
    ensure!(
        mine.emoji().is_some()
            && mine.emoji().map(|all| all.map(|one| one.symbol)) == theirs.emoji().map(|all| all.map(|one| one.symbol)),
        "they differ"
    );
    mine.confirm().await?;
    theirs.confirm().await?;
    tablet.becomes(VerificationState::Verified).await?;
    eventually("the tablet trusted on the phone", || async {
        let id = tablet.client.device_id().context("no device")?;
        let device = scene.phone.client.encryption().get_device(alice, id).await?;
        Ok(device.filter(|device| device.is_verified_with_cross_signing()))
    })
    .await?;
    tablet.service.stop().await;
    tablet.client.matrix_auth().logout().await?;
    Ok(())
}

/// The sync is paused, as when an app is in the background, and goes on; then its connection is thrown away, and begins anew.
async fn resume(scene: &mut Scene, laptop: &Device) -> Result<()> {
    // What was shown in another timeline is not kept for this one.
    let timeline = laptop.open(&scene.room_id).await?;
    timeline.paginate_backwards(50).await?;
    laptop.service.stop().await;
    for text in ["Are you coming?", "The table is ready"] {
        scene.said.push((scene.bobs.say(&scene.room_id, text).await?, text.to_owned()));
    }
    laptop.service.start().await;
    laptop.is_running().await?;
    for (event_id, text) in &scene.said {
        laptop.reads(&timeline, event_id, text).await?;
    }
    laptop.service.expire_sessions().await;
    let event_id = scene.bobs.say(&scene.room_id, "We have ordered").await?;
    laptop.service.start().await;
    laptop.is_running().await?;
    laptop.reads(&timeline, &event_id, "We have ordered").await
}

async fn log_out(scene: &Scene, laptop: Device) -> Result<()> {
    let alice = laptop.client.user_id().context("Alice's name")?.to_owned();
    let id = laptop.client.device_id().context("no device")?.to_owned();
    laptop.service.stop().await;
    laptop.client.matrix_auth().logout().await?;
    eventually("a list without the laptop", || async {
        Ok(scene.bobs.client.encryption().get_device(&alice, &id).await?.is_none().then_some(()))
    })
    .await
}

async fn play(url: &str) -> Result<()> {
    let (phone, bobs) = sign_up(url).await?;
    held("sign_up");
    let room_id = make_an_encrypted_room(&phone, &bobs).await?;
    held("make_an_encrypted_room");
    let mut scene = Scene { phone, bobs, room_id, recovery_key: String::new(), said: Vec::new() };
    talk(&mut scene).await?;
    held("talk");
    receipts_and_typing(&scene).await?;
    held("receipts_and_typing");
    back_up(&mut scene).await?;
    held("back_up");
    let laptop = restore(url, &scene).await?;
    held("restore");
    verify(url, &scene).await?;
    held("verify");
    resume(&mut scene, &laptop).await?;
    held("resume");
    log_out(&scene, laptop).await?;
    held("log_out");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [url] => play(url).await,
        ["--oauth", url] => oauth::play(url).await,
        _ => anyhow::bail!("usage: rust-sdk [--oauth] URL"),
    }
}
