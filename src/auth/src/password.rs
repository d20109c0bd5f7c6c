//! Passwords: Argon2id, off the async threads, a bounded number at a time.

use std::{hint::black_box, sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc::PasswordHash,
};
use http_kit::MatrixError;
use tokio::sync::Semaphore;

use crate::config::PasswordConfig;

/// The longest password in bytes: longer ones only cost time.
pub(crate) const MAX_BYTES: usize = 512;

/// Why a password could not be hashed, compared or accepted.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many others are waiting.
    #[error("too many passwords are being checked at the moment")]
    Busy,
    /// Shorter than the configured minimum, in characters.
    #[error("a password needs at least {0} characters")]
    TooShort(usize),
    /// Longer than 512 bytes.
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    /// The hashing itself failed, or a stored hash is damaged.
    #[error("hashing a password failed: {0}")]
    Hash(String),
}

impl From<PasswordError> for MatrixError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::limit_exceeded(Duration::from_secs(1)),
            PasswordError::TooShort(_) | PasswordError::TooLong => {
                Self::weak_password(format!("Choose another password: {error}"))
            }
            error @ PasswordError::Hash(_) => Self::internal(error),
        }
    }
}

/// Hashes and compares passwords.
#[derive(Debug)]
pub(crate) struct Passwords {
    argon2: Argon2<'static>,
    min_length: usize,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    /// How much was hashed.
    #[cfg(test)]
    pub(crate) hashed: std::sync::atomic::AtomicUsize,
}

impl Passwords {
    pub(crate) fn new(config: &PasswordConfig) -> Result<Self, String> {
        let params = Params::new(config.memory_kib, config.iterations, config.parallelism, None)
            .map_err(|error| error.to_string())?;
        let running = config.concurrency.clamp(1, 1024);
        Ok(Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            min_length: config.min_length,
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(running.saturating_add(config.max_waiting).min(Semaphore::MAX_PERMITS))),
            #[cfg(test)]
            hashed: std::sync::atomic::AtomicUsize::new(0),
        })
    }

    /// Whether a new password is acceptable.
    pub(crate) fn check_new(&self, password: &str) -> Result<(), PasswordError> {
        if password.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        if password.chars().count() < self.min_length {
            return Err(PasswordError::TooShort(self.min_length));
        }
        Ok(())
    }

    /// The text that is stored instead of a password.
    pub(crate) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, PasswordError> {
        if password.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        let argon2 = self.argon2.clone();
        self.run(move || {
            argon2
                .hash_password_with_salt(password.as_bytes(), &salt)
                .map(|hash| hash.to_string())
                .map_err(|error| PasswordError::Hash(error.to_string()))
        })
        .await
    }

    /// Whether a password is the one that was hashed. Without a hash (no such user, no password) it takes the same time
    /// and is not.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        if password.len() > MAX_BYTES {
            return Ok(false);
        }
        let argon2 = self.argon2.clone();
        self.run(move || match hash {
            Some(hash) => {
                let hash = PasswordHash::new(&hash).map_err(|error| PasswordError::Hash(error.to_string()))?;
                Ok(argon2.verify_password(password.as_bytes(), &hash).is_ok())
            }
            None => {
                let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
                argon2
                    .hash_password_into(password.as_bytes(), &[0; 16], &mut out)
                    .map_err(|error| PasswordError::Hash(error.to_string()))?;
                black_box(out);
                Ok(false)
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        #[cfg(test)]
        self.hashed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let _admitted = self.admitted.try_acquire().map_err(|_| PasswordError::Busy)?;
        let permit =
            Arc::clone(&self.running).acquire_owned().await.map_err(|error| PasswordError::Hash(error.to_string()))?;
        // The work cannot be stopped once it runs, so it keeps its permit even if nobody waits for it any more.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|error| PasswordError::Hash(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(concurrency: usize, max_waiting: usize) -> Passwords {
        let config =
            PasswordConfig { memory_kib: 64, iterations: 1, concurrency, max_waiting, ..PasswordConfig::default() };
        Passwords::new(&config).unwrap()
    }

    #[tokio::test]
    async fn a_hash_opens_to_its_password_only() {
        let passwords = passwords(1, 10);
        let hash = passwords.hash("übers3kr1t".to_owned(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(passwords.verify("übers3kr1t".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("ubers3kr1t".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("x".repeat(513), Some(hash)).await.unwrap());
        assert!(!passwords.verify(String::new(), None).await.unwrap());
        let damaged = passwords.verify("x".to_owned(), Some("$argon2id$damaged".to_owned())).await;
        assert!(matches!(damaged, Err(PasswordError::Hash(_))));
    }

    #[tokio::test]
    async fn a_hash_with_other_parameters_still_opens() {
        let old = passwords(1, 10).hash("password".to_owned(), [1; 16]).await.unwrap();
        let config = PasswordConfig { memory_kib: 128, iterations: 2, ..PasswordConfig::default() };
        let new = Passwords::new(&config).unwrap();
        assert!(new.verify("password".to_owned(), Some(old)).await.unwrap());
    }

    #[test]
    fn new_passwords_have_bounds() {
        let passwords = passwords(1, 10);
        assert!(matches!(passwords.check_new("seven77"), Err(PasswordError::TooShort(8))));
        assert!(passwords.check_new("ééééßßßß").is_ok());
        assert!(passwords.check_new(&"x".repeat(512)).is_ok());
        assert!(matches!(passwords.check_new(&"x".repeat(513)), Err(PasswordError::TooLong)));
    }

    #[tokio::test]
    async fn no_more_wait_than_configured() {
        let passwords = Arc::new(passwords(1, 1));
        let held = Arc::clone(&passwords.running).acquire_owned().await.unwrap();
        let wait = || {
            let passwords = Arc::clone(&passwords);
            tokio::spawn(async move { passwords.verify("x".to_owned(), None).await })
        };
        let (first, second) = (wait(), wait());
        while passwords.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(passwords.verify("x".to_owned(), None).await, Err(PasswordError::Busy)));
        drop(held);
        assert!(!first.await.unwrap().unwrap());
        assert!(!second.await.unwrap().unwrap());
        assert!(!passwords.verify("x".to_owned(), None).await.unwrap());
    }
}
