//! What happened, line by line.

use std::{
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    /// For whoever compares two runs only.
    detail: bool,
}

/// What happened, for whoever reads about a failing seed or compares two runs of one.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    lines: Arc<Mutex<Vec<Line>>>,
    start: Instant,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { lines: Arc::default(), start: Instant::now() }
    }

    /// Something that happens now.
    pub(crate) fn add(&self, what: impl Display) {
        self.push(what, false);
    }

    /// The same, where there is much of it.
    pub(crate) fn detail(&self, what: impl Display) {
        self.push(what, true);
    }

    fn push(&self, what: impl Display, detail: bool) {
        let text = format!("{:>9.3} {what}", self.start.elapsed().as_secs_f64());
        self.lines.lock().push(Line { text, detail });
    }

    /// All of it; the details where `SIMULATION_DETAILS` is set.
    pub(crate) fn text(&self) -> String {
        let details = std::env::var_os("SIMULATION_DETAILS").is_some();
        let lines = self.lines.lock();
        let shown: Vec<&str> = lines.iter().filter(|line| details || !line.detail).map(|line| &*line.text).collect();
        shown.join("\n")
    }

    /// Where another run went another way.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        const BEFORE: usize = 10;
        let (ours, theirs) = (self.lines.lock(), other.lines.lock());
        let at = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at))?;
        let before: Vec<&str> = ours[at.saturating_sub(BEFORE)..at].iter().map(|line| &*line.text).collect();
        Some(format!(
            "line {at}, behind\n{}\none: {:?}\nother: {:?}",
            before.join("\n"),
            ours.get(at).map(|line| &line.text),
            theirs.get(at).map(|line| &line.text)
        ))
    }
}

/// A number for some bytes, the same in every run.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
