//! Tokens of `/sync` and of pages. A token says of which kind it is; those of another kind are refused, not misread.

use engine::{Depth, HistoryPoint};
use http_kit::MatrixError;
use store::Pos;
use users::presence::PresencePos;

use crate::error::ApiError;

/// The version of `/sync` tokens: a list of node positions, of which there is one today.
const SYNC_VERSION: char = 's';
/// Marks a point in a room's history.
const HISTORY: char = 't';
/// Marks the beginning of a `/sync` timeline.
const BEFORE: char = 'p';

/// Where a `/sync` ended. Nothing is stored per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncToken {
    /// The durable stream.
    pub pos: Pos,
    /// The epoch of the streams in memory.
    pub typing_epoch: u64,
    /// Typing notifications.
    pub typing: u64,
    /// Presence.
    pub presence: PresencePos,
    /// Where the response began that ended here, where its timelines told of state that lost against another branch of its room: what
    /// holds instead is said in the next one.
    pub misled_since: Option<Pos>,
    /// The position of the last message to the device that came with it, where there were more than one response takes.
    pub to_device: Option<Pos>,
}

impl SyncToken {
    /// The token as clients get it.
    pub fn encode(&self) -> String {
        let mut token = format!(
            "{SYNC_VERSION}1_{}_{}_{}_{}_{}",
            self.pos, self.typing_epoch, self.typing, self.presence.epoch, self.presence.n
        );
        if let Some(since) = self.misled_since {
            token.push_str(&format!("_{since}"));
        }
        if let Some(pos) = self.to_device {
            token.push_str(&format!("_d{pos}"));
        }
        token
    }

    /// The position up to which it brought messages to the device.
    pub fn messages(&self) -> Pos {
        self.to_device.unwrap_or(self.pos)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// 400 `M_INVALID_PARAM`.
    pub fn decode(text: &str) -> Result<Self, ApiError> {
        let parsed = || {
            let mut parts = text.strip_prefix(SYNC_VERSION)?.split('_');
            if parts.next()? != "1" {
                return None;
            }
            let mut number = || parts.next()?.parse::<u64>().ok();
            let mut token = Self {
                pos: number()?,
                typing_epoch: number()?,
                typing: number()?,
                presence: PresencePos { epoch: number()?, n: number()? },
                misled_since: None,
                to_device: None,
            };
            let mut parts = parts.peekable();
            if parts.peek().is_some_and(|part| !part.starts_with('d')) {
                token.misled_since = parts.next().map(str::parse).transpose().ok()?;
            }
            if let Some(part) = parts.next() {
                token.to_device = Some(part.strip_prefix('d')?.parse().ok()?);
            }
            parts.next().is_none().then_some(token)
        };
        parsed().ok_or_else(|| MatrixError::invalid_param("since", "not a sync token of this server").into())
    }
}

/// A token that pages may start from or end at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageToken {
    /// Of `/sync`: all that this server had seen at a position.
    Stream(Pos),
    /// The `prev_batch` of a timeline: all that this server had seen before its first event, of which nothing is deeper than this. A
    /// timeline has its events as they came in, pages as they follow each other: where branches met, what came before the timeline may
    /// be deeper than its first event.
    Before(Pos, Depth),
    /// Of a page; with a position, only of what this server had seen then.
    History(HistoryPoint, Option<Pos>),
}

/// The token of a point in history.
pub fn encode_point(point: HistoryPoint) -> String {
    format!("{HISTORY}1_{}_{}", point.depth, point.arrival)
}

/// The same among what had been seen at a position.
pub fn encode_point_seen(point: HistoryPoint, seen: Pos) -> String {
    format!("{}_{seen}", encode_point(point))
}

/// The token of what had been seen at a position: see [`PageToken::Before`].
pub fn encode_before(pos: Pos, deepest: Depth) -> String {
    format!("{BEFORE}1_{pos}_{deepest}")
}

/// Reads a token of either kind.
///
/// # Errors
/// 400 `M_INVALID_PARAM` that names `field`.
pub fn decode_page(text: &str, field: &str) -> Result<PageToken, ApiError> {
    let refused = || MatrixError::invalid_param(field, "not a token of this server").into();
    if text.starts_with(SYNC_VERSION) {
        return SyncToken::decode(text).map(|token| PageToken::Stream(token.pos)).map_err(|_| refused());
    }
    let parsed = || {
        if let Some(before) = text.strip_prefix(BEFORE) {
            let (pos, deepest) = before.strip_prefix("1_")?.split_once('_')?;
            return Some(PageToken::Before(pos.parse().ok()?, deepest.parse().ok()?));
        }
        let mut parts = text.strip_prefix(HISTORY)?.strip_prefix("1_")?.split('_');
        let point = HistoryPoint { depth: parts.next()?.parse().ok()?, arrival: parts.next()?.parse().ok()? };
        let seen = parts.next().map(str::parse).transpose().ok()?;
        parts.next().is_none().then_some(PageToken::History(point, seen))
    };
    parsed().ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_strangers_are_refused() {
        let token = SyncToken {
            pos: 7,
            typing_epoch: 1,
            typing: 2,
            presence: PresencePos { epoch: 3, n: 4 },
            misled_since: None,
            to_device: None,
        };
        assert_eq!(SyncToken::decode(&token.encode()).unwrap(), token);
        let misled = SyncToken { misled_since: Some(0), ..token };
        assert_eq!(SyncToken::decode(&misled.encode()).unwrap(), misled);
        for cut in [SyncToken { to_device: Some(5), ..token }, SyncToken { to_device: Some(5), ..misled }] {
            assert_eq!(SyncToken::decode(&cut.encode()).unwrap(), cut);
        }
        assert_eq!((token.messages(), SyncToken { to_device: Some(5), ..token }.messages()), (7, 5));
        assert_eq!(decode_page(&token.encode(), "from").unwrap(), PageToken::Stream(7));
        let point = HistoryPoint { depth: 5, arrival: -3 };
        assert_eq!(decode_page(&encode_point(point), "from").unwrap(), PageToken::History(point, None));
        assert_eq!(decode_page(&encode_point_seen(point, 9), "from").unwrap(), PageToken::History(point, Some(9)));
        assert_eq!(decode_page(&encode_before(9, 5), "from").unwrap(), PageToken::Before(9, 5));
        for bad in [
            "",
            "s",
            "s1_7",
            "s2_7_1_2_3_4",
            "s1_7_1_2_3_4_x",
            "s1_7_1_2_3_4_5_6",
            "s1_7_1_2_3_4_d",
            "s1_7_1_2_3_4_d5_6",
            "t1_x_1",
            "t1_1",
            "t1_1_1_x",
            "t1_1_1_1_1",
            "p1_1",
            "é",
        ] {
            assert!(decode_page(bad, "from").is_err(), "{bad}");
            assert!(SyncToken::decode(bad).is_err(), "{bad}");
        }
    }
}
