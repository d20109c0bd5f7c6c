//! Words, whatever language they are of.
//!
//! A word is a run of letters, digits and their marks, in lower case, its accents taken off. Scripts that are written without spaces have no
//! words that could be told apart without a dictionary: their characters are found one by one and in pairs.

use std::ops::Range;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Characters of a word, at most; what is longer goes on in the next one.
const MAX_CHARS: usize = 64;

/// A word and where it stands in its text, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) place: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Between,
    Letter,
    /// Of a script without spaces.
    Unspaced,
}

fn kind(c: char) -> Kind {
    match c {
        // Thai, Lao, Myanmar, Khmer; kana; Han; Hangul, whose words carry their particles with them.
        '\u{e00}'..='\u{eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3fffd}' => {
            if c.is_alphanumeric() || is_combining_mark(c) {
                Kind::Unspaced
            } else {
                Kind::Between
            }
        }
        _ if c.is_alphanumeric() || is_combining_mark(c) => Kind::Letter,
        _ => Kind::Between,
    }
}

/// Marks that people leave out when they type: accents, Hebrew points, Arabic vowels.
fn is_left_out(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{64b}'..='\u{65f}') && is_combining_mark(c)
}

/// A letter as it is looked for.
fn fold(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c.to_ascii_lowercase());
        return;
    }
    for c in std::iter::once(c).nfkd().flat_map(char::to_lowercase).filter(|c| !is_left_out(*c)) {
        match c {
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'œ' => out.push_str("oe"),
            'þ' => out.push_str("th"),
            'ø' => out.push('o'),
            'đ' | 'ð' => out.push('d'),
            'ł' => out.push('l'),
            'ı' => out.push('i'),
            'ς' => out.push('σ'),
            c => out.push(c),
        }
    }
}

/// Calls `each` with the runs of a text: what kind they are of, where they stand, and their characters.
fn runs(text: &str, mut each: impl FnMut(Kind, &[(usize, char)], usize)) {
    let mut run: Vec<(usize, char)> = Vec::new();
    let mut of = Kind::Between;
    for (at, c) in text.char_indices() {
        let next = kind(c);
        if next != of || (of == Kind::Letter && run.len() == MAX_CHARS) {
            if of != Kind::Between {
                each(of, &run, at);
            }
            run.clear();
            of = next;
        }
        if next != Kind::Between {
            run.push((at, c));
        }
    }
    if of != Kind::Between {
        each(of, &run, text.len());
    }
}

fn split(text: &str, singles: impl Fn(usize) -> bool) -> Vec<Word> {
    let mut words = Vec::new();
    let mut add = |chars: &[(usize, char)], end: usize| {
        let Some((start, _)) = chars.first() else { return };
        let mut folded = String::with_capacity(end - start);
        chars.iter().for_each(|(_, c)| fold(*c, &mut folded));
        if !folded.is_empty() {
            words.push(Word { text: folded, place: *start..end });
        }
    };
    runs(text, |kind, run, end| match kind {
        Kind::Unspaced => {
            let end_of = |index: usize| run.get(index + 1).map_or(end, |(at, _)| *at);
            for index in 0..run.len() {
                if singles(run.len()) {
                    add(run.get(index..=index).unwrap_or_default(), end_of(index));
                }
                if let Some(pair) = run.get(index..index + 2) {
                    add(pair, end_of(index + 1));
                }
            }
        }
        _ => add(run, end),
    });
    words
}

/// What a text can be found by.
pub(crate) fn of_text(text: &str) -> Vec<Word> {
    split(text, |_| true)
}

/// What somebody looks for: of scripts without spaces pairs where there are any, since one character says little.
pub(crate) fn of_query(text: &str) -> Vec<Word> {
    split(text, |length| length == 1)
}

/// [`of_text`] for the index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    token: Token,
}

/// See [`Words`].
pub(crate) struct Stream<'a> {
    words: std::vec::IntoIter<Word>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        self.token.reset();
        Stream { words: of_text(text).into_iter(), token: &mut self.token }
    }
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        (self.token.offset_from, self.token.offset_to) = (word.place.start, word.place.end);
        self.token.text = word.text;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: Vec<Word>) -> Vec<String> {
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_lose_case_and_accents() {
        let of = |text| texts(of_text(text));
        assert_eq!(of("Hello, WORLD! it's 2026"), ["hello", "world", "it", "s", "2026"]);
        assert_eq!(of("Crème BRÛLÉE für Straße, Łódź Ørsted"), ["creme", "brulee", "fur", "strasse", "lodz", "orsted"]);
        assert_eq!(of("e\u{301}te\u{301} ＡＢＣ ﬁn"), ["ete", "abc", "fin"]);
        assert_eq!(of("ΟΔΟΣ οδός"), ["οδοσ", "οδοσ"]);
        assert_eq!(of("Ёлка שָׁלוֹם"), ["елка", "שלום"]);
        assert_eq!(of("हिन्दी"), ["हिन्दी"], "its vowels are no accents");
        assert!(of(" \n-–…🍕\u{301}").iter().all(String::is_empty));
    }

    #[test]
    fn scripts_without_spaces_are_found_in_pairs() {
        assert_eq!(texts(of_text("夕食 abc")), ["夕", "夕食", "食", "abc"]);
        assert_eq!(texts(of_text("東京都")), ["東", "東京", "京", "京都", "都"]);
        assert_eq!(texts(of_query("東京都")), ["東京", "京都"]);
        assert_eq!(texts(of_query("東")), ["東"]);
        assert_eq!(texts(of_query("점심")), ["점심".nfkd().collect::<String>()]);
    }

    #[test]
    fn places_are_those_of_the_text() {
        let text = "Zwei Crèmes: 東京";
        let found: Vec<&str> = of_query(text).into_iter().map(|word| &text[word.place]).collect();
        assert_eq!(found, ["Zwei", "Crèmes", "東京"]);
    }

    #[test]
    fn long_runs_are_cut_and_nothing_is_lost() {
        let text = "x".repeat(150);
        let words = of_text(&text);
        assert_eq!(words.iter().map(|word| word.text.len()).collect::<Vec<_>>(), [64, 64, 22]);
        assert_eq!(words.last().unwrap().place, 128..150);
    }
}
