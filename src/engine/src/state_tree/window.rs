//! Windows: the runs of old nodes of one level that a change touches, grown until the boundaries at both edges are
//! certain to stay.
//!
//! Three facts about a level that is cut by ranks carry this. (1) All entries between two neighbouring boundaries rank
//! higher than both. (2) Between two boundaries that stay, the cut depends on the entries there and on the two ranks.
//! (3) A boundary stays if its interval is still too heavy, or reaches another boundary that stays. Where an edge is
//! trusted because of another boundary, that one ranks higher, so trust never goes in a circle.

use std::{collections::HashMap, sync::Arc};

use super::{
    Entry, Key, NodeId, Nodes, Payload, TreeError,
    codec::{Node, decode},
    shape::{Bounds, Shape, rank, sum, weight},
};

/// A change to one level: the entry's new payload, or `None` if it goes.
pub(super) type Edit = (Key, Option<Payload>);

/// The tree before the change, its nodes decoded once.
pub(super) struct OldTree<'n> {
    nodes: &'n dyn Nodes,
    root: NodeId,
    decoded: HashMap<NodeId, Arc<Node>>,
}

/// One node with its place in its level.
pub(super) struct Piece {
    id: NodeId,
    node: Arc<Node>,
    /// The last key of the node before; `None` for the first.
    lower: Option<Key>,
    is_last: bool,
}

impl<'n> OldTree<'n> {
    pub(super) fn new(nodes: &'n dyn Nodes, root: NodeId) -> Self {
        Self { nodes, root, decoded: HashMap::new() }
    }

    /// The root's level.
    pub(super) async fn height(&mut self) -> Result<u8, TreeError> {
        Ok(self.load(self.root, None).await?.level)
    }

    async fn load(&mut self, id: NodeId, level: Option<u8>) -> Result<Arc<Node>, TreeError> {
        if let Some(node) = self.decoded.get(&id) {
            return match level {
                Some(level) if level != node.level => Err(TreeError::Corrupt("wrong level")),
                _ => Ok(node.clone()),
            };
        }
        let node = Arc::new(decode(&self.nodes.load(&id).await?, level)?);
        self.decoded.insert(id, node.clone());
        Ok(node)
    }

    /// The node of `level` in which `key` is or would be; with `after`, the node that holds the next greater key.
    /// A key beyond the end belongs to the last node.
    async fn piece(&mut self, level: u8, key: &Key, after: bool) -> Result<Piece, TreeError> {
        let mut id = self.root;
        let mut node = self.load(id, None).await?;
        let (mut lower, mut is_last) = (None, true);
        while node.level > level {
            let wanted = node.entries.partition_point(|child| if after { child.key <= *key } else { child.key < *key });
            let index = wanted.min(node.entries.len().saturating_sub(1));
            is_last &= index + 1 == node.entries.len();
            if let Some(before) = index.checked_sub(1).and_then(|before| node.entries.get(before)) {
                lower = Some(before.key.clone());
            }
            let Some(Entry { key: last, payload: Payload::Child(child) }) = node.entries.get(index) else {
                return Err(TreeError::Corrupt("no child"));
            };
            let below = self.load(*child, Some(node.level - 1)).await?;
            if below.last_key()? != last || below.entries.first().map(|entry| &entry.key) <= lower.as_ref() {
                return Err(TreeError::Corrupt("child out of place"));
            }
            (id, node) = (*child, below);
        }
        Ok(Piece { id, node, lower, is_last })
    }
}

/// A run of old nodes with the edits that fall into it.
pub(super) struct Window {
    /// The boundary before the run.
    lower: Option<Key>,
    /// The boundary that ends the run, its last entry; `None` if the level ends here.
    upper: Option<Key>,
    /// The old nodes' last keys and ids, in order.
    pub(super) pieces: Vec<(Key, NodeId)>,
    old: Vec<Entry>,
    edits: Vec<Edit>,
}

/// Which neighbour a window has to take in.
#[derive(Debug, Clone, Copy)]
enum Side {
    Left,
    Right,
}

impl Window {
    fn new(piece: Piece) -> Result<Self, TreeError> {
        let last = piece.node.last_key()?.clone();
        Ok(Self {
            lower: piece.lower,
            upper: (!piece.is_last).then(|| last.clone()),
            pieces: vec![(last, piece.id)],
            old: piece.node.entries.clone(),
            edits: Vec::new(),
        })
    }

