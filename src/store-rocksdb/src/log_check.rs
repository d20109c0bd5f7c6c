//! A look at the write-ahead log before RocksDB replays it.
//!
//! RocksDB's tolerant recovery errs on both sides. Zeros where a frame is due, which is what a page that never reached the
//! disk reads as, it skips, and with them all groups that begin later in the same 32 KiB block. And it refuses a last
//! group whose pages reached the disk in another order than written, though nobody was told that this group is safe.
//! So the log's frames are checked here first, with one rule: **damage is a torn end if no group begins behind it, and a
//! hole otherwise**. A torn end is cut off. A hole refuses the store.
//!
//! The format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB, in them fragments of records, each with a
//! masked CRC-32C, a length and a kind; a fragment never crosses a block.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::crc::crc32c;

const BLOCK: usize = 32 * 1024;
const HEADER: usize = 7;

/// The place from which on the log is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) log: PathBuf,
    pub(crate) offset: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Whole,
    /// Nothing begins behind the damage.
    Torn(Damage),
    /// Something does.
    Hole(Damage),
}

/// Reads all logs of a folder, oldest first.
pub(crate) fn check(folder: &Path) -> io::Result<Verdict> {
    let mut scan = Scan::default();
    for log in logs(folder)? {
        scan.log(&log)?;
        if let (Some(damage), true) = (&scan.damage, scan.goes_on) {
            return Ok(Verdict::Hole(damage.clone()));
        }
    }
    Ok(scan.damage.map_or(Verdict::Whole, Verdict::Torn))
}

/// Removes a torn end, durably; gives the bytes removed.
pub(crate) fn cut(damage: &Damage) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).open(&damage.log)?;
    let lost = file.metadata()?.len().saturating_sub(damage.offset);
    file.set_len(damage.offset)?;
    file.sync_all()?;
    Ok(lost)
}

fn logs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|end| end == "log")) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

#[derive(Default)]
struct Scan {
    damage: Option<Damage>,
    /// A group begins behind the damage.
    goes_on: bool,
}

impl Scan {
    fn log(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut block = Vec::with_capacity(BLOCK);
        let mut start = 0;
        // Where the group began whose end has not been seen.
        let mut open = None;
        loop {
            block.clear();
            (&mut file).take(BLOCK as u64).read_to_end(&mut block)?;
            self.block(path, start, &block, &mut open);
            start += block.len() as u64;
            if block.len() < BLOCK || self.goes_on {
                break;
            }
        }
        if let Some(offset) = open {
            self.damaged(path, offset);
        }
        Ok(())
    }

    fn block(&mut self, path: &Path, start: u64, block: &[u8], open: &mut Option<u64>) {
        let mut rest = block;
        while rest.len() >= HEADER && !self.goes_on {
            let offset = start + (block.len() - rest.len()) as u64;
            let Some((kind, after)) = fragment(rest, self.damage.is_some()) else {
                self.damaged(path, open.take().unwrap_or(offset));
                // A length that may be wrong leads nowhere: look for the next fragment byte by byte.
                rest = rest.get(1..).unwrap_or_default();
                continue;
            };
            rest = after;
            match kind {
                Kind::Whole | Kind::First => {
                    if let Some(unfinished) = open.take() {
                        self.damaged(path, unfinished);
                    }
                    self.goes_on = self.damage.is_some();
                    *open = (kind == Kind::First).then_some(offset);
                }
                Kind::Middle | Kind::Last => {
                    if open.is_none() {
                        self.damaged(path, offset);
                    }
                    if kind == Kind::Last {
                        *open = None;
                    }
                }
                Kind::Other => {}
            }
        }
        // The last bytes of a block are padding, those of a shorter one the begin of a header.
        if block.len() < BLOCK && !rest.is_empty() {
            self.damaged(path, open.take().unwrap_or(start + (block.len() - rest.len()) as u64));
        }
    }

