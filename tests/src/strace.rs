//! Reads what strace recorded of a server: which bytes went where, what was synced, and when.
//!
//! strace stamps the entry of a call before the kernel runs it and its exit before the thread goes on. So "sync's exit is not
//! after answer's entry" in the trace is never true by accident, and never false for a server that waits.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::memmem;

/// How long strace may take to write its last line once the server has ended.
const FLUSH_LIMIT: Duration = Duration::from_secs(20);

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Files.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// strace has not finished, or the threads of the server still run.
    #[error("the trace has no end: {0}")]
    Unfinished(PathBuf),
    /// Nothing was traced.
    #[error("there is no trace at {0}")]
    Empty(PathBuf),
}

/// One traced system call that succeeded. Times are nanoseconds since the epoch.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// The path, or the kind of socket, of its first file descriptor.
    pub target: String,
    /// The bytes written, all pieces joined.
    pub data: Vec<u8>,
    /// When it was entered.
    pub entered: u64,
    /// When it was left.
    pub left: u64,
}

impl Call {
    fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync")
    }

    fn is_socket(&self) -> bool {
        self.target.starts_with("socket:") || self.target.starts_with("TCP")
    }
}

/// A command that traces what is appended to it, keeps its process id, and writes one file a thread at `prefix`.
#[must_use]
pub fn wrapper(prefix: &Path) -> Vec<String> {
    let calls = "trace=fdatasync,fsync,write,writev,pwrite64,pwritev,sendto,sendmsg";
    let words = [
        "strace",
        "-D",
        "-ff",
        "-y",
        "-s",
        "4000000",
        "-e",
        "signal=none",
        "-e",
        calls,
        "--absolute-timestamps=format:unix,precision:ns",
        "--syscall-times=ns",
        "-o",
    ];
    let mut command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    command.push(prefix.display().to_string());
    command
}

/// All calls of all threads, by the time they were entered.
#[derive(Debug)]
pub struct Trace {
    calls: Vec<Call>,
}

impl Trace {
    /// Waits until strace has finished, then reads all files that begin with `prefix`.
    ///
    /// # Errors
    /// [`TraceError`].
    pub async fn read(prefix: &Path) -> Result<Self, TraceError> {
        let begun = Instant::now();
        loop {
            let files = files(prefix)?;
            if files.is_empty() {
                return Err(TraceError::Empty(prefix.to_owned()));
            }
            let texts: Vec<String> = files.iter().map(lossy).collect::<Result<_, _>>()?;
            let unfinished = texts.iter().position(|text| !has_end(text));
            let Some(open) = unfinished else {
                return Ok(Self::parse(texts.iter().map(String::as_str)));
            };
            if begun.elapsed() > FLUSH_LIMIT {
                let path = files.get(open).cloned().unwrap_or_default();
                return Err(TraceError::Unfinished(path));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut calls: Vec<Call> = texts.flat_map(str::lines).filter_map(parse_line).collect();
        calls.sort_by_key(|call| call.entered);
        Self { calls }
    }

    /// How many calls were recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none were.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// How many syncs of files were recorded that `is_log` accepts.
    #[must_use]
    pub fn syncs(&self, is_log: impl Fn(&str) -> bool) -> usize {
        let found = self.calls.iter().filter(|call| call.is_sync() && is_log(&call.target));
        found.count()
    }

    /// When the answer that holds `needle` began to be written to a socket.
    fn answered(&self, needle: &[u8]) -> Option<u64> {
        let mut sockets = self.calls.iter().filter(|call| call.is_socket());
        let answer = sockets.find(|call| memmem::find(&call.data, needle).is_some());
        answer.map(|call| call.entered)
    }

    /// Why the write that is known by `marker` was not durable when the answer with `event_id` was written; `None` when it
    /// was. The event's body holds the marker at least three times: a log that frames its bytes may cut through one.
    #[must_use]
    pub fn fault(&self, is_log: impl Fn(&str) -> bool, marker: &str, event_id: &str) -> Option<String> {
        let needle = format!("\"event_id\":\"{event_id}\"");
        let Some(answered) = self.answered(needle.as_bytes()) else {
            return Some(format!("{marker}: no answer with {event_id} in the trace"));
        };
        let logs = self.calls.iter().filter(|call| !call.is_sync() && is_log(&call.target));
        let mut found = 0;
        let mut written: Option<(&str, u64)> = None;
        for call in logs.filter(|call| call.left <= answered) {
            let here = memmem::find_iter(&call.data, marker).count();
            if here > 0 {
                found += here;
                written = Some((&call.target, call.left));
            }
        }
        let (Some((log, written)), true) = (written, found >= 2) else {
            return Some(format!("{marker}: in the log {found} times before its answer"));
        };
        let covers =
            |call: &Call| call.is_sync() && call.target == log && call.entered >= written && call.left <= answered;
        if self.calls.iter().any(covers) {
            return None;
        }
        let since = answered.saturating_sub(written) / 1000;
        Some(format!("{marker}: answered {since} µs after its bytes were written to {log}, with no sync between"))
    }
}

fn files(prefix: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (folder, name) = (prefix.parent().unwrap_or(Path::new(".")), prefix.file_name().unwrap_or_default());
    let start = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)) {
            found.push(path);
        }
    }
    Ok(found)
}

