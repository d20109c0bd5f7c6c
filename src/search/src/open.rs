//! Opening the index. It is made of what is in the store: whatever is wrong with it, it is begun anew.

use std::{fs, io, path::Path};

use store::Pos;
use tantivy::{
    Index, IndexReader, IndexSettings, ReloadPolicy, TantivyError, directory::MmapDirectory, schema::Schema,
    tokenizer::TextAnalyzer,
};
use tracing::warn;

use crate::{cursor::Cursor, error::SearchError, fields::ANALYSER, words::Words};

/// An index, and how far it is.
pub(crate) struct Opened {
    pub(crate) index: Index,
    pub(crate) reader: IndexReader,
    pub(crate) cursor: Cursor,
}

impl Opened {
    fn new(index: Index, cursor: Cursor) -> Result<Self, SearchError> {
        index.tokenizers().register(ANALYSER, TextAnalyzer::builder(Words::default()).build());
        // What is shown changes when we commit; texts are not stored.
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(1);
        Ok(Self { reader: reader.try_into()?, index, cursor })
    }
}

/// In a folder, or in memory where there is none. An index that knows of more than the store has (`frontier`) is of another time.
pub(crate) fn open(folder: Option<&Path>, schema: &Schema, frontier: Pos) -> Result<Opened, SearchError> {
    let Some(folder) = folder else {
        return Opened::new(Index::create_in_ram(schema.clone()), Cursor::default());
    };
    match existing(folder, schema, frontier) {
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => anew(folder, schema),
        Err(error) => {
            warn!(%error, "the search index cannot be used and is made anew");
            anew(folder, schema)
        }
    }
}

fn existing(folder: &Path, schema: &Schema, frontier: Pos) -> Result<Option<Opened>, SearchError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let directory = MmapDirectory::open(folder).map_err(TantivyError::from)?;
    if !Index::exists(&directory).map_err(TantivyError::from)? {
        return Ok(None);
    }
    let index = Index::open(directory)?;
    if index.schema() != *schema {
        return Ok(None);
    }
    // Without a commit of ours nothing is in it.
    let payload = index.load_metas()?.payload;
    let cursor = Cursor::decode(payload.as_deref().unwrap_or_default());
    cursor.filter(|cursor| cursor.furthest() <= frontier).map(|cursor| Opened::new(index, cursor)).transpose()
}

fn anew(folder: &Path, schema: &Schema) -> Result<Opened, SearchError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(folder)?,
    }
    let directory = MmapDirectory::open(folder).map_err(TantivyError::from)?;
    let index = Index::create(directory, schema.clone(), IndexSettings::default())?;
    Opened::new(index, Cursor::default())
}
