//! The current state where a room's graph ends in several events: what the states after all of them resolve to.

use room::{pdu::SharedPdu, policy::EVENT_TYPE as POLICY};

use crate::{
    error::EngineError,
    resolution::Branches,
    row::Verdict,
    state::{CurrentRow, membership_in},
    state_tree::{self, Applied, Change, NodeId},
    tables::{CURRENT, EventNum, NODES},
    user_rooms::Membership,
    writer::RoomWriter,
};

/// Resolved states that a head remembers.
const REMEMBERED: usize = 8;

impl RoomWriter<'_> {
    pub(crate) fn branches(&self) -> Result<Branches<'_>, EngineError> {
        Ok(Branches { engine: self.engine, room: self.room, overlay: &self.head()?.overlay })
    }

    /// What the states after these events resolve to; the tree's nodes are staged.
    pub(crate) async fn resolve_after(&mut self, events: &[EventNum]) -> Result<NodeId, EngineError> {
        self.resolve_all(Vec::new(), events).await
    }

    /// The same with one more state.
    pub(crate) async fn resolve_with(&mut self, state: NodeId, events: &[EventNum]) -> Result<NodeId, EngineError> {
        self.resolve_all(vec![state], events).await
    }

    async fn resolve_all(&mut self, mut roots: Vec<NodeId>, events: &[EventNum]) -> Result<NodeId, EngineError> {
        for num in events {
            roots.push(self.root_after(*num).await?);
        }
        roots.sort_unstable();
        roots.dedup();
        if let [one] = roots[..] {
            return Ok(one);
        }
        let known = self.head()?.resolved.iter().find(|(known, _)| *known == roots);
        if let Some((_, root)) = known {
            return Ok(*root);
        }
        let applied = self.branches()?.resolve(&roots).await?;
        let root = self.stage_nodes(applied);
        let resolved = &mut self.head_mut()?.resolved;
        resolved.truncate(REMEMBERED - 1);
        resolved.push_front((roots, root));
        Ok(root)
    }

    /// The state after an event: the one before it, with its own change where it is part of the room or could become so.
    pub(crate) async fn root_after(&mut self, num: EventNum) -> Result<NodeId, EngineError> {
        let row = self.event_row(num).await?;
        if !row.is_state() || row.verdict() == Verdict::Rejected {
            return Ok(row.state_before());
        }
        let before = row.state_before();
        if let Some(root) = self.head()?.after(before, num) {
            return Ok(root);
        }
        let pdu: SharedPdu = self.pdu(num).await?;
        let applied = self.branches()?.after(before, &pdu, num).await?;
        let root = self.stage_nodes(applied);
        self.head_mut()?.remember_after(before, num, root);
        Ok(root)
    }

    pub(crate) fn stage_nodes(&mut self, applied: Applied) -> NodeId {
        for (id, node) in applied.new_nodes {
            self.stage(NODES.put(&(self.room.num, id.0), &node));
        }
        applied.root
    }

    /// Brings the current state in line with the room's extremities, as part of the event staged last.
    pub(crate) async fn settle(&mut self) -> Result<(), EngineError> {
        let ends: Vec<EventNum> = self.head()?.row.extremities.iter().map(|end| end.num).collect();
        let root = self.resolve_after(&ends).await?;
        let old = self.head()?.row.root;
        if root == old {
            return Ok(());
        }
        let changes = state_tree::diff(&self.branches()?.nodes(), old, root).await?;
        let mut members = Vec::new();
        for change in &changes {
            let before = self.current(&change.event_type, &change.state_key).await?;
            let membership = self.stage_current(change).await?;
            if change.event_type == "m.room.member" {
                members.push((change, before, membership));
            }
        }
        let head = self.head_mut()?;
        (head.row.root, head.info.root) = (root, root);
        head.forget_members();
        if let Some(staged) = self.staged.last_mut() {
            staged.new_root = Some(root);
        }
        self.state_changed = true;
        for (change, before, membership) in members {
            // Where the membership is gone, its event is still the newest thing to show for it.
            let num = change.new.or(change.old).unwrap_or_default();
            self.move_member(num, before, membership, &change.state_key).await?;
        }
        if changes.iter().any(decides) {
            self.refresh_auth().await?;
        }
        if changes.iter().any(|change| change.event_type == "m.room.server_acl" && change.state_key.is_empty()) {
            self.refresh_acl().await?;
        }
        if changes.iter().any(|change| change.event_type == POLICY && change.state_key.is_empty()) {
            self.refresh_policy().await?;
        }
        if changes.iter().any(|change| change.event_type == "m.room.encryption" && change.state_key.is_empty()) {
            let encrypted = self.current("m.room.encryption", "").await?.is_some();
            self.head_mut()?.info.encrypted = encrypted;
        }
        Ok(())
    }

    async fn stage_current(&mut self, change: &Change) -> Result<Membership, EngineError> {
        let key = (self.room.num, change.event_type.clone(), change.state_key.clone());
        let Some(num) = change.new else {
            self.stage(CURRENT.delete(&key));
            return Ok(Membership::Leave);
        };
        let membership = if change.event_type == "m.room.member" {
            membership_in(self.event_row(num).await?.content())
        } else {
            Membership::Leave
        };
        self.stage(CURRENT.put(&key, &CurrentRow { num, membership }));
        Ok(membership)
    }
}

/// Whether the entry is one of those that are kept parsed.
fn decides(change: &Change) -> bool {
    const KINDS: [&str; 4] = ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility"];
    change.state_key.is_empty() && KINDS.contains(&change.event_type.as_str())
}
