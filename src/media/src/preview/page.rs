//! What an HTML page says of itself: [Open Graph](https://ogp.me/), and where that is missing, its title, its description and its first
//! picture. The page is read tag by tag; there is no tree of it.

use std::{cell::RefCell, collections::BTreeMap};

use html5ever::{
    TokenizerResult,
    buffer_queue::BufferQueue,
    tokenizer::{
        Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::{Rawtext, Rcdata, ScriptData},
    },
};

/// Properties that are kept, at most.
const MAX_PROPERTIES: usize = 48;
/// The longest name and value of one, in characters.
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 1000;
/// Pictures that are named, at most.
const MAX_PICTURES: usize = 8;

/// What a page says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// `og:…` and values, pictures left out.
    pub(super) properties: BTreeMap<String, String>,
    /// Links to pictures, the best first.
    pub(super) pictures: Vec<String>,
    /// What links within it start from.
    pub(super) base: Option<String>,
}

/// Reads a page.
pub(super) fn read(html: &str) -> Page {
    let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(html.into());
    while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
    tokenizer.end();
    tokenizer.sink.0.into_inner().page()
}

#[derive(Debug, Default)]
struct Reader(RefCell<Notes>);

#[derive(Debug, Default)]
struct Notes {
    graph: BTreeMap<String, String>,
    /// How well they fit, and the links.
    pictures: Vec<(Fit, String)>,
    /// `twitter:…` and the like, by the property that they stand in for.
    instead: BTreeMap<&'static str, String>,
    title: Option<String>,
    in_title: bool,
    base: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Graph,
    Card,
    Shown,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut notes = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => notes.open(&tag),
            Token::TagToken(tag) => {
                notes.in_title &= &*tag.name != "title";
                TokenSinkResult::Continue
            }
            Token::CharacterTokens(text) => {
                if notes.in_title
                    && let Some(title) = &mut notes.title
                    && title.len() < 4 * MAX_VALUE
                {
                    title.push_str(&text);
                }
                TokenSinkResult::Continue
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

impl Notes {
    fn open(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        match &*tag.name {
            "meta" => self.meta(tag),
            "title" => {
                // Those of pictures within the page come later.
                if self.title.is_none() {
                    (self.title, self.in_title) = (Some(String::new()), true);
                }
                return TokenSinkResult::RawData(Rcdata);
            }
            "base" if self.base.is_none() => self.base = attribute(tag, "href").map(str::to_owned),
            "link" if attribute(tag, "rel") == Some("image_src") => self.picture(Fit::Card, attribute(tag, "href")),
            "img" => self.picture(Fit::Shown, attribute(tag, "src")),
            "textarea" => return TokenSinkResult::RawData(Rcdata),
            "script" => return TokenSinkResult::RawData(ScriptData),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => return TokenSinkResult::RawData(Rawtext),
            "plaintext" => return TokenSinkResult::Plaintext,
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn meta(&mut self, tag: &Tag) {
        let name = attribute(tag, "property").or_else(|| attribute(tag, "name"));
        let (Some(name), Some(content)) = (name, attribute(tag, "content")) else { return };
        let name = name.trim().to_ascii_lowercase();
        match &*name {
            "og:image" | "og:image:url" | "og:image:secure_url" => self.picture(Fit::Graph, Some(content)),
            "twitter:image" | "twitter:image:src" => self.picture(Fit::Card, Some(content)),
            "twitter:title" => self.in_place_of("og:title", content),
            "twitter:description" | "description" => self.in_place_of("og:description", content),
            _ if name.starts_with("og:") && !name.starts_with("og:image") => {
                if name.len() <= MAX_NAME
                    && self.graph.len() < MAX_PROPERTIES
                    && let Some(value) = tidy(content)
                {
                    self.graph.entry(name).or_insert(value);
                }
            }
            _ => {}
        }
    }

    fn in_place_of(&mut self, name: &'static str, content: &str) {
        if let Some(value) = tidy(content) {
            self.instead.entry(name).or_insert(value);
        }
    }

    fn picture(&mut self, fit: Fit, link: Option<&str>) {
        let link = link.map(str::trim).filter(|link| !link.is_empty() && !link.starts_with("data:"));
        let of_kind = |kind: Fit| self.pictures.iter().filter(|(fit, _)| *fit == kind).count();
        // The first of a page's own pictures stands for it.
        let room = if fit == Fit::Shown { 1 } else { MAX_PICTURES };
        if let Some(link) = link.filter(|_| of_kind(fit) < room) {
            self.pictures.push((fit, link.to_owned()));
        }
    }

    fn page(mut self) -> Page {
        let title = self.title.as_deref().and_then(tidy);
        for (name, value) in self.instead.into_iter().chain(title.map(|title| ("og:title", title))) {
            self.graph.entry(name.to_owned()).or_insert(value);
        }
        self.pictures.sort_by_key(|(fit, _)| *fit);
        self.pictures.truncate(MAX_PICTURES);
        let pictures = self.pictures.into_iter().map(|(_, link)| link).collect();
        Page { properties: self.graph, pictures, base: self.base }
    }
}

fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

/// A value with single spaces, of bounded length; none where nothing is left.
fn tidy(text: &str) -> Option<String> {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.len() > 4 * MAX_VALUE {
            break;
        }
    }
    let out: String = out.chars().filter(|c| !c.is_control()).take(MAX_VALUE).collect();
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn property<'a>(page: &'a Page, name: &str) -> Option<&'a str> {
        page.properties.get(name).map(String::as_str)
    }

    #[test]
    fn a_page_with_open_graph() {
        let page = read(
            r#"<!DOCTYPE html><html prefix="og: http://ogp.me/ns#"><head><title>The Rock (1996)</title>
            <meta property="og:title" content="The &quot;Rock&quot; &amp; more" />
            <META PROPERTY='og:type' CONTENT=video.movie>
            <meta content="http://www.imdb.com/title/tt0117500/" property="og:url">
            <meta property="og:title" content="another">
            <meta property="og:image" content="rock.png"><meta property="og:image:width" content="7">
            <meta name="twitter:image" content="card.png"><base href="/sub/">
            </head><body><img src="ad.png"></body></html>"#,
        );
        assert_eq!(property(&page, "og:title"), Some("The \"Rock\" & more"));
        assert_eq!(property(&page, "og:type"), Some("video.movie"));
        assert_eq!(property(&page, "og:url"), Some("http://www.imdb.com/title/tt0117500/"));
        assert_eq!(page.properties.len(), 3, "{page:?}");
        assert_eq!(page.pictures, ["rock.png", "card.png", "ad.png"]);
        assert_eq!(page.base.as_deref(), Some("/sub/"));
    }

    #[test]
    fn a_page_without() {
        let page = read(
            "<title> Old\n  page </title><meta name=Description content='What it is about'>\
             <script>document.write('<meta property=\"og:title\" content=\"no\"><img src=no.png>')</script>\
             <style><img src=no.png></style><!-- <img src=no.png> --><textarea><img src=no.png></textarea>\
             <img src='data:image/png;base64,x'><img><img src=' one.png '><img src=two.png>\
             <svg><title>not this</title></svg>",
        );
        assert_eq!(property(&page, "og:title"), Some("Old page"));
        assert_eq!(property(&page, "og:description"), Some("What it is about"));
        assert_eq!(page.pictures, ["one.png"]);
    }

    #[test]
    fn odd_pages_cost_little() {
        for html in
            ["", "<", "<title>", "<meta property=og:title>", "\0<title>\0a</title>", "just text", "</title></b>"]
        {
            let _ = read(html);
        }
        assert_eq!(property(&read("<title>unclosed"), "og:title"), Some("unclosed"));
        let deep = "<div>".repeat(100_000);
        assert_eq!(read(&deep), Page::default());
        let many: String = (0..1000)
            .map(|n| format!("<meta property=og:x{n} content={n}><meta property=og:image content={n}>"))
            .collect();
        let page = read(&many);
        assert_eq!((page.properties.len(), page.pictures.len()), (MAX_PROPERTIES, MAX_PICTURES));
        let long = format!("<title>{}</title>", "é ".repeat(100_000));
        assert_eq!(property(&read(&long), "og:title").unwrap().chars().count(), MAX_VALUE);
    }
}
