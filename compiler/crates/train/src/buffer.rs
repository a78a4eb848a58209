//! Memory for numbers that vectors read. A load that crosses a cache line counts as two, and maps that lie on small pages
//! cost a quarter of a step's time in page tables alone.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;
use pulp::bytemuck;

use crate::scalar::Scalar;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Bytes of a huge page.
const HUGE: usize = 1 << 21;

/// Numbers of which the first begins a cache line; many of them lie on huge pages where the system has such.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    memory: Memory<T>,
    /// Of the first number.
    start: usize,
    len: usize,
}

#[derive(Debug)]
enum Memory<T> {
    Heap(Vec<T>),
    Pages(MmapMut),
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { memory: Memory::Heap(Vec::new()), start: 0, len: 0 }
    }
}

impl<T: Scalar> Buffer<T> {
    pub(crate) fn zeros(len: usize) -> Self {
        if let Some(pages) = pages(len * size_of::<T>()) {
            return Self { memory: Memory::Pages(pages), start: 0, len };
        }
        let numbers = vec![T::ZERO; len + LINE / size_of::<T>()];
        // What cannot be aligned is slower and nothing else.
        let start = Some(numbers.as_ptr().align_offset(LINE)).filter(|&start| start + len <= numbers.len());
        Self { memory: Memory::Heap(numbers), start: start.unwrap_or(0), len }
    }

    /// Numbers that there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.numbers().len() - self.start
    }

    /// Makes it `len` numbers long, whatever they are.
    pub(crate) fn resize(&mut self, len: usize) {
        if len > self.capacity() {
            *self = Self::zeros(len);
        }
        self.len = len;
    }
}

/// Huge pages for so many bytes; nothing if those would be less than half of one, or the system refuses.
fn pages(bytes: usize) -> Option<MmapMut> {
    let pages = (bytes >= HUGE / 2).then(|| MmapMut::map_anon(bytes.next_multiple_of(HUGE)).ok())??;
    // Advice that is not taken costs time alone.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

impl<T: Scalar> Memory<T> {
    #[inline(always)]
    fn numbers(&self) -> &[T] {
        match self {
            Self::Heap(numbers) => numbers,
            Self::Pages(pages) => bytemuck::cast_slice(pages),
        }
    }
}

impl<T: Scalar> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.memory.numbers()[self.start..][..self.len]
    }
}

impl<T: Scalar> DerefMut for Buffer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        let numbers = match &mut self.memory {
            Memory::Heap(numbers) => numbers,
            Memory::Pages(pages) => bytemuck::cast_slice_mut(pages),
        };
        &mut numbers[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_a_cache_line() {
        let mut buffer = Buffer::<f32>::default();
        assert!(buffer.is_empty());
        for len in [5, 3, 1000, 70_000, 600_000, 20] {
            buffer.resize(len);
            assert_eq!(buffer.len(), len);
            assert!((buffer.as_ptr() as usize).is_multiple_of(LINE));
            buffer[len - 1] = 1.0;
        }
        assert!(Buffer::<f64>::zeros(1 << 19).iter().all(|&number| number == 0.0));
    }
}
