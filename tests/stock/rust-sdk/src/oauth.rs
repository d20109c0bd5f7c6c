//! The OAuth 2.0 API: the SDK registers the app, somebody lets it in in a browser, and it syncs, refreshes and logs out.

use std::io::{BufRead as _, stdin};

use anyhow::{Context as _, Result, ensure};
use matrix_sdk::{
    SessionTokens,
    authentication::oauth::registration::{ApplicationType, ClientMetadata, Localized, OAuthGrantType},
    encryption::VerificationState,
    ruma::serde::Raw,
    utils::UrlOrQuery,
};
use url::Url;

use crate::{
    device::{Device, client},
    held,
};

/// Where the app is answered.
const BACK: &str = "http://127.0.0.1/callback";

fn metadata() -> Result<Raw<ClientMetadata>> {
    let grants = vec![OAuthGrantType::AuthorizationCode { redirect_uris: vec![Url::parse(BACK)?] }];
    let home = Localized::new(Url::parse("https://messenger.example.org/")?, []);
    let mut metadata = ClientMetadata::new(ApplicationType::Native, grants, home);
    metadata.client_name = Some(Localized::new("Test messenger".to_owned(), []));
    Ok(Raw::new(&metadata)?)
}

/// Somebody logs in, in a browser that whoever started this program drives.
async fn log_in(url: &str) -> Result<Device> {
    let client = client(url).await?;
    let asked = client.oauth().login(Url::parse(BACK)?, None, Some(metadata()?.into()), None).build().await?;
    println!("open {}", asked.url);
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    client.oauth().finish_login(UrlOrQuery::Url(Url::parse(line.trim())?)).await?;
    Device::start(client).await
}

/// Logs out. The SDK revokes tokens over HTTPS only, and this server has none: whoever started this program does it.
async fn revoke(device: &Device, tokens: &SessionTokens) -> Result<()> {
    let metadata = device.client.oauth().server_metadata().await?;
    let endpoint = metadata.revocation_endpoint;
    let client_id = device.client.oauth().client_id().context("no client")?.as_str().to_owned();
    println!("revoke {endpoint} {client_id} {}", tokens.refresh_token.as_deref().context("no refresh token")?);
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    ensure!(line.trim() == "200", "{line}");
    Ok(())
}

pub async fn play(url: &str) -> Result<()> {
    let phone = log_in(url).await?;
    let who = phone.client.whoami().await?;
    ensure!(who.device_id.as_deref() == phone.client.device_id(), "another device");
    held("log_in");
    phone.becomes(VerificationState::Verified).await?;
    held("make_an_identity");
    let before = phone.client.session_tokens().context("no tokens")?;
    phone.client.oauth().refresh_access_token().await?;
    let after = phone.client.session_tokens().context("no tokens")?;
    ensure!(before.access_token != after.access_token && before.refresh_token != after.refresh_token, "nothing is new");
    phone.client.whoami().await?;
    phone.is_running().await?;
    held("refresh");
    phone.service.stop().await;
    revoke(&phone, &after).await?;
    ensure!(phone.client.whoami().await.is_err(), "it is still logged in");
    held("log_out");
    Ok(())
}
