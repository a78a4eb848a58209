//! Entropy-coded bits and Huffman codes (T.81, annexes C and F.2.2).

use super::{Failure, Result};

/// Reads bits, most significant first; takes the zero after each 0xFF byte out.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    buffer: u64,
    /// Bits in the buffer.
    count: u32,
    /// Zero bits at the buffer's end that the file does not hold.
    borrowed: u32,
}

impl<'a> Bits<'a> {
    /// Starts at byte `at`.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Self { data, at, buffer: 0, count: 0, borrowed: 0 }
    }

    /// Makes at least 32 bits available; beyond the data they are zeros.
    fn refill(&mut self) {
        while self.count <= 56 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xFF), Some(0)) => {
                    self.at += 2;
                    0xFF
                }
                (Some(0xFF) | None, _) => {
                    self.borrowed += 8;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The next `bits` bits (at most 16) as a number.
    pub(super) fn take(&mut self, bits: u32) -> i32 {
        if bits == 0 {
            return 0;
        }
        if self.count < 16 {
            self.refill();
        }
        let value = (self.buffer >> (64 - bits)) as i32;
        self.skip(bits);
        value
    }

    pub(super) fn bit(&mut self) -> bool {
        self.take(1) != 0
    }

    /// A number of `bits` bits whose leading zero means that it is negative.
    pub(super) fn signed(&mut self, bits: u32) -> i32 {
        let value = self.take(bits);
        if bits > 0 && value < 1 << (bits - 1) { value - (1 << bits) + 1 } else { value }
    }

    /// The symbol of the next code.
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8> {
        if self.count < 16 {
            self.refill();
        }
        let (length, symbol) = table.lookup[(self.buffer >> 48) as usize];
        if length == 0 {
            return Err(Failure::Damaged("a code that its table lacks"));
        }
        self.skip(u32::from(length));
        Ok(symbol)
    }

    /// Fails where more bits were read than there are.
    pub(super) fn check(&self) -> Result<()> {
        if self.count < self.borrowed {
            return Err(Failure::Damaged("the file ends, or a marker stands, in the middle of the image"));
        }
        Ok(())
    }

    /// Goes behind the restart marker that must follow.
    pub(super) fn restart(&mut self) -> Result<()> {
        while self.data.get(self.at + 1) == Some(&0xFF) {
            self.at += 1;
        }
        match self.data.get(self.at..self.at + 2) {
            Some([0xFF, 0xD0..=0xD7]) => {
                *self = Self::new(self.data, self.at + 2);
                Ok(())
            }
            _ => Err(Failure::Damaged("a restart marker is missing")),
        }
    }

    /// First byte that is not in the buffer: a marker once the scan is read.
    pub(super) fn position(&self) -> usize {
        self.at
    }
}

/// A Huffman table, by the next 16 bits: code length (0: no such code) and symbol.
#[derive(Clone)]
pub(super) struct Huffman {
    lookup: Vec<(u8, u8)>,
}

impl Huffman {
    /// From the number of codes of every length 1..=16 and the symbols in the order of their codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self> {
        let mut lookup = vec![(0, 0); 1 << 16];
        let mut symbols = symbols.iter();
        let mut code = 0_usize;
        for (length, &count) in (1_u8..).zip(counts) {
            let span = 1 << (16 - length);
            for _ in 0..count {
                let (Some(entries), Some(&symbol)) = (lookup.get_mut(code..code + span), symbols.next())
                else {
                    return Err(Failure::Damaged("a Huffman table has too many codes"));
                };
                entries.fill((length, symbol));
                code += span;
            }
        }
        Ok(Self { lookup })
    }
}
