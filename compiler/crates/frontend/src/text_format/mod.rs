//! Protobuf's text format, read without a schema: Caffe's prototxt, TensorFlow's pbtxt, config.prototxt.
//!
//! Forks of Caffe add fields of their own, so an unknown field is no error: the tree keeps every field with its
//! place, and [`Document::to_bytes`] gives back every byte that was not edited, comments too.
//! Source of the grammar: protobuf.dev, "Text Format Language Specification".

mod lexer;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use secateur_base::files::read_limited;
use secateur_base::limits::MAX_GRAPH_TEXT_BYTES;
use secateur_base::{Error, Result};

pub use lexer::quote;
pub use view::View;

/// Messages nested deeper are refused, as protobuf's own readers do.
const MAX_DEPTH: usize = 100;
/// Longer pieces of the text are not shown in messages.
const MAX_SHOWN: usize = 40;

/// A parsed text.
#[derive(Debug, Clone)]
pub struct Document {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Start of each line in `bytes`.
    lines: Vec<usize>,
    root: Message,
    /// Replacements: (start in `bytes`, order) → (end in `bytes`, new text).
    edits: BTreeMap<(usize, usize), (usize, Vec<u8>)>,
    /// How many edits there were.
    edited: usize,
}

/// A message: its fields in the order of the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub fields: Vec<Field>,
    /// What stands between its braces.
    pub span: Range<usize>,
}

/// One field with one value; `name: [1, 2]` is two fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// Where the name stands.
    pub start: usize,
    pub value: Value,
    /// The value in the text.
    pub span: Range<usize>,
}

/// A field's value. What a word means (number, enum, truth value) is known to who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number or a name, as it stands in the text.
    Word,
    /// One or several adjacent quoted strings.
    Text,
    Message(Message),
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`Document::parse`]; the file cannot be read or is too large.
    pub fn load(path: &Path) -> Result<Self> {
        Self::parse(path, read_limited(path, MAX_GRAPH_TEXT_BYTES)?)
    }

    /// Parses `bytes`; `path` is for messages only.
    ///
    /// # Errors
    /// Names the line of what is not in the format, or of a message that is nested too deep.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let mut document = Self {
            path: path.to_owned(),
            bytes,
            lines,
            root: Message::default(),
            edits: BTreeMap::new(),
            edited: 0,
        };
        document.root = Parser { document: &document, at: 0 }.whole()?;
        Ok(document)
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The outermost message.
    pub fn root(&self) -> View<'_> {
        View::new(self, &self.root)
    }

    /// 1-based line of a place in the text.
    pub fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Replaces the value of a field that [`Document::root`] leads to; `text` is in the format.
    pub fn set_value(&mut self, value: Range<usize>, text: &str) {
        self.edit(value, text.as_bytes().to_vec());
    }

    /// Writes a line behind the field that ends at `end`, as far in as that field.
    pub fn insert_after(&mut self, field: &Range<usize>, text: &str) {
        let start = self.lines[self.line(field.start) - 1];
        let indent: Vec<u8> =
            self.bytes[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).copied().collect();
        let line = [b"\n", indent.as_slice(), text.as_bytes()].concat();
        self.edit(field.end..field.end, line);
    }

    fn edit(&mut self, range: Range<usize>, text: Vec<u8>) {
        self.edits
            .retain(|(start, _), (end, _)| *start != range.start || *end != range.end || range.is_empty());
        self.edits.insert((range.start, self.edited), (range.end, text));
        self.edited += 1;
    }

    /// The text with its edits.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes.len());
        let mut at = 0;
        for ((start, _), (end, replacement)) in &self.edits {
            // An edit inside of a replaced piece went with it.
            if *start < at {
                continue;
            }
            text.extend_from_slice(&self.bytes[at..*start]);
            text.extend_from_slice(replacement);
            at = *end;
        }
        text.extend_from_slice(&self.bytes[at..]);
        text
    }

    /// A mistake at a place of the text.
    pub fn error(&self, at: usize, what: impl Into<String>) -> Error {
        let line = self.line(at);
        let start = self.lines[line - 1];
        Error::new(what).file(&self.path).line(line).column(at.saturating_sub(start) + 1)
    }

    /// A short piece of the text, for messages.
    fn shown(&self, span: Range<usize>) -> String {
        let end = span.end.min(span.start + MAX_SHOWN).min(self.bytes.len());
        let text = String::from_utf8_lossy(self.bytes.get(span.start..end).unwrap_or_default());
        match text.split('\n').next() {
            None | Some("") if span.start >= self.bytes.len() => "the end of the file".to_owned(),
            line => line.unwrap_or_default().to_owned(),
        }
    }
}

