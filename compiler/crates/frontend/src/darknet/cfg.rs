//! The `.cfg` text: sections and options with their places, and the untouched bytes beside them.
//!
//! Reads what Darknet's `read_cfg` reads: whitespace is ignored everywhere, `#` and `;` start comment lines, the
//! first of two equal keys wins, `key=` without a value is as good as absent.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use nom::branch::alt;
use nom::bytes::complete::{take_till, take_while};
use nom::character::complete::char;
use nom::combinator::{map, rest, verify};
use nom::sequence::{preceded, separated_pair};
use nom::{IResult, Offset, Parser};

use secateur_base::files::read_limited;
use secateur_base::limits::MAX_TEXT_BYTES;
use secateur_base::{Error, Result, kind};

/// Longer lines are not shown in messages.
const MAX_SHOWN_LINE: usize = 300;

/// A parsed cfg. [`Cfg::to_bytes`] gives back every byte that was not [`set`](Cfg::set).
#[derive(Debug, Clone)]
pub struct Cfg {
    path: PathBuf,
    bytes: Vec<u8>,
    /// `[net]` first.
    sections: Vec<Section>,
    /// Replacements: (start in `bytes`, order) → (end in `bytes`, new text).
    edits: BTreeMap<(usize, usize), (usize, String)>,
}

/// One `[section]` with its options.
#[derive(Debug, Clone)]
pub struct Section {
    /// Without brackets and blanks.
    pub name: String,
    /// 1-based line of the header.
    pub line: usize,
    /// The header in the file.
    pub span: Range<usize>,
    pub entries: Vec<Entry>,
    /// Position of a new option's line: after the last option, or the header.
    insert_at: usize,
}

/// One `key=value` line.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Without blanks.
    pub key: String,
    /// Without blanks and without a comment at its end.
    pub value: String,
    /// The comment at its end, which Darknet takes for a part of the value; empty if there is none.
    pub comment: String,
    /// 1-based.
    pub line: usize,
    /// The value in the file, outer blanks and the comment excluded.
    pub span: Range<usize>,
    /// Its key in [`Cfg::edits`].
    edit: Option<(usize, usize)>,
    /// Not in the file: what ends the line in front of it.
    inserted: Option<&'static str>,
}

impl Entry {
    /// `key=`, which Darknet ignores.
    fn is_absent(&self) -> bool {
        self.value.is_empty() && self.comment.is_empty()
    }
}

impl Section {
    /// The option that Darknet would find: the first of that name.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key && !entry.is_absent())
    }

    /// The value of [`Section::entry`].
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entry(key).map(|entry| entry.value.as_str())
    }
}

/// Content of one line; slices of the line.
enum Line<'a> {
    Nothing,
    Header { name: &'a [u8], after: &'a [u8] },
    Option { key: &'a [u8], value: &'a [u8] },
    Other,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn line(input: &[u8]) -> IResult<&[u8], Line<'_>> {
    let comment = map(preceded(alt((char('#'), char(';'))), rest), |_| Line::Nothing);
    let header = map(
        (preceded(char('['), take_till(|b| b == b']')), char(']'), rest),
        |(name, _, after): (&[u8], char, &[u8])| Line::Header { name, after },
    );
    let option = map(
        separated_pair(verify(take_till(|b| b == b'='), |key: &[u8]| !key.is_empty()), char('='), rest),
        |(key, value): (&[u8], &[u8])| Line::Option { key, value },
    );
    let nothing = map(verify(rest, |text: &[u8]| text.is_empty()), |_| Line::Nothing);
    let other = map(rest, |_| Line::Other);
    preceded(take_while(is_blank), alt((nothing, comment, header, option, other))).parse(input)
}

