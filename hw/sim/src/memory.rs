//! Memory of a simulated machine: buffers with guard bytes round each, and an oracle that notices
//! every access of the accelerator that leaves its buffers.

use std::fmt;
use std::ops::Range;

use crate::PARAMETERS;

/// Bus address of the first byte.
const BASE: u32 = 0x4000_0000;
/// Bytes kept free round every buffer.
const GUARD: usize = 4096;
/// Alignment of buffers.
const ALIGNMENT: usize = 64;
/// What guards and fresh buffers hold.
const FILL: u8 = 0xa5;

/// What the accelerator may do with a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// An access to an address without memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory {
    pub address: u32,
    pub bytes: usize,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory at {:#010x} ({} bytes)", self.address, self.bytes)
    }
}

impl std::error::Error for NoMemory {}

#[derive(Debug, Clone)]
struct Buffer {
    range: Range<usize>,
    access: Access,
}

/// Byte-addressed memory from [`BASE`].
#[derive(Debug, Clone, Default)]
pub struct Memory {
    bytes: Vec<u8>,
    buffers: Vec<Buffer>,
    strays: Vec<NoMemory>,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    /// A buffer with guards before and behind it; its bus address is a multiple of 64.
    ///
    /// # Panics
    /// Where 32-bit addresses do not suffice.
    pub fn allocate(&mut self, bytes: usize, access: Access) -> u32 {
        let start = (self.bytes.len() + GUARD).next_multiple_of(ALIGNMENT);
        self.bytes.resize(start + bytes + GUARD, FILL);
        self.buffers.push(Buffer { range: start..start + bytes, access });
        let end = u32::try_from(self.bytes.len()).ok().and_then(|end| BASE.checked_add(end));
        assert!(end.is_some(), "simulated memory exceeds 32-bit addresses");
        BASE + start as u32
    }

    /// The processor reads.
    pub fn read(&self, address: u32, bytes: &mut [u8]) -> Result<(), NoMemory> {
        let range = self.range(address, bytes.len())?;
        bytes.copy_from_slice(&self.bytes[range]);
        Ok(())
    }

    /// The processor writes.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), NoMemory> {
        let range = self.range(address, bytes.len())?;
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// The accelerator reads; outside every buffer it is noted as astray and gets guard bytes. Beats of a
    /// bus of 16 bytes are read whole, so the last may reach behind the buffer.
    pub fn device_read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), NoMemory> {
        bytes.copy_from_slice(self.device_bytes(address, bytes.len())?);
        Ok(())
    }

    /// [`Memory::device_read`] in place.
    pub fn device_bytes(&mut self, address: u32, bytes: usize) -> Result<&[u8], NoMemory> {
        let range = self.range(address, bytes)?;
        let allowed = |buffer: &Buffer| {
            let end = buffer.range.end.next_multiple_of(PARAMETERS.axi_bytes as usize);
            contains(&(buffer.range.start..end), &range)
        };
        if !self.buffers.iter().any(allowed) {
            self.strays.push(NoMemory { address, bytes });
        }
        Ok(&self.bytes[range])
    }

    /// The accelerator writes; outside every buffer that it may write it is noted as astray.
    pub fn device_write(&mut self, address: u32, bytes: &[u8]) -> Result<(), NoMemory> {
        let range = self.range(address, bytes.len())?;
        let allowed = |buffer: &Buffer| buffer.access == Access::ReadWrite && contains(&buffer.range, &range);
        if !self.buffers.iter().any(allowed) {
            self.strays.push(NoMemory { address, bytes: bytes.len() });
        }
        self.bytes[range].copy_from_slice(bytes);
        Ok(())
    }

    /// Accesses of the accelerator outside the buffers that it may use. None of them is right.
    pub fn strays(&self) -> &[NoMemory] {
        &self.strays
    }

    /// Address of the first guard byte that somebody has changed.
    pub fn broken_guard(&self) -> Option<u32> {
        let mut free = 0;
        let end = self.bytes.len();
        let buffers = self.buffers.iter().map(|buffer| (buffer.range.start, buffer.range.end));
        for (start, next) in buffers.chain([(end, end)]) {
            let changed = self.bytes[free..start].iter().position(|&byte| byte != FILL);
            if let Some(offset) = changed {
                return Some(BASE + (free + offset) as u32);
            }
            free = next;
        }
        None
    }

    fn range(&self, address: u32, bytes: usize) -> Result<Range<usize>, NoMemory> {
        let start = address.checked_sub(BASE).map(|start| start as usize);
        start
            .and_then(|start| Some(start..start.checked_add(bytes)?))
            .filter(|range| range.end <= self.bytes.len())
            .ok_or(NoMemory { address, bytes })
    }
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_what_leaves_a_buffer() {
        let mut memory = Memory::new();
        let program = memory.allocate(100, Access::ReadOnly);
        let work = memory.allocate(64, Access::ReadWrite);
        memory.device_write(work, &[1; 64]).unwrap();
        memory.device_read(program, &mut [0; 100]).unwrap();
        assert!(memory.strays().is_empty() && memory.broken_guard().is_none());
        memory.device_write(work + 60, &[FILL; 8]).unwrap();
        assert_eq!(memory.strays(), [NoMemory { address: work + 60, bytes: 8 }]);
        memory.device_write(program, &[0; 8]).unwrap();
        assert_eq!(memory.strays().len(), 2);
        memory.device_write(work + 64, &[0]).unwrap();
        assert_eq!(memory.broken_guard(), Some(work + 64));
        assert!(memory.device_read(0, &mut [0]).is_err());
    }
}
