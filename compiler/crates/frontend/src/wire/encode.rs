//! Writing fields, and rewriting a message field by field.

use secateur_base::Result;

use super::{Field, Message};

/// Fields of a message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoder {
    pub bytes: Vec<u8>,
}

impl Encoder {
    /// An integer, a truth value or an enum's number.
    #[must_use]
    pub fn varint(mut self, number: u32, value: u64) -> Self {
        self.tag(number, 0);
        push_varint(&mut self.bytes, value);
        self
    }

    /// A string, bytes or a message.
    #[must_use]
    pub fn bytes(mut self, number: u32, bytes: &[u8]) -> Self {
        self.tag(number, 2);
        push_varint(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A `float`.
    #[must_use]
    pub fn float(self, number: u32, value: f32) -> Self {
        self.fixed32(number, value.to_bits())
    }

    /// A `fixed32`.
    #[must_use]
    pub fn fixed32(mut self, number: u32, value: u32) -> Self {
        self.tag(number, 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A packed repeated `float`.
    #[must_use]
    pub fn floats(self, number: u32, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(number, &bytes)
    }

    /// A packed repeated integer.
    #[must_use]
    pub fn varints(self, number: u32, values: &[u64]) -> Self {
        let mut bytes = Vec::new();
        for &value in values {
            push_varint(&mut bytes, value);
        }
        self.bytes(number, &bytes)
    }

    fn tag(&mut self, number: u32, wire_type: u64) {
        push_varint(&mut self.bytes, u64::from(number) << 3 | wire_type);
    }
}

/// Appends a variable-length integer.
pub(crate) fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// What becomes of one field in [`rewrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is copied as it stands.
    Keep,
    /// The bytes in it (of a message, a string or packed numbers) become these.
    Content(Vec<u8>),
    /// These whole fields stand in its place; none removes it.
    Fields(Encoder),
}

/// Copies a message and lets `edit` replace fields; `None` if it kept every one.
///
/// # Errors
/// The message is damaged, or `edit` fails.
pub fn rewrite(
    message: &[u8],
    mut edit: impl FnMut(&Field<'_>) -> Result<Action>,
) -> Result<Option<Vec<u8>>> {
    let mut written: Option<Vec<u8>> = None;
    let mut kept = 0;
    for field in Message(message).fields() {
        let field = field?;
        let action = edit(&field)?;
        if action != Action::Keep && written.is_none() {
            written = Some(message[..kept].to_vec());
        }
        kept += field.raw.len();
        let Some(written) = &mut written else { continue };
        match action {
            Action::Keep => written.extend_from_slice(field.raw),
            Action::Content(content) => {
                written.extend(Encoder::default().bytes(field.number, &content).bytes);
            }
            Action::Fields(fields) => written.extend(fields.bytes),
        }
    }
    Ok(written)
}
