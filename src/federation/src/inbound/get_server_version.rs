//! `GET /_matrix/federation/v1/version`
//! ([spec](https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version)).

use std::convert::Infallible;

use ruma::api::federation::discovery::get_server_version::v1::{Request, Response, Server};

use crate::inbound::Open;

pub(super) async fn handler(_request: Open<Request>) -> Result<Response, Infallible> {
    let mut server = Server::new();
    server.name = Some("CliquePay".to_owned());
    server.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    let mut response = Response::new();
    response.server = Some(server);
    Ok(response)
}
