//! `GET /_matrix/client/v3/admin/whois/{userId}`: for administrators, and for users about themselves.

use axum::extract::State;
use http_kit::{MatrixError, Ruma};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::admin::get_user_info::v3::{ConnectionInfo, DeviceInfo, Request, Response, SessionInfo},
};

use super::only_admins;
use crate::{ApiError, App};

pub(super) async fn handler(State(app): State<App>, request: Ruma<Request>) -> Result<Response, ApiError> {
    let Ruma { body, requester, .. } = request;
    if requester.user_id != body.user_id {
        only_admins(&requester)?;
    }
    let local = app.engine.is_local(&body.user_id);
    let account = if local { app.users.accounts.find(body.user_id.localpart()).await? } else { None };
    let account = account.ok_or_else(|| MatrixError::not_found("There is no such user on this server"))?;
    let mut response = Response::new();
    for device in app.users.devices.list(account.num).await? {
        let mut connection = ConnectionInfo::new();
        connection.ip = device.last_seen_ip.map(|ip| ip.to_string());
        connection.last_seen =
            device.last_seen_ts.and_then(|ts| UInt::try_from(ts).ok()).map(MilliSecondsSinceUnixEpoch);
        let (mut session, mut info) = (SessionInfo::new(), DeviceInfo::new());
        if connection.last_seen.is_some() {
            session.connections.push(connection);
        }
        info.sessions.push(session);
        response.devices.insert(device.device_id.to_string(), info);
    }
    response.user_id = Some(body.user_id);
    Ok(response)
}