impl Cfg {
    /// Reads a file; larger than 1 MiB is an error before anything is read.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(path, &read_limited(path, MAX_TEXT_BYTES)?)
    }

    /// Parses `bytes`; `path` is for messages only.
    ///
    /// # Errors
    /// Lines that are neither section, option nor comment; bytes that are not UTF-8 outside comments;
    /// anything before the first section; a first section other than `[net]` or `[network]`.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut cfg = Self {
            path: path.to_owned(),
            bytes: bytes.to_vec(),
            sections: Vec::new(),
            edits: BTreeMap::new(),
        };
        if bytes.len() as u64 > MAX_TEXT_BYTES {
            return Err(Error::new("file is too large")
                .file(path)
                .found(format!("{} bytes", bytes.len()))
                .allowed(format!("at most {MAX_TEXT_BYTES} bytes"))
                .help("check that this is the .cfg and not the .weights"));
        }
        kind::check(path, bytes, kind::DARKNET_CFG)?;
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            return Err(cfg
                .error("file starts with a byte-order mark, which Darknet cannot read", 1, &(0..3))
                .help("save the file as UTF-8 without BOM"));
        }
        let mut start = 0;
        for (index, text) in bytes.split(|&b| b == b'\n').enumerate() {
            cfg.add_line(text, start, index + 1)?;
            start += text.len() + 1;
        }
        match cfg.sections.first() {
            None => Err(Error::new("file has no sections")
                .file(path)
                .found(if bytes.is_empty() { "an empty file" } else { "blank lines and comments only" })
                .allowed("[net] and then the layers")
                .help("check that this is a Darknet .cfg")),
            Some(net) if net.name != "net" && net.name != "network" => Err(cfg
                .error("the first section must describe the input", net.line, &net.span)
                .found(format!("[{}]", net.name))
                .allowed("[net] or [network]")
                .help("start the file with [net] and its width, height and channels")),
            Some(_) => Ok(cfg),
        }
    }

    fn add_line(&mut self, text: &[u8], start: usize, number: usize) -> Result<()> {
        let whole = start..start + text.len();
        let (_, line) = line(text).map_err(|_| self.error("line cannot be read", number, &whole))?;
        let part = |part: &[u8]| {
            let from = start + text.offset(part);
            from..from + part.len()
        };
        match line {
            Line::Nothing => Ok(()),
            Line::Header { name, after } => {
                if !after.iter().copied().all(is_blank) {
                    return Err(self
                        .error("text after a section's name", number, &part(after))
                        .allowed("nothing: Darknet would take it for a part of the name")
                        .help("put the comment on a line of its own"));
                }
                let name = self.word(name, number, &part(name))?;
                let insert_at = whole.end;
                self.sections.push(Section {
                    name,
                    line: number,
                    span: whole,
                    entries: Vec::new(),
                    insert_at,
                });
                Ok(())
            }
            Line::Option { key, value } => {
                let (value, comment) = value
                    .split_at(value.iter().position(|b| matches!(b, b'#' | b';')).unwrap_or(value.len()));
                let span = trim(&self.bytes, part(value));
                let key = self.word(key, number, &part(key))?;
                let value = self.word(value, number, &part(value))?;
                let comment = String::from_utf8_lossy(comment).replace([' ', '\t', '\r'], "");
                let Some(section) = self.sections.last_mut() else {
                    return Err(self
                        .error("option before the first section", number, &whole)
                        .help("start the file with [net]"));
                };
                section.entries.push(Entry {
                    key,
                    value,
                    comment,
                    line: number,
                    span,
                    edit: None,
                    inserted: None,
                });
                section.insert_at = whole.end;
                Ok(())
            }
            Line::Other => {
                // Shown or refused as text: bytes that are no text are the likelier cause.
                self.word(text, number, &whole)?;
                Err(self
                    .error("line is neither a section, an option nor a comment", number, &whole)
                    .found(clip(&String::from_utf8_lossy(text)))
                    .allowed("[section], key=value, # comment or ; comment")
                    .help("check that this is a Darknet .cfg"))
            }
        }
    }

    /// `text` without blanks, as Darknet's `strip` leaves it.
    fn word(&self, text: &[u8], line: usize, span: &Range<usize>) -> Result<String> {
        match std::str::from_utf8(text) {
            Ok(text) if !text.contains(|c: char| c.is_control() && c != '\t' && c != '\r') => {
                Ok(text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r')).collect())
            }
            Ok(_) => Err(self
                .error("control character in the text", line, span)
                .allowed("printable UTF-8")
                .help("check that this is the .cfg and not the .weights")),
            Err(at) => {
                let at = span.start + at.valid_up_to();
                Err(self
                    .error("not UTF-8", line, &(at..at + 1))
                    .found(format!("byte 0x{:02X} at offset {at}", self.bytes[at]))
                    .allowed("UTF-8 (any bytes in comments)")
                    .help("check that this is the .cfg and not the .weights, or save it as UTF-8"))
            }
        }
    }

    /// The file's name, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The `[net]` section.
    pub fn net(&self) -> &Section {
        &self.sections[0]
    }

    /// The sections after `[net]`; the index is the layer number that Darknet prints.
    pub fn layers(&self) -> &[Section] {
        &self.sections[1..]
    }

    /// A layer's option, without blanks.
    pub fn get(&self, layer: usize, key: &str) -> Option<&str> {
        self.layers().get(layer)?.get(key)
    }

    /// Sets an option of a layer: in its place if it is there, else on a new line after the last one.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn set(&mut self, layer: usize, key: &str, value: impl ToString) {
        self.set_in(layer + 1, key, value.to_string());
    }

    /// Sets an option of `[net]`.
    pub fn set_net(&mut self, key: &str, value: impl ToString) {
        self.set_in(0, key, value.to_string());
    }

    fn set_in(&mut self, section: usize, key: &str, value: String) {
        let order = self.edits.len();
        let section = &mut self.sections[section];
        if let Some(entry) = section.entries.iter_mut().find(|entry| entry.key == key && !entry.is_absent()) {
            if entry.value == value {
                return;
            }
            entry.value.clone_from(&value);
            let edit = *entry.edit.get_or_insert((entry.span.start, order));
            let text = if let Some(end) = entry.inserted { format!("{end}{key}={value}") } else { value };
            self.edits.insert(edit, (entry.span.end, text));
            return;
        }
        let at = section.insert_at;
        // Where lines end in CR LF, the CR in front stays with its line and the new line brings its own.
        let (at, end) = if self.bytes[..at].ends_with(b"\r") { (at - 1, "\r\n") } else { (at, "\n") };
        self.edits.insert((at, order), (at, format!("{end}{key}={value}")));
        section.entries.push(Entry {
            key: key.to_owned(),
            value,
            comment: String::new(),
            line: section.line,
            span: at..at,
            edit: Some((at, order)),
            inserted: Some(end),
        });
    }

    /// The file's bytes with what was set; byte-identical if nothing was.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut done = 0;
        for ((start, _), (end, text)) in &self.edits {
            out.extend_from_slice(&self.bytes[done..*start]);
            out.extend_from_slice(text.as_bytes());
            done = *end;
        }
        out.extend_from_slice(&self.bytes[done..]);
        out
    }

    /// An error that points at `span` in `line`.
    pub(super) fn error(&self, what: impl Into<String>, line: usize, span: &Range<usize>) -> Error {
        self.locate(Error::new(what), line, span)
    }

    /// Makes `error` point at `span` in `line`.
    pub(super) fn locate(&self, error: Error, line: usize, span: &Range<usize>) -> Error {
        let line_start = self.bytes[..span.start].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let line_end = self.bytes[span.start..]
            .iter()
            .position(|&b| b == b'\n')
            .map_or(self.bytes.len(), |at| span.start + at);
        let column = String::from_utf8_lossy(&self.bytes[line_start..span.start]).chars().count() + 1;
        let error = error.file(&self.path).line(line).column(column);
        if line_end - line_start > MAX_SHOWN_LINE {
            return error;
        }
        // Bytes that are no text grow when made text: spans must grow with them.
        let lossy = |range: Range<usize>| String::from_utf8_lossy(&self.bytes[range]).into_owned();
        let before = lossy(0..span.start);
        let marked = lossy(span.clone());
        let place = (before.len(), marked.len()).into();
        let text = before + &marked + &lossy(span.end..self.bytes.len());
        error.source_text(&self.path.to_string_lossy(), text, place)
    }
}