    fn covers(&self, key: &Key) -> bool {
        self.upper.as_ref().is_none_or(|upper| key <= upper)
    }

    fn touches(&self, next: &Self) -> bool {
        self.upper == next.lower
    }

    /// Appends the window that begins where this one ends.
    fn append(&mut self, mut next: Self) {
        self.upper = next.upper;
        self.pieces.append(&mut next.pieces);
        self.old.append(&mut next.old);
        self.edits.append(&mut next.edits);
    }

    /// Whether the set of keys changes, not only what they hold.
    fn is_reshaped(&self) -> bool {
        self.edits.iter().any(|(key, payload)| self.has(key) != payload.is_some())
    }

    fn has(&self, key: &Key) -> bool {
        self.old.binary_search_by(|entry| entry.key.cmp(key)).is_ok()
    }

    /// The entries after the edits, and for each whether it ends a node.
    pub(super) fn cut(&self, shape: Shape, level: u8) -> (Vec<Entry>, Vec<bool>) {
        let entries = self.edited();
        if !self.is_reshaped() {
            let mut lasts = self.pieces.iter().map(|(last, _)| last).peekable();
            let ends = entries.iter().map(|entry| lasts.next_if(|last| **last == entry.key).is_some()).collect();
            return (entries, ends);
        }
        let inner = entries.len().saturating_sub(usize::from(self.upper.is_some()));
        let mut ends = shape.ends(level, entries.get(..inner).unwrap_or_default(), self.bounds(level));
        ends.resize(entries.len(), true);
        (entries, ends)
    }

    fn bounds(&self, level: u8) -> Bounds {
        Bounds {
            left: self.lower.as_ref().map(|key| rank(level, key)),
            right: self.upper.as_ref().map(|key| rank(level, key)),
        }
    }

    fn edited(&self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.old.len() + self.edits.len());
        let mut edits = self.edits.iter().peekable();
        let mut put = |key: &Key, payload: Option<Payload>| {
            entries.extend(payload.map(|payload| Entry { key: key.clone(), payload }));
        };
        for old in &self.old {
            while let Some((key, payload)) = edits.next_if(|(key, _)| *key < old.key) {
                put(key, *payload);
            }
            match edits.next_if(|(key, _)| *key == old.key) {
                Some((key, payload)) => put(key, *payload),
                None => put(&old.key, Some(old.payload)),
            }
        }
        edits.for_each(|(key, payload)| put(key, *payload));
        entries
    }
}

/// The windows of one level for these edits, which are in order of their keys, each key once.
pub(super) async fn windows(
    tree: &mut OldTree<'_>,
    shape: Shape,
    level: u8,
    edits: Vec<Edit>,
) -> Result<Vec<Window>, TreeError> {
    let mut windows: Vec<Window> = Vec::new();
    for edit in edits {
        if !windows.last().is_some_and(|window| window.covers(&edit.0)) {
            let window = Window::new(tree.piece(level, &edit.0, false).await?)?;
            match windows.last_mut() {
                Some(last) if last.touches(&window) => last.append(window),
                _ => windows.push(window),
            }
        }
        if let Some(window) = windows.last_mut() {
            window.edits.push(edit);
        }
    }
    settle(tree, shape, level, windows).await
}

/// Grows every window until its edges stay, joining windows that meet.
async fn settle(
    tree: &mut OldTree<'_>,
    shape: Shape,
    level: u8,
    windows: Vec<Window>,
) -> Result<Vec<Window>, TreeError> {
    let mut todo = windows.into_iter().rev().collect::<Vec<_>>();
    let mut done: Vec<Window> = Vec::new();
    while let Some(mut window) = todo.pop() {
        if let Some(mut before) = done.pop_if(|before| before.touches(&window)) {
            before.append(window);
            window = before;
        }
        while let Some(next) = todo.pop_if(|next| window.touches(next)) {
            window.append(next);
        }
        match unsettled(tree, shape, level, &window).await? {
            None => done.push(window),
            Some(side) => todo.push(grow(tree, level, window, side).await?),
        }
    }
    Ok(done)
}

async fn grow(tree: &mut OldTree<'_>, level: u8, mut window: Window, side: Side) -> Result<Window, TreeError> {
    match (side, &window.lower, &window.upper) {
        (Side::Left, Some(lower), _) => {
            let mut before = Window::new(tree.piece(level, lower, false).await?)?;
            before.append(window);
            Ok(before)
        }
        (Side::Right, _, Some(upper)) => {
            window.append(Window::new(tree.piece(level, upper, true).await?)?);
            Ok(window)
        }
        _ => Err(TreeError::Corrupt("no neighbour")),
    }
}

