//! Comparing two trees.

use std::cmp::Ordering;

use super::{
    Key, NodeId, Nodes, TreeError,
    read::{Head, Walk},
};

/// One key at which two snapshots differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The event type.
    pub event_type: String,
    /// The state key.
    pub state_key: String,
    /// The number in the first snapshot; `None` if the key is not there.
    pub old: Option<u32>,
    /// The number in the second snapshot; `None` if the key is not there.
    pub new: Option<u32>,
}

impl Change {
    fn new(key: &Key, old: Option<u32>, new: Option<u32>) -> Self {
        Self { event_type: key.ty.to_string(), state_key: key.state_key.to_string(), old, new }
    }
}

/// The keys at which `b` differs from `a`, in order. Subtrees that both have are not read.
///
/// # Errors
/// [`TreeError::Corrupt`], and what [`Nodes::load`] fails with.
pub async fn diff(nodes: &dyn Nodes, a: NodeId, b: NodeId) -> Result<Vec<Change>, TreeError> {
    let mut changes = Vec::new();
    if a == b {
        return Ok(changes);
    }
    let (mut old, mut new) = (Walk::open(nodes, a).await?, Walk::open(nodes, b).await?);
    loop {
        match (old.head(), new.head()) {
            (Head::End, Head::End) => return Ok(changes),
            (Head::Node(_, before), Head::Node(_, after)) if before == after => {
                old.skip();
                new.skip();
            }
            // The higher node first: the other one may be below it. On one level both, for the same reason.
            (Head::Node(before, _), Head::Node(after, _)) => {
                if before >= after {
                    old.descend().await?;
                }
                if after >= before {
                    new.descend().await?;
                }
            }
            (Head::Node(..), _) => old.descend().await?,
            (_, Head::Node(..)) => new.descend().await?,
            (Head::Entry(key, value), Head::End) => {
                old.skip();
                changes.push(Change::new(&key, Some(value), None));
            }
            (Head::End, Head::Entry(key, value)) => {
                new.skip();
                changes.push(Change::new(&key, None, Some(value)));
            }
            (Head::Entry(before, was), Head::Entry(after, is)) => match before.cmp(&after) {
                Ordering::Less => {
                    old.skip();
                    changes.push(Change::new(&before, Some(was), None));
                }
                Ordering::Greater => {
                    new.skip();
                    changes.push(Change::new(&after, None, Some(is)));
                }
                Ordering::Equal => {
                    old.skip();
                    new.skip();
                    if was != is {
                        changes.push(Change::new(&before, Some(was), Some(is)));
                    }
                }
            },
        }
    }
}
