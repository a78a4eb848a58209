//! The report's lines: words and numbers between blanks, ASCII, written without `core::fmt`, which can panic.
//!
//! | line | fields |
//! |---|---|
//! | `secateur-job` | [`VERSION`] |
//! | `step` | index, layer, CRC-32 of the output (8 hexadecimal digits), ticks |
//! | `ready` | ticks of the artefact's check, ticks of its program's way into an accelerator's memory |
//! | `planes` | tensor that an accelerator wrote, CRC-32 of its values `[c, h, w]` (8 hexadecimal digits) |
//! | `frame` | cycles of the accelerator; ticks from the image to the results, of these before and after the accelerator |
//! | `box` | class, score Q0.30, objectness Q0.15, x, y, w, h (Q16.16 input pixels), number of the box |
//! | `class` | class, probability Q0.15 |
//! | `dropped` | detections for which there was no room |
//! | `fault` | words that say why there is no result, perhaps numbers |
//! | `end` | |

use crate::run::Board;

/// Changes with the meaning of a line.
pub const VERSION: u32 = 1;

/// One line: at most nine words.
pub(crate) struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Line {
    pub(crate) fn new(word: &str) -> Self {
        let mut line = Self { bytes: [0; 128], length: 0 };
        line.text(word);
        line
    }

    /// A word; what leaves the line is cut off.
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.push(b' ');
        self.text(word);
        self
    }

    /// A number in decimal digits.
    pub(crate) fn number(mut self, number: impl Into<i64>) -> Self {
        let number: i64 = number.into();
        self.push(b' ');
        if number < 0 {
            self.push(b'-');
        }
        // Powers instead of remainders: numbers have at most ten digits, and no digit needs a 64-bit division.
        let (mut rest, mut power, mut begun) = (number.unsigned_abs(), 1_000_000_000u64, false);
        while power > 0 {
            let mut digit = b'0';
            while rest >= power && digit < b'9' {
                rest -= power;
                digit += 1;
            }
            begun |= digit != b'0' || power == 1;
            if begun {
                self.push(digit);
            }
            power /= 10;
        }
        self
    }

    /// Eight hexadecimal digits.
    pub(crate) fn hex(mut self, number: u32) -> Self {
        self.push(b' ');
        for shift in (0..8).rev() {
            let digit = (number >> (4 * shift)) as u8 & 0xF;
            self.push(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
        self
    }

    pub(crate) fn send(mut self, board: &mut impl Board) {
        self.push(b'\n');
        board.write(self.bytes.get(..self.length).unwrap_or(&[]));
    }

    fn text(&mut self, word: &str) {
        word.bytes().for_each(|byte| self.push(byte));
    }

    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;

    struct Text(String);

    impl Board for Text {
        fn ticks(&mut self) -> u32 {
            0
        }

        fn write(&mut self, text: &[u8]) {
            self.0.push_str(core::str::from_utf8(text).unwrap());
        }
    }

    #[test]
    fn numbers_are_those_that_the_standard_library_writes() {
        let numbers = [0i64, 1, 9, 10, 99, 1_000_000_000, u32::MAX.into(), i32::MIN.into(), i32::MAX.into()];
        for number in numbers {
            let mut text = Text(String::new());
            Line::new("n").number(number).hex(number as u32).word("w").send(&mut text);
            assert_eq!(text.0, std::format!("n {number} {:08x} w\n", number as u32));
        }
    }
}
