//! Application services: their registration files, whom they may act as, and what of users and aliases is theirs alone.
//! [Registration](https://spec.matrix.org/v1.19/application-service-api/#registration).

mod act_as;
mod namespaces;
mod registration;
mod senders;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::StatusCode;
use http_kit::MatrixError;
use ruma::{RoomAliasId, ServerName, UserId};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

pub(crate) use self::act_as::ServiceUsers;
pub use self::{
    namespaces::{Namespace, Namespaces, Pattern},
    registration::{Registration, RegistrationError},
};

/// The type of log-ins and registrations by application services.
pub(crate) const SERVICE_LOGIN: &str = "m.login.application_service";

/// 400 `M_APPSERVICE_LOGIN_UNSUPPORTED`: nobody can log in here but through OAuth.
pub(crate) fn no_service_login() -> MatrixError {
    let why = "Nobody logs in through this endpoint here: act as the user, and register with inhibit_login";
    MatrixError::new(StatusCode::BAD_REQUEST, "M_APPSERVICE_LOGIN_UNSUPPORTED", why)
}

/// The largest registration file, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Application services, at most.
const MAX_SERVICES: usize = 200;

/// The section `[appservices]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppservicesConfig {
    /// A folder: each file in it whose name ends with `.yaml` or `.yml` is a registration.
    pub folder: Option<PathBuf>,
    /// Registration files.
    pub files: Vec<PathBuf>,
}

/// The application services of this server, in the order of their files.
#[derive(Debug, Default)]
pub struct Appservices {
    services: Vec<Arc<Registration>>,
    by_token: HashMap<[u8; 32], usize>,
    /// Told when a service makes a request, in the order of `services`.
    heard: Vec<Notify>,
}

impl Appservices {
    /// Reads the registration files that the configuration names.
    ///
    /// # Errors
    /// Which file cannot be read or used, which field of it, and why.
    pub fn load(config: &AppservicesConfig, server_name: &ServerName) -> Result<Self, RegistrationError> {
        let mut files = config.files.clone();
        if let Some(folder) = &config.folder {
            files.extend(files_in(folder)?);
        }
        if files.len() > MAX_SERVICES {
            return Err(RegistrationError::TooMany(MAX_SERVICES));
        }
        let mut services = Vec::with_capacity(files.len());
        for file in files {
            let failed = |error| RegistrationError::Io(file.clone(), error);
            let size = std::fs::metadata(&file).map_err(failed)?.len();
            if size > MAX_FILE {
                return Err(RegistrationError::Yaml(file, format!("it is larger than {MAX_FILE} bytes")));
            }
            let text = std::fs::read_to_string(&file).map_err(failed)?;
            services.push((Registration::parse(&file, &text, server_name)?, file));
        }
        Self::of(services)
    }

    /// These services.
    ///
    /// # Errors
    /// Where two of them have something in common that tells services apart.
    pub fn of(services: Vec<(Registration, PathBuf)>) -> Result<Self, RegistrationError> {
        for (index, (one, file)) in services.iter().enumerate() {
            for (other, earlier) in services.iter().take(index) {
                if let Some(field) = one.clashes(other) {
                    return Err(RegistrationError::Shared { field, file: file.clone(), other: earlier.clone() });
                }
            }
        }
        let services: Vec<_> = services.into_iter().map(|(service, _)| Arc::new(service)).collect();
        let by_token =
            services.iter().enumerate().map(|(index, service)| (digest(service.as_token.reveal()), index)).collect();
        let heard = services.iter().map(|_| Notify::new()).collect();
        Ok(Self { services, by_token, heard })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Registration>] {
        &self.services
    }

    /// The service with an id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Registration>> {
        self.services.iter().find(|service| &*service.id == id)
    }

    /// The service that a token belongs to. Found by the token's hash, so that how long it takes tells nothing of tokens.
    pub(crate) fn by_token(&self, token: &str) -> Option<(usize, &Arc<Registration>)> {
        if self.services.is_empty() {
            return None;
        }
        let index = *self.by_token.get(&digest(token))?;
        self.services.get(index).map(|service| (index, service))
    }

    /// Returns when a service makes its next request: it is there.
    pub async fn heard(&self, index: usize) {
        match self.heard.get(index) {
            Some(heard) => heard.notified().await,
            None => std::future::pending().await,
        }
    }

    /// A service made a request.
    pub(crate) fn heard_from(&self, index: usize) {
        if let Some(heard) = self.heard.get(index) {
            heard.notify_waiters();
        }
    }

    /// The service that has a user id for itself, other than the one with the id `asking`.
    pub fn owner_of_user(&self, user_id: &UserId, asking: Option<&str>) -> Option<&Arc<Registration>> {
        self.services.iter().find(|service| is_other(service, asking) && service.owns_user(user_id))
    }

    /// The service that has an alias for itself, other than the one with the id `asking`.
    pub fn owner_of_alias(&self, alias: &RoomAliasId, asking: Option<&str>) -> Option<&Arc<Registration>> {
        let owns = |service: &Registration| service.namespaces.aliases.owns(alias.as_str());
        self.services.iter().find(|service| is_other(service, asking) && owns(service))
    }
}

fn is_other(service: &Registration, asking: Option<&str>) -> bool {
    Some(&*service.id) != asking
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The registrations in a folder, in the order of their names.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, RegistrationError> {
    let failed = |error| RegistrationError::Io(folder.to_owned(), error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_yaml = path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
        if is_yaml && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
