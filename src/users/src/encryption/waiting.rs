//! How much may wait for a device, and of whom. Counted by rows of their own beside the messages, which nobody reads for that.

use std::collections::{HashMap, HashSet};

use ruma::ServerName;
use serde::{Deserialize, Serialize};
use store::Pos;

/// What may wait for one device from one user. Of more the newest go: nobody pushes out what others sent, or what they sent themselves
/// before.
const FROM_ONE: Share = Share { count: 2500, bytes: 16 << 20 };
/// What may wait for one device in all. Of more the newest go of whoever takes the most of it: a user of this server, or all users of
/// another server together, who can be as many as that likes.
const IN_ALL: Share = Share { count: 10_000, bytes: 64 << 20 };

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Who sent it.
    #[serde(rename = "s")]
    pub(crate) sender: String,
    /// Its size.
    #[serde(rename = "n")]
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    count: usize,
    bytes: usize,
}

impl Share {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn within(self, most: Self) -> bool {
        self.count <= most.count && self.bytes <= most.bytes
    }

    /// How much of [`IN_ALL`] it is, by what it takes the most of.
    fn weight(self) -> usize {
        (self.count * (IN_ALL.bytes / IN_ALL.count)).max(self.bytes)
    }
}

/// What waits of those who are counted together, and what it takes.
#[derive(Debug, Default)]
struct Group {
    share: Share,
    kept: Vec<(Pos, usize)>,
}

/// Which of the messages that wait for one device are too many; they are given oldest first.
pub(crate) fn excess(rows: &[(Pos, Waiting)], us: &ServerName) -> HashSet<Pos> {
    let mut gone = HashSet::new();
    let mut senders: HashMap<&str, Share> = HashMap::new();
    let mut groups: HashMap<&str, Group> = HashMap::new();
    let mut all = Share::default();
    for (pos, Waiting { sender, bytes }) in rows {
        let of_sender = senders.entry(sender).or_default();
        let mut with = *of_sender;
        with.add(*bytes);
        if !with.within(FROM_ONE) {
            gone.insert(*pos);
            continue;
        }
        *of_sender = with;
        let group = groups.entry(counted_as(sender, us)).or_default();
        group.share.add(*bytes);
        group.kept.push((*pos, *bytes));
        all.add(*bytes);
    }
    while !all.within(IN_ALL) {
        let Some(largest) = groups.values_mut().max_by_key(|group| group.share.weight()) else { break };
        let Some((pos, bytes)) = largest.kept.pop() else { break };
        largest.share.remove(bytes);
        all.remove(bytes);
        gone.insert(pos);
    }
    gone
}

fn counted_as<'a>(sender: &'a str, us: &ServerName) -> &'a str {
    let server = sender.split_once(':').map_or(sender, |(_, server)| server);
    if server == us.as_str() { sender } else { server }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    /// Messages of these senders, in turn as long as each has some left: (sender, how many, bytes of each).
    fn rows(of: &[(&str, usize, usize)]) -> Vec<(Pos, Waiting)> {
        let mut rows = Vec::new();
        for turn in 0..of.iter().map(|(_, count, _)| *count).max().unwrap_or_default() {
            for (sender, _, bytes) in of.iter().filter(|(_, count, _)| turn < *count) {
                rows.push((rows.len() as Pos, Waiting { sender: (*sender).to_owned(), bytes: *bytes }));
            }
        }
        rows
    }

    fn left(rows: &[(Pos, Waiting)], of: &str) -> usize {
        let gone = excess(rows, server_name!("here"));
        rows.iter().filter(|(pos, row)| row.sender.ends_with(of) && !gone.contains(pos)).count()
    }

    #[test]
    fn a_sender_loses_the_newest_of_what_is_too_much() {
        let rows = rows(&[("@ann:here", 5, 100), ("@mallory:evil", 3000, 100)]);
        let gone = excess(&rows, server_name!("here"));
        assert_eq!((left(&rows, "@ann:here"), left(&rows, "@mallory:evil")), (5, 2500));
        assert!(gone.iter().all(|pos| *pos >= 2505), "the oldest stay");
        let large = self::rows(&[("@ann:here", 5, 100), ("@mallory:evil", 300, 64 << 10)]);
        assert_eq!((left(&large, "@ann:here"), left(&large, "@mallory:evil")), (5, 256));
    }

    #[test]
    fn a_server_of_many_users_takes_nothing_from_others() {
        let made_up: Vec<String> = (0..50).map(|n| format!("@u{n}:evil")).collect();
        let mut of: Vec<(&str, usize, usize)> = vec![("@ann:here", 2500, 100), ("@bob:far", 1000, 2000)];
        of.extend(made_up.iter().map(|name| (name.as_str(), 1000, 100)));
        let rows = rows(&of);
        assert_eq!((left(&rows, "@ann:here"), left(&rows, ":far")), (2500, 1000));
        assert_eq!(left(&rows, ":evil"), 6500);
    }

    #[test]
    fn bytes_count_as_well() {
        let made_up: Vec<String> = (0..8).map(|n| format!("@u{n}:evil")).collect();
        let mut of: Vec<(&str, usize, usize)> = vec![("@ann:here", 100, 64 << 10)];
        of.extend(made_up.iter().map(|name| (name.as_str(), 200, 64 << 10)));
        let rows = rows(&of);
        assert_eq!((left(&rows, "@ann:here"), left(&rows, ":evil")), (100, 924));
    }
}