    fn damaged(&mut self, log: &Path, offset: u64) {
        self.damage.get_or_insert_with(|| Damage { log: log.to_owned(), offset });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    First,
    Middle,
    Last,
    /// Says something about the log, not about rows.
    Other,
}

/// The fragment that `bytes` begin with, if there is an undamaged one, and what follows it. Behind damage, where any byte may
/// be the first, only kinds with a group in them are looked for: a checksum is too dear to try on every byte.
fn fragment(bytes: &[u8], in_damage: bool) -> Option<(Kind, &[u8])> {
    let (&[c0, c1, c2, c3, l0, l1, kind], _) = bytes.split_first_chunk::<HEADER>()?;
    // Kinds 5 to 8 and 11 are of recycled logs, which this store never writes; their header has a log number too.
    let (kind, number) = match kind {
        0 => return None,
        1 => (Kind::Whole, 0),
        2 => (Kind::First, 0),
        3 => (Kind::Middle, 0),
        4 => (Kind::Last, 0),
        5 => (Kind::Whole, 4),
        6 => (Kind::First, 4),
        7 => (Kind::Middle, 4),
        8 => (Kind::Last, 4),
        11 => (Kind::Other, 4),
        _ => (Kind::Other, 0),
    };
    if kind == Kind::Other && in_damage {
        return None;
    }
    let end = HEADER + number + usize::from(u16::from_le_bytes([l0, l1]));
    let checked = bytes.get(HEADER - 1..end)?;
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    (mask(crc32c(checked)) == stored).then(|| (kind, bytes.get(end..).unwrap_or_default()))
}

/// Checksums are stored changed, so that a checksum over data that holds checksums is still a good one.
fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames records the way RocksDB does.
    fn write(records: &[Vec<u8>]) -> Vec<u8> {
        let mut log = Vec::new();
        for record in records {
            let mut rest = &record[..];
            let mut begun = false;
            loop {
                let room = BLOCK - log.len() % BLOCK;
                if room < HEADER {
                    log.resize(log.len() + room, 0);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(room - HEADER));
                let kind = match (begun, later.is_empty()) {
                    (false, true) => 1,
                    (false, false) => 2,
                    (true, false) => 3,
                    (true, true) => 4,
                };
                let mut checked = vec![kind];
                checked.extend_from_slice(now);
                log.extend(mask(crc32c(&checked)).to_le_bytes());
                log.extend(u16::try_from(now.len()).unwrap().to_le_bytes());
                log.extend(checked);
                begun = true;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
        }
        log
    }

    fn records() -> Vec<Vec<u8>> {
        [900, 40, 33_000, 30_700, 1, 5_000, 70_000].iter().map(|length| vec![b'r'; *length]).collect()
    }

    fn judge(logs: &[&[u8]]) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        for (number, log) in logs.iter().enumerate() {
            fs::write(folder.path().join(format!("{number:06}.log")), log).unwrap();
        }
        fs::write(folder.path().join("LOG"), "not a log").unwrap();
        match check(folder.path()).unwrap() {
            Verdict::Torn(damage) => {
                cut(&damage).unwrap();
                assert_eq!(check(folder.path()).unwrap(), Verdict::Whole);
                Verdict::Torn(damage)
            }
            other => other,
        }
    }

    fn torn_at(verdict: Verdict) -> u64 {
        match verdict {
            Verdict::Torn(damage) => damage.offset,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whole_logs_are_left_alone() {
        let log = write(&records());
        assert_eq!(judge(&[]), Verdict::Whole);
        assert_eq!(judge(&[&[]]), Verdict::Whole);
        assert_eq!(judge(&[&log, &log, &[]]), Verdict::Whole);
    }

    #[test]
    fn a_log_cut_anywhere_is_torn_at_the_begin_of_its_last_record() {
        let records = records();
        let whole = write(&records);
        let ends: Vec<_> = (0..=records.len()).map(|count| write(&records[..count]).len()).collect();
        for length in (0..whole.len()).step_by(3_989) {
            let verdict = judge(&[&whole[..length]]);
            let begin = *ends.iter().rfind(|end| **end <= length).unwrap();
            if begin == length {
                assert_eq!(verdict, Verdict::Whole);
            } else {
                // Padding at the end of a block belongs to neither record.
                assert!((begin..begin + HEADER).contains(&(torn_at(verdict) as usize)) || length - begin < HEADER);
            }
        }
    }

    #[test]
    fn damage_in_the_last_record_is_torn_and_before_it_a_hole() {
        let records = records();
        let whole = write(&records);
        let last = write(&records[..records.len() - 1]).len();
        for patch in [&[0u8; 300][..], &[0xa5; 300], &[0; 4096]] {
            for at in (0..whole.len() - patch.len()).step_by(4_999) {
                let mut log = whole.clone();
                log[at..at + patch.len()].copy_from_slice(patch);
                let verdict = judge(&[&log]);
                if at >= last {
                    assert_eq!(torn_at(verdict), last as u64);
                } else if at + patch.len() < last {
                    assert!(matches!(verdict, Verdict::Hole(_)), "{at}");
                }
            }
        }
    }

    #[test]
    fn a_torn_log_before_one_that_goes_on_is_a_hole() {
        let log = write(&records());
        let torn = &log[..log.len() - 10];
        assert!(matches!(judge(&[torn, &log]), Verdict::Hole(_)));
        assert!(matches!(judge(&[torn, &[]]), Verdict::Torn(_)));
    }
}
