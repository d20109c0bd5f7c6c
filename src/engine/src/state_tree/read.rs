//! Reading trees: look-ups, ranges, and the walk over a whole tree.

use std::collections::{HashMap, HashSet, hash_map};

use super::{
    Entry, Key, NodeId, Nodes, Payload, TreeError,
    codec::{Node, Step, decode, step},
};

/// The number at (type, state key), or `None`. Reads one node per level.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn get(nodes: &dyn Nodes, root: NodeId, ty: &str, state_key: &str) -> Result<Option<u32>, TreeError> {
    let (mut id, mut level) = (root, None);
    if root == NodeId::EMPTY {
        return Ok(None);
    }
    loop {
        match step(&nodes.load(&id).await?, level, ty, state_key)? {
            Step::Down(below, child) => (id, level) = (child, Some(below)),
            Step::Found(value) => return Ok(value),
        }
    }
}

/// The numbers at several (type, state key), in their order. Each node is loaded once.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn get_many(nodes: &dyn Nodes, root: NodeId, keys: &[(&str, &str)]) -> Result<Vec<Option<u32>>, TreeError> {
    let mut found = Vec::with_capacity(keys.len());
    let mut loaded = HashMap::new();
    for (ty, state_key) in keys {
        let (mut id, mut level) = (root, None);
        found.push(loop {
            if id == NodeId::EMPTY {
                break None;
            }
            let bytes = match loaded.entry(id) {
                hash_map::Entry::Occupied(known) => known.into_mut(),
                hash_map::Entry::Vacant(unknown) => unknown.insert(nodes.load(&id).await?),
            };
            match step(bytes, level, ty, state_key)? {
                Step::Down(below, child) => (id, level) = (child, Some(below)),
                Step::Found(value) => break value,
            }
        });
    }
    Ok(found)
}

/// All (state key, number) of one type, in order of the state keys.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn range(nodes: &dyn Nodes, root: NodeId, ty: &str) -> Result<Vec<(String, u32)>, TreeError> {
    range_page(nodes, root, ty, None, usize::MAX).await
}

/// At most `limit` (state key, number) of one type: those whose state keys are greater than `after`, in order. Fewer than
/// `limit` means that there are no more; otherwise the last state key is the next page's `after`.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn range_page(
    nodes: &dyn Nodes,
    root: NodeId,
    ty: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, u32)>, TreeError> {
    let mut page = Vec::new();
    let start = Key::new(ty, after.unwrap_or(""));
    let mut walk = Walk::seek(nodes, root, |key| if after.is_some() { *key <= start } else { *key < start }).await?;
    while page.len() < limit {
        match walk.next().await? {
            Some((key, value)) if *key.ty == *ty => page.push((key.state_key.to_string(), value)),
            _ => break,
        }
    }
    Ok(page)
}

/// All entries in order.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn entries(nodes: &dyn Nodes, root: NodeId) -> Result<Vec<(Key, u32)>, TreeError> {
    let mut all = Vec::new();
    let mut walk = Walk::open(nodes, root).await?;
    while let Some(entry) = walk.next().await? {
        all.push(entry);
    }
    Ok(all)
}

/// The ids of all nodes of a tree, its root included.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn reachable(nodes: &dyn Nodes, root: NodeId) -> Result<HashSet<NodeId>, TreeError> {
    let mut seen = HashSet::new();
    mark(nodes, root, &mut seen).await?;
    Ok(seen)
}

