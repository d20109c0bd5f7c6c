//! Messages made of words, few of them common and many rare, as in any language.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Words there are.
pub const WORDS: usize = 20_000;
/// Words in a message.
const LENGTH: std::ops::Range<usize> = 4..24;
const ONSETS: [&str; 16] = ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr"];
const VOWELS: [&str; 6] = ["a", "e", "i", "o", "u", "ei"];

/// The word of a rank; 0 is the most common one.
#[must_use]
pub fn word(rank: usize) -> String {
    let (mut rest, mut word) = (rank, String::new());
    for _ in 0..3 {
        let part = |list: &[&'static str], n: usize| list.get(n % list.len()).copied().unwrap_or_default();
        word.push_str(part(&ONSETS, rest));
        rest /= ONSETS.len();
        word.push_str(part(&VOWELS, rest));
        rest /= VOWELS.len();
    }
    word
}

/// The message of a number, the same in each run.
#[must_use]
pub fn message(number: usize) -> String {
    let mut rng = SmallRng::seed_from_u64(number as u64);
    let count = rng.random_range(LENGTH);
    let words = std::iter::repeat_with(|| {
        // Evenly spread over the logarithm of the rank: half of what is said are the hundred most common words.
        let share: f64 = rng.random();
        let rank = (share * (WORDS as f64).ln()).exp() as usize;
        word(rank.min(WORDS - 1))
    });
    words.take(count).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_differ_and_messages_repeat() {
        let words: HashSet<String> = (0..WORDS).map(word).collect();
        assert_eq!(words.len(), WORDS);
        assert_eq!(message(7), message(7));
        assert_ne!(message(7), message(8));
    }
}