fn trim(bytes: &[u8], span: Range<usize>) -> Range<usize> {
    let text = &bytes[span.clone()];
    let Some(first) = text.iter().position(|&b| !is_blank(b)) else { return span.start..span.start };
    let last = text.iter().rposition(|&b| !is_blank(b)).unwrap_or(first);
    span.start + first..span.start + last + 1
}

/// At most 60 characters of a user's text, for messages.
pub(super) fn clip(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).take(60).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Cfg {
        Cfg::parse(Path::new("test.cfg"), text.as_bytes()).unwrap()
    }

    const ODD: &str = "# head \u{e9}\r\n ; second\n\n [ net ]\r\n wid th = 3 2 # wide\nheight=32\n\tchannels\t=3;c\r\n\
        mosaic=\nmosaic=1\nunknown = x, y ,z\nsteps=1,2\n\n[convolutional]\nfilters=8\nfilters=16\n[dropout]";

    #[test]
    fn blanks_comments_duplicates_and_empty_values_are_read_as_darknet_does() {
        let cfg = parse(ODD);
        let net = cfg.net();
        assert_eq!(net.name, "net");
        assert_eq!(net.get("width"), Some("32"));
        assert_eq!(net.entry("width").unwrap().comment, "#wide");
        assert_eq!(net.entry("channels").unwrap().comment, ";c");
        assert_eq!(net.get("mosaic"), Some("1"));
        assert_eq!(net.get("unknown"), Some("x,y,z"));
        assert_eq!(cfg.get(0, "filters"), Some("8"));
        assert_eq!(cfg.layers()[0].line, 13);
        assert_eq!(cfg.layers().len(), 2);
        assert_eq!(cfg.get(2, "filters"), None);
    }

    #[test]
    fn comments_may_hold_any_bytes() {
        let bytes = b"[net]\n# \xB2\xE2\xCA\xD4\nwidth=8 # \xFF\n";
        let cfg = Cfg::parse(Path::new("gbk.cfg"), bytes).unwrap();
        assert_eq!(cfg.net().get("width"), Some("8"));
        assert_eq!(cfg.to_bytes(), bytes);
    }

    #[test]
    fn setting_touches_nothing_else() {
        let mut cfg = parse(ODD);
        assert_eq!(cfg.to_bytes(), ODD.as_bytes());
        cfg.set(0, "filters", 8);
        assert_eq!(cfg.to_bytes(), ODD.as_bytes());
        cfg.set(0, "filters", 7);
        cfg.set(0, "filters", 12);
        cfg.set_net("width", 64);
        cfg.set_net("channels", 1);
        let expected =
            ODD.replace("filters=8", "filters=12").replace("3 2 # wide", "64 # wide").replace("=3;c", "=1;c");
        assert_eq!(String::from_utf8(cfg.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn new_options_follow_the_last_one_and_its_line_ends() {
        let mut cfg = parse("[net]\r\nwidth=8\r\n\r\n# about it\r\n[route]\r\nlayers=-1\r\n\r\n[dropout]");
        cfg.set(0, "groups", 2);
        cfg.set(0, "group_id", 1);
        cfg.set(0, "groups", 4);
        cfg.set(1, "probability", 0.5);
        let expected = "[net]\r\nwidth=8\r\n\r\n# about it\r\n[route]\r\nlayers=-1\r\ngroups=4\r\ngroup_id=1\r\n\r\n\
            [dropout]\nprobability=0.5";
        assert_eq!(String::from_utf8(cfg.to_bytes()).unwrap(), expected);
        assert_eq!(parse(expected).get(0, "groups"), cfg.get(0, "groups"));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(text in "(\\[net\\]\n)?([ \t#;=,a-z0-9\\[\\]\r\n.\u{e9}-]|\\[[a-z ]{1,9}\\]\n|[a-z]{1,6} ?= ?[0-9,]{0,4}[#;\r]?\n){0,60}") {
            if let Ok(cfg) = Cfg::parse(Path::new("any.cfg"), text.as_bytes()) {
                prop_assert_eq!(cfg.to_bytes(), text.as_bytes());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = Cfg::parse(Path::new("any.cfg"), &bytes) {
                let report = format!("{:?}", miette::Report::new(error));
                prop_assert!(report.contains("any.cfg"), "{}", report);
            }
        }

        #[test]
        fn what_is_set_is_read_back(
            edits in proptest::collection::vec((0usize..4, 0usize..4, 0u16..100), 0..12),
            crlf: bool,
        ) {
            let text = "[net]\nwidth = 8 # w\n\n[route]\nlayers=-1\n# x\n[conv]\n\n[dropout]\na=1\n  b=2;";
            let text = if crlf { text.replace('\n', "\r\n") } else { text.to_owned() };
            let mut cfg = parse(&text);
            for &(section, key, value) in &edits {
                cfg.set_in(section, ["width", "a", "b", "c"][key], value.to_string());
            }
            let again = Cfg::parse(Path::new("again.cfg"), &cfg.to_bytes()).unwrap();
            for (old, new) in cfg.sections.iter().zip(&again.sections) {
                for key in ["width", "layers", "a", "b", "c"] {
                    prop_assert_eq!(old.get(key), new.get(key), "{} in {:?}", key, again.to_bytes());
                }
            }
            prop_assert_eq!(cfg.sections.len(), again.sections.len());
        }
    }
}
