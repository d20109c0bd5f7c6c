//! Glob patterns, compiled once: `*` for any run of characters, `?` for one, letters in any case.
//!
//! Matching takes time linear in the text whatever the pattern: a pattern is the rule's owner's, the text a stranger's.

use memchr::memmem::Finder;

/// Characters and `?` of a pattern with wildcards, at most: positions of the matcher fit one word.
const MAX_TOKENS: usize = 127;
/// Bytes of a pattern, at most.
pub(crate) const MAX_PATTERN: usize = 512;

/// How a pattern is laid over a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The whole text.
    Whole,
    /// Any part of it that begins and ends at word boundaries; words are made of `[A-Za-z0-9_]`.
    Words,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// Nothing matches.
    Never,
    /// The whole text, lower-cased, is this.
    Equal(Box<str>),
    /// The lower-cased text has this between word boundaries.
    Word(Box<Finder<'static>>),
    /// With wildcards.
    Glob(Box<Glob>),
}

impl Pattern {
    /// Compiles a pattern. One that is too long for this server matches nothing.
    pub(crate) fn new(pattern: &str, extent: Extent) -> Self {
        if pattern.len() > MAX_PATTERN {
            return Self::Never;
        }
        let pattern = pattern.to_lowercase();
        if pattern.contains(['*', '?']) {
            return Glob::new(&pattern, extent).map_or(Self::Never, |glob| Self::Glob(Box::new(glob)));
        }
        match extent {
            Extent::Words if !pattern.is_empty() => Self::Word(Box::new(Finder::new(pattern.as_bytes()).into_owned())),
            _ => Self::Equal(pattern.into()),
        }
    }

    /// Whether a pattern can be compiled.
    pub(crate) fn is_acceptable(pattern: &str, extent: Extent) -> bool {
        !matches!(Self::new(pattern, extent), Self::Never)
    }

    /// Whether a text, in its own case, matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Equal(pattern) if text.is_ascii() => text.eq_ignore_ascii_case(pattern),
            _ => self.matches_lower(&text.to_lowercase()),
        }
    }

    /// Whether a text that is lower-case already matches.
    pub(crate) fn matches_lower(&self, text: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Equal(pattern) => **pattern == *text,
            Self::Word(finder) => has_word(text.as_bytes(), finder),
            Self::Glob(glob) => glob.matches(text),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a part of a text may begin or end at a byte offset: not in the middle of a word. Bytes of other scripts'
/// characters are no word bytes, so looking at bytes is enough.
fn is_boundary(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|byte| is_word(*byte));
    let behind = text.get(at).is_some_and(|byte| is_word(*byte));
    !(before && behind)
}

fn has_word(text: &[u8], finder: &Finder<'_>) -> bool {
    let length = finder.needle().len();
    let mut from = 0;
    while let Some(found) = text.get(from..).and_then(|rest| finder.find(rest)) {
        let start = from + found;
        if is_boundary(text, start) && is_boundary(text, start + length) {
            return true;
        }
        from = start + 1;
    }
    false
}

/// A pattern with wildcards, as a nondeterministic automaton: bit i of a state set says that i tokens are matched.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    extent: Extent,
    /// The set that means success.
    accept: u128,
    /// States that a `*` keeps alive over any character.
    stars: u128,
    /// Bit i: token i is `?`.
    any: u128,
    /// Bit i: token i is the character, or `?`.
    chars: Vec<(char, u128)>,
    /// The longest run without wildcards: texts that lack it are done with at once.
    run: Option<Finder<'static>>,
}

impl Glob {
    fn new(pattern: &str, extent: Extent) -> Option<Self> {
        let (mut stars, mut any, mut chars, mut tokens) = (0u128, 0u128, Vec::<(char, u128)>::new(), 0usize);
        for c in pattern.chars() {
            if c == '*' {
                stars |= 1 << tokens;
                continue;
            }
            if tokens == MAX_TOKENS {
                return None;
            }
            match chars.iter_mut().find(|(known, _)| *known == c) {
                _ if c == '?' => any |= 1 << tokens,
                Some((_, bits)) => *bits |= 1 << tokens,
                None => chars.push((c, 1 << tokens)),
            }
            tokens += 1;
        }
        for (_, bits) in &mut chars {
            *bits |= any;
        }
        let run = pattern.split(['*', '?']).max_by_key(|run| run.len()).filter(|run| !run.is_empty());
        let run = run.map(|run| Finder::new(run.as_bytes()).into_owned());
        Some(Self { extent, accept: 1 << tokens, stars, any, chars, run })
    }

    fn matches(&self, text: &str) -> bool {
        if self.run.as_ref().is_some_and(|run| run.find(text.as_bytes()).is_none()) {
            return false;
        }
        match self.extent {
            Extent::Whole => text.chars().fold(1, |states, c| self.step(states, c, true)) & self.accept != 0,
            Extent::Words => self.matches_words(text),
        }
    }

    fn matches_words(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut states = 0u128;
        for (at, c) in text.char_indices() {
            let boundary = is_boundary(bytes, at);
            states |= u128::from(boundary);
            if boundary && states & self.accept != 0 {
                return true;
            }
            // Wildcards do not reach over the end of a line.
            states = self.step(states, c, c != '\n');
        }
        // The end of a text is a boundary always.
        (states | 1) & self.accept != 0
    }

    fn step(&self, states: u128, c: char, wild: bool) -> u128 {
        let bits = self.chars.iter().find(|(known, _)| *known == c).map(|(_, bits)| *bits);
        let (any, stars) = if wild { (self.any, self.stars) } else { (0, 0) };
        let bits = match bits {
            Some(bits) if wild => bits,
            Some(bits) => bits & !self.any,
            None => any,
        };
        ((states & bits) << 1) | (states & stars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern, Extent::Words).matches(text)
    }

    #[test]
    fn words_are_found_between_boundaries() {
        assert!(words("Cake", "I want cake!"));
        assert!(!words("cake", "pancakes"));
        assert!(words("cake", "pancakes, cake"));
        assert!(words("über", "ÜBER allem"));
        assert!(words("ca*e", "a cat eats cane."));
        assert!(!words("c?ke", "cheesecake"));
        assert!(!words("a*b", "a\nb"));
        assert!(words("", "") && !words("", "x"));
        assert!(words("**", "x") && words("c?*e", "a crane") && !words("c??*", "a c"));
    }

    #[test]
    fn whole_texts_are_matched_with_wildcards() {
        let whole = |pattern: &str, text: &str| Pattern::new(pattern, Extent::Whole).matches(text);
        assert!(whole("m.room.*", "M.Room.Member"));
        assert!(whole("*.x?", "a\n.xy"));
        assert!(!whole("a?c", "ac"));
        assert!(!whole("abc", "abcd"));
        assert!(!Pattern::is_acceptable(&"?".repeat(MAX_TOKENS + 1), Extent::Whole));
        assert!(Pattern::is_acceptable(&"?".repeat(MAX_TOKENS), Extent::Whole));
        assert!(whole(&"?".repeat(MAX_TOKENS), &"x".repeat(MAX_TOKENS)));
    }
}
