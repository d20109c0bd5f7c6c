use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parking_lot::RwLock;

use super::{Applied, NodeId, Nodes, TreeError};

/// Nodes in a map, with a count of reads: for tests and benchmarks.
#[derive(Debug, Default)]
pub struct MemoryNodes {
    nodes: RwLock<HashMap<NodeId, Bytes>>,
    reads: AtomicUsize,
}

impl MemoryNodes {
    /// Adds one node under whatever id the caller names.
    pub fn insert(&self, id: NodeId, node: Bytes) {
        self.nodes.write().insert(id, node);
    }

    /// Adds the nodes of a change and returns its root.
    pub fn commit(&self, applied: &Applied) -> NodeId {
        self.nodes.write().extend(applied.new_nodes.iter().cloned());
        applied.root
    }

    /// How many nodes were loaded since the last call.
    pub fn take_reads(&self) -> usize {
        self.reads.swap(0, Ordering::Relaxed)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.read().len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops every node for which `keep` is false.
    pub fn retain(&self, keep: impl Fn(&NodeId) -> bool) {
        self.nodes.write().retain(|id, _| keep(id));
    }
}

impl Nodes for MemoryNodes {
    fn load<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<Bytes, TreeError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let node = self.nodes.read().get(id).cloned();
        async move { node.ok_or(TreeError::Missing(*id)) }.boxed()
    }
}
