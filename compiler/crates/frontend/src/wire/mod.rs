//! Protobuf's binary format, field by field, without a schema.
//!
//! A reader borrows from the bytes and takes no memory for what a length field promises. A file is changed by
//! [`rewrite`], which copies every field that it does not replace, so what this program does not know survives.
//! Source: protobuf.dev, "Encoding".

mod encode;
#[cfg(test)]
mod tests;

use secateur_base::{Error, Result};

pub(crate) use encode::push_varint;
pub use encode::{Action, Encoder, rewrite};

/// Groups nested deeper are refused.
const MAX_GROUP_DEPTH: usize = 32;

/// The fields of one message, in the order of the file.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a>(pub &'a [u8]);

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    /// The whole field with its tag.
    pub raw: &'a [u8],
}

/// A field's value by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    /// A string, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// The deprecated kind of message, with its end tag.
    Group(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// The bytes of a string, a message or packed numbers.
    ///
    /// # Errors
    /// The field has another wire type.
    pub fn bytes(&self) -> Result<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.mistake("a string, a message or packed numbers")),
        }
    }

    /// The message in this field.
    pub fn message(&self) -> Result<Message<'a>> {
        self.bytes().map(Message)
    }

    /// The text in this field; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// An integer, a truth value or an enum's number.
    pub fn varint(&self) -> Result<u64> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.mistake("an integer")),
        }
    }

    /// A `float`.
    pub fn float(&self) -> Result<f32> {
        match self.value {
            Value::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.mistake("a float")),
        }
    }

    /// A `fixed32`.
    pub fn fixed32(&self) -> Result<u32> {
        match self.value {
            Value::Fixed32(bits) => Ok(bits),
            _ => Err(self.mistake("32 bits")),
        }
    }

    /// Appends a repeated `float`, packed or not.
    pub fn floats(&self, into: &mut Vec<f32>) -> Result<()> {
        match self.value {
            Value::Fixed32(bits) => into.push(f32::from_bits(bits)),
            Value::Bytes(bytes) => {
                let (values, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(self.mistake("packed floats of four bytes each"));
                }
                into.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
            }
            _ => return Err(self.mistake("floats")),
        }
        Ok(())
    }

    /// Appends a repeated `double`, packed or not.
    pub fn doubles(&self, into: &mut Vec<f64>) -> Result<()> {
        match self.value {
            Value::Fixed64(bits) => into.push(f64::from_bits(bits)),
            Value::Bytes(bytes) => {
                let (values, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(self.mistake("packed doubles of eight bytes each"));
                }
                into.extend(values.iter().map(|value| f64::from_le_bytes(*value)));
            }
            _ => return Err(self.mistake("doubles")),
        }
        Ok(())
    }

    /// Appends a repeated integer, packed or not.
    pub fn varints(&self, into: &mut Vec<u64>) -> Result<()> {
        match self.value {
            Value::Varint(value) => into.push(value),
            Value::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    into.push(varint(&mut bytes)?);
                }
            }
            _ => return Err(self.mistake("integers")),
        }
        Ok(())
    }

    fn mistake(&self, allowed: &str) -> Error {
        let found = match self.value {
            Value::Varint(_) => "an integer",
            Value::Fixed64(_) => "64 bits",
            Value::Bytes(_) => "bytes with their length",
            Value::Group(_) => "a group",
            Value::Fixed32(_) => "32 bits",
        };
        Error::new(format!("field {} has another type", self.number)).found(found).allowed(allowed)
    }
}

impl<'a> Message<'a> {
    /// Its fields; the first damaged one is an error and the last item.
    pub fn fields(&self) -> impl Iterator<Item = Result<Field<'a>>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let field = field(&mut rest, 0);
            if field.is_err() {
                rest = &[];
            }
            Some(field)
        })
    }

    /// The fields of one number.
    pub fn all(&self, number: u32) -> Result<Vec<Field<'a>>> {
        self.fields().filter(|field| field.as_ref().map_or(true, |field| field.number == number)).collect()
    }

    /// The last field of this number.
    pub fn last(&self, number: u32) -> Result<Option<Field<'a>>> {
        Ok(self.all(number)?.pop())
    }
}

fn truncated() -> Error {
    Error::new("the message ends within a field")
        .help("the file is damaged, or only a part of it: get it again")
}

/// Takes a variable-length integer of at most ten bytes.
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (&byte, rest) = bytes.split_first().ok_or_else(truncated)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::new("an integer has more than ten bytes").help("the file is damaged"))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or_else(truncated)?;
    *bytes = rest;
    Ok(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or_else(truncated)?;
    *bytes = rest;
    Ok(*taken)
}

/// Takes one field.
fn field<'a>(bytes: &mut &'a [u8], depth: usize) -> Result<Field<'a>> {
    let start = *bytes;
    let tag = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let Some(number) = number else {
        return Err(Error::new("a field has no valid number")
            .found((tag >> 3).to_string())
            .help("the file is damaged, or no protobuf"));
    };
    let value = match tag & 7 {
        0 => Value::Varint(varint(bytes)?),
        1 => Value::Fixed64(u64::from_le_bytes(take_array(bytes)?)),
        2 => {
            let length = varint(bytes)?;
            Value::Bytes(take(bytes, usize::try_from(length).map_err(|_| truncated())?)?)
        }
        3 => Value::Group(group(bytes, number, depth)?),
        5 => Value::Fixed32(u32::from_le_bytes(take_array(bytes)?)),
        other => {
            return Err(Error::new(format!("field {number} has no valid type"))
                .found(other.to_string())
                .help("the file is damaged, or no protobuf"));
        }
    };
    Ok(Field { number, value, raw: &start[..start.len() - bytes.len()] })
}

/// Takes a group up to its end tag.
fn group<'a>(bytes: &mut &'a [u8], number: u32, depth: usize) -> Result<&'a [u8]> {
    if depth == MAX_GROUP_DEPTH {
        return Err(Error::new("groups are nested too deep").allowed(format!("at most {MAX_GROUP_DEPTH}")));
    }
    let start = *bytes;
    loop {
        let mut ahead = *bytes;
        if varint(&mut ahead)? == u64::from(number) << 3 | 4 {
            *bytes = ahead;
            return Ok(&start[..start.len() - ahead.len()]);
        }
        field(bytes, depth + 1)?;
    }
}
