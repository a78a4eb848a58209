//! Text for a terminal: foreign text loses its power over the terminal, and a terminal that is gone or a disk
//! that is full ends the command without a panic.
//!
//! Class names, file names, cfg lines and labels come from strangers. Escape sequences in them could recolour,
//! retitle or reprogram the reader's terminal, and bidirectional controls could reorder what is shown. Everything
//! that the command prints therefore goes through [`outln!`](crate::outln) and [`errln!`](crate::errln), and every
//! error through [`Error`](crate::Error)'s `Display`; all of them use [`printable`].

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, ErrorKind, Write as _};

/// Whether a terminal obeys this character instead of showing it, or reorders text around it.
fn is_control(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

/// `text` with every control character but newline and tab written as an escape such as `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_control(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// `text` in one line: as [`printable`], with newlines and tabs escaped too.
///
/// For names inside comments of generated code and inside tables, where a newline would end the comment or the row.
pub fn printable_line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            other if is_control(other) => escaped.extend(other.escape_unicode()),
            other => escaped.push(other),
        }
    }
    escaped
}

/// `text` with the same number of bytes in every place, control characters replaced by signs of their length.
///
/// For source texts that error messages point into: offsets into the original hold in the result.
pub(crate) fn masked(text: String) -> String {
    if !text.contains(is_control) {
        return text;
    }
    let signs = text.chars().map(|character| match character {
        other if !is_control(other) => other,
        other => match other.len_utf8() {
            1 => '?',
            2 => '¿',
            _ => '\u{fffd}',
        },
    });
    signs.collect()
}

/// Prints to the standard output. Where its reader went away (`secateur … | head`) the text is dropped and the work
/// goes on: files may still have to be written. Any other failure ends the process with a message and exit code 1.
pub fn print(text: fmt::Arguments<'_>) {
    let mut line = String::new();
    // Formatting into memory fails only where a Display implementation does.
    let _ = line.write_fmt(text);
    let mut out = io::stdout().lock();
    let written = out.write_all(printable(&line).as_bytes()).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => {
            eprint(format_args!("Error: cannot write to the standard output: {error}\n"));
            std::process::exit(1)
        }
    }
}

/// Prints to the standard error output; where that fails, nobody is left who could be told.
pub fn eprint(text: fmt::Arguments<'_>) {
    let mut line = String::new();
    let _ = line.write_fmt(text);
    let _ = io::stderr().lock().write_all(printable(&line).as_bytes());
}

/// `println!` for text that may hold foreign parts; see [`terminal`](crate::terminal).
#[macro_export]
macro_rules! outln {
    () => { $crate::terminal::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::terminal::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// `eprintln!` for text that may hold foreign parts; see [`terminal`](crate::terminal).
#[macro_export]
macro_rules! errln {
    () => { $crate::terminal::eprint(format_args!("\n")) };
    ($($text:tt)*) => { $crate::terminal::eprint(format_args!("{}\n", format_args!($($text)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_shown_and_not_obeyed() {
        assert_eq!(printable("plain ä\n\t"), "plain ä\n\t");
        assert_eq!(printable("\x1b[31mred\x07"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(printable("a\u{9b}2J\r\u{202e}b"), "a\\u{9b}2J\\u{d}\\u{202e}b");
        assert_eq!(printable_line("a\nb\x1b"), "a\\nb\\u{1b}");
    }

    #[test]
    fn masked_text_keeps_its_offsets() {
        let text = "a\x1b\u{9b}\u{202e}z\n";
        let masked = masked(text.to_owned());
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked.find('z'), text.find('z'));
        assert_eq!(printable(&masked), masked);
    }
}
