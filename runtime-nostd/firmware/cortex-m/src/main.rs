//! Runs the artefact in flash on a Cortex-M and reports every step.
#![no_std]
#![no_main]

#[cfg_attr(feature = "cmsdk-timer", path = "cmsdk_timer.rs")]
#[cfg_attr(feature = "system-counter", path = "system_counter.rs")]
#[cfg_attr(not(any(feature = "cmsdk-timer", feature = "system-counter")), path = "cycle_counter.rs")]
mod counter;

use cortex_m_rt::{ExceptionFrame, entry, exception};

/// Nothing may refer to it: the linked program has no panic.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: an undefined instruction, which traps.
    unsafe { core::arch::asm!("udf #0", options(noreturn)) }
}

#[entry]
fn start() -> ! {
    counter::start();
    // SAFETY: the entry runs once, with interrupts off; memory.x reserves the regions.
    unsafe { secateur_bare::main(counter::ticks) }
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    secateur_bare::exception()
}
