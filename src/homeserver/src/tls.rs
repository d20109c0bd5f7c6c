//! HTTPS with a certificate from files.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use crate::{config::TlsConfig, error::StartError};

/// What turns connections into TLS ones.
pub fn acceptor(settings: &TlsConfig) -> Result<TlsAcceptor, StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Tls(error.to_string());
    let chain = CertificateDer::pem_file_iter(&settings.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(&error))?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| refused(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| refused(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
