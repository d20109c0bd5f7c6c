use std::net::SocketAddr;

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be read.
    #[error("the configuration cannot be used: {0}")]
    Config(Box<figment::Error>),
    /// A setting has a value that cannot be used.
    #[error("the setting `{0}` cannot be used: {1}")]
    Setting(&'static str, String),
    /// A socket cannot be opened.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// A file or the runtime.
    #[error(transparent)]
    Io(std::io::Error),
    /// The data folder cannot be opened.
    #[error("the data folder cannot be opened: {0}")]
    Open(#[from] store_rocksdb::OpenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Writing failed.
    #[error(transparent)]
    Commit(#[from] store::CommitError),
    /// The settings of the ways to log in do not work.
    #[error(transparent)]
    Auth(#[from] auth::AuthConfigError),
    /// The registration of an application service cannot be used.
    #[error("an application service cannot be set up: {0}")]
    Appservices(#[from] auth::appservices::RegistrationError),
    /// What application services are to be told could not be read.
    #[error(transparent)]
    Delivery(#[from] appservices::DeliveryError),
    /// What local users have could not be read or written.
    #[error(transparent)]
    Users(#[from] users::UsersError),
    /// The rooms could not be read.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// The signing key cannot be used.
    #[error("the signing key in {0} cannot be used: {1}")]
    Key(String, String),
    /// The network of federation cannot be set up.
    #[error(transparent)]
    Net(#[from] federation::NetError),
    /// Content cannot be kept where it should be.
    #[error("the content repository cannot be opened: {0}")]
    Media(#[from] media::MediaError),
    /// The search index can neither be opened nor made.
    #[error(transparent)]
    Search(#[from] search::SearchError),
    /// The certificate or its key cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Tls(String),
    /// Providers that people log in through cannot be reached at all.
    #[error("the client for auth.oidc cannot be set up: {0}")]
    Upstream(String),
}
