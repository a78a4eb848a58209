//! Runs the artefact in flash on a RISC-V processor and reports every step; ticks are retired instructions.
#![no_std]
#![no_main]

use riscv_rt::entry;

/// Nothing may refer to it: the linked program has no panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        // SAFETY: a breakpoint, which traps where no debugger listens.
        unsafe { riscv::asm::ebreak() }
    }
}

#[entry]
fn start() -> ! {
    // SAFETY: the entry runs once, on one hart, with interrupts off; memory.x reserves the regions.
    unsafe { secateur_bare::main(|| riscv::register::minstret::read() as u32) }
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_: &riscv_rt::TrapFrame) -> ! {
    secateur_bare::exception()
}
