//! Tokens of protobuf's text format, as nom parsers over bytes: comments may be in any encoding.

use nom::branch::alt;
use nom::bytes::complete::{take_till, take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{recognize, value};
use nom::multi::many0_count;
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

/// Skips blanks and comments (`#` to the end of the line).
pub(super) fn trivia(input: &[u8]) -> IResult<&[u8], ()> {
    let blank = value((), take_while1(|byte: u8| byte.is_ascii_whitespace() || byte == 0x0b));
    let comment = value((), preceded(char('#'), take_till(|byte| byte == b'\n')));
    value((), many0_count(alt((blank, comment)))).parse(input)
}

/// A field's name: an identifier, or the bracketed name of an extension.
pub(super) fn name(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let identifier =
        pair(take_while1(is_letter), take_while(|byte: u8| is_letter(byte) || byte.is_ascii_digit()));
    let extension = (
        char('['),
        take_while1(|byte: u8| is_letter(byte) || byte.is_ascii_digit() || b"./-".contains(&byte)),
        char(']'),
    );
    alt((recognize(identifier), recognize(extension))).parse(input)
}

/// A number or a word, with its sign: whatever stands up to a separator.
pub(super) fn word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let part = |byte: u8| is_letter(byte) || byte.is_ascii_digit() || b".+-".contains(&byte);
    recognize(pair(nom::combinator::opt(pair(char('-'), trivia)), take_while1(part))).parse(input)
}

/// Optional separators after a field.
pub(super) fn separator(input: &[u8]) -> IResult<&[u8], Option<char>> {
    nom::combinator::opt(one_of(",;")).parse(input)
}

/// One quoted string, with its quotes; none if it does not end on its line.
pub(super) fn quoted(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let (rest, quote) = one_of("\"'").parse(input)?;
    let quote = quote as u8;
    let mut at = 0;
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'\n' => break,
            _ if byte == quote => return Ok((&rest[at + 1..], &input[..at + 2])),
            _ => at += 1,
        }
    }
    Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Char)))
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Appends what a quoted string (with its quotes) means; false at an escape that C does not know.
pub(super) fn unescape(quoted: &[u8], into: &mut Vec<u8>) -> bool {
    let Some(mut rest) = quoted.get(1..quoted.len().saturating_sub(1)) else { return false };
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'\\' {
            into.push(*byte);
            continue;
        }
        let [escape, tail @ ..] = rest else { return false };
        rest = tail;
        match escape {
            b'n' => into.push(b'\n'),
            b'r' => into.push(b'\r'),
            b't' => into.push(b'\t'),
            b'a' => into.push(7),
            b'b' => into.push(8),
            b'f' => into.push(12),
            b'v' => into.push(11),
            b'\\' | b'\'' | b'"' | b'?' => into.push(*escape),
            b'0'..=b'7' => {
                let more = rest.iter().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let code = rest[..more]
                    .iter()
                    .fold(u32::from(escape - b'0'), |code, d| code * 8 + u32::from(d - b'0'));
                let Ok(byte) = u8::try_from(code) else { return false };
                into.push(byte);
                rest = &rest[more..];
            }
            b'x' | b'X' => {
                let digits = rest.iter().take(2).take_while(|digit| digit.is_ascii_hexdigit()).count();
                let Some(byte) = hexadecimal(&rest[..digits]).and_then(|code| u8::try_from(code).ok()) else {
                    return false;
                };
                into.push(byte);
                rest = &rest[digits..];
            }
            b'u' | b'U' => {
                let digits = if *escape == b'u' { 4 } else { 8 };
                let Some(letter) = rest.get(..digits).and_then(hexadecimal).and_then(char::from_u32) else {
                    return false;
                };
                into.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[digits..];
            }
            _ => return false,
        }
    }
    true
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The text as one quoted string of the format.
pub fn quote(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for &byte in text {
        match byte {
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            b'"' | b'\'' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            0x20..0x7f => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push('"');
    quoted
}