fn lossy(path: &PathBuf) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

fn has_end(text: &str) -> bool {
    let last = text.lines().last().unwrap_or_default();
    last.contains("+++ exited with") || last.contains("+++ killed by") || last.contains("+++ superseded")
}

fn nanoseconds(seconds: &str) -> Option<u64> {
    let (whole, part) = seconds.split_once('.')?;
    let part: String = format!("{part:0<9}").chars().take(9).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(part.parse().ok()?)
}

/// `TIME NAME(FD<TARGET>, …) = RESULT <DURATION>`; `None` for everything else and for calls that failed.
fn parse_line(line: &str) -> Option<Call> {
    let (time, rest) = line.split_once(' ')?;
    let entered = nanoseconds(time)?;
    let (name, rest) = rest.split_once('(')?;
    let (_, rest) = rest.split_once('<')?;
    let (target, arguments) = rest.split_once('>')?;
    let (_, outcome) = arguments.rsplit_once(") = ").or_else(|| arguments.rsplit_once(')'))?;
    let outcome = outcome.trim_start().trim_start_matches("= ");
    let (result, duration) = outcome.split_once(" <")?;
    if result.starts_with('-') {
        return None;
    }
    let left = entered + nanoseconds(duration.strip_suffix('>')?)?;
    let data = quoted(arguments);
    Some(Call { name: name.to_owned(), target: target.to_owned(), data, entered, left })
}

/// The contents of all quoted strings of a line, unescaped and joined.
fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes().peekable();
    let mut inside = false;
    while let Some(byte) = bytes.next() {
        match (inside, byte) {
            (_, b'"') => inside = !inside,
            (true, b'\\') => match bytes.next() {
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let Some(next @ b'0'..=b'7') = bytes.peek().copied() else {
                            break;
                        };
                        value = value * 8 + u32::from(next - b'0');
                        bytes.next();
                    }
                    out.push(u8::try_from(value & 0xff).unwrap_or_default());
                }
                Some(letter) => out.push(match letter {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'v' => 0x0b,
                    b'f' => 0x0c,
                    other => other,
                }),
                None => {}
            },
            (true, other) => out.push(other),
            (false, _) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WRITE: &str = r#"100.000000100 write(7</d/4.log>, "x\0mk1 mk1 mk1\"", 13) = 13 <0.000000050>"#;
    const SYNC: &str = "100.000000200 fdatasync(7</d/4.log>) = 0 <0.000000500>";

    fn answer(at: u32) -> String {
        format!(
            r#"100.{at:09} writev(9<socket:[55]>, [{{iov_base="HTTP/1.1 200 OK\r\n\r\n", iov_len=19}}, {{iov_base="{{\"event_id\":\"$e\"}}", iov_len=17}}], 2) = 36 <0.000000010>"#
        )
    }

    fn fault(lines: &[&str]) -> Option<String> {
        let text = lines.join("\n");
        Trace::parse(std::iter::once(text.as_str())).fault(|path| path.ends_with(".log"), "mk1", "$e")
    }

    #[test]
    fn reads_a_line() {
        let call = parse_line(WRITE).unwrap();
        assert_eq!((call.name.as_str(), call.target.as_str()), ("write", "/d/4.log"));
        assert_eq!(call.data, b"x\0mk1 mk1 mk1\"");
        assert_eq!((call.entered, call.left), (100_000_000_100, 100_000_000_150));
        assert_eq!(parse_line(&answer(9)).unwrap().data, b"HTTP/1.1 200 OK\r\n\r\n{\"event_id\":\"$e\"}");
        assert!(parse_line("100.000000200 fdatasync(7</d/4.log>) = -1 EIO (I/O) <0.000000500>").is_none());
        assert!(parse_line("100.000000200 +++ exited with 0 +++").is_none());
        let padded = parse_line("100.000000200 fsync(7</d/4.log>)         = 0 <0.000000500>").unwrap();
        assert!(padded.is_sync());
    }

    #[test]
    fn a_sync_between_write_and_answer_covers_it() {
        assert_eq!(fault(&[WRITE, SYNC, &answer(700)]), None);
    }

    #[test]
    fn everything_else_does_not() {
        assert!(fault(&[WRITE, &answer(700)]).unwrap().contains("no sync"));
        assert!(fault(&[WRITE, SYNC, &answer(699)]).unwrap().contains("no sync"));
        let early = "100.000000120 fdatasync(7</d/4.log>) = 0 <0.000000500>";
        assert!(fault(&[WRITE, early, &answer(700)]).unwrap().contains("no sync"));
        let other = "100.000000200 fdatasync(7</d/5.log>) = 0 <0.000000500>";
        assert!(fault(&[WRITE, other, &answer(700)]).unwrap().contains("no sync"));
        assert!(fault(&[SYNC, &answer(700)]).unwrap().contains("0 times"));
        assert!(fault(&[WRITE, SYNC]).unwrap().contains("no answer"));
        let late = WRITE.replace("100.000000100", "100.000000800");
        assert!(fault(&[&late, SYNC, &answer(700)]).unwrap().contains("0 times"));
    }
}
