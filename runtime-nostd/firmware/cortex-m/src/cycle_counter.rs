//! The core's own cycle counter.

use cortex_m::Peripherals;
use cortex_m::peripheral::DWT;

pub(crate) fn start() {
    if let Some(mut core) = Peripherals::take() {
        core.DCB.enable_trace();
        core.DWT.set_cycle_count(0);
        core.DWT.enable_cycle_counter();
    }
}

pub(crate) fn ticks() -> u32 {
    DWT::cycle_count()
}
