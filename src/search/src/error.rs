use store::StoreError;

/// Why there is no index, or nothing was looked for in it.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The index cannot be read or written.
    #[error("the search index: {0}")]
    Index(#[from] tantivy::TantivyError),
    /// The folder of the index.
    #[error("the folder of the search index: {0}")]
    Io(#[from] std::io::Error),
    /// Events cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rooms cannot be read.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// Somewhere else something broke.
    #[error("the search was broken off")]
    BrokenOff,
}
