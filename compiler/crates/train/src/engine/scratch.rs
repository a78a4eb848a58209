//! What tasks compute in, kept from one layer to the next.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use crate::buffer::Buffer;

/// Memory of one task; what it holds when it is lent is unspecified.
#[derive(Debug, Default)]
pub(super) struct Scratch<T> {
    /// Planes of input channels, or of gradients.
    pub planes: Buffer<T>,
    /// Numbers at output positions.
    pub grid: Buffer<T>,
    pub sums: Buffer<T>,
    /// Pixels one behind the other.
    pub line: Buffer<T>,
    /// Taps at output positions.
    pub taps: Vec<u32>,
}

/// Scratch memory that nobody uses.
#[derive(Debug)]
pub(super) struct Scratches<T>(Mutex<Vec<Scratch<T>>>);

impl<T> Default for Scratches<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Scratches<T> {
    /// Lends some until the loan is dropped.
    pub(super) fn lend(&self) -> Loan<'_, T> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Loan { scratch: free.unwrap_or_default(), of: self }
    }
}

/// Scratch memory on loan.
pub(super) struct Loan<'a, T: Default> {
    scratch: Scratch<T>,
    of: &'a Scratches<T>,
}

impl<T: Default> Deref for Loan<'_, T> {
    type Target = Scratch<T>;

    fn deref(&self) -> &Scratch<T> {
        &self.scratch
    }
}

impl<T: Default> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut Scratch<T> {
        &mut self.scratch
    }
}

impl<T: Default> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        let scratch = std::mem::take(&mut self.scratch);
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
