//! The functions of `secateur-ffi` as a static library.
#![no_std]

pub use secateur_ffi::ffi::*;

/// Nothing may refer to it: the library has no panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
