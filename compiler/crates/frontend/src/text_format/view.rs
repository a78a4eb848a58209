//! Typed reading of the tree: every accessor names file and line of a value that it cannot take.

use std::path::Path;

use secateur_base::{Error, Result};

use super::{Document, Field, Message, Value, lexer};

/// A message of a document.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    document: &'a Document,
    message: &'a Message,
}

impl<'a> View<'a> {
    pub(super) fn new(document: &'a Document, message: &'a Message) -> Self {
        Self { document, message }
    }

    /// The document that it is a part of.
    pub fn document(&self) -> &'a Document {
        self.document
    }

    /// The file that it is a part of.
    pub fn path(&self) -> &'a Path {
        self.document.path()
    }

    /// 1-based line on which it begins.
    pub fn line(&self) -> usize {
        self.document.line(self.message.span.start)
    }

    /// A mistake in this message.
    pub fn error(&self, what: impl Into<String>) -> Error {
        self.document.error(self.message.span.start.saturating_sub(1), what)
    }

    /// Its fields in the order of the text.
    pub fn fields(&self) -> &'a [Field] {
        &self.message.fields
    }

    /// The fields of this name.
    pub fn all(&self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Field> + use<'a> {
        self.message.fields.iter().filter(move |field| field.name == name)
    }

    /// The last field of this name: a later value replaces an earlier one.
    pub fn field(&self, name: &'a str) -> Option<&'a Field> {
        self.all(name).next_back()
    }

    /// Whether a field of this name is there.
    pub fn has(&self, name: &'a str) -> bool {
        self.field(name).is_some()
    }

    /// The message in a field.
    ///
    /// # Errors
    /// The value is no message.
    pub fn inner(&self, field: &'a Field) -> Result<View<'a>> {
        match &field.value {
            Value::Message(message) => Ok(View { document: self.document, message }),
            Value::Word | Value::Text => Err(self.mistake(field, "a message in braces")),
        }
    }

    /// The last message of this name.
    pub fn message(&self, name: &'a str) -> Result<Option<View<'a>>> {
        self.field(name).map(|field| self.inner(field)).transpose()
    }

    /// Every message of this name.
    pub fn messages(&self, name: &'a str) -> Result<Vec<View<'a>>> {
        self.all(name).map(|field| self.inner(field)).collect()
    }

    /// What a string says, or the word as it stands.
    pub fn bytes_of(&self, field: &'a Field) -> Result<Vec<u8>> {
        let text = &self.document.bytes[field.span.clone()];
        match field.value {
            Value::Message(_) => Err(self.mistake(field, "a string")),
            Value::Word => Ok(text.to_vec()),
            Value::Text => {
                let mut bytes = Vec::new();
                let mut rest = text;
                while let Ok((after, quoted)) = lexer::quoted(rest) {
                    if !lexer::unescape(quoted, &mut bytes) {
                        return Err(self.mistake(field, "a string with the escapes of C"));
                    }
                    rest = lexer::trivia(after).map_or(after, |(rest, ())| rest);
                }
                Ok(bytes)
            }
        }
    }

    /// [`View::bytes_of`] as text.
    pub fn text_of(&self, field: &'a Field) -> Result<String> {
        String::from_utf8(self.bytes_of(field)?).map_err(|_| self.mistake(field, "a string in UTF-8"))
    }

    /// The last string (or enum's name) of this name.
    pub fn text(&self, name: &'a str) -> Result<Option<String>> {
        self.field(name).map(|field| self.text_of(field)).transpose()
    }

    /// Every string (or enum's name) of this name.
    pub fn texts(&self, name: &'a str) -> Result<Vec<String>> {
        self.all(name).map(|field| self.text_of(field)).collect()
    }

    fn word_of(&self, field: &'a Field, allowed: &str) -> Result<&'a str> {
        match field.value {
            Value::Word => str::from_utf8(&self.document.bytes[field.span.clone()]).ok(),
            Value::Text | Value::Message(_) => None,
        }
        .ok_or_else(|| self.mistake(field, allowed))
    }

    /// An integer: decimal, hexadecimal or octal.
    pub fn integer_of(&self, field: &'a Field) -> Result<i64> {
        let allowed = "an integer";
        let word = self.word_of(field, allowed)?;
        integer(word).ok_or_else(|| self.mistake(field, allowed))
    }

    /// The last integer of this name.
    pub fn integer(&self, name: &'a str) -> Result<Option<i64>> {
        self.field(name).map(|field| self.integer_of(field)).transpose()
    }

    /// Every integer of this name.
    pub fn integers(&self, name: &'a str) -> Result<Vec<i64>> {
        self.all(name).map(|field| self.integer_of(field)).collect()
    }

    /// A number, `inf` and `nan` included.
    pub fn float_of(&self, field: &'a Field) -> Result<f64> {
        let allowed = "a number";
        let word = self.word_of(field, allowed)?;
        float(word).ok_or_else(|| self.mistake(field, allowed))
    }

    /// The last number of this name.
    pub fn float(&self, name: &'a str) -> Result<Option<f32>> {
        Ok(self.field(name).map(|field| self.float_of(field)).transpose()?.map(|value| value as f32))
    }

    /// Every number of this name.
    pub fn floats(&self, name: &'a str) -> Result<Vec<f32>> {
        self.all(name).map(|field| self.float_of(field).map(|value| value as f32)).collect()
    }

    /// A truth value.
    pub fn boolean_of(&self, field: &'a Field) -> Result<bool> {
        let allowed = "true or false";
        match self.word_of(field, allowed)? {
            "true" | "True" | "t" | "1" => Ok(true),
            "false" | "False" | "f" | "0" => Ok(false),
            _ => Err(self.mistake(field, allowed)),
        }
    }

    /// The last truth value of this name.
    pub fn boolean(&self, name: &'a str) -> Result<Option<bool>> {
        self.field(name).map(|field| self.boolean_of(field)).transpose()
    }

    /// The error that a field's value is not what is allowed there.
    pub fn mistake(&self, field: &Field, allowed: impl Into<String>) -> Error {
        self.document
            .error(field.span.start, format!("{} has another kind of value", field.name))
            .found(self.document.shown(field.span.clone()))
            .allowed(allowed)
    }
}

fn integer(word: &str) -> Option<i64> {
    let (is_negative, digits) = sign(word);
    let value = if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(digits, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8).ok()?
    } else if digits.starts_with(|digit: char| digit.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    let value = i128::from(value);
    i64::try_from(if is_negative { -value } else { value }).ok()
}

fn float(word: &str) -> Option<f64> {
    let (is_negative, digits) = sign(word);
    let lower = digits.to_ascii_lowercase();
    let value = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        hexadecimal if hexadecimal.starts_with("0x") => integer(hexadecimal)? as f64,
        decimal => {
            let decimal = decimal.strip_suffix('f').unwrap_or(decimal);
            if !decimal.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
                return None;
            }
            decimal.parse().ok()?
        }
    };
    Some(if is_negative { -value } else { value })
}

/// The sign, which blanks and comments may follow, and the digits.
fn sign(word: &str) -> (bool, &str) {
    match word.strip_prefix('-') {
        Some(rest) => (true, rest.rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default()),
        None => (false, word),
    }
}
