//! Runs the artefact in flash on a RISC-V processor and reports every step; ticks are retired instructions.
#![no_std]
#![no_main]

use riscv_rt::entry;

/// Nothing may refer to it: the linked program has no panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: an undefined instruction, which traps.
    unsafe { core::arch::asm!("unimp", options(noreturn)) }
}

#[entry]
fn start() -> ! {
    // SAFETY: the entry runs once, on one hart, with interrupts off; memory.x reserves the regions.
    unsafe { secateur_bare::main(retired) }
}

/// Retired instructions, modulo 2^32.
fn retired() -> u32 {
    let count: usize;
    // SAFETY: reading a counter of the machine mode, in which the program runs, changes nothing.
    unsafe { core::arch::asm!("csrr {}, minstret", out(reg) count, options(nomem, nostack)) };
    count as u32
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &riscv_rt::TrapFrame) -> ! {
    secateur_bare::exception()
}
