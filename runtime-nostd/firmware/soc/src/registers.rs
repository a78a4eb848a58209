//! Registers of the system, at addresses of its map.

use core::ptr;

/// Reads the register at `address`.
///
/// # Safety
/// `address` is a register's, and reading it has no effect that the caller does not want.
pub(crate) unsafe fn read(address: usize) -> u32 {
    // SAFETY: as the function says.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance(address)) }
}

/// Writes the register at `address`.
///
/// # Safety
/// `address` is a register's; what the system then does leaves the program's memory alone.
pub(crate) unsafe fn write(address: usize, value: u32) {
    // SAFETY: as the function says.
    unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(address), value) }
}
