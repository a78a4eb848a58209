//! What the firmware of all families shares: the regions that the linker knows, the report through semihosting,
//! the exit code.
#![no_std]

use core::ptr::addr_of_mut;
use core::slice;

use secateur_job::{Board, run};
#[cfg(feature = "armv7em")]
use secateur_kernels::Thumb as Kernels;
#[cfg(not(any(feature = "armv7em", feature = "reference")))]
use secateur_kernels::Tiled as Kernels;
#[cfg(all(feature = "reference", not(feature = "armv7em")))]
use secateur_runtime::Reference as Kernels;
use semihosting::io::{Stdout, Write, stdout};
use semihosting::process::exit;

/// All of them: the firmware runs any artefact.
const KERNELS: Kernels = Kernels;

/// Exit codes beside 0: the job reported a fault, nobody listens, the processor did.
const FAULT: i32 = 1;
const NO_CONSOLE: i32 = 2;
const EXCEPTION: i32 = 3;

// Regions of the board's memory.x; addresses, not variables.
unsafe extern "C" {
    static mut _package_start: u8;
    static mut _package_end: u8;
    static mut _arena_start: u8;
    static mut _arena_end: u8;
}

/// A console with a counter.
struct Semihosted<F> {
    console: Stdout,
    ticks: F,
}

impl<F: FnMut() -> u32> Board for Semihosted<F> {
    fn ticks(&mut self) -> u32 {
        (self.ticks)()
    }

    fn write(&mut self, mut text: &[u8]) {
        // `write_all` could panic on a host that writes more than it was given.
        while !text.is_empty() {
            match self.console.write(text) {
                Ok(written @ 1..) => text = text.get(written..).unwrap_or_default(),
                _ => exit(NO_CONSOLE),
            }
        }
    }
}

/// Runs the package in flash and ends the program with an exit code.
///
/// # Safety
/// The caller is the program's only thread, calls once, and the regions of its memory.x are memory that nothing
/// else uses.
pub unsafe fn main(ticks: impl FnMut() -> u32) -> ! {
    let Ok(console) = stdout() else { exit(NO_CONSOLE) };
    // SAFETY: the symbols delimit regions that the linker puts nothing into; the caller's promise is the rest. Any
    // content is a valid `u8`.
    let (flash, arena) = unsafe {
        let (package, arena) = (addr_of_mut!(_package_start), addr_of_mut!(_arena_start));
        let bytes = |from: *mut u8, to: *mut u8| (to as usize).wrapping_sub(from as usize);
        let flash = slice::from_raw_parts(package, bytes(package, addr_of_mut!(_package_end)));
        (flash, slice::from_raw_parts_mut(arena, bytes(arena, addr_of_mut!(_arena_end))))
    };
    match run(flash, arena, KERNELS, &mut Semihosted { console, ticks }) {
        Ok(()) => exit(0),
        Err(_) => exit(FAULT),
    }
}

/// Ends the program after an exception of the processor.
pub fn exception() -> ! {
    exit(EXCEPTION)
}
