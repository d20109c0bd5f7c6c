//! Making trees: from scratch, and from another tree by a few changes.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

use super::{
    Entry, Key, MAX_KEY_PART_BYTES, NodeId, Nodes, Payload, TreeError,
    codec::{MAX_LEVEL, decode, encode},
    shape::{Bounds, Shape},
    window::{Edit, OldTree, Window, windows},
};

/// A new snapshot: its root, and the nodes to write before the root is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The new root; [`NodeId::EMPTY`] if no entry is left.
    pub root: NodeId,
    /// The nodes that the change made, each with its id. Some may be stored already; writing them again does no harm.
    pub new_nodes: Vec<(NodeId, Bytes)>,
}

/// The tree with these entries, from scratch. Of entries with equal keys the last one counts.
///
/// # Errors
/// [`TreeError::KeyTooLong`].
pub fn build(entries: impl IntoIterator<Item = (Key, u32)>) -> Result<Applied, TreeError> {
    build_shaped(Shape::STANDARD, entries)
}

pub(super) fn build_shaped(shape: Shape, entries: impl IntoIterator<Item = (Key, u32)>) -> Result<Applied, TreeError> {
    let entries: BTreeMap<Key, u32> = entries.into_iter().collect();
    entries.keys().try_for_each(check_key)?;
    let entries = entries.into_iter().map(|(key, value)| Entry { key, payload: Payload::Value(value) }).collect();
    let mut new_nodes = HashMap::new();
    let root = stack(shape, 0, entries, &mut new_nodes)?;
    Ok(Applied { root, new_nodes: new_nodes.into_iter().collect() })
}

/// The tree that comes from `root` by setting each key to its number, or removing it where that is `None`. Of changes
/// with equal keys the last one counts; removing what is not there changes nothing.
///
/// Reads and writes a few nodes per change and level. The result equals [`build`] of the new entries.
///
/// # Errors
/// [`TreeError::KeyTooLong`], [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn apply(nodes: &dyn Nodes, root: NodeId, changes: &[(Key, Option<u32>)]) -> Result<Applied, TreeError> {
    apply_shaped(Shape::STANDARD, nodes, root, changes).await
}

pub(super) async fn apply_shaped(
    shape: Shape,
    nodes: &dyn Nodes,
    root: NodeId,
    changes: &[(Key, Option<u32>)],
) -> Result<Applied, TreeError> {
    changes.iter().try_for_each(|(key, _)| check_key(key))?;
    if root == NodeId::EMPTY {
        let last: BTreeMap<&Key, Option<u32>> = changes.iter().map(|(key, value)| (key, *value)).collect();
        return build_shaped(shape, last.into_iter().filter_map(|(key, value)| Some((key.clone(), value?))));
    }
    let edits: BTreeMap<Key, Option<Payload>> =
        changes.iter().map(|(key, value)| (key.clone(), value.map(Payload::Value))).collect();
    let mut edits: Vec<Edit> = edits.into_iter().collect();
    let mut tree = OldTree::new(nodes, root);
    let mut new_nodes = HashMap::new();
    let height = tree.height().await?;
    for level in 0..=height {
        if edits.is_empty() {
            break;
        }
        let windows = windows(&mut tree, shape, level, edits).await?;
        if level == height {
            let top = windows.iter().flat_map(|window| write(shape, level, window, &mut new_nodes)).collect();
            let root = finish(shape, nodes, level, top, &mut new_nodes).await?;
            return Ok(Applied { root, new_nodes: new_nodes.into_iter().collect() });
        }
        edits =
            windows.iter().flat_map(|window| replaced(window, write(shape, level, window, &mut new_nodes))).collect();
    }
    Ok(Applied { root, new_nodes: Vec::new() })
}

fn check_key(key: &Key) -> Result<(), TreeError> {
    let longest = key.ty.len().max(key.state_key.len());
    if longest > MAX_KEY_PART_BYTES { Err(TreeError::KeyTooLong(longest)) } else { Ok(()) }
}

