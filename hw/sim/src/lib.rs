//! The accelerator in software.
//!
//! [`emulator`] gives every command its meaning, byte by byte and without time; the RTL is tested
//! against it.

pub mod emulator;