/// An edge of the window that may not stay a boundary, if there is one.
async fn unsettled(
    tree: &mut OldTree<'_>,
    shape: Shape,
    level: u8,
    window: &Window,
) -> Result<Option<Side>, TreeError> {
    if !window.is_reshaped() {
        return Ok(None);
    }
    let last_edit = window.edits.last();
    if window.upper.is_some() && last_edit.is_some_and(|(key, to)| to.is_none() && Some(key) == window.upper.as_ref()) {
        return Ok(Some(Side::Right));
    }
    if !shape.is_hashed(level) {
        let right = window.upper.as_ref().map(|_| Side::Right);
        return Ok(window.lower.as_ref().map(|_| Side::Left).or(right));
    }
    let bounds = window.bounds(level);
    if only_high_inserts(window, level, bounds) {
        return Ok(None);
    }
    let mut entries = window.edited();
    if window.upper.is_some() {
        entries.pop();
    }
    let ranked: Vec<(u64, u32)> = entries.iter().map(|entry| (rank(level, &entry.key), weight(entry))).collect();
    if !left_stays(tree, shape, level, window, bounds, &ranked).await? {
        return Ok(Some(Side::Left));
    }
    Ok((!right_stays(tree, shape, level, window, bounds, &ranked).await?).then_some(Side::Right))
}

/// New entries that rank higher than both edges only add to the edges' intervals.
fn only_high_inserts(window: &Window, level: u8, bounds: Bounds) -> bool {
    let edge = bounds.left.max(bounds.right);
    window
        .edits
        .iter()
        .all(|(key, payload)| payload.is_some() && (window.has(key) || edge.is_none_or(|edge| rank(level, key) > edge)))
}

/// The weight of the entries from one edge inwards that belong to the edge's interval, and whether that is all.
fn run<'a>(ranked: impl Iterator<Item = &'a (u64, u32)>, inside: impl Fn(u64) -> bool, all: usize) -> (u64, bool) {
    let weights: Vec<u32> = ranked.take_while(|(rank, _)| inside(*rank)).map(|(_, weight)| *weight).collect();
    (sum(&weights), weights.len() == all)
}

async fn left_stays(
    tree: &mut OldTree<'_>,
    shape: Shape,
    level: u8,
    window: &Window,
    bounds: Bounds,
    ranked: &[(u64, u32)],
) -> Result<bool, TreeError> {
    let (Some(edge), Some(key)) = (bounds.left, &window.lower) else {
        return Ok(true);
    };
    let (mut total, whole) = run(ranked.iter(), |rank| rank >= edge, ranked.len());
    if whole && bounds.right.is_some_and(|right| right >= edge) || shape.is_over(total) {
        return Ok(true);
    }
    let before = tree.piece(level, key, false).await?;
    if before.lower.as_ref().is_some_and(|lower| rank(level, lower) > edge) {
        return Ok(true);
    }
    total += before.node.entries.iter().map(|entry| u64::from(weight(entry))).sum::<u64>();
    Ok(shape.is_over(total))
}

async fn right_stays(
    tree: &mut OldTree<'_>,
    shape: Shape,
    level: u8,
    window: &Window,
    bounds: Bounds,
    ranked: &[(u64, u32)],
) -> Result<bool, TreeError> {
    let (Some(edge), Some(key)) = (bounds.right, &window.upper) else {
        return Ok(true);
    };
    let (mut total, whole) = run(ranked.iter().rev(), |rank| rank > edge, ranked.len());
    if whole && bounds.left.is_some_and(|left| left > edge) || shape.is_over(total) {
        return Ok(true);
    }
    total += window.old.last().map_or(0, |entry| u64::from(weight(entry)));
    let after = tree.piece(level, key, true).await?;
    let Some((last, inner)) = after.node.entries.split_last() else {
        return Ok(false);
    };
    total += inner.iter().map(|entry| u64::from(weight(entry))).sum::<u64>();
    if rank(level, &last.key) >= edge {
        if !after.is_last {
            return Ok(true);
        }
        total += u64::from(weight(last));
    }
    Ok(shape.is_over(total))
}
