//! Runs the artefact in the system's flash on its accelerator and reports over the UART; ticks are cycles.
#![no_std]
#![no_main]

mod bus;
mod memory;
mod registers;
mod timer;

/// The system's addresses; see `build.rs`.
#[allow(dead_code, reason = "the map is complete, the program need not use all of it")]
mod map {
    include!(concat!(env!("OUT_DIR"), "/map.rs"));
}

use core::time::Duration;
use core::{ptr, slice};

use riscv_rt::entry;
use secateur_job::{Accelerator, Board, run_accelerated};
use secateur_kernels::Tiled;

/// Sent after the report.
const END_OF_TRANSMISSION: u8 = 4;
/// The half of the memory behind this is the accelerator's.
const HALF: usize = map::MEMORY_BYTES / 2;
/// Longer than any frame.
const LIMIT: Duration = Duration::from_secs(20);

/// Nothing may refer to it: the linked program has no panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    halt()
}

fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The UART, and the timer.
struct Console;

impl Console {
    fn send(byte: u8) {
        // SAFETY: registers of the UART, whose interrupts are off.
        unsafe {
            while registers::read(map::UART_TXFULL) != 0 {}
            registers::write(map::UART_RXTX, byte.into());
        }
    }
}

impl Board for Console {
    fn ticks(&mut self) -> u32 {
        timer::ticks()
    }

    fn write(&mut self, text: &[u8]) {
        text.iter().for_each(|&byte| Self::send(byte));
    }
}

#[entry]
fn start() -> ! {
    timer::start();
    // SAFETY: the program and its stack lie elsewhere.
    unsafe { memory::start_up() };
    // SAFETY: flash is only read. The first half of the memory is cached and this slice's alone; the accelerator has the
    // second half, to which there is no reference.
    let (flash, arena) = unsafe {
        (
            slice::from_raw_parts(ptr::with_exposed_provenance(map::FLASH), map::FLASH_BYTES),
            slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(map::MEMORY), HALF),
        )
    };
    let memory = map::MEMORY.wrapping_add(HALF) as u32;
    let accelerator = Accelerator { bus: bus::System, memory, bytes: HALF as u32, limit: LIMIT };
    // A fault is in the report.
    let _ = run_accelerated(flash, arena, accelerator, Tiled, &mut Console);
    Console::send(END_OF_TRANSMISSION);
    halt()
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &riscv_rt::TrapFrame) -> ! {
    Console.write(b"fault exception of the processor\n");
    Console::send(END_OF_TRANSMISSION);
    halt()
}
