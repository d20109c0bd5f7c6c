//! The endpoints, one a file. Those at the deprecated paths are in `legacy`.

mod admin;
mod create;
mod download;
mod get_config;
mod legacy;
mod own;
mod preview_url;
mod thumbnail;
mod upload;
mod upload_to;

use axum::{Router, handler::Handler, routing::on};
use http_kit::{RumaRouter as _, method_filter, with_cors};
use ruma::api::{Metadata, client::media as ruma_media, path_builder::PathBuilder as _};

use crate::Api;

/// All routes of the content repository.
pub fn router() -> Router<Api> {
    let router = Router::new()
        .ruma(create::handler)
        .ruma(get_config::handler)
        .ruma(download::handler)
        .ruma(download::named)
        .ruma(thumbnail::handler)
        .ruma(preview_url::handler)
        .ruma(preview_url::legacy)
        .ruma(legacy::config)
        .ruma(legacy::download)
        .ruma(legacy::named)
        .ruma(legacy::thumbnail);
    let router = router.merge(admin::router());
    let router = streamed::<ruma_media::create_content::v3::Request, _, _>(router, upload::handler);
    streamed::<ruma_media::create_content_async::v3::Request, _, _>(router, upload_to::handler)
}

/// Adds a handler that reads its body itself under all paths of a request type, which would hold the body whole.
fn streamed<E, H, M>(router: Router<Api>, handler: H) -> Router<Api>
where
    E: Metadata,
    H: Handler<M, Api>,
    M: 'static,
{
    E::PATH_BUILDER
        .all_paths()
        .fold(router, |router, path| router.route(path, with_cors(on(method_filter(&E::METHOD), handler.clone()))))
}