/// Adds the ids of all nodes of a tree to `seen`. What is below a node in `seen` must be there already and is not
/// visited again, so marking a room's snapshots one after the other costs what differs between them. Leaves are not
/// loaded. A node is added after everything below it: after an error `seen` can still be used to go on.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn mark(nodes: &dyn Nodes, root: NodeId, seen: &mut HashSet<NodeId>) -> Result<(), TreeError> {
    if root == NodeId::EMPTY || seen.contains(&root) {
        return Ok(());
    }
    let top = decode(&nodes.load(&root).await?, None)?;
    let mut open = vec![(root, top.level, top.entries.into_iter())];
    while let Some((id, level, rest)) = open.last_mut() {
        let Some(entry) = rest.next() else {
            seen.insert(*id);
            open.pop();
            continue;
        };
        // An entry of a leaf has no node below it.
        let (Payload::Child(child), Some(below)) = (entry.payload, level.checked_sub(1)) else {
            continue;
        };
        if below == 0 {
            seen.insert(child);
        } else if !seen.contains(&child) {
            let node = decode(&nodes.load(&child).await?, Some(below))?;
            open.push((child, below, node.entries.into_iter()));
        }
    }
    Ok(())
}

/// What a walk stands before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Head {
    /// A node that is not loaded yet, with its level.
    Node(u8, NodeId),
    Entry(Key, u32),
    End,
}

/// A walk over a tree in order of the keys that opens a node only when told to.
pub(super) struct Walk<'n> {
    nodes: &'n dyn Nodes,
    open: Vec<(u8, std::iter::Peekable<std::vec::IntoIter<Entry>>)>,
}

impl<'n> Walk<'n> {
    /// A walk that stands before the root's first entry.
    pub(super) async fn open(nodes: &'n dyn Nodes, root: NodeId) -> Result<Self, TreeError> {
        let mut walk = Self { nodes, open: Vec::new() };
        if root != NodeId::EMPTY {
            walk.push(decode(&nodes.load(&root).await?, None)?, |_| false);
        }
        Ok(walk)
    }

    /// A walk that stands before the first entry whose key is not `before` the wanted ones.
    async fn seek(nodes: &'n dyn Nodes, root: NodeId, before: impl Fn(&Key) -> bool) -> Result<Self, TreeError> {
        let mut walk = Self { nodes, open: Vec::new() };
        if root != NodeId::EMPTY {
            walk.push(decode(&nodes.load(&root).await?, None)?, &before);
        }
        while let Head::Node(level, id) = walk.head() {
            walk.skip();
            walk.push(decode(&nodes.load(&id).await?, Some(level))?, &before);
        }
        Ok(walk)
    }

    fn push(&mut self, node: Node, before: impl Fn(&Key) -> bool) {
        let mut rest = node.entries.into_iter();
        let wanted = rest.as_slice().partition_point(|entry| before(&entry.key));
        if let Some(last_unwanted) = wanted.checked_sub(1) {
            rest.nth(last_unwanted);
        }
        self.open.push((node.level, rest.peekable()));
    }

    /// What comes next.
    pub(super) fn head(&mut self) -> Head {
        while let Some((level, rest)) = self.open.last_mut() {
            match (rest.peek(), level.checked_sub(1)) {
                (Some(Entry { payload: Payload::Child(id), .. }), Some(below)) => return Head::Node(below, *id),
                (Some(Entry { key, payload: Payload::Value(value) }), _) => return Head::Entry(key.clone(), *value),
                _ => self.open.pop(),
            };
        }
        Head::End
    }

    /// Passes over what comes next, a whole subtree or an entry.
    pub(super) fn skip(&mut self) {
        if let Some((_, rest)) = self.open.last_mut() {
            rest.next();
        }
    }

    /// Loads the node that comes next and stands before its first entry.
    pub(super) async fn descend(&mut self) -> Result<(), TreeError> {
        if let Head::Node(level, id) = self.head() {
            let node = decode(&self.nodes.load(&id).await?, Some(level))?;
            self.skip();
            self.push(node, |_| false);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<(Key, u32)>, TreeError> {
        loop {
            match self.head() {
                Head::Node(..) => self.descend().await?,
                Head::Entry(key, value) => {
                    self.skip();
                    return Ok(Some((key, value)));
                }
                Head::End => return Ok(None),
            }
        }
    }
}
