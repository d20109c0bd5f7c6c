//! What is asserted of the costs of forks.

use super::{counted::Reads, forks::Cost};

/// The reads in a large room are those in a small one, but for the height of the trees, which is the logarithm of the size.
pub fn as_small(what: &str, small: &Cost, large: &Cost) {
    assert_eq!(small.events, large.events);
    for (which, small, large) in
        [("all", small.all, large.all), ("last", small.last, large.last), ("meeting", small.meeting, large.meeting)]
    {
        let about = |small: u64, large: u64, times: u64, more: u64| large <= small * times + more;
        let told = || format!("{what}, {which}: small room {small}, large room {large}");
        assert!(about(small.nodes, large.nodes, 3, 8), "nodes: {}", told());
        assert!(2 * large.events <= 3 * small.events + 16, "events: {}", told());
        assert!(2 * large.chains <= 3 * small.chains + 16, "auth chains: {}", told());
        assert!(about(small.others, large.others, 1, 8), "others: {}", told());
    }
}

/// With `times` as many branches an event that finds all of them reads that many times as much, roughly, and never the square of it;
/// and a wide fork does read more than a narrow one, which shows that something was counted.
pub fn by_conflict(what: &str, narrow: &Cost, wide: &Cost, times: usize) {
    let told = || format!("{what}: narrow {}, wide {}", narrow.last, wide.last);
    let times = times as u64;
    let linear = |narrow: u64, wide: u64| wide <= narrow * times * 2 + 64;
    let fields = |reads: Reads| [reads.nodes, reads.events, reads.chains, reads.others];
    for (narrow, wide) in fields(narrow.last).into_iter().zip(fields(wide.last)) {
        assert!(linear(narrow, wide), "{}", told());
    }
    assert!(wide.all.sum() > narrow.all.sum(), "{}", told());
}
