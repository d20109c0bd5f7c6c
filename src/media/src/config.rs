use std::{fmt, path::PathBuf, time::Duration};

use http_kit::LimitConfig;
use serde::Deserialize;

/// What an operator may decide about files.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// The folder that content is kept in; none: `media` in the data folder. Without a meaning where `s3` is set.
    pub dir: Option<PathBuf>,
    /// Keeps content in a bucket and not on the local disk.
    pub s3: Option<S3Config>,
    /// The largest upload, in MiB.
    pub max_upload_mib: u64,
    /// What all files of a user may take, in MiB; 0: as much as there is.
    pub user_quota_mib: u64,
    /// The URL of a page about that bound, which clients show to whoever meets it.
    pub user_quota_page: Option<String>,
    /// The largest file of another server that is fetched, in MiB.
    pub max_remote_mib: u64,
    /// Room for files of other servers, in MiB; those that nobody looked at for longest go first.
    pub remote_cache_mib: u64,
    /// Ids that a user may have reserved without having uploaded to them.
    pub max_pending_uploads: usize,
    /// How long a reserved id waits for its upload, in hours.
    pub pending_hours: u64,
    /// Pictures with more pixels than this, in millions, get no thumbnails.
    pub max_thumbnail_megapixels: u64,
    /// Thumbnails that are made at a time.
    pub thumbnails_at_once: usize,
    /// Whether what is uploaded from now on can be had without logging in, at the deprecated paths.
    pub unauthenticated_downloads: bool,
    /// What links lead to.
    pub url_previews: PreviewConfig,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            dir: None,
            s3: None,
            max_upload_mib: 50,
            user_quota_mib: 0,
            user_quota_page: None,
            max_remote_mib: 50,
            remote_cache_mib: 4096,
            max_pending_uploads: 5,
            pending_hours: 24,
            max_thumbnail_megapixels: 32,
            thumbnails_at_once: 2,
            unauthenticated_downloads: false,
            url_previews: PreviewConfig::default(),
        }
    }
}

impl MediaConfig {
    /// The largest upload, in bytes.
    pub fn max_upload(&self) -> u64 {
        self.max_upload_mib.saturating_mul(1 << 20)
    }

    /// What all files of a user may take, in bytes, where that is bounded.
    pub(crate) fn quota(&self) -> Option<u64> {
        (self.user_quota_mib > 0).then(|| self.user_quota_mib.saturating_mul(1 << 20))
    }

    pub(crate) fn max_remote(&self) -> u64 {
        self.max_remote_mib.saturating_mul(1 << 20)
    }

    pub(crate) fn remote_cache(&self) -> u64 {
        self.remote_cache_mib.saturating_mul(1 << 20)
    }

    pub(crate) fn max_pixels(&self) -> u64 {
        self.max_thumbnail_megapixels.saturating_mul(1_000_000)
    }

    pub(crate) fn pending(&self) -> Duration {
        Duration::from_secs(self.pending_hours.saturating_mul(3600))
    }
}

/// What an operator may decide about previews of links.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreviewConfig {
    /// Whether there are any.
    pub enabled: bool,
    /// Whether links may lead to private and loopback addresses. On only in closed networks and tests.
    pub allow_private_addresses: bool,
    /// Ports that links may name; none: all.
    pub ports: Vec<u16>,
    /// Hosts that are not asked; `*.example.org` for those below one.
    pub deny: Vec<String>,
    /// The largest picture, in MiB.
    pub max_picture_mib: u64,
    /// How long a preview is shown before it is made anew, in hours.
    pub fresh_hours: u64,
    /// Previews that a user may have made.
    pub rate: LimitConfig,
}

impl Default for PreviewConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            allow_private_addresses: false,
            ports: vec![80, 443, 8080, 8443],
            deny: Vec::new(),
            max_picture_mib: 5,
            fresh_hours: 24,
            rate: LimitConfig::new(1.0, 30),
        }
    }
}

/// A bucket of Amazon S3 or of a service that speaks as it does.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// Its region.
    pub region: Option<String>,
    /// The service's address, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// What stands before the names of all objects.
    pub prefix: Option<String>,
    /// The key; none: the environment's, or the machine's role.
    pub access_key_id: Option<String>,
    /// The key's secret.
    pub secret_access_key: Option<String>,
    /// Whether the endpoint may be plain HTTP.
    #[serde(default)]
    pub allow_http: bool,
}

impl fmt::Debug for S3Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