/// Encodes the nodes of a window, keeps the bytes of those that are new, and returns the entries that stand for them.
fn write(shape: Shape, level: u8, window: &Window, new_nodes: &mut HashMap<NodeId, Bytes>) -> Vec<Entry> {
    let (entries, ends) = window.cut(shape, level);
    let old: HashSet<NodeId> = window.pieces.iter().map(|(_, id)| *id).collect();
    encode_pieces(level, &entries, &ends, |id, node| {
        if !old.contains(&id) {
            new_nodes.insert(id, node);
        }
    })
}

fn encode_pieces(level: u8, entries: &[Entry], ends: &[bool], mut keep: impl FnMut(NodeId, Bytes)) -> Vec<Entry> {
    let mut parents = Vec::new();
    let mut rest = entries;
    let mut ends = ends;
    while let Some(last) = rest.len().checked_sub(1) {
        let end = ends.iter().position(|end| *end).unwrap_or(last).min(last);
        let (piece, after) = rest.split_at(end + 1);
        rest = after;
        ends = ends.get(end + 1..).unwrap_or_default();
        let node = encode(level, piece);
        let id = NodeId::of(&node);
        keep(id, node);
        parents.extend(piece.last().map(|entry| Entry { key: entry.key.clone(), payload: Payload::Child(id) }));
    }
    parents
}

/// What changes one level up when the window's nodes are replaced by these.
fn replaced(window: &Window, new: Vec<Entry>) -> Vec<Edit> {
    let mut edits: BTreeMap<Key, Option<Payload>> = window.pieces.iter().map(|(key, _)| (key.clone(), None)).collect();
    edits.extend(new.into_iter().map(|entry| (entry.key, Some(entry.payload))));
    for (key, id) in &window.pieces {
        if edits.get(key) == Some(&Some(Payload::Child(*id))) {
            edits.remove(key);
        }
    }
    edits.into_iter().collect()
}

/// The root over the nodes of the old root's level: more levels if there are several, fewer where one child is left.
async fn finish(
    shape: Shape,
    nodes: &dyn Nodes,
    level: u8,
    top: Vec<Entry>,
    new_nodes: &mut HashMap<NodeId, Bytes>,
) -> Result<NodeId, TreeError> {
    let [Entry { payload: Payload::Child(only), .. }] = top.as_slice() else {
        return stack(shape, level.saturating_add(1), top, new_nodes);
    };
    let (mut root, mut expected) = (*only, level);
    loop {
        let bytes = match new_nodes.get(&root) {
            Some(bytes) => bytes.clone(),
            None if root_is_whole(expected) => return Ok(root),
            None => nodes.load(&root).await?,
        };
        let node = decode(&bytes, Some(expected))?;
        match node.entries.as_slice() {
            [Entry { payload: Payload::Child(child), .. }] => {
                new_nodes.remove(&root);
                root = *child;
                expected = expected.checked_sub(1).ok_or(TreeError::Corrupt("wrong level"))?;
            }
            _ => return Ok(root),
        }
    }
}

/// A leaf is a root whatever it holds.
fn root_is_whole(level: u8) -> bool {
    level == 0
}

/// Cuts entries into nodes, level over level, until one node is left.
fn stack(
    shape: Shape,
    mut level: u8,
    mut entries: Vec<Entry>,
    new_nodes: &mut HashMap<NodeId, Bytes>,
) -> Result<NodeId, TreeError> {
    loop {
        match entries.as_slice() {
            [] => return Ok(NodeId::EMPTY),
            [Entry { payload: Payload::Child(root), .. }] => return Ok(*root),
            _ if level > MAX_LEVEL => return Err(TreeError::Corrupt("too high")),
            _ => {}
        }
        let ends = shape.ends(level, &entries, Bounds::default());
        entries = encode_pieces(level, &entries, &ends, |id, node| {
            new_nodes.insert(id, node);
        });
        level = level.saturating_add(1);
    }
}
