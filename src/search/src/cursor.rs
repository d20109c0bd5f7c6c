//! How far the index is: kept with each of its commits.

use engine::RoomNum;
use store::Pos;

/// Changes whenever what is in the index does: another one is built anew.
const FORMAT: &str = "1";

/// Every event up to `pos` is in the index, and in rooms up to `ahead`'s every one up to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    pub(crate) pos: Pos,
    /// How far a walk through all rooms has come: the last room that it is done with, and the position up to which it goes.
    pub(crate) ahead: Option<(RoomNum, Pos)>,
}

impl Cursor {
    pub(crate) fn encode(&self) -> String {
        match self.ahead {
            None => format!("{FORMAT} {}", self.pos),
            Some((room, pos)) => format!("{FORMAT} {} {room} {pos}", self.pos),
        }
    }

    /// `None` where it is of another format, or none at all.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(FORMAT)?.strip_prefix(' ')?.split(' ');
        let pos = parts.next()?.parse().ok()?;
        let ahead = match (parts.next(), parts.next()) {
            (Some(room), Some(pos)) => Some((room.parse().ok()?, pos.parse().ok()?)),
            (None, _) => None,
            _ => return None,
        };
        parts.next().is_none().then_some(Self { pos, ahead })
    }

    /// The furthest position that it claims anything of.
    pub(crate) fn furthest(&self) -> Pos {
        self.ahead.map_or(self.pos, |(_, pos)| pos.max(self.pos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_others_are_refused() {
        for cursor in [Cursor { pos: 7, ahead: None }, Cursor { pos: 0, ahead: Some((3, 9)) }] {
            assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        }
        for bad in ["", "1", "1 x", "2 7", "17", "1 7 3", "1 7 3 9 1", "1 -1"] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