/// What ends a message.
#[derive(Clone, Copy, PartialEq)]
enum End {
    File,
    Brace(u8),
}

struct Parser<'a> {
    document: &'a Document,
    at: usize,
}

impl<'a> Parser<'a> {
    fn whole(mut self) -> Result<Message> {
        if self.rest().starts_with(b"\xEF\xBB\xBF") {
            self.at = 3;
        }
        self.message(End::File, 0)
    }

    fn rest(&self) -> &'a [u8] {
        &self.document.bytes[self.at..]
    }

    /// Takes what the token parser finds.
    fn token<T>(&mut self, parser: fn(&'a [u8]) -> nom::IResult<&'a [u8], T>) -> Option<T> {
        let (rest, found) = parser(self.rest()).ok()?;
        self.at = self.document.bytes.len() - rest.len();
        Some(found)
    }

    fn skip(&mut self) {
        self.token(lexer::trivia);
    }

    /// Takes this byte if it is the next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self, allowed: &str) -> Error {
        let document = self.document;
        document
            .error(self.at, "this is not protobuf's text format")
            .found(document.shown(self.at..document.bytes.len()))
            .allowed(allowed)
    }

    /// The fields up to the end, which is taken.
    fn message(&mut self, end: End, depth: usize) -> Result<Message> {
        if depth > MAX_DEPTH {
            return Err(self
                .document
                .error(self.at, "messages are nested too deep")
                .allowed(format!("at most {MAX_DEPTH} in each other")));
        }
        let start = self.at;
        let mut fields = Vec::new();
        loop {
            self.skip();
            let at = self.at;
            match end {
                End::File if self.rest().is_empty() => return Ok(Message { fields, span: start..at }),
                End::Brace(brace) if self.take(brace) => return Ok(Message { fields, span: start..at }),
                _ => self.field(&mut fields, depth)?,
            }
        }
    }

    fn field(&mut self, fields: &mut Vec<Field>, depth: usize) -> Result<()> {
        let start = self.at;
        let Some(name) = self.token(lexer::name) else {
            return Err(self.unexpected("a field's name, or the end of the message"));
        };
        let name = String::from_utf8_lossy(name).into_owned();
        self.skip();
        let has_colon = self.take(b':');
        self.skip();
        if self.take(b'[') {
            self.skip();
            let mut is_first = true;
            while !self.take(b']') {
                if !is_first && !self.take(b',') {
                    return Err(self.unexpected("`,` or `]`"));
                }
                is_first = false;
                self.skip();
                fields.push(self.value(name.clone(), start, true, depth)?);
                self.skip();
            }
        } else {
            fields.push(self.value(name, start, has_colon, depth)?);
        }
        self.skip();
        self.token(lexer::separator);
        Ok(())
    }

    /// One value; only a message may stand without a colon.
    fn value(&mut self, name: String, start: usize, has_colon: bool, depth: usize) -> Result<Field> {
        let from = self.at;
        let end = match self.rest().first() {
            Some(b'{') => Some(b'}'),
            Some(b'<') => Some(b'>'),
            _ => None,
        };
        if let Some(end) = end {
            self.at += 1;
            let message = self.message(End::Brace(end), depth + 1)?;
            return Ok(Field { name, start, value: Value::Message(message), span: from..self.at });
        }
        if !has_colon {
            return Err(self.unexpected("`:` and a value, or `{`"));
        }
        if self.token(lexer::quoted).is_some() {
            let mut end = self.at;
            loop {
                self.skip();
                if self.token(lexer::quoted).is_none() {
                    break;
                }
                end = self.at;
            }
            self.at = end;
            return Ok(Field { name, start, value: Value::Text, span: from..end });
        }
        match self.token(lexer::word) {
            Some(_) => Ok(Field { name, start, value: Value::Word, span: from..self.at }),
            None => Err(self.unexpected("a number, a word, a string that ends on its line, or a message")),
        }
    }
}
