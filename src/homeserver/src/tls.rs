//! HTTPS with a certificate from files, which may be renewed while the server runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::{config::TlsConfig, error::StartError, serve::stopped};

/// How often the files are looked at. Whoever renews a certificate does so weeks before it ends.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The certificate that connections are answered with.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    fn read(settings: &TlsConfig, provider: &Arc<CryptoProvider>) -> Result<Self, StartError> {
        let (certificate, key) = (settings.certificate.clone(), settings.key.clone());
        let current = RwLock::new(Arc::new(load(&certificate, &key, provider)?));
        Ok(Self { certificate, key, provider: Arc::clone(provider), current })
    }

    /// Looks at the files; says whether there is a new certificate in them. Where it cannot be used, as when they are just being
    /// written, the old one stays.
    fn renew(&self) -> Result<bool, StartError> {
        let new = load(&self.certificate, &self.key, &self.provider)?;
        let is_new = new.cert != self.current.read().cert;
        if is_new {
            *self.current.write() = Arc::new(new);
        }
        Ok(is_new)
    }

    /// Looks at the files now and then, until told to stop.
    pub async fn follow(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let certificate = Arc::clone(&self);
                    match tokio::task::spawn_blocking(move || certificate.renew()).await {
                        Ok(Ok(true)) => info!("there is a new certificate: connections that begin now are answered with it"),
                        Ok(Ok(false)) | Err(_) => {}
                        Ok(Err(error)) => warn!(%error, "the certificate's files cannot be used: the one from before stays"),
                    }
                }
                () = stopped(&mut stopping) => return,
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

fn load(
    certificate: &std::path::Path,
    key: &std::path::Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Tls(error.to_string());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(&error))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| refused(&error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| refused(&error))
}

/// What turns connections into TLS ones, and the certificate that it does so with.
pub fn acceptor(settings: &TlsConfig) -> Result<(TlsAcceptor, Arc<Certificate>), StartError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = Arc::new(Certificate::read(settings, &provider)?);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StartError::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::<Certificate>::clone(&certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), certificate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn write(settings: &TlsConfig) -> Vec<u8> {
        let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).unwrap();
        std::fs::write(&settings.certificate, made.cert.pem()).unwrap();
        std::fs::write(&settings.key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().to_vec()
    }

    #[test]
    fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TlsConfig {
            listen: Vec::new(),
            certificate: folder.path().join("certificate.pem"),
            key: folder.path().join("key.pem"),
        };
        assert!(acceptor(&settings).is_err());
        let first = write(&settings);
        let (_, certificate) = acceptor(&settings).unwrap();
        let current = || certificate.current.read().cert.first().unwrap().to_vec();
        assert!(!certificate.renew().unwrap());
        assert_eq!(current(), first);
        // Half of it is there: certificate and key do not fit.
        let key = std::fs::read(&settings.key).unwrap();
        let second = write(&settings);
        let new_key = std::fs::read(&settings.key).unwrap();
        std::fs::write(&settings.key, key).unwrap();
        assert!(certificate.renew().is_err());
        assert_eq!(current(), first);
        std::fs::write(&settings.key, new_key).unwrap();
        assert!(certificate.renew().unwrap());
        assert_eq!(current(), second);
    }
}
