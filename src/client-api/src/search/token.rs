//! Where the next page of results begins: behind the last one, in all of them or in a group.

use engine::{RoomNum, UserNum};
use http_kit::MatrixError;
use search::{Order, Place};

use crate::ApiError;

/// A part of all results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Room(RoomNum),
    Sender(UserNum),
}

/// A `next_batch`. It names the order, in which alone it has a meaning. Nothing in it lets anybody see more than without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) order: Order,
    pub(super) after: Place,
    pub(super) group: Option<Group>,
}

impl Token {
    pub(super) fn encode(&self) -> String {
        let Place { rank, time, pos } = self.after;
        let order = match self.order {
            Order::Rank => 'k',
            Order::Recent => 'n',
        };
        let group = match self.group {
            None => String::new(),
            Some(Group::Room(num)) => format!("_r{num}"),
            Some(Group::Sender(num)) => format!("_s{num}"),
        };
        format!("{order}1_{rank}_{time}_{pos}{group}")
    }

    /// Reads a token for results in an order.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM`, also where it was given for another order.
    pub(super) fn decode(text: &str, order: Order) -> Result<Self, ApiError> {
        let parsed = || {
            let mut parts = text.split('_');
            let named = match parts.next()? {
                "k1" => Order::Rank,
                "n1" => Order::Recent,
                _ => return None,
            };
            let after = Place {
                rank: parts.next()?.parse().ok()?,
                time: parts.next()?.parse().ok()?,
                pos: parts.next()?.parse().ok()?,
            };
            let group = match parts.next() {
                None => None,
                Some(group) => Some(match group.split_at_checked(1)? {
                    ("r", num) => Group::Room(num.parse().ok()?),
                    ("s", num) => Group::Sender(num.parse().ok()?),
                    _ => return None,
                }),
            };
            (parts.next().is_none() && named == order).then_some(Self { order, after, group })
        };
        parsed().ok_or_else(|| MatrixError::invalid_param("next_batch", "not a token for this search").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_in_their_order_only() {
        let after = Place { rank: 7, time: 8, pos: 9 };
        for group in [None, Some(Group::Room(3)), Some(Group::Sender(4))] {
            for (order, other) in [(Order::Rank, Order::Recent), (Order::Recent, Order::Rank)] {
                let token = Token { order, after, group };
                assert_eq!(Token::decode(&token.encode(), order).unwrap(), token);
                assert!(Token::decode(&token.encode(), other).is_err());
            }
        }
        for bad in [
            "",
            "k1",
            "k1_1_2",
            "k2_1_2_3",
            "k1_1_2_3_",
            "k1_1_2_3_x4",
            "k1_1_2_3_r",
            "k1_1_2_3_r4_5",
            "k1_-1_2_3",
            "k1_1_2_3_é",
        ] {
            assert!(Token::decode(bad, Order::Rank).is_err(), "{bad}");
        }
    }
}
