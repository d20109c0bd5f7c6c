//! What somebody looks for.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use engine::{RoomNum, UserNum};
use tantivy::{
    Searcher, TantivyError, Term,
    query::{Bm25StatisticsProvider, BooleanQuery, ConstScoreQuery, Occur, TermQuery},
    schema::{Field, IndexRecordOption},
};

use crate::{
    collect::{Choice, Collected, Order, Place, Stay},
    fields::{Fields, Key},
    words,
};

/// Words of a search, at most; more are not looked at.
const MAX_WORDS: usize = 32;
/// Rooms that are looked for in the index as words are; more are told apart among all that matches.
const FEW_ROOMS: usize = 16;

/// A search for events with all words of a text.
#[derive(Debug, Clone)]
pub struct Query {
    /// The text.
    pub text: String,
    /// Where the words may be.
    pub keys: Vec<Key>,
    /// The rooms to look in.
    pub rooms: Arc<HashMap<RoomNum, Stay>>,
    /// Whose events; of everybody where there is none.
    pub senders: Option<Arc<HashSet<UserNum>>>,
    /// Which come first.
    pub order: Order,
    /// Only what comes behind this place.
    pub after: Option<Place>,
    /// Events, at most.
    pub limit: usize,
}

/// The words of a search, each once.
pub(crate) fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in words::of_query(text) {
        if words.len() < MAX_WORDS && !words.contains(&word.text) {
            words.push(word.text);
        }
    }
    words
}

/// How often a word is used on this server would tell what is said in rooms that the one who asks is not in. So each word counts as much as any
/// other: what decides is how often an event has them, and how much else.
struct Alike;

impl Bm25StatisticsProvider for Alike {
    fn total_num_tokens(&self, _: Field) -> Result<u64, TantivyError> {
        Ok(10_000_000)
    }

    fn total_num_docs(&self) -> Result<u64, TantivyError> {
        Ok(1_000_000)
    }

    fn doc_freq(&self, _: &Term) -> Result<u64, TantivyError> {
        Ok(1000)
    }
}

pub(crate) fn run(searcher: &Searcher, fields: &Fields, query: Query) -> Result<Collected, TantivyError> {
    let words = words_of(&query.text);
    if words.is_empty() || query.rooms.is_empty() || query.keys.is_empty() {
        return Ok(Collected::default());
    }
    let mut clauses: Vec<(Occur, Box<dyn tantivy::query::Query>)> = Vec::with_capacity(words.len() + 1);
    for word in &words {
        let term = |key: &Key| Term::from_field_text(fields.of(*key), word);
        clauses.push((Occur::Must, any_of(query.keys.iter().map(term), IndexRecordOption::WithFreqs)));
    }
    if query.rooms.len() <= FEW_ROOMS {
        let rooms = query.rooms.keys().map(|room| Term::from_field_u64(fields.room, *room));
        // It only narrows, and says nothing of how well an event fits.
        let narrowed = ConstScoreQuery::new(any_of(rooms, IndexRecordOption::Basic), 0.0);
        clauses.push((Occur::Must, Box::new(narrowed)));
    }
    let choice = Choice {
        rooms: query.rooms,
        senders: query.senders,
        order: query.order,
        after: query.after,
        limit: query.limit,
    };
    searcher.search_with_statistics_provider(&BooleanQuery::new(clauses), &choice, &Alike)
}

fn any_of(terms: impl Iterator<Item = Term>, option: IndexRecordOption) -> Box<dyn tantivy::query::Query> {
    Box::new(BooleanQuery::union(terms.map(|term| Box::new(TermQuery::new(term, option)) as _).collect()))
}
