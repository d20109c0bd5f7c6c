//! What the kernel says of this process and its files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The type of the file system that a folder is on.
pub fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((PathBuf::from(words.next()?), words.next()?.to_owned()))
    });
    let on = mounts.filter(|(point, _)| folder.starts_with(point));
    // Of two mounts on one point the later one is seen.
    on.max_by_key(|(point, _)| point.components().count()).expect("no mount holds the folder").1
}

pub fn in_memory(kind: &str) -> bool {
    ["tmpfs", "ramfs", "devtmpfs"].contains(&kind)
}

pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// CPU time of this process, microseconds; the kernel gives it in hundredths of a second.
pub fn cpu_micros() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    // User and system time are the fields 14 and 15, of which the name is the second.
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks * 10_000
}
