//! The runtime for C. `include/secateur.h` is made of [`ffi`]; `secateur emit c` builds the static library.
//!
//! The kernels are those of the set of bits that the environment variable `SECATEUR_OPERATORS` holds when this is
//! compiled, in hexadecimal digits ([`secateur_runtime::Operators`]); without it, all.
#![no_std]
#![warn(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::float_arithmetic
)]

pub mod ffi;

use secateur_runtime::Operators;

/// The kernels of the processor that this is compiled for.
#[cfg(all(feature = "armv7em", target_arch = "arm"))]
const KERNELS: secateur_kernels::Thumb<OPERATORS> = secateur_kernels::Thumb;
#[cfg(not(all(feature = "armv7em", target_arch = "arm")))]
const KERNELS: secateur_runtime::Only<secateur_kernels::Tiled, OPERATORS> =
    secateur_runtime::Only(secateur_kernels::Tiled);

const OPERATORS: u32 = match option_env!("SECATEUR_OPERATORS") {
    Some(bits) => match u32::from_str_radix(bits, 16) {
        Ok(bits) => Operators::from_bits(bits).bits(),
        // When it is compiled.
        #[allow(clippy::panic)]
        Err(_) => panic!("SECATEUR_OPERATORS is no hexadecimal number"),
    },
    None => Operators::ALL.bits(),
};
