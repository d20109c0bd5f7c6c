//! CPU time and memory of a process and its descendants, as Linux tells them.

use std::fs;
use std::time::Duration;

use super::LoadError;

/// Clock ticks a second in `/proc/PID/stat`: fixed at 100 by the kernel's user-space interface on the machines this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What one process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all threads, children that ended and were waited for included.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

struct Stat {
    parent: u32,
    ticks: u64,
    own_ticks: u64,
}

/// The fields after the command name, which may itself hold spaces and brackets.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // Counted from the state (field 3 of proc(5)): utime 14, stime 15, cutime 16, cstime 17.
    let own_ticks = number(11)? + number(12)?;
    let ticks = own_ticks + number(13)? + number(14)?;
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks, own_ticks })
}

fn read_stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 1000 / TICKS_PER_SECOND)
}

/// Resident memory in bytes; nothing for a process that has just ended.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

/// CPU time of this process alone, its children left out.
///
/// # Errors
/// [`LoadError::Process`] when the kernel does not say.
pub fn own_cpu() -> Result<Duration, LoadError> {
    let stat = read_stat(std::process::id()).ok_or_else(|| LoadError::Process("no /proc".to_owned()))?;
    Ok(ticks(stat.own_ticks))
}

/// `root` and all its living descendants.
fn family(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Some(stat) = read_stat(pid)
        {
            parents.push((pid, stat.parent));
        }
    }
    let mut members = vec![root];
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        members.extend(parents.iter().filter(|(pid, of)| *of == parent && *pid != root).map(|(pid, _)| *pid));
        next += 1;
    }
    members
}

/// The usage of `root` and all its descendants together.
///
/// # Errors
/// [`LoadError::Process`] when `root` does not run.
pub fn usage(root: u32) -> Result<Usage, LoadError> {
    let mut total = Usage::default();
    for pid in family(root) {
        let Some(stat) = read_stat(pid) else {
            if pid == root {
                return Err(LoadError::Process(format!("there is no process {root}")));
            }
            continue;
        };
        total.cpu += ticks(stat.ticks);
        total.resident += resident(pid);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_command_name_may_hold_anything() {
        let line = "42 (a) b (c) S 7 0 0 0 0 0 0 0 0 0 11 13 2 3 0 0 0 0 0 0 99 0 0";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.ticks, stat.own_ticks), (7, 29, 24));
    }

    #[test]
    fn this_process_is_seen() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident > 0);
    }
}
